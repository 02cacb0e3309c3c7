//! `marram server` and `marram gateway`: the wiring of a storage node and of a node without drives.
//!
//! ```text
//! args       flags and file -> checked configuration; settings: each one, and where it comes from
//! config     `marram config`
//! storage    data folders -> who they belong to, drives
//! node       the storage node: found, join or resume, then run
//! roving     the gateway without drives: follows the root group's view from afar
//! own        who this process is: key, certificate, trusted CAs, and their file
//! newcomer   asks to join by a token    issuer   admits newcomers, issues certificates
//! addresses  all that a name stands for    founder  is asked to found a cluster, while waiting
//! renew      keeps the certificate good
//! catch_up   learns of peers that came while it was away
//! gateways   gateways without drives, as they are heard
//! gc         garbage collection
//! groups     opens and starts this node's replicas
//! observe    metrics, readiness and their listener
//! inspect    what this node says of itself and its machine
//! room       space left on the metadata drive
//! health     what nodes say of each other, and what the leader made of it
//! view       root group's state -> cluster view -> mesh and watchers
//! local      consensus, transport and routing, each behind the trait that needs it
//! remote     proposals and queries on other nodes
//! service    what peers may ask; shards: their bytes
//! wayback    when something of the metadata is gone
//! upkeep     scrubs, drives that come and go, and what is told of them
//! work       shards restored, looked at and cleaned for the maintenance of other nodes
//! reencode   extents encoded anew: here when asked, and by asking other nodes
//! meshed     the seam of that maintenance: the drives of all nodes through the mesh
//! lifetime   when to stop; tasks: what runs until then, and none of it may be lost
//! telling    the settings of log and traces
//! ```

mod addresses;
mod args;
mod catch_up;
mod config;
mod events;
mod founder;
mod gateways;
mod gc;
mod groups;
mod health;
mod inspect;
mod invitation;
mod issuer;
mod lifetime;
mod local;
mod meshed;
mod newcomer;
mod node;
mod observe;
mod own;
mod pace;
mod process;
mod reencode;
mod remote;
mod renew;
mod room;
mod roving;
mod scrape_token;
mod service;
mod settings;
mod shards;
mod storage;
mod tasks;
mod telling;
mod upkeep;
mod view;
mod wayback;
mod work;

pub(crate) use args::{GatewayArgs, ServerArgs};
pub(crate) use config::{ConfigCommand, run as run_config};
pub(crate) use settings::Said;

/// Runs a storage node until it is told to stop.
///
/// # Errors
/// When it cannot start, with the reason and what to do.
pub(crate) async fn run_server(args: ServerArgs, said: Said) -> anyhow::Result<()> {
    node::run(args, said).await
}

/// Runs a gateway without drives until it is told to stop.
///
/// # Errors
/// When it cannot start, with the reason and what to do.
pub(crate) async fn run_gateway(args: GatewayArgs) -> anyhow::Result<()> {
    roving::run(args).await
}
