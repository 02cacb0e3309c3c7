//! Carries out what the root group decided, and proposes what has to be decided next.
//!
//! Every server runs the same loop; only the one that leads the root group acts. It brings new
//! nodes into the root group, starts the object groups, makes pools of placement groups, and brings
//! bucket and pool records to every object group (fences). Each step is idempotent and is derived
//! anew from what is there, so that another leader goes on where one fell.
//!
//! ```text
//! observed    what a step is derived from
//! steps       observed -> next step (pure)
//! consensus   the seam: proposals and membership changes
//! controller  the loop that carries steps out
//! leaders     hands leadership to each group's first choice
//! ```
//!
//! Repair, rebalance, scrub and garbage collection of later issues are plans executed here too.

mod consensus;
mod controller;
mod leaders;
mod observed;
mod steps;

pub use consensus::{Consensus, ConsensusError, Members};
pub use controller::Controller;
pub use leaders::spread_leaders;
pub use observed::{Fences, Observed};
pub use steps::{Step, next_steps};
