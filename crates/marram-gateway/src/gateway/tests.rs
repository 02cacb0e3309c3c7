//! The API over a real socket, with a cluster in memory behind it.

mod admin;
mod annotate;
mod batch;
mod buckets;
mod conditions;
mod copies;
mod doctor;
mod ending;
mod faults;
mod grants;
mod identity;
mod kit;
mod lifecycle;
mod limits;
mod liveness;
mod long_reads;
mod objects;
mod observed;
mod once;
mod own_profiles;
mod process;
mod quota;
mod ranges;
mod reencode;
mod repair;
mod security;
mod uploads;
mod versions;
mod watching;
mod writes;

pub(crate) use kit::{reason, token_of};
pub(crate) use security::methods;
