//! Reads of an object group: pure functions over one consistent view, and the messages in which
//! they cross the mesh.

pub(crate) mod answer;
pub(crate) mod due;
pub(crate) mod events;
pub(crate) mod list;
mod live;
pub(crate) mod lost;
pub(crate) mod messages;
pub(crate) mod named;
pub(crate) mod run;
pub(crate) mod upkeep;
pub(crate) mod uploads;
pub(crate) mod usages;
pub(crate) mod versions;

#[cfg(test)]
mod tests;
