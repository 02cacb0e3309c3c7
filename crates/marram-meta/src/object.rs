//! The object groups: objects, their data references, garbage, tickets, and copies of what the root
//! decided.

pub(crate) mod apply;
mod check;
pub(crate) mod command;
mod delete;
mod displace;
mod fence;
mod floors;
pub(crate) mod outcome;
mod put;
mod put_ref;

pub(crate) use displace::spilled_chunks;

#[cfg(test)]
mod tests;
