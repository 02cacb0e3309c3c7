//! Decisions of reading and writing objects, without doing either.
//!
//! This crate is pure: a driver (the gateway) moves the bytes and reports what happened; the state
//! machines here say what to do next. There is no I/O, no clock, no randomness and no async, so
//! every decision can be tested with any order of events.
//!
//! ```text
//! class   inline, copies or stripes, by size
//! shape   k and m for the nodes that live: k shrinks, m does not (rules.md 18)
//! row     which placement group takes an extent, where a shard of it is
//! write   one object's write: windows, acknowledgements, failures, extents
//! read    one object's read: which shards to fetch, when to decode
//! etag    the token of an object's content
//! ```

mod class;
mod etag;
mod read;
mod row;
mod shape;
mod write;

pub use class::StorageClass;
pub use etag::etag;
pub use read::{Fetch, Health, NotReady, ReadPlan, ReadStep, Unreadable};
pub use row::{RowChoice, choose_row, choose_row_at};
pub use shape::{NoPlace, WriteShape, narrow};
pub use write::{
    Abandoned, Command, Completed, ExtentId, ExtentPlan, PushError, RunId, RunOutcome, Target,
    WindowId, WindowWrite, WriteFailure, WriteSession,
};
