//! The root group: nodes, groups, pools, buckets, access keys, the version gate.

pub(crate) mod apply;
mod buckets;
pub(crate) mod command;
mod moves;
mod nodes;
pub(crate) mod outcome;
mod removal;

#[cfg(test)]
mod tests;
