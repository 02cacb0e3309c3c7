//! A load of puts, gets, deletes and lists that goes on while something is done to the cluster. Every
//! answer is compared: each worker has keys of its own, so it knows what must be there.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use marram_client::{Client, ErrorKind, ListQuery, Preconditions};
use tokio::task::JoinHandle;

use crate::{Object, Pool, put, verify};

/// Workers at once.
const WORKERS: usize = 3;
/// Keys of each worker.
const KEYS: usize = 24;
/// Bytes that contents are cut from, and the largest content.
const POOL_BYTES: usize = 24 << 20;
/// Pause between two calls of a worker: a load that leaves room for the work under test.
const PAUSE: Duration = Duration::from_millis(15);
/// Sizes: inline, copies, stripes, and one that is read from the nodes themselves.
const SIZES: [usize; 6] = [0, 900, 50_000, 300_000, 1_500_000, 9 << 20];

/// A load under way.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    client: Arc<RwLock<Client>>,
    workers: Vec<JoinHandle<Done>>,
}

/// What a load did.
#[derive(Debug, Default)]
pub struct Done {
    /// Calls that were made, all of them with the right answer.
    pub calls: usize,
    /// The call that took longest, with the client's retries.
    pub longest: Duration,
    /// What must be in the bucket.
    pub objects: Vec<Object>,
}

impl Load {
    /// Begins.
    #[must_use]
    pub fn start(client: &Client, bucket: &'static str, seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let client = Arc::new(RwLock::new(client.clone()));
        let worker = |number: usize| {
            let worker = Worker {
                client: Arc::clone(&client),
                bucket,
                number,
                pool: Pool::new(seed * 100 + number as u64, POOL_BYTES),
                objects: BTreeMap::new(),
                done: Done::default(),
            };
            tokio::spawn(worker.run(Arc::clone(&stop)))
        };
        let workers = (0..WORKERS).map(worker).collect();
        Self {
            stop,
            client,
            workers,
        }
    }

    /// Goes on with another client: one that knows the nodes that came, and not those that went.
    pub fn use_client(&self, client: &Client) {
        let mut shared = self.client.write().unwrap_or_else(PoisonError::into_inner);
        *shared = client.clone();
    }

    /// Goes on if every call has had the right answer so far.
    ///
    /// # Panics
    /// When a call failed beyond what the client's own retries cover, or had a wrong answer.
    pub async fn check(&mut self) {
        for worker in &mut self.workers {
            if worker.is_finished() {
                let ended = worker.await.map(|done| done.calls);
                panic!("a worker of the load has ended: {ended:?}");
            }
        }
    }

    /// Ends it and says what it did.
    ///
    /// # Panics
    /// When a call failed beyond what the client's own retries cover, or had a wrong answer.
    pub async fn stop(self) -> Done {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Done::default();
        for worker in self.workers {
            let done = worker.await.expect("every call had the right answer");
            all.calls += done.calls;
            all.longest = all.longest.max(done.longest);
            all.objects.extend(done.objects);
        }
        all
    }
}

struct Worker {
    client: Arc<RwLock<Client>>,
    bucket: &'static str,
    number: usize,
    pool: Pool,
    objects: BTreeMap<String, Object>,
    done: Done,
}

impl Worker {
    async fn run(mut self, stop: Arc<AtomicBool>) -> Done {
        while !stop.load(Ordering::Relaxed) {
            let key = format!("load-{}/{}", self.number, self.pool.below(KEYS));
            let began = Instant::now();
            match self.pool.below(20) {
                0..8 => self.put(key).await,
                8..16 => self.get(&key).await,
                16..19 => self.delete(&key).await,
                _ => self.list().await,
            }
            self.done.calls += 1;
            self.done.longest = self.done.longest.max(began.elapsed());
            tokio::time::sleep(PAUSE).await;
        }
        Done {
            objects: self.objects.into_values().collect(),
            ..self.done
        }
    }

    fn client(&self) -> Client {
        let shared = self.client.read().unwrap_or_else(PoisonError::into_inner);
        shared.clone()
    }

    async fn put(&mut self, key: String) {
        // Most objects are small.
        let largest = self.pool.below(SIZES.len()) + 1;
        let size = SIZES[self.pool.below(largest)];
        let object = self.pool.object(key, size);
        let done = put(&self.client(), self.bucket, &object).await;
        if let Err(error) = done {
            panic!("put {:?} of {size} bytes: {error}", object.key);
        }
        self.objects.insert(object.key.clone(), object);
    }

    async fn get(&mut self, key: &str) {
        match self.objects.get(key) {
            Some(object) => {
                if let Err(what) = verify(&self.client(), self.bucket, object).await {
                    panic!("{what}");
                }
            }
            None => match self.client().get(self.bucket, key, None).await {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                other => panic!("{key:?} is deleted or was never put: {:?}", other.err()),
            },
        }
    }

    async fn delete(&mut self, key: &str) {
        let any = Preconditions::default();
        if let Err(error) = self.client().delete(self.bucket, key, &any).await {
            panic!("delete {key:?}: {error}");
        }
        self.objects.remove(key);
    }

    async fn list(&mut self) {
        let prefix = format!("load-{}/", self.number);
        let mut pages = self.client().list(self.bucket, ListQuery::all(prefix));
        let mut found = Vec::new();
        loop {
            match pages.next().await {
                Ok(Some(page)) => found.extend(page.objects.into_iter().map(|o| o.key)),
                Ok(None) => break,
                Err(error) => panic!("list: {error}"),
            }
        }
        let expected: Vec<&String> = self.objects.keys().collect();
        assert!(
            found.iter().eq(expected.iter().copied()),
            "listed {found:?}, not {expected:?}"
        );
    }
}
