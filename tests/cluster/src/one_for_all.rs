//! One cluster for all tests of a binary.

use std::fs;
use std::ops::Deref;
use std::sync::OnceLock;

use crate::{Cluster, Collector, Options};

/// A cluster that many tests use at once. It stops when the test's process ends, and its folder
/// goes, unless one of the tests failed.
#[derive(Debug)]
pub struct Shared(&'static Cluster);

impl Shared {
    /// The cluster of this binary, started on first use: six nodes and one gateway.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn cluster() -> Self {
        static CLUSTER: OnceLock<Cluster> = OnceLock::new();
        Self(CLUSTER.get_or_init(|| {
            let dir = tempfile::Builder::new().prefix("marram-shared-").tempdir();
            let dir = dir.expect("a temporary folder can be made").keep();
            let options = Options {
                gateways: 1,
                remove: true,
                // Those that a test asks for, and no others.
                env: vec![
                    ("MARRAM_OTLP_ENDPOINT", Self::collector().endpoint()),
                    ("MARRAM_TRACE_SAMPLE", "0".to_owned()),
                ],
                ..Options::default()
            };
            Cluster::start(&dir, &options)
        }))
    }
}

impl Shared {
    /// Where the traces of that cluster go.
    #[must_use]
    pub fn collector() -> &'static Collector {
        static COLLECTOR: OnceLock<Collector> = OnceLock::new();
        COLLECTOR.get_or_init(Collector::start)
    }
}

impl Deref for Shared {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        self.0
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Without the file the folder goes; the message is there in either case.
            let _ = fs::write(self.dir().join("keep"), "");
            eprintln!(
                "the folder of the shared cluster stays: {}",
                self.dir().display()
            );
        }
    }
}
