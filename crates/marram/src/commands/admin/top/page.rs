//! Samples of Prometheus text, as far as they are needed: what cannot be read is left out.

use std::collections::BTreeMap;

/// A sample.
#[derive(Debug, Clone, PartialEq)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// A page of samples.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Page(Vec<Sample>);

impl Page {
    /// Reads it.
    pub(super) fn read(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self(lines.filter_map(sample).collect())
    }

    /// All samples of a name whose labels have these values, added up; none where there is none.
    pub(super) fn sum(&self, name: &str, with: &[(&str, &str)]) -> Option<f64> {
        let mut found = self.of(name, with).map(|sample| sample.value).peekable();
        found.peek()?;
        Some(found.sum())
    }

    /// How many of them are not zero.
    pub(super) fn count(&self, name: &str, with: &[(&str, &str)]) -> usize {
        self.of(name, with)
            .filter(|sample| sample.value != 0.0)
            .count()
    }

    /// How many there are.
    pub(super) fn all(&self, name: &str) -> usize {
        self.of(name, &[]).count()
    }

    /// A histogram, all of its series added up: each bound with how many values were at most so large,
    /// by the bounds.
    pub(super) fn buckets(&self, name: &str) -> Vec<(f64, f64)> {
        let name = format!("{name}_bucket");
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for sample in self.of(&name, &[]) {
            let bound = sample
                .labels
                .get("le")
                .and_then(|le| le.parse::<f64>().ok());
            let Some(bound) = bound else { continue };
            match buckets
                .iter_mut()
                .find(|(known, _)| known.total_cmp(&bound).is_eq())
            {
                Some((_, count)) => *count += sample.value,
                None => buckets.push((bound, sample.value)),
            }
        }
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        buckets
    }

    fn of(&self, name: &str, with: &[(&str, &str)]) -> impl Iterator<Item = &Sample> {
        let fits = move |sample: &&Sample| {
            let has = |(label, value): &(&str, &str)| {
                sample
                    .labels
                    .get(*label)
                    .is_some_and(|known| known == value)
            };
            sample.name == name && with.iter().all(has)
        };
        self.0.iter().filter(fits)
    }
}

fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, read_labels(labels.strip_suffix('}')?)?),
        None => (series, BTreeMap::new()),
    };
    Some(Sample {
        name: name.to_owned(),
        labels,
        value,
    })
}

/// Reads `a="b",c="d"`. No value that servers give has quotes, commas or backslashes in it.
fn read_labels(text: &str) -> Option<BTreeMap<String, String>> {
    let pairs = text.split(',').map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let value = value.strip_prefix('"')?.strip_suffix('"')?;
        Some((name.to_owned(), value.to_owned()))
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# HELP a It is a.
a{x=\"1\",y=\"b\"} 2
a{x=\"2\",y=\"b\"} 0
a{x=\"2\",y=\"c\"} 5e1
plain 7
broken{x=1} 3
t_bucket{x=\"1\",le=\"0.1\"} 1
t_bucket{x=\"2\",le=\"+Inf\"} 4
t_bucket{x=\"1\",le=\"+Inf\"} 3
t_bucket{x=\"2\",le=\"0.1\"} 2
";

    #[test]
    fn samples_are_added_up() {
        let page = Page::read(TEXT);
        assert_eq!(page.sum("a", &[]), Some(52.0));
        assert_eq!(page.sum("a", &[("x", "2"), ("y", "c")]), Some(50.0));
        assert_eq!(page.sum("a", &[("x", "3")]), None);
        assert_eq!(page.sum("plain", &[]), Some(7.0));
        assert_eq!(page.sum("broken", &[]), None);
        assert_eq!((page.count("a", &[("y", "b")]), page.all("a")), (1, 3));
        assert_eq!(page.buckets("t"), [(0.1, 3.0), (f64::INFINITY, 7.0)]);
    }
}
