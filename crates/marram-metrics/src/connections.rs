//! Connections of the API: how many are open, and how many were not served.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;

use crate::Source;
use crate::catalogue::{API_CONNECTIONS, API_CONNECTIONS_REFUSED, API_HANDSHAKES_FAILED};
use crate::sheet::Sheet;

/// The connections of one process.
#[derive(Debug, Default)]
pub struct Connections {
    open: AtomicU64,
    refused: AtomicU64,
    unshaken: AtomicU64,
}

impl Connections {
    /// One is open until the answer is dropped.
    #[must_use]
    pub fn opened(self: &Arc<Self>) -> Open {
        self.open.fetch_add(1, Ordering::Relaxed);
        Open(Arc::clone(self))
    }

    /// One was refused: there are as many as there may be.
    pub fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// One did not shake hands: in time, in the right way, or before others needed its place.
    pub fn unshaken(&self) {
        self.unshaken.fetch_add(1, Ordering::Relaxed);
    }
}

/// A connection that is open.
#[derive(Debug)]
pub struct Open(Arc<Connections>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl Source for Connections {
    async fn collect(&self, sheet: &mut Sheet) {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        sheet.set(&API_CONNECTIONS, &[], of(&self.open));
        sheet.set(&API_CONNECTIONS_REFUSED, &[], of(&self.refused));
        sheet.set(&API_HANDSHAKES_FAILED, &[], of(&self.unshaken));
    }
}
