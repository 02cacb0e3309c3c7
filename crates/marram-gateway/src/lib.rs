//! The gateway: the gRPC object API over the cluster's groups and drives.
//!
//! It is a role of every server, and of `marram gateway`, which has no drives: stateless, as many
//! as one likes. It authenticates, checks every field, moves object bytes between clients and
//! drives as marram-object decides, and has the metadata groups commit. It never touches a drive
//! itself (a drive of this node is reached through the mesh's loopback), and it decides nothing
//! that must hold: that happens in `apply`.
//!
//! ```text
//! gateway         the server: services, transport settings, shutdown
//! service         the gRPC methods                  waiting   the API of a server that is no member yet
//! auth            who calls                         secret    keys at rest
//! validate        every field that comes in         status    every error that goes out
//! put             header -> windows -> shards -> one commit
//! get             lookup -> shards -> chunks
//! copy            a get whose chunks are a put
//! reencode        one extent: shards -> windows -> a look at each -> one commit
//! objects         look at, delete, list             buckets   make, remove, list
//! cluster_status  how the cluster is, and what it means for the data
//! doctor          what is wrong with it, and what to do
//! admin           duties of nodes, removal          layout    what has to move by them
//! authority       the CA at rest                    iam       access keys and their grants
//! core            what they share
//! groups, drives, nodes   the seams to marram-raft and marram-mesh
//! places          drives and placement groups       begin     begin tokens
//! group_time      until when a command may be carried out
//! shards          parts of shards, for clients that read from the nodes themselves
//! token           page tokens                       ticket    shard tickets
//! tls             the API's certificate
//! versioning      what buckets keep, and hold       quota     how much they may hold
//! lifecycle       what goes by itself               decision  one way to change a bucket
//! watch           who hears of changes              pace      waits
//! limits          of the API, in one table
//! convert, refusal, hex
//! ```

mod admin;
mod auth;
mod authority;
mod begin;
mod buckets;
mod change;
mod cluster_status;
mod convert;
mod copy;
mod core;
mod decision;
mod doctor;
mod drives;
mod gateway;
mod get;
mod group_time;
mod groups;
mod hex;
mod iam;
mod layout;
mod lifecycle;
mod limits;
mod nodes;
mod objects;
mod pace;
mod places;
mod process;
mod put;
mod quota;
mod reencode;
mod refusal;
mod secret;
mod service;
mod shards;
mod status;
mod ticket;
mod tls;
mod token;
mod upkeep;
mod uploads;
mod validate;
mod versioning;
mod waiting;
mod watch;

#[cfg(test)]
mod testing;

pub use authority::{AuthorityError, open_authority, wrap_authority};
pub use gateway::{ApiListener, Gateway, GatewayDeps, ServeError, calls};
pub use limits::{Limit, LimitGroup, limits};
pub use nodes::{LogLevelError, ProfileError};
pub use process::OwnProcess;
pub use reencode::{ReencodeError, ReencodeJob, Reencoded, Reencoder, WorkPace};
pub use secret::{Kek, KekError, UnwrapError, WrapError};
pub use status::{ReasonInfo, reasons};
pub use tls::{ApiTls, ApiTlsError};
pub use waiting::{FoundError, Founder, WaitingDeps, serve_waiting};
