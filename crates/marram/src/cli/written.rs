//! What is said of objects that are written. The comments are the help texts.

use clap::Args;

use super::annotate::parse_pair;
use crate::sums::Known;

/// What objects get that a command writes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(crate) struct WrittenArgs {
    /// The media type of what is written, for example text/html. A copy keeps its source's
    #[arg(long, value_name = "TYPE", help_heading = "What is written")]
    pub(crate) content_type: Option<String>,
    /// Metadata of what is written; may be given several times. A copy gets it in place of all that its
    /// source has
    #[arg(long, value_parser = parse_pair, value_name = "NAME=VALUE")]
    #[arg(help_heading = "What is written")]
    pub(crate) metadata: Vec<(String, String)>,
    /// A tag of what is written; may be given several times, at most 10. A copy gets them in place of all
    /// that its source has
    #[arg(long = "tag", value_parser = parse_pair, value_name = "KEY=VALUE")]
    #[arg(help_heading = "What is written")]
    pub(crate) tags: Vec<(String, String)>,
    /// The erasure profile of what is written, for example 8+4, in place of its bucket's. The bucket must
    /// allow it: marram admin bucket allow-profile. A copy does not keep its source's
    #[arg(long, value_name = "K+M", help_heading = "What is written")]
    pub(crate) profile: Option<String>,
    /// Have servers compare a checksum before the object can be seen, beside the CRC64/NVME that they
    /// always compare: crc32c, crc64nvme, sha256 or md5, of the file, or with =HEX the one that is known;
    /// may be given several times. An md5 becomes the entity tag; with sha256 or md5 a large file goes in
    /// one stream, not in parts
    #[arg(long = "checksum", value_parser = Known::parse, value_name = "KIND[=HEX]")]
    #[arg(help_heading = "What is written")]
    pub(crate) checksums: Vec<Known>,
}
