//! Which proposals belong to a recorded trace.
//!
//! openraft carries entries, not contexts: log and network find out by the bytes of an entry whose
//! proposal it is. Nothing about it is in the entry, so `apply` and the log know of no traces, and while no
//! proposal is recorded the price is a look at a counter.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use marram_trace::{Context, Step, begin_under, current};
use marram_types::{GroupId, crc32c};
use parking_lot::Mutex;
use tracing::Span;

/// Recorded proposals of a group that are followed at once; further ones are recorded without what happens
/// to their entries.
const FOLLOWED_MAX: usize = 256;

/// The recorded proposals of one group that are on their way.
#[derive(Debug, Default)]
pub(crate) struct Traced {
    count: AtomicUsize,
    by_entry: Mutex<HashMap<u64, Context>>,
}

/// Entries that are followed until this is dropped.
#[derive(Debug)]
pub(crate) struct Following {
    of: Arc<Traced>,
    keys: Vec<u64>,
}

impl Drop for Following {
    fn drop(&mut self) {
        let mut known = self.of.by_entry.lock();
        for key in &self.keys {
            known.remove(key);
        }
        self.of.count.store(known.len(), Ordering::Relaxed);
    }
}

/// An entry by its bytes. Two that are alike would get each other's spans, and nothing worse.
fn key_of(stored: &[u8]) -> u64 {
    let len = u32::try_from(stored.len()).unwrap_or(u32::MAX);
    u64::from(crc32c(stored)) << 32 | u64::from(len)
}

impl Traced {
    /// Follows these entries for the span that runs now; nothing where it is not recorded.
    pub(crate) fn follow(
        self: &Arc<Self>,
        entries: impl IntoIterator<Item = Bytes>,
    ) -> Option<Following> {
        let context = current()?;
        let mut known = self.by_entry.lock();
        let mut keys = Vec::new();
        for stored in entries {
            let key = key_of(&stored);
            if known.len() < FOLLOWED_MAX && !known.contains_key(&key) {
                known.insert(key, context.clone());
                keys.push(key);
            }
        }
        self.count.store(known.len(), Ordering::Relaxed);
        drop(known);
        Some(Following {
            of: Arc::clone(self),
            keys,
        })
    }

    /// A step of each recorded proposal among these entries, one for each trace. The entries are not
    /// looked at while none is followed.
    pub(crate) fn begin(
        &self,
        entries: impl IntoIterator<Item = Bytes>,
        step: impl Fn() -> Step,
    ) -> Vec<Span> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return Vec::new();
        }
        let known = self.by_entry.lock();
        let mut found: Vec<&Context> = Vec::new();
        for stored in entries {
            if let Some(context) = known.get(&key_of(&stored))
                && !found.iter().any(|other| other.span == context.span)
            {
                found.push(context);
            }
        }
        let found = found.into_iter();
        found.map(|context| begin_under(context, step())).collect()
    }
}

/// The step in which a group's leader carries out a proposal.
pub(crate) fn proposal(group: GroupId) -> Step {
    Step::new("raft propose").with("group", u64::from(group.0))
}
