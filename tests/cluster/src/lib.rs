//! Clusters of real processes, for the tests in `tests/`.
//!
//! Each cluster is `marram dev` in a folder of its own, with free ports. It stops when its
//! [`Cluster`] is dropped, and also when the test's process goes away for any other reason. The
//! folder of a failing test stays, with all logs, and the test says where it is.
//!
//! ```text
//! binary    builds `marram` once, in the profile of the tests
//! cluster   start, stop, kill, pause, restart; wait until all is well
//! processes the servers' processes: kill, pause, start again
//! wires     connections between nodes that can be cut
//! faults    random kills, pauses and cuts from a seed
//! layout    where data lies, and whether it is where it belongs
//! one_for_all  one cluster for all tests of a binary
//! room      how many clusters run at the same time
//! ports     which ports they listen on
//! scratch   a folder that stays when the test fails
//! content   random bytes and sizes from a seed
//! objects   put many objects, compare every byte of them
//! load      puts, gets, deletes and lists that go on meanwhile, all compared
//! commands  the command line, with the cluster's keys
//! compare   drives and metadata, both ways
//! raw       requests that the client would never send
//! any_method  calls of any method of the API with any bytes
//! made_up   messages that nobody would send
//! exposition   metrics and health, as operators ask for them
//! collector a collector of traces
//! memory    resident memory of a process
//! server    one server process with flags of its own
//! by_hand   clusters without `marram dev`, made by the commands of the manual
//! armed     places at which processes die
//! ```
#![expect(
    clippy::panic,
    reason = "a harness of tests: a panic is how a test fails"
)]

mod any_method;
mod armed;
mod binary;
mod by_hand;
mod cluster;
mod collector;
mod commands;
mod compare;
mod content;
mod daemon;
mod exposition;
mod faults;
mod layout;
mod load;
mod made_up;
mod memory;
mod objects;
mod one_for_all;
mod ports;
mod processes;
mod raw;
mod room;
mod scratch;
mod server;
mod wires;

pub use any_method::{api_methods, call};
pub use armed::Armed;
pub use binary::binary;
pub use by_hand::ByHand;
pub use cluster::{Cluster, Options, until};
pub use collector::{Collected, Collector};
pub use commands::{Ran, run, said};
pub use compare::equal_both_ways;
pub use content::{Object, Pool, log_uniform_sizes};
pub use daemon::Daemon;
pub use exposition::{Family, http_get, read_page};
pub use faults::{Faults, fault_seed};
pub use layout::{Slots, moved, moves_begun, settled, slots, total_slots};
pub use load::{Done, Load};
pub use made_up::MadeUp;
pub use memory::{own_bytes, peak_resident_bytes, reset_peak, resident_bytes};
pub use objects::{get, put, put_all, verify, verify_all};
pub use one_for_all::Shared;
pub use ports::free_address;
pub use processes::{Processes, alive};
pub use raw::{Raw, Token, reason};
pub use room::{Room, alone, room};
pub use scratch::Scratch;
pub use server::Server;
pub use wires::Wires;
