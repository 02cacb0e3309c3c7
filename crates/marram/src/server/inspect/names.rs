//! Names that operators may not want to give away: they stand in log lines as words.

use std::collections::BTreeMap;

use marram_meta::ClusterView;

/// What stands in place of each name.
pub(super) struct Hidden(BTreeMap<String, String>);

impl Hidden {
    /// Names of buckets and access keys.
    pub(super) fn of(view: &ClusterView) -> Self {
        let buckets = view.buckets.values();
        let buckets = buckets.map(|b| (b.name.to_string(), format!("(bucket {})", b.bucket)));
        let keys = view.access_keys.keys().enumerate();
        let keys = keys.map(|(number, key)| (key.clone(), format!("(access key {number})")));
        Self(buckets.chain(keys).collect())
    }

    /// A line with something else in place of each name. Only whole words are names.
    pub(super) fn taken_out_of(&self, line: &str) -> String {
        let is_of_word = |c: char| c.is_alphanumeric() || matches!(c, '-' | '.' | '_');
        let mut out = String::with_capacity(line.len());
        let mut rest = line;
        while !rest.is_empty() {
            let end = rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
            if end == 0 {
                let next = rest.chars().next().map_or(1, char::len_utf8);
                out.push_str(&rest[..next]);
                rest = &rest[next..];
                continue;
            }
            out.push_str(&self.word(&rest[..end]));
            rest = &rest[end..];
        }
        out
    }

    /// A name may end a sentence.
    fn word(&self, word: &str) -> String {
        let bare = word.trim_end_matches('.');
        match self.0.get(word).or_else(|| self.0.get(bare)) {
            Some(other) if self.0.contains_key(word) => other.clone(),
            Some(other) => format!("{other}{}", &word[bare.len()..]),
            None => word.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_words_are_replaced() {
        let names = [
            ("photos", "(bucket 5)"),
            ("a.b", "(bucket 6)"),
            ("MKX", "(access key 0)"),
        ];
        let hidden = Hidden(names.map(|(n, o)| (n.to_owned(), o.to_owned())).into());
        for (line, expected) in [
            ("bucket photos.", "bucket (bucket 5)."),
            (
                "bucket=\"photos\" key=MKX",
                "bucket=\"(bucket 5)\" key=(access key 0)",
            ),
            ("photos2 and my-photos", "photos2 and my-photos"),
            ("a.b: \u{e9}\u{2713}", "(bucket 6): \u{e9}\u{2713}"),
            ("", ""),
        ] {
            assert_eq!(hidden.taken_out_of(line), expected);
        }
    }
}
