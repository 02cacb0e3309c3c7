//! The messages of Marram: generated from `/proto`, committed, and checked by `tests/drift.rs`.
//!
//! This crate has no behaviour: messages, the clients and servers of the public API, and the
//! conversion of ids and grants. Prost types stop at the crates that speak to a socket; everything else uses
//! marram-types.
//!
//! ```text
//! v1         the public gRPC API: messages, clients, servers
//! mesh::v1   what peers say to each other: messages only, framed by marram-mesh
//! ids        ids of mesh::v1 <-> ids of marram-types
//! grants     grants of v1 <-> grants of marram-types
//! ```
//!
//! To change a message, edit the `.proto` file and run
//! `MARRAM_REGENERATE=1 cargo test -p marram-proto --test drift`.

mod generated;
mod grants;
mod ids;

pub use generated::{FILE_DESCRIPTOR_SET, mesh, v1};
pub use grants::WireGrantError;
pub use ids::IdError;
