//! The mesh: how peers of one cluster speak to each other.
//!
//! Length-framed, multiplexed requests over mutual TLS 1.3. A peer is whoever proves the public
//! key in the node table and is not tombstoned (rules.md 5); the certificate says which cluster it
//! belongs to and whether it is a node or a gateway. Three classes of connection keep heartbeats
//! apart from bulk bytes. A call to the own node is a function call: no socket, no copy.
//!
//! It is not gRPC: between peers, where both ends are ours, plain frames cost about two thirds of
//! the CPU per byte (`docs/decisions`).
//!
//! ```text
//! mesh        Mesh: call, serve, peers, liveness           <- start here
//! rpc         the typed methods, Service, and how a call fails
//! class       which connection a method travels on, and its limits
//! identity    who we are: CA, certificate, key, and the SPIFFE name in it
//! tls         the TLS configurations and what they verify
//! peers       who the others are: the node table, by id and by key
//! allow       which role may call which method
//! frame       the bytes on the wire
//! driver      one task per connection: encrypt, write, read, decrypt
//! client      a connection that we opened: calls in flight
//! dial        opening connections, keeping them, backing off
//! server      connections that others opened: requests in flight
//! traced      the trace context that a request carries
//! liveness    who answers
//! stranger    a call without a certificate: how a newcomer asks to join
//! clock       the wall clock, held against those of the peers
//! figures     how many connections there are, and why others did not come about
//! words       what this node can say about its peers: steady, coming and going, slow
//! ```

mod allow;
mod class;
mod client;
mod clock;
mod dial;
mod driver;
mod figures;
mod frame;
mod identity;
mod liveness;
mod mesh;
mod peers;
mod rpc;
mod server;
mod socket;
mod stranger;
mod tls;
mod traced;
mod words;

pub use allow::{PeerRole, allowed};
pub use class::Class;
pub use clock::{clock_ms, follow_shift, own_clock_ms};
pub use figures::{Failed, Figures, Side};
pub use identity::{
    Authority, CertificateError, Identity, IdentityError, Issued, Kept, NodeKey, PeerCertificate,
    Role, Validity, ca_validity, check_request, fingerprint, make_ca,
};
pub use liveness::{Liveness, LivenessView};
pub use marram_proto::mesh::v1::{Method, RpcCode};
pub use mesh::{Mesh, MeshOptions};
pub use peers::{GatewayEntry, Peer, PeerEntry, PeerTable};
pub use rpc::{
    CallError, CleanShards, ClusterHealth, DriveStats, DropShards, DumpGroup, HandOver, Inspect,
    Join, ListShards, LogLevel, LookShards, Ping, Profile, Propose, Query, ReadShard, Reencode,
    Renew, RenewReplica, RestoreShards, RootView, Rpc, RpcFailure, Service, StateHash, Upkeep,
    Witness, WriteRun,
};
pub use stranger::{StrangerError, call_as_stranger};
pub use words::PeerWord;
