//! What a bucket may hold, on the command line.

use clap::Args;

use crate::units::parse_size;

/// Arguments of `quota`. Without any limit it only says what is so.
#[derive(Debug, Args)]
pub(crate) struct QuotaArgs {
    /// The bucket, as m://bucket
    pub(crate) bucket: String,
    /// Most bytes, older versions and parts of uploads included, for example 10GiB
    #[arg(long, value_parser = parse_size, value_name = "SIZE")]
    pub(crate) bytes: Option<u64>,
    /// Most versions of objects, current or not
    #[arg(long, value_name = "COUNT")]
    pub(crate) objects: Option<u64>,
    /// No limit any more
    #[arg(long, conflicts_with_all = ["bytes", "objects"])]
    pub(crate) none: bool,
}
