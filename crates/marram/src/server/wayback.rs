//! Ways back, when something of the metadata is gone.
//!
//! ```text
//! renew      this node's log is gone or damaged: a fresh replica id, the drives stay
//! adopt      this node joined after the state that the cluster began anew from: it returns with its drives
//! report     what this node knows, for the version gate
//! anew       the cluster begins anew from a backup, or from what survivors had
//! sources    which file a group is taken from
//! export     what this node's replica has, as a file
//! args       the flags
//! ```

mod adopt;
mod anew;
mod args;
mod export;
mod renew;
mod report;
mod sources;

pub(super) use adopt::adopt;
pub(super) use anew::begin_anew;
pub(crate) use args::WaybackArgs;
pub(super) use export::export;
pub(super) use renew::{renewed, resume};
pub(super) use report::{follow_gate, report_version};
