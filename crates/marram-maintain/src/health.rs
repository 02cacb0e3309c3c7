//! How the nodes are, by the word of several peers, and what the cluster does about it by itself.
//!
//! ```text
//! verdict    words of observers -> how a node is (pure)
//! clocks     whose clock is wrong (pure)
//! lost       what is said of objects that cannot be read (pure)
//! giving_up  who is given up, taken back, excused no longer (pure)
//! warden     the root leader's loop: gathers the words, tells everybody, proposes
//! ```

mod clocks;
mod giving_up;
mod lost;
mod verdict;
mod warden;

#[cfg(test)]
pub(crate) use giving_up::testing;
pub use giving_up::{Decisions, Holds, Patience, decide};
pub use verdict::{Word, Words, verdicts};
pub use warden::{Warden, Witnesses};
