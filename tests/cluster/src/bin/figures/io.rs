//! Bytes that each node's process has read from the disk and written to it, as the kernel counts them.

use std::collections::BTreeMap;
use std::fs;

use marram_cluster_tests::Cluster;

/// Counters of one process.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Io {
    /// Bytes fetched from the block device.
    pub(crate) read: u64,
    /// Bytes sent to it, or dirtied in the page cache.
    pub(crate) written: u64,
}

/// The counters of all nodes that run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counters(BTreeMap<u16, Io>);

impl Counters {
    pub(crate) fn of(cluster: &Cluster) -> Self {
        let nodes = cluster.members().into_iter();
        let counted = nodes.filter_map(|node| Some((node, counters(cluster.pid(node)?)?)));
        Self(counted.collect())
    }

    /// What came since `before`, of nodes that ran at both times.
    pub(crate) fn since(&self, before: &Self) -> BTreeMap<u16, Io> {
        let both = self.0.iter().filter_map(|(node, now)| {
            let then = before.0.get(node)?;
            let io = Io {
                read: now.read.saturating_sub(then.read),
                written: now.written.saturating_sub(then.written),
            };
            Some((*node, io))
        });
        both.collect()
    }
}

fn counters(pid: u32) -> Option<Io> {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    let field = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse().ok()
    };
    Some(Io {
        read: field("read_bytes:")?,
        written: field("write_bytes:")?,
    })
}
