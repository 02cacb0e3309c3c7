//! The gRPC services: each method calls its operation and turns the error into a status.

mod admin;
mod bucket;
mod framed;
mod iam;
mod measured;
mod object;
mod upload;
mod watch;
mod write;

pub(crate) use admin::Admin;
pub(crate) use bucket::Buckets;
pub(crate) use framed::FramedLayer;
pub(crate) use iam::Iam;
pub(crate) use measured::MeasuredLayer;
pub(crate) use object::Objects;
pub(crate) use upload::Uploads;
pub(crate) use watch::Watches;
pub(crate) use write::Writes;
