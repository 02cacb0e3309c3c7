//! The controller: it sees, decides, writes down, acts; and comes back.
//!
//! ```text
//! run         the process: leader, watches, listener      context   what all reconciliations share
//! reconcile   one look at one cluster, and one step       error     what can go wrong in one
//! kube_api    objects are applied, created, deleted       link      the cluster's own API
//! observe     what is there (with pods, probe)            act       side effects
//! ensure      objects that are always there               upkeep    labels, budgets, open domains
//! secrets     keys and tokens                             meter     metrics
//! authority   the API's certificates and their CA         trust     certificates that others keep
//! tenant      buckets and access keys                     writer    status and events of these
//! gateways    gateways of their own                       requests  ClusterOperations
//! ```

mod act;
mod authority;
mod context;
mod ensure;
mod error;
mod gateways;
mod kube_api;
mod link;
mod meter;
mod observe;
mod pods;
mod probe;
mod reconcile;
mod requests;
mod run;
mod secrets;
mod tenant;
mod trust;
mod upkeep;
mod writer;

pub use error::ReconcileError;
pub use run::{RunError, Settings, run};
