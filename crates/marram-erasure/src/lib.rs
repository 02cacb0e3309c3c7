//! Erasure coding: the codec, and the geometry of stripes.
//!
//! This crate is pure computation on bytes in memory: it does not know drives, peers or objects.
//! Every shard of an extent has the same length; any `k` of the `k + m` give the data back.
//!
//! ```text
//! codec      the trait, and the codec of a profile
//! reed       Reed-Solomon over GF(2^8), and plain copies for 1+m
//! geometry   which byte of an extent is where in which shard
//! window     cuts a window of whole stripes into the runs of its shards
//! pool       buffers for windows and parity that are used again
//! ```

mod codec;
mod geometry;
mod pool;
mod reed;
mod window;

pub use codec::{CODEC_ID, Codec, CodecError, MATRIX_ID, Shard, codec_for};
pub use geometry::{
    Geometry, GeometryError, Located, Locations, STRIPE_BYTES_MAX, cell_bytes, window_bytes,
};
pub use pool::{BufferPool, PooledBuffer};
pub use window::{WindowError, encode_window, encode_window_in, parity_of_window};
