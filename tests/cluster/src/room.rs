//! Room on the machine for a cluster.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use tokio::sync::{Semaphore, SemaphorePermit};

/// How many tests of a binary may have a cluster at the same time. One alone keeps two cores busy for a
/// quarter to a half of its time and waits for timers and graces for the rest; three fill them, and leave
/// nothing where the machine is slower than most.
/// (More threads for tests than that are asked for in `.cargo/config.toml`.)
const CLUSTERS: u32 = 2;

/// The file that gets a line for each test with a cluster: its seconds and its name.
const TIMES: &str = "MARRAM_TEST_TIMES";

static ROOM: Semaphore = Semaphore::const_new(CLUSTERS as usize);

/// Room on the machine, given back when this is dropped.
#[derive(Debug)]
pub struct Room {
    began: Instant,
    test: String,
    _permit: SemaphorePermit<'static>,
}

impl Room {
    async fn of(clusters: u32) -> Self {
        // Before the wait: afterwards another thread may go on.
        let test = std::thread::current().name().unwrap_or("?").to_owned();
        let permit = ROOM.acquire_many(clusters).await;
        Self {
            _permit: permit.expect("it is never closed"),
            began: Instant::now(),
            test,
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let Some(path) = std::env::var_os(TIMES).map(PathBuf::from) else {
            return;
        };
        let line = format!("{:7.1} {}\n", self.began.elapsed().as_secs_f64(), self.test);
        let file = OpenOptions::new().create(true).append(true).open(path);
        // The times are for reading; a test does not fail for them.
        let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
    }
}

/// Room for a test with a cluster of its own. Held until the cluster has gone.
pub async fn room() -> Room {
    Room::of(1).await
}

/// The whole machine, for a test that measures time or memory.
pub async fn alone() -> Room {
    Room::of(CLUSTERS).await
}
