//! Ways back, when something of the metadata is gone.
//!
//! ```text
//! renew      this node's log is gone or damaged: a fresh replica id, the drives stay
//! report     what this node knows, for the version gate
//! ```

mod renew;
mod report;

pub(super) use renew::{renewed, resume};
pub(super) use report::report_version;
