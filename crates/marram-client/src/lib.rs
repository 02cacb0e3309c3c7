//! The Rust client of Marram: buckets, objects and the state of a cluster, over gRPC.
//!
//! It fails over between the endpoints it is given, and between the addresses of their names, repeats what is safe to repeat (every mutation
//! carries one request id over all of its attempts, so that the cluster carries it out once), and
//! verifies every byte: a CRC32C on each message, the CRC64/NVME of the object at the end of a
//! full read. It is not a cache and keeps no state between calls but its connections.
//!
//! ```text
//! config      where the cluster is, the keys, the limits
//! client      the handle, and the loop of attempts under every call
//! endpoints   which server is asked, and which one next
//! direct      large objects come from the nodes themselves    nodes   connections to them
//! retry       when an attempt is repeated, and after what time (pure)
//! token       the token that says who asks          tls   who the servers are
//! bucket, object, put, get, ranges, copy, annotate, list, status, admin, identity, inspect, keys, liveness, upkeep   the calls
//! goes_on     reads and writes that go on at another server
//! write       resumable writes, for streams of any length
//! watch       what happens to objects, over the loss of servers
//! multipart   large files in parts                  uploads   those under way, listed and ended
//! source      where the bytes of an upload come from
//! types       what the cluster tells, without a protobuf type
//! error       what went wrong, sorted by what a caller can do about it
//! ```
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use marram_client::{Client, ClientConfig, PutBody, PutOptions};
//!
//! // `https://store.example:7070` where the servers speak TLS.
//! let config = ClientConfig::new("127.0.0.1:7070,127.0.0.1:7080", "MK...", "secret");
//! let client = Client::connect(config)?;
//! client.create_bucket("photos", None).await?;
//! let body = PutBody::from("hello");
//! client.put("photos", "greeting.txt", body, PutOptions::default()).await?;
//! # Ok(())
//! # }
//! ```

mod admin;
mod annotate;
mod backup;
mod bucket;
mod client;
mod config;
mod copy;
mod delete_many;
mod direct;
mod endpoints;
mod error;
mod get;
mod goes_on;
mod identity;
mod inspect;
mod keys;
mod lifecycle;
mod list;
mod liveness;
mod multipart;
mod nodes;
mod object;
mod process;
mod put;
mod ranges;
mod retry;
mod source;
mod status;
mod tls;
mod token;
mod types;
mod upkeep;
mod upload;
mod uploads;
mod versions;
mod watch;
mod write;

#[cfg(test)]
mod tests;

pub use annotate::Description;
pub use client::Client;
pub use config::{ClientConfig, ConfigError, Secret};
pub use copy::{Copied, CopyOptions};
pub use error::{ClientError, ErrorKind};
pub use get::Download;
pub use lifecycle::LifecyclePreview;
pub use list::{ListQuery, Pages};
pub use liveness::StatusWatch;
pub use marram_types::{Grant, GrantError, RequestId, RequestIdError};
pub use multipart::{MULTIPART_BYTES_MIN, PART_BYTES, PARTS_AT_ONCE};
pub use put::{PutOptions, Watcher};
pub use ranges::{RangePiece, RangesDownload};
pub use retry::RetryPolicy;
pub use source::PutBody;
pub use types::{
    AbsentNode, AccessKeyChange, AccessKeyInfo, AccessKeySecret, AuditPage, Backup, BackupNote,
    BackupPiece, BackupPlace, BucketInfo, BucketProfile, BucketQuota, BucketUsage, ByteRange,
    CaInfo, CaRotation, CaStatus, CaStep, CertificateInfo, Check, Checksums, ClusterStatus,
    Consent, Deletion, Diagnosis, DriveChange, DriveDuty, DriveEntry, DriveScrub, DriveState,
    DriveStatus, DutyChange, FinalizedVersion, Finding, FolderFacts, FoundedCluster, Founding,
    FullScrub, GarbageStatus, GatewayStatus, GroupGarbage, GroupStatus, HandedOver, InspectOptions,
    JoinRole, JoinTokenInfo, JoinTokenState, LayoutPlan, LifecycleAction, LifecycleItem,
    LifecyclePage, LifecycleRule, LifecycleTotal, ListPage, LogLevel, LogLevelChange, MachineFacts,
    MaintenanceNode, Memory, NewJoinToken, NodeCondition, NodeDuty, NodeHealth, NodeInspection,
    NodePlan, NodeScan, NodeState, NodeStatus, ObjectEvent, ObjectEventKind, ObjectInfo,
    ObjectSummary, ObjectVersion, PausableWork, PauseChange, PlannedNode, PoolPlan, Preconditions,
    ReadConditions, Rebalance, Redundancy, RemovedDrive, RemovedNode, Renewals, RepairLevel,
    RepairStart, RepairStatus, ReplicaComparison, ReplicaFacts, ScrubFindings, ScrubStage,
    ScrubStatus, SettingFacts, Severity, ShardComparison, ShardDifference, StopAnswer, UploadInfo,
    VersionPage, Versioning, WatchBatch, WorkStatus,
};
pub use uploads::UploadPages;
pub use versions::{VersionPages, VersionQuery};
pub use watch::{ObjectWatch, WatchOptions};
pub use write::{WriteName, WriteProgress, Written};
