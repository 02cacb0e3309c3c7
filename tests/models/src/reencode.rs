//! Widths: narrow writes, widening, a raised profile, missing slots, repair, and a reader with an
//! old plan.
//!
//! One key, four nodes (bits of a `u8`), one shard for each node and data id. Data ids 0 and 1
//! are of two writers, each its own version. Data id 2 is a widening, or the repair of a lost slot
//! to a new place, in the normal profile. Data id 3 is a change of the profile to m = 2. Nodes go
//! down and come up, lose what they hold, entries are applied a second time after a lost answer,
//! nodes ask whether a data id is garbage and delete at any later time.
//!
//! The floor passes begin indexes in any order, which is more than a rising floor can do. Layout
//! phases and overrides are in [`placement`](crate::placement), not here.
//!
//! The bounds, and the numbers of states they give, are in the table of the [crate].

mod model;
mod reader;
mod repair;
mod state;
mod steps;

pub use model::{Bounds, Reencode, Slip};
pub use state::{Data, NODES, Reader, Repair, Row, Stage, State};
pub use steps::Action;
