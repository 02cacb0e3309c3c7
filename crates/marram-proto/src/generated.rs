//! The generated code, included and not compiled as files of its own: rustfmt leaves it alone.

/// The public API: messages, clients and servers.
#[allow(
    clippy::all,
    clippy::pedantic,
    missing_docs,
    unreachable_pub,
    unused_qualifications
)]
pub mod v1 {
    include!("gen/marram.v1.rs");
}

/// What peers say to each other.
pub mod mesh {
    /// Version 1 of it.
    #[allow(clippy::all, clippy::pedantic, missing_docs, unused_qualifications)]
    pub mod v1 {
        include!("gen/marram.mesh.v1.rs");
    }
}

/// The encoded descriptors of the public API, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("gen/descriptors.bin");
