//! Arguments of what describes objects: tags, metadata. The comments are the help texts.

use clap::{Args, Subcommand};

use super::conditions::ConditionArgs;

/// Reads `NAME=VALUE`.
pub(crate) fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

/// What is done with tags.
#[derive(Debug, Subcommand)]
pub(crate) enum TagsCommand {
    /// Say which tags an object has
    Ls(TagsTarget),
    /// Give an object these tags, in place of all that it has
    Set {
        #[command(flatten)]
        target: TagsTarget,
        /// The tags, at most 10
        #[arg(required = true, value_parser = parse_pair, value_name = "KEY=VALUE")]
        tags: Vec<(String, String)>,
        #[command(flatten)]
        conditions: ConditionArgs,
    },
    /// Take all tags from an object
    Rm {
        #[command(flatten)]
        target: TagsTarget,
        #[command(flatten)]
        conditions: ConditionArgs,
    },
}

/// Whose tags.
#[derive(Debug, Args)]
pub(crate) struct TagsTarget {
    /// The object, as m://bucket/key
    pub(crate) object: String,
    /// This version, by its generation as `ls --versions` shows it
    #[arg(long = "version", value_name = "GENERATION")]
    pub(crate) generation: Option<u64>,
}

/// Arguments of `describe`.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct DescribeWhat {
    /// The media type, for example text/html
    #[arg(long, value_name = "TYPE")]
    pub(crate) content_type: Option<String>,
    /// Metadata, in place of all that the object has; may be given several times
    #[arg(long, value_parser = parse_pair, value_name = "NAME=VALUE")]
    pub(crate) metadata: Vec<(String, String)>,
    /// Take all metadata from the object
    #[arg(long, conflicts_with = "metadata")]
    pub(crate) no_metadata: bool,
}

/// Arguments of `describe`.
#[derive(Debug, Args)]
pub(crate) struct DescribeArgs {
    /// The object, as m://bucket/key
    pub(crate) object: String,
    #[command(flatten)]
    pub(crate) what: DescribeWhat,
    #[command(flatten)]
    pub(crate) conditions: ConditionArgs,
}
