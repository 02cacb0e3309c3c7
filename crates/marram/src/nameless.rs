//! Names of objects in sentences that are given away without names. Pure.

use std::borrow::Cow;

/// How the name of an object begins in a sentence of a server; it ends with `>`, which is in none.
const BEGINS: &str = "<m://";
/// What stands in its place.
const INSTEAD: &str = "<an object>";

/// The text without the names of objects.
pub(crate) fn without_objects(text: &str) -> Cow<'_, str> {
    if !text.contains(BEGINS) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, name)) = rest.split_once(BEGINS) {
        out.push_str(before);
        out.push_str(INSTEAD);
        // A line that was cut short may end within a name.
        rest = name.split_once('>').map_or("", |(_, after)| after);
    }
    out.push_str(rest);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_objects_are_left_out() {
        for (text, expected) in [
            ("nothing <here>", "nothing <here>"),
            ("it: <m://b/k 1, 2.txt>. Do", "it: <an object>. Do"),
            (
                "\"<m://b/\\\"q\\\">, <m://c/k> and\"",
                "\"<an object>, <an object> and\"",
            ),
            ("cut <m://b/k", "cut <an object>"),
        ] {
            assert_eq!(without_objects(text), expected);
        }
    }
}
