//! What is counted of connections: how many are open, and why those failed that did not come about.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::class::Class;

/// Who opened a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// A peer.
    Accepted,
    /// This process.
    Dialed,
}

/// Why a connection did not come about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failed {
    /// The system refused it, or it broke.
    Io,
    /// It took too long.
    Slow,
    /// TLS refused: no certificate of the cluster's CA, or none that is still good.
    Tls,
    /// It agreed on no protocol of the mesh.
    Protocol,
    /// A certificate that is none of the cluster's, or another node than the one that was dialed.
    Certificate,
    /// It has no certificate and did more than ask to join, or too many did.
    Stranger,
}

impl Side {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Accepted, Self::Dialed];
}

impl Failed {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Io,
        Self::Slow,
        Self::Tls,
        Self::Protocol,
        Self::Certificate,
        Self::Stranger,
    ];

    /// What an error of a socket under TLS is.
    pub(crate) fn of_io(error: &std::io::Error) -> Self {
        // tokio-rustls passes errors of TLS on as data that is not valid.
        match error.kind() {
            std::io::ErrorKind::InvalidData => Self::Tls,
            _ => Self::Io,
        }
    }
}

/// The connections of one process.
#[derive(Debug, Default)]
pub struct Figures {
    open: [[AtomicU64; Class::ALL.len()]; Side::ALL.len()],
    failed: [[AtomicU64; Failed::ALL.len()]; Side::ALL.len()],
}

impl Figures {
    /// Connections that are open now.
    #[must_use]
    pub fn open(&self, side: Side, class: Class) -> u64 {
        self.open[side as usize][class as usize].load(Ordering::Relaxed)
    }

    /// Connections that did not come about since the process began.
    #[must_use]
    pub fn failed(&self, side: Side, why: Failed) -> u64 {
        self.failed[side as usize][why as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn fail(&self, side: Side, why: Failed) {
        self.failed[side as usize][why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A connection is open until what is returned is dropped.
    pub(crate) fn opened(self: &Arc<Self>, side: Side, class: Class) -> Opened {
        self.open[side as usize][class as usize].fetch_add(1, Ordering::Relaxed);
        Opened {
            figures: Arc::clone(self),
            side,
            class,
        }
    }
}

/// A connection that is open.
#[derive(Debug)]
pub(crate) struct Opened {
    figures: Arc<Figures>,
    side: Side,
    class: Class,
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.figures.open[self.side as usize][self.class as usize].fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_count_while_they_are_open() {
        let figures = Arc::<Figures>::default();
        let one = figures.opened(Side::Dialed, Class::Bulk);
        let two = figures.opened(Side::Dialed, Class::Bulk);
        assert_eq!(figures.open(Side::Dialed, Class::Bulk), 2);
        assert_eq!(figures.open(Side::Accepted, Class::Bulk), 0);
        drop((one, two));
        assert_eq!(figures.open(Side::Dialed, Class::Bulk), 0);
        figures.fail(Side::Accepted, Failed::Tls);
        let failed = Failed::ALL.map(|why| figures.failed(Side::Accepted, why));
        assert_eq!(failed, [0, 0, 1, 0, 0, 0]);
    }
}
