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
//! health      how the nodes are by the word of several, and who is given up and taken back
//! leaders     hands leadership to each group's first choice, or all of it away
//! voters      who votes in which group, one change at a time
//! shards      the seam to the drives of all nodes
//! moves       the layout and the nodes' duties -> moves to begin, cancel, carry and end (pure)
//! mover       carries moves out and brings stray and lost shards back, over the two seams
//! vacate      slots that have no drive any more: what uses them becomes narrower (pure)
//! reencode    has extents encoded anew whose profile is not their bucket's, by the groups' leaders
//! collect     floors and garbage queues, by the leaders of the groups
//! scan        each node judges what its own drives hold
//! compaction  each node has its drives give back the space of small records
//! pace        how fast background work of a node may go
//! drives      what a node has decided about its own drives (pure)
//! scrub       each node reads its own drives through; replicas of groups compare their state
//! fault       where tests have a process die
//! ```

mod beside;
mod collect;
mod compaction;
mod consensus;
mod controller;
mod drives;
mod fault;
mod health;
mod leaders;
mod lifecycle;
mod mover;
mod moves;
mod observed;
mod pace;
mod reencode;
mod scan;
mod scrub;
mod shards;
mod steps;
mod vacate;
mod voters;

pub use collect::{Collector, GcLags};
pub use compaction::{CompactDrives, CompactStep, Compactor};
pub use consensus::{Consensus, ConsensusError, Members};
pub use controller::Controller;
pub use drives::{DriveGraces, Found, OwnDrive, drive_commands, drives_to_close};
pub use fault::fault_point;
pub use health::{Decisions, Holds, Patience, Warden, Witnesses, Word, Words, decide, verdicts};
pub use leaders::{HandedOver, hand_over_all, spread_leaders};
pub use lifecycle::{LifecycleClock, LifecycleReport, LifecycleWorker};
pub use mover::{Mover, MoverProgress, MoverWaits, UNREADABLE_NAMED_MAX, Unreadable};
pub use observed::{EventsKept, Fences, Observed};
pub use pace::{Foreground, Lane, Pace, PaceSettings};
pub use reencode::{Reencode, Reencoders, Reencoding, ReencodingError};
pub use scan::{HeldShard, OwnDriveError, OwnDrives, ScanReport, Scanner};
pub use scrub::{
    Compared, Comparisons, DriveScrub, Fault, FaultyRun, FullPass, HashAnswer, ReadThrough,
    ReplicaStates, RunPlace, ScrubDrives, ScrubFindings, ScrubHandle, ScrubNote, ScrubSettings,
    ScrubStage, Scrubber, Verdict, compare_replicas,
};
pub use shards::{Restored, SHARDS_PER_REQUEST_MAX, Seen, Shards, ShardsError, Wanted};
pub use steps::{Step, next_steps};
pub use voters::{
    Membership, Standing, VoterPlan, VoterStep, keep_voters, next_root_step, next_step, next_voters,
};
