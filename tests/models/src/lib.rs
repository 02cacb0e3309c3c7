//! The protocols that keep data, as models: every state that they can reach is visited, and in
//! each of them what they promise must hold.
//!
//! A model is a `State`, the `Action`s that change it, one atomic step each, and properties. It is
//! a model of the rules (docs/placement-protocol.md, docs/rules.md), not of the code, and uses none
//! of it; whoever changes a rule changes the model first. For each safeguard there is a test that
//! takes it away and expects a history that breaks a property: so the model sees what the
//! safeguard is for. `--nocapture` shows those histories, shortest first.
//!
//! | run | bounds | states | with `MARRAM_MODELS=full` |
//! |---|---|---|---|
//! | [`placement`]: two writers, moves | 2 data ids, 5 changes of the row, repair | 3.7 million | 7 changes: 12.4 million |
//! | two writers, a loss | 2 data ids, 3 changes, a drive lost, repair | 2.1 million | 5 changes: 11.8 million |
//! | two writers, a reader | 2 data ids, 6 changes (there and back), a reader | 2.8 million | and repair: 21.9 million |
//! | one writer, many moves | 1 data id, 9 changes, a drive lost, a reader, repair | 0.6 million | 18 changes: 8.3 million |
//! | repairs only clear | the first with 4 changes, the fourth without a reader | 1.8 and 0.2 million | the same |
//! | [`reencode`]: race | 2 writers, widening, raised profile, 2 nodes go and come | 0.5 million | and delete, metadata: 7.5 million |
//! | race, delete, change | 2 writers, widening, delete, metadata, 2 nodes | 0.1 million | the same |
//! | swap; swap, read | as race, delete, change; as read with metadata instead of delete | 0.1 and 1.7 million | and raised profile; and delete |
//! | loss | 1 writer, widening, 2 drives lost, 2 nodes in turn | 0.7 million | the same |
//! | m = 2 | 1 writer, widening, 2 drives lost, 2 nodes in turn, any order | 0.7 million | and at k + 1: 9.9 million |
//! | read | 2 writers, widening, delete, a reader, 2 nodes | 1.2 million | and metadata: 5.3 million |
//! | read, loss | 1 writer, widening, delete, a reader, a drive lost, 2 nodes | 0.4 million | the same |
//! | [`drain`] | 2 groups with a writer each; the node may die | 0.8 million | the same |
//!
//! In all 50 s of processor time on two cores, and 5 min when full.
//!
//! The runs of [`reencode`] were compared with the same model under stateright: the numbers of
//! states are equal, to the last one.

mod check;
mod explore;

pub mod drain;
pub mod placement;
pub mod reencode;

pub use check::{caught, full, safe};
pub use explore::{Model, Outcome, Property, Violation, explore};
