//! Applications beside the work that is measured: gets and puts of 1 MiB, every byte compared.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use marram_client::Client;
use marram_cluster_tests::{Object, Pool, put, put_all, verify};
use tokio::task::JoinHandle;

/// Bytes of each object.
pub(crate) const OBJECT_BYTES: usize = 1 << 20;
/// Objects that are read and overwritten.
const OBJECTS: usize = 96;
/// Calls at once.
const WORKERS: usize = 6;
/// Of ten calls, so many are gets.
const READS_OF_TEN: u64 = 7;

/// Applications of one bucket.
pub(crate) struct Foreground {
    client: Client,
    bucket: &'static str,
    objects: Arc<Vec<Object>>,
}

/// Calls under way, until they are stopped.
pub(crate) struct Running {
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicU64>,
    began: Instant,
    workers: Vec<JoinHandle<()>>,
}

impl Foreground {
    pub(crate) async fn new(client: &Client, bucket: &'static str) -> Self {
        let mut pool = Pool::new(1, 8 << 20);
        let objects = (0..OBJECTS).map(|i| pool.object(format!("fore/{i}"), OBJECT_BYTES));
        let objects: Vec<Object> = objects.collect();
        put_all(client, bucket, &objects).await;
        Self {
            client: client.clone(),
            bucket,
            objects: Arc::new(objects),
        }
    }

    /// Calls per second when nothing holds them back.
    pub(crate) async fn saturated(&self, time: Duration) -> f64 {
        let running = self.start(None);
        tokio::time::sleep(time).await;
        running.stop().await
    }

    /// Begins `rate` calls a second, or as many as there can be. A call that is due waits for one of
    /// the workers, and is not made up for later.
    pub(crate) fn start(&self, rate: Option<f64>) -> Running {
        let stop = Arc::new(AtomicBool::new(false));
        let calls = Arc::new(AtomicU64::new(0));
        let next = Arc::new(AtomicU64::new(0));
        let began = Instant::now();
        let workers = (0..WORKERS).map(|_| {
            let (stop, calls, next) = (Arc::clone(&stop), Arc::clone(&calls), Arc::clone(&next));
            let (client, bucket) = (self.client.clone(), self.bucket);
            let objects = Arc::clone(&self.objects);
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if let Some(rate) = rate {
                        let due = began + Duration::from_secs_f64(number as f64 / rate);
                        tokio::time::sleep_until(due.into()).await;
                    }
                    call(&client, bucket, &objects, number).await;
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        Running {
            workers: workers.collect(),
            stop,
            calls,
            began,
        }
    }
}

async fn call(client: &Client, bucket: &str, objects: &[Object], number: u64) {
    let index = usize::try_from(number).unwrap_or(0).wrapping_mul(37) % objects.len();
    let object = &objects[index];
    if (number + number / 10) % 10 < READS_OF_TEN {
        if let Err(what) = verify(client, bucket, object).await {
            panic!("{what}");
        }
    } else if let Err(error) = put(client, bucket, object).await {
        panic!("put {:?}: {error}", object.key);
    }
}

impl Running {
    /// Ends it. Says how many calls a second there were.
    pub(crate) async fn stop(self) -> f64 {
        let rate = self.calls.load(Ordering::Relaxed) as f64 / self.began.elapsed().as_secs_f64();
        self.stop.store(true, Ordering::Relaxed);
        for worker in self.workers {
            worker.await.expect("every call had the right answer");
        }
        rate
    }
}
