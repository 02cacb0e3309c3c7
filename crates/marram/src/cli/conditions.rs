//! What must hold of an object for a command to change or read it. The comments are the help texts.

use clap::Args;

use crate::units::parse_moment;

/// Conditions of a change; judged at the moment of the change, so that of two that race one wins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(crate) struct ConditionArgs {
    /// Only if the object is this generation, as `stat` shows it; 0: only if there is no object
    #[arg(long, value_name = "GENERATION", help_heading = "Conditions")]
    pub(crate) if_generation_match: Option<u64>,
    /// Only if the object is not this generation; 0: only if there is an object
    #[arg(long, value_name = "GENERATION", help_heading = "Conditions")]
    pub(crate) if_generation_not_match: Option<u64>,
    /// Only if the object has this entity tag, with its quotes or without them; *: only if there is an
    /// object
    #[arg(long, value_name = "ETAG", value_parser = parse_etag, help_heading = "Conditions")]
    #[arg(visible_alias = "if-match")]
    pub(crate) if_etag_match: Option<String>,
    /// Only if the object has another entity tag; *: only if there is no object
    #[arg(long, value_name = "ETAG", value_parser = parse_etag, help_heading = "Conditions")]
    #[arg(visible_alias = "if-etag-none-match")]
    pub(crate) if_none_match: Option<String>,
}

/// Conditions of a read, of the current version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(crate) struct ReadConditionArgs {
    #[command(flatten)]
    pub(crate) of_version: ConditionArgs,
    /// Only if the object was written after this: 2027-01-31, 2027-01-31T08:00:00Z, or the milliseconds
    /// that `stat --json` shows; all UTC
    #[arg(long, value_name = "TIME", value_parser = parse_moment, help_heading = "Conditions")]
    #[arg(allow_hyphen_values = true)]
    pub(crate) if_modified_since: Option<i64>,
    /// Only if the object was not written after this
    #[arg(long, value_name = "TIME", value_parser = parse_moment, help_heading = "Conditions")]
    #[arg(allow_hyphen_values = true)]
    pub(crate) if_unmodified_since: Option<i64>,
}

/// Reads an entity tag. Quotes are part of it, and shells take them away.
fn parse_etag(text: &str) -> Result<String, String> {
    let quoted = text.len() > 1 && text.starts_with('"') && text.ends_with('"');
    let inner = if quoted {
        &text[1..text.len() - 1]
    } else {
        text
    };
    if inner.is_empty() || inner.contains('"') {
        return Err("write an entity tag as `stat` shows it, or *".to_owned());
    }
    Ok(match text {
        "*" => "*".to_owned(),
        _ => format!("\"{inner}\""),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entity_tags_are_quoted_once() {
        let read = |text: &str| parse_etag(text).ok();
        assert_eq!(read("abc").as_deref(), Some("\"abc\""));
        assert_eq!(read("\"abc\"").as_deref(), Some("\"abc\""));
        assert_eq!(read("*").as_deref(), Some("*"));
        for bad in ["", "\"", "\"\"", "a\"b", "\"ab", "W/\"ab\""] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
