//! Replicated groups: openraft over the node's log, redb state machines, snapshots, routing.
//!
//! This crate replicates commands and answers queries. It does not know what a command means
//! ([`GroupLogic`] does) nor where a replica lives ([`Transport`] and [`RemoteCall`] do), and it
//! opens no socket. openraft appears in no public signature, so that it can be replaced.
//!
//! ```text
//! host       the replica of every group on this node: propose, read, query, members, status
//! router     from any node to the replica that can take a request
//! transport  what the server provides: the way to other replicas
//! logic      what the server provides: a group's decisions; MetaLogic is marram-meta's
//! config     openraft's settings
//! figures    what is counted: proposals, snapshots, changes of the leader
//! room       what is left on the metadata drive
//! reads      one confirmation of leadership for all reads that wait
//! log        openraft's log over the shared write-ahead log
//! machine    openraft's state machine over redb: apply, checkpoints, snapshots
//! network    openraft's network over the transport
//! trouble    whether files are damaged, or their drive fails
//! traced     which proposals belong to a recorded trace
//! wire       messages between peers and openraft's
//! offline    groups that nobody runs: read for a way back, seeded for a new beginning
//! codec      stored forms of votes, log ids, memberships, entries
//! types      openraft's type parameters
//! ```

mod codec;
mod config;
mod figures;
mod host;
mod log;
mod logic;
mod machine;
mod meta_logic;
mod network;
mod offline;
mod reads;
mod room;
mod router;
#[cfg(test)]
mod testing;
mod traced;
mod transport;
mod trouble;
mod types;
mod wire;

pub use config::RaftTimers;
pub use figures::{GroupFigures, PageFigures, Proposals};
pub use host::{
    ChangeError, CheckpointPolicy, CopyError, CopyPiece, GroupStatus, HandleError, HostConfig,
    InitializeError, OpenError, ProposeError, QueryError, RaftHost, ReadError, Role,
};
pub use logic::{GroupLogic, LogicError};
pub use machine::{DumpRows, MachineError, ReadView};
pub use meta_logic::MetaLogic;
pub use offline::{OfflineError, OfflineGroup, OfflineReplica, SeedAt};
pub use room::Room;
pub use router::{CallError, RemoteCall, RouteError, Router};
pub use transport::{RaftMethod, Transport, TransportError};
pub use trouble::Trouble;
pub use wire::WireError;
