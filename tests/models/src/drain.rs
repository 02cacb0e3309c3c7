//! Draining a node and removing it: late commits, the proof, tombstones (rule 25).
//!
//! A slot of one placement group lies on the node D that is to go, and moves to E. Two object
//! groups share it; each has an object there, and one writer that overwrites it, slowly, from
//! before the cordon or after it. A begin may come from a replica that lags, and then gives the
//! first row and an index from before the cordon. The move is as in
//! [`placement`](crate::placement), with its copy and its repair as single steps, and one data id
//! a writer. The node may also die, with all it holds, at any time: then nobody can ask it
//! whether it is empty.
//!
//! The proof is gathered piece by piece, and each piece may be old when the node is removed. It
//! rests on: a cordoned node takes no new data; the groups raise their floor to the cordon's
//! index; a group is asked what names the node *after* it has applied the tombstone; a node that
//! lives holds no record. Some of these stand in for each other; `tests/drain.rs` says which.
//!
//! The bounds, and the numbers of states they give, are in the table of the [crate].

mod model;
mod state;
mod steps;

pub use model::{Drain, Safeguard};
pub use state::{D, E, Group, Phase, Places, Stage, State};
pub use steps::Action;
