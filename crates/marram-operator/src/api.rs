//! The resources of the group `marram.dev/v1alpha1`.

mod access_key;
mod bucket;
mod cluster;
mod cluster_operation;
mod gateway;
mod lifecycle;
mod metrics;
mod operation;
mod policy;
mod reference;
mod rules;
mod status;
mod storage;

pub use access_key::{
    AccessKey, AccessKeySpec, AccessKeyStatus, Grant, GrantPermission, Pending, Rotation,
};
pub use bucket::{Bucket, BucketSpec, BucketStatus, DeletionPolicy, Quota, Versioning};
pub use cluster::{MarramCluster, MarramClusterSpec, PullSecret};
pub use cluster_operation::{
    ClusterOperation, ClusterOperationSpec, ClusterOperationStatus, LocalClusterRef, OperationType,
    RequestPhase,
};
pub use gateway::{Autoscaling, GatewaySpec};
pub use lifecycle::LifecycleRule;
pub use metrics::Metrics;
pub use operation::{Operation, OperationKind, Phase, Request, Suspended};
pub use policy::{
    AuthorityPolicy, Disruption, Replacement, ReplacementMode, Retention, RetentionPolicy,
    ScaleDown, Tls, Upgrade,
};
pub use reference::{BucketRef, ClusterRef, lists};
pub use status::{
    AuthorityState, AuthorityStatus, Capacity, CertificateStatus, ClusterPhase, GatewayStatus,
    MarramClusterStatus, Member, RedundancyStatus, UpgradeStatus,
};
pub use storage::{HostSpread, Resources, ServerSettings, Storage, Volume};

/// The group of all resources.
pub const GROUP: &str = "marram.dev";
/// Their version.
pub const VERSION: &str = "v1alpha1";

#[cfg(test)]
mod tests;
