//! The root group: nodes, groups, pools, buckets, access keys, the version gate.

mod absence;
mod absence_command;
pub(crate) mod apply;
mod buckets;
pub(crate) mod command;
pub(crate) mod drain;
pub(crate) mod drive_command;
mod drives;
pub(crate) mod ending_command;
pub(crate) mod hold;
pub(crate) mod identity;
pub(crate) mod key_command;
mod keys;
mod moves;
pub(crate) mod nodes;
pub(crate) mod outcome;
pub(crate) mod profile_command;
pub(crate) mod query;
pub(crate) mod quota;
pub(crate) mod quota_command;
mod removal;
mod returning;
pub(crate) mod versions;

#[cfg(test)]
mod tests;
