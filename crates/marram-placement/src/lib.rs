//! Where data goes: topology, placement-group tables, default profiles, voters of Raft groups.
//!
//! This crate is pure: the same inputs give the same plan on every machine, and nothing here does
//! I/O, reads a clock or draws randomness. It does not move data; it only says where data belongs.
//!
//! ```text
//! topology   the drives there are, with their node, zone and weight
//! row        the drives of one placement group, the move of one of them, and its stored form
//! pool       the table of one pool: 512 rows, and its stored form
//! plan       topology + width -> table, table + topology -> moves: spread first, then balance by
//!            weight, then few moves
//! defaults   the profile of a new cluster by its size
//! voters     how many replicas vote in a Raft group, and which nodes they are on
//! ```

mod defaults;
mod plan;
mod pool;
mod row;
mod topology;
mod voters;

pub use defaults::default_profile;
pub use plan::{
    Apart, Balance, Load, NodeBytes, Plan, PlanBytes, PlanError, PoolPlan, Seat, Standing,
    Unplaced, plan_change, plan_pool,
};
pub use pool::{PoolTable, SlotMove, Spread, pool_of};
pub use row::{Move, MoveError, PgRow, Phase, Places};
pub use topology::{DriveInfo, Topology};
pub use voters::{crowded_zone, deal_votes, relieves, tolerated_by, voters_for, votes_in};
