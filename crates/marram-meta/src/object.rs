//! The object groups: objects, their data references, garbage, tickets, and copies of what the root
//! decided.

mod annotate;
pub(crate) mod annotate_command;
pub(crate) mod apply;
mod check;
pub(crate) mod command;
mod complete;
pub(crate) mod copied;
mod delete;
mod displace;
pub(crate) mod drops;
mod events;
pub(crate) mod expire;
pub(crate) mod expire_command;
pub(crate) mod extents;
mod fence;
pub(crate) mod floors;
mod gone;
pub(crate) mod lease_command;
pub(crate) mod new_extent;
pub(crate) mod new_run;
pub(crate) mod outcome;
mod parts;
mod profile;
mod put;
pub(crate) mod put_ref;
mod quota;
mod reencode;
mod shard;
mod stream;
mod tickets;
mod upload;
pub(crate) mod upload_command;
mod usage;
pub(crate) mod version_command;
pub(crate) mod versions;
mod witness;

#[cfg(test)]
mod tests;
