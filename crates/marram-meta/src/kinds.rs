//! The kinds of keys: one file each, with the layout of its key and value.

pub(crate) mod absence;
pub(crate) mod access_key;
pub(crate) mod authority;
pub(crate) mod bucket;
pub(crate) mod cluster;
pub(crate) mod data_ref;
pub(crate) mod drive;
pub(crate) mod escaped;
pub(crate) mod event;
pub(crate) mod extent;
pub(crate) mod garbage;
pub(crate) mod group;
pub(crate) mod identity;
pub(crate) mod inline;
pub(crate) mod layout_row;
pub(crate) mod layout_state;
pub(crate) mod lifecycle;
pub(crate) mod lost_ids;
pub(crate) mod node;
pub(crate) mod noncurrent;
pub(crate) mod object;
pub(crate) mod part;
pub(crate) mod pool;
pub(crate) mod profile_cursor;
pub(crate) mod quota;
pub(crate) mod request;
pub(crate) mod state;
pub(crate) mod ticket;
pub(crate) mod token;
pub(crate) mod tombstone;
pub(crate) mod upkeep;
pub(crate) mod upload;
pub(crate) mod upload_drop;
pub(crate) mod usage;
pub(crate) mod versioning;

#[cfg(test)]
mod tests;
