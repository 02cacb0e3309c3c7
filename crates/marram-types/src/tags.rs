//! Tags of objects: pairs that rules and listings go by, changed without a new version.

use crate::caps::{OBJECT_TAGS_MAX, TAG_KEY_CHARS_MAX, TAG_VALUE_CHARS_MAX};

/// What else than letters, digits and spaces tags may have, as in S3.
const PUNCTUATION: &str = "+-=._:/@";

/// Why tags are none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    /// More than an object may have.
    #[error("{count} tags are given: an object has at most {OBJECT_TAGS_MAX}")]
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// A key that is empty or too long.
    #[error("the tag key {key:?} has {chars} characters: 1 to {TAG_KEY_CHARS_MAX} are allowed")]
    Key {
        /// Its beginning.
        key: String,
        /// How many characters it has.
        chars: usize,
    },
    /// A value that is too long.
    #[error(
        "the value of tag {key:?} has {chars} characters: at most {TAG_VALUE_CHARS_MAX} are allowed"
    )]
    Value {
        /// Whose value it is.
        key: String,
        /// How many characters it has.
        chars: usize,
    },
    /// One key with two values.
    #[error("the tag {key:?} is given twice")]
    Twice {
        /// The key.
        key: String,
    },
    /// A character that tags may not have.
    #[error(
        "tag {key:?} has the character {found:?}: letters, digits, spaces and {PUNCTUATION} are allowed"
    )]
    Character {
        /// Whose tag it is.
        key: String,
        /// The character.
        found: char,
    },
}

/// The beginning of a text, to be shown.
fn beginning(text: &str) -> String {
    text.chars().take(TAG_KEY_CHARS_MAX).collect()
}

/// Checks number, lengths and that no key is there twice; `tags` in the order of their keys. It asks
/// nothing of Unicode that a later release could answer otherwise, so that state machines may judge by it.
///
/// # Errors
/// What is wrong with them.
pub fn check_tags_form(tags: &[(String, String)]) -> Result<(), TagError> {
    if tags.len() > OBJECT_TAGS_MAX {
        return Err(TagError::TooMany { count: tags.len() });
    }
    for (key, value) in tags {
        let chars = key.chars().count();
        if chars == 0 || chars > TAG_KEY_CHARS_MAX {
            let key = beginning(key);
            return Err(TagError::Key { key, chars });
        }
        let chars = value.chars().count();
        if chars > TAG_VALUE_CHARS_MAX {
            let key = key.clone();
            return Err(TagError::Value { key, chars });
        }
    }
    match tags.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
        None => Ok(()),
        Some(pair) => Err(TagError::Twice {
            key: pair[1].0.clone(),
        }),
    }
}

/// The tags in the order of their keys, so that equal ones are stored as equal bytes.
///
/// # Errors
/// What is wrong with them, characters included.
pub fn sorted_tags(
    tags: impl IntoIterator<Item = (String, String)>,
) -> Result<Vec<(String, String)>, TagError> {
    let mut tags: Vec<(String, String)> = tags.into_iter().collect();
    tags.sort_unstable();
    check_tags_form(&tags)?;
    let allowed = |c: char| c.is_alphanumeric() || c == ' ' || PUNCTUATION.contains(c);
    for (key, value) in &tags {
        if let Some(found) = key.chars().chain(value.chars()).find(|c| !allowed(*c)) {
            let key = key.clone();
            return Err(TagError::Character { key, found });
        }
    }
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(given: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        given.iter().map(owned).collect()
    }

    #[test]
    fn tags_come_in_the_order_of_their_keys() {
        let sorted = sorted_tags(pairs(&[("b", "2"), ("a", "")])).unwrap();
        assert_eq!(sorted, pairs(&[("a", ""), ("b", "2")]));
        let spoken = pairs(&[("\u{17e}lut\u{fd} k\u{16f}\u{148}", "+-=._:/@ 7\u{661}")]);
        assert_eq!(sorted_tags(spoken.clone()), Ok(spoken));
        assert_eq!(sorted_tags(pairs(&[])), Ok(Vec::new()));
    }

    #[test]
    fn limits_are_counted_in_characters() {
        let longest = ("\u{fd}".repeat(128), "\u{fd}".repeat(256));
        assert!(sorted_tags([longest.clone()]).is_ok());
        let key = sorted_tags([(format!("{}k", longest.0), String::new())]);
        assert!(matches!(key, Err(TagError::Key { chars: 129, .. })));
        let value = sorted_tags([("k".to_owned(), format!("{}v", longest.1))]);
        assert!(matches!(value, Err(TagError::Value { chars: 257, .. })));
        let empty = sorted_tags(pairs(&[("", "v")]));
        assert!(matches!(empty, Err(TagError::Key { chars: 0, .. })));
        let many = (0..11).map(|i| (format!("k{i}"), String::new()));
        assert_eq!(sorted_tags(many.clone().take(10)).map(|t| t.len()), Ok(10));
        assert_eq!(sorted_tags(many), Err(TagError::TooMany { count: 11 }));
    }

    #[test]
    fn what_tags_may_not_have_is_named() {
        let twice = sorted_tags(pairs(&[("k", "1"), ("k", "2")]));
        assert_eq!(twice, Err(TagError::Twice { key: "k".into() }));
        for found in ['\n', '\0', '\u{7f}', '*', '"', '\u{85}', '&'] {
            let bad = sorted_tags([("k".to_owned(), format!("v{found}"))]);
            let key = "k".to_owned();
            assert_eq!(bad, Err(TagError::Character { key, found }));
        }
    }
}
