//! What is left on the metadata drive, as far as the log has to care.
//!
//! A log that finds no space ends its process (rules.md 21), so growth stops well before: first
//! what users add, then what other replicas send. Reads, deletions and everything that gives space
//! back go on as long as anything is left.

/// How much space is left for log and state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Room {
    /// None to spare: entries and snapshots of other leaders are refused too. This replica falls
    /// behind as if it were away, and its process goes on.
    Spent,
    /// Little: commands that add something are refused, and the log keeps no more than it must.
    Low,
    /// Enough.
    Ample,
}
