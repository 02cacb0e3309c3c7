//! The vocabulary of Marram: ids, names, profiles, limits, checksums and configuration.
//!
//! This crate is pure: no I/O, no clock, no randomness, no async. Everything above it speaks in
//! these types; nothing here knows how they are stored or sent.
//!
//! ```text
//! ids        who and where: nodes, drives, groups, placement groups, data, shards
//! name       bucket names and object keys, checked once and then trusted
//! tags       what tags of objects may be
//! profile    k+m: how many pieces a stripe is cut into
//! checksum   CRC32C for blocks and messages, CRC64/NVME for objects
//! clocks     which of several clocks is right
//! codec      the byte reader and writer under every stored encoding
//! caps       every limit, by name
//! grant      what an access key may do, and where
//! health     how the nodes are, by the word of several peers
//! join_token what lets a new node or gateway in
//! config     what a server is told, and its validation
//! ```

pub mod caps;
mod checksum;
mod clocks;
pub mod codec;
pub mod config;
mod grant;
mod health;
mod ids;
mod join_token;
mod name;
mod profile;
mod tags;

pub use checksum::{Crc32c, Crc64Nvme, crc32c, crc32c_joined};
pub use clocks::{CLOCKS_APART_MS, middle_clock};
pub use grant::{Grant, GrantError, Permission, Permissions, Scope, Target};
pub use health::{ClusterHealth, Health, MaintainWork, NodeHealth};
pub use ids::{
    BucketId, ClusterId, ClusterIdError, DataId, DriveId, Generation, GroupId, NodeId, PgId,
    PoolId, ReplicaId, RequestId, RequestIdError, ShardId, UploadId, VersionId,
};
pub use join_token::{JoinToken, JoinTokenError};
pub use name::{BucketName, BucketNameError, KeyError, ObjectKey};
pub use profile::{Profile, ProfileError};
pub use tags::{TagError, check_tags_form, sorted_tags};
