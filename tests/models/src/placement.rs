//! Moves of a placement group's slot, late commits, cleanup, garbage and one reader.
//!
//! One placement group of width 2 (k = 1, m = 1): slot 0 is on node A for good, slot 1 lies on B
//! and moves to C, or is cancelled on the way, and moves again, back or once more the same way.
//! Two writers overwrite one key; each writes one data id. The root group's row, the object
//! group's copy of it and the object's row are separate; every step is one entry of a log or one
//! message, and they interleave at will. Nothing waits for anything but what the rules say.
//!
//! What a writer reached is named in its commit, and the group judges it by its own row: when
//! some place that must hold the shard was not written, the object's row names the place
//! (override). Repair takes the row to what the group's copy says, with a compare-and-swap on
//! data id and epoch. Nodes ask about each shard they hold, and delete at any later time.
//!
//! Simplifications, none of which loses behaviour: floors are raised for each data id on its own,
//! in any order; a node sees an epoch only by a write or verification that carries it; slot 0 is
//! written in the same step as the begin (nothing looks at it in between); a begin from a replica
//! that lags is a begin that happened earlier.
//!
//! What is left out: a third place for the slot; several groups (none knows of another, and the
//! root waits for all); pins of long reads; fences that arrive late (a group keeps the higher
//! epoch). The group's answer to a node that asks, and the verification at the other place, are one
//! step, and deleting is another: a node must compare the answer's epoch with what it has seen
//! when the answer arrives, not only when it asks.
//!
//! The bounds, and the numbers of states they give, are in the table of the [crate].

mod layout;
mod model;
mod rest;
mod state;
mod steps;

pub use layout::{A, B, C, Phase, Places, Row};
pub use model::{Bounds, Placement, Safeguard};
pub use state::{Copier, Data, Object, Reader, Repair, Stage, State};
pub use steps::Action;
