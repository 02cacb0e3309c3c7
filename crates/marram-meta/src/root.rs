//! The root group: nodes, groups, pools, buckets, access keys, the version gate.

pub(crate) mod apply;
mod buckets;
pub(crate) mod command;
pub(crate) mod hold;
mod moves;
pub(crate) mod nodes;
pub(crate) mod outcome;
mod removal;
pub(crate) mod versions;

#[cfg(test)]
mod tests;
