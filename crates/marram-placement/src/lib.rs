//! Where data goes: topology, placement-group tables, default profiles, voters of Raft groups.
//!
//! This crate is pure: the same inputs give the same plan on every machine, and nothing here does
//! I/O, reads a clock or draws randomness. It does not move data; it only says where data belongs.
//!
//! ```text
//! topology   the drives there are, with their node, zone and weight
//! pool       the table of one pool: 512 rows of drives, and its stored form
//! plan       topology + width -> table: spread first, then balance by weight
//! defaults   the profile of a new cluster by its size
//! voters     how many replicas vote in a Raft group, and which nodes they are on
//! ```

mod defaults;
mod plan;
mod pool;
mod topology;
mod voters;

pub use defaults::default_profile;
pub use plan::{PlanError, plan_pool};
pub use pool::{PoolTable, Spread, pool_of};
pub use topology::{DriveInfo, Topology};
pub use voters::{group_voters, tolerated_by, voters_for};
