//! Random faults from a seed: nodes are killed and started again, paused and continued, cut off from
//! their peers and connected again, one after the other, while a test goes on.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rustix::process::Signal;
use tokio::task::JoinHandle;

use crate::{Processes, Wires};

/// The seed of a run is taken from here, so that the faults of a failed run can be had again.
const SEED_VARIABLE: &str = "MARRAM_FAULT_SEED";
/// How long faults last, and how long all is well between two of them, in milliseconds.
#[derive(Debug, Clone, Copy)]
struct Pace {
    lasts: [u64; 2],
    between: [u64; 2],
}

/// Shorter and longer than an election, and than silence that is noticed.
const STEADY: Pace = Pace {
    lasts: [400, 6000],
    between: [1500, 5000],
};
/// Many in a short race: no time to settle between two of them.
const OFTEN: Pace = Pace {
    lasts: [300, 3000],
    between: [200, 1200],
};
/// How often a fault that is due looks whether it may happen.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What happens to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// SIGKILL; started again later.
    Killed,
    /// SIGSTOP; continued later.
    Paused,
    /// No peer reaches it and it reaches none; applications do.
    CutOff,
}

/// The seed given in the environment, or a new one; printed, so that it can be given again.
///
/// # Panics
/// When the environment has something else than a number there.
#[must_use]
pub fn fault_seed() -> u64 {
    let given = std::env::var(SEED_VARIABLE).ok();
    let seed = given.map_or_else(rand::random, |text| text.parse().expect("a seed"));
    println!("faults of seed {seed}: run them again with {SEED_VARIABLE}={seed}");
    seed
}

/// Faults that go on until they are stopped.
#[derive(Debug)]
pub struct Faults {
    shared: Arc<Shared>,
    task: JoinHandle<usize>,
}

#[derive(Debug)]
struct Shared {
    processes: Processes,
    wires: Wires,
    state: Mutex<State>,
    /// Held while a node is harmed.
    harm: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// Nodes that may be harmed.
    targets: BTreeSet<u16>,
    stop: bool,
}

impl Faults {
    /// Begins to harm nodes.
    #[must_use]
    pub fn start(
        processes: Processes,
        wires: Wires,
        targets: impl IntoIterator<Item = u16>,
        seed: u64,
    ) -> Self {
        Self::begin(processes, wires, targets, (seed, STEADY))
    }

    /// The same with faults that are shorter and follow each other at once.
    #[must_use]
    pub fn often(
        processes: Processes,
        wires: Wires,
        targets: impl IntoIterator<Item = u16>,
        seed: u64,
    ) -> Self {
        Self::begin(processes, wires, targets, (seed, OFTEN))
    }

    fn begin(
        processes: Processes,
        wires: Wires,
        targets: impl IntoIterator<Item = u16>,
        (seed, pace): (u64, Pace),
    ) -> Self {
        let shared = Arc::new(Shared {
            processes,
            wires,
            state: Mutex::default(),
            harm: tokio::sync::Mutex::default(),
        });
        shared.state().targets = targets.into_iter().collect();
        let rng = SmallRng::seed_from_u64(seed);
        let task = tokio::spawn(run(Arc::clone(&shared), rng, pace));
        Self { shared, task }
    }

    /// Says which nodes may be harmed from now on. Returns when no other one is.
    pub async fn only(&self, targets: impl IntoIterator<Item = u16>) {
        self.shared.state().targets = targets.into_iter().collect();
        let _nobody_is_harmed = self.shared.harm.lock().await;
    }

    /// Keeps all nodes unharmed until what this returns is dropped.
    pub async fn truce(&self) -> impl Drop + use<'_> {
        self.shared.harm.lock().await
    }

    /// Ends them; every node runs and is connected then. Says how many there were, and gives the
    /// wires back: the cluster needs them as long as it runs.
    ///
    /// # Panics
    /// When a node could not be started again.
    pub async fn stop(self) -> (usize, Wires) {
        self.shared.state().stop = true;
        let count = self.task.await.expect("every node was brought back");
        let shared = Arc::into_inner(self.shared).expect("the task has ended");
        (count, shared.wires)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn run(shared: Arc<Shared>, mut rng: SmallRng, pace: Pace) -> usize {
    let began = Instant::now();
    let mut count = 0;
    loop {
        // Everything is drawn before anything is waited for: the sequence is the seed's alone.
        let wait = rng.random_range(pace.between[0]..pace.between[1]);
        let lasts = Duration::from_millis(rng.random_range(pace.lasts[0]..pace.lasts[1]));
        let faults = [Fault::Killed, Fault::Paused, Fault::CutOff];
        let fault = *faults.choose(&mut rng).expect("there are some");
        let draw: u64 = rng.random();
        let due = Instant::now() + Duration::from_millis(wait);
        while Instant::now() < due {
            if shared.state().stop {
                return count;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let _harm = shared.harm.lock().await;
        let node = {
            let state = shared.state();
            let targets: Vec<u16> = state.targets.iter().copied().collect();
            if state.stop {
                return count;
            }
            if targets.is_empty() {
                continue;
            }
            targets[usize::try_from(draw % targets.len() as u64).unwrap_or(0)]
        };
        count += 1;
        println!(
            "{:7.1} s: node {node}: {fault:?} for {lasts:?}",
            began.elapsed().as_secs_f64()
        );
        let harmed = Arc::clone(&shared);
        harm(&harmed, fault, node, lasts).await;
    }
}

async fn harm(shared: &Arc<Shared>, fault: Fault, node: u16, lasts: Duration) {
    match fault {
        Fault::Killed => {
            let processes = shared.processes.clone();
            on_a_thread(move || processes.kill(&[node])).await;
            tokio::time::sleep(lasts).await;
            let processes = shared.processes.clone();
            on_a_thread(move || processes.restart(&[node])).await;
        }
        Fault::Paused => {
            shared.processes.signal(node, Signal::STOP);
            tokio::time::sleep(lasts).await;
            shared.processes.signal(node, Signal::CONT);
        }
        Fault::CutOff => {
            shared.wires.cut_off([node]);
            tokio::time::sleep(lasts).await;
            shared.wires.cut_off([]);
        }
    }
}

async fn on_a_thread(work: impl FnOnce() + Send + 'static) {
    let done = tokio::task::spawn_blocking(work).await;
    done.expect("a node was killed or started");
}
