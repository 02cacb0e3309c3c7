//! `marram bench`: puts, gets, or both, with every byte verified.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use marram_client::{Client, ErrorKind, Preconditions, PutBody, PutOptions};
use tokio::task::JoinSet;

use crate::cli::{BenchArgs, BenchKind};
use crate::commands::Context;
use crate::failure::Failure;

mod machine;
mod payload;
mod report;
mod stats;

use machine::Machine;
use payload::Payload;
use report::{Report, name, part, print};
use stats::Histogram;

/// Largest object: its bytes are kept in memory to compare with.
const SIZE_MAX: u64 = 1 << 30;
/// What the objects take together, unless told otherwise.
const ALL_BYTES: u64 = 1 << 30;
/// Of ten requests of a mixed run, so many are reads.
const READS_OF_TEN: u64 = 7;

/// What one worker saw of puts, or of gets.
struct Seen {
    histogram: Histogram,
    failed: u64,
    first_failure: Option<Failure>,
}

/// What all workers share.
struct Bench {
    bucket: String,
    prefix: String,
    payload: Payload,
    objects: u32,
    kind: BenchKind,
    deadline: Option<Instant>,
    count: u64,
    next: AtomicU64,
}

/// Runs the benchmark.
pub(super) async fn run(context: &Context<'_>, args: BenchArgs) -> Result<(), Failure> {
    let size = usize::try_from(args.size.min(SIZE_MAX)).unwrap_or(0);
    if args.size > SIZE_MAX {
        return Err(Failure::Usage("--size must be at most 1GiB"));
    }
    let machine = match args.machine.clone() {
        Some(folder) => Some(measure(folder).await?),
        None => None,
    };
    let clients = clients(context, args.concurrency)?;
    make_bucket(&clients[0], &args.bucket).await?;
    let bench = Bench {
        bucket: args.bucket.clone(),
        prefix: format!("bench/{:016x}/", rand::random::<u64>()),
        payload: Payload::new(size),
        objects: objects(&args),
        kind: BenchKind::Put,
        deadline: None,
        count: 0,
        next: AtomicU64::new(0),
    };
    let (bench, seconds, put, get) = measured(bench, &clients, &args).await?;
    let failure = put.first_failure.or(get.first_failure);
    if !args.keep {
        remove(&clients, &bench, args.concurrency).await?;
    }
    let part = |wanted: bool, seen: &Histogram, failed| {
        wanted.then(|| part(seen, failed, args.size, seconds))
    };
    let report = Report {
        kind: name(args.kind),
        size: args.size,
        concurrency: args.concurrency,
        objects: bench.objects,
        seconds: seconds.as_secs_f64(),
        put: part(args.kind != BenchKind::Get, &put.histogram, put.failed),
        get: part(args.kind != BenchKind::Put, &get.histogram, get.failed),
        machine,
    };
    print(&context.output, &report)?;
    failure.map_or(Ok(()), Err)
}

async fn measure(folder: std::path::PathBuf) -> Result<Machine, Failure> {
    let path = folder.clone();
    let measured = tokio::task::spawn_blocking(move || machine::measure(&path)).await;
    let measured = measured.unwrap_or_else(|stopped| Err(stopped.into()));
    measured.map_err(Failure::local("measure", &folder))
}

/// One client for each server, so that all of them work.
fn clients(context: &Context<'_>, concurrency: u16) -> Result<Vec<Client>, Failure> {
    let first = context.client()?;
    let count = first.endpoints().min(usize::from(concurrency));
    (0..count)
        .map(|index| {
            let mut config = context.config()?;
            config.first_endpoint = Some(index);
            Ok(Client::connect(config)?)
        })
        .collect()
}

async fn make_bucket(client: &Client, bucket: &str) -> Result<(), Failure> {
    match client.create_bucket(bucket, None).await {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(Failure::at(format_args!("m://{bucket}"))(error))
        }
        _ => Ok(()),
    }
}

fn objects(args: &BenchArgs) -> u32 {
    let fitting = ALL_BYTES / args.size.max(1);
    let usual = u32::try_from(fitting.clamp(16, 4096)).unwrap_or(16);
    args.objects.unwrap_or(usual).max(1)
}

/// Writes what is to be read, then measures.
async fn measured(
    mut bench: Bench,
    clients: &[Client],
    args: &BenchArgs,
) -> Result<(Arc<Bench>, Duration, Seen, Seen), Failure> {
    if args.kind != BenchKind::Put {
        bench.count = u64::from(bench.objects);
        let prepare = Arc::new(bench);
        let (put, _) = all(&prepare, clients, args.concurrency).await;
        if let Some(failure) = put.first_failure {
            return Err(failure);
        }
        bench = Arc::into_inner(prepare).ok_or(Failure::Interrupted)?;
    }
    bench.kind = args.kind;
    bench.next = AtomicU64::new(0);
    bench.count = args.count.unwrap_or(u64::MAX);
    let began = Instant::now();
    bench.deadline = args.count.is_none().then(|| began + args.duration);
    let bench = Arc::new(bench);
    let (put, get) = all(&bench, clients, args.concurrency).await;
    Ok((bench, began.elapsed(), put, get))
}

/// Lets all workers work to the end.
async fn all(bench: &Arc<Bench>, clients: &[Client], concurrency: u16) -> (Seen, Seen) {
    let mut workers = JoinSet::new();
    for worker in 0..usize::from(concurrency) {
        let client = clients[worker % clients.len()].clone();
        workers.spawn(Arc::clone(bench).worker(client));
    }
    let (mut put, mut get) = (Seen::new(), Seen::new());
    while let Some(done) = workers.join_next().await {
        match done {
            Ok((more_put, more_get)) => {
                put.merge(more_put);
                get.merge(more_get);
            }
            Err(_) => put.failed += 1,
        }
    }
    (put, get)
}

impl Bench {
    async fn worker(self: Arc<Self>, client: Client) -> (Seen, Seen) {
        let (mut put, mut get) = (Seen::new(), Seen::new());
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let late = self.deadline.is_some_and(|at| Instant::now() >= at);
            if late || number >= self.count {
                return (put, get);
            }
            let index = u32::try_from(number % u64::from(self.objects)).unwrap_or(0);
            let reads = match self.kind {
                BenchKind::Put => false,
                BenchKind::Get => true,
                // The tens digit shifts, so that every object is both read and written.
                BenchKind::Mixed => (number + number / 10) % 10 < READS_OF_TEN,
            };
            let began = Instant::now();
            if reads {
                let result = self.get(&client, index).await;
                get.add(began.elapsed(), result);
            } else {
                let result = self.put(&client, index).await;
                put.add(began.elapsed(), result);
            }
        }
    }

    fn key(&self, index: u32) -> String {
        format!("{}{index:06}", self.prefix)
    }

    async fn put(&self, client: &Client, index: u32) -> Result<(), Failure> {
        let (key, body) = (self.key(index), PutBody::from(self.payload.object(index)));
        let done = client.put(&self.bucket, &key, body, PutOptions::default());
        done.await.map(|_| ()).map_err(Failure::at(key))
    }

    async fn get(&self, client: &Client, index: u32) -> Result<(), Failure> {
        let key = self.key(index);
        let opened = client.get(&self.bucket, &key, None).await;
        let mut download = opened.map_err(Failure::at(&key))?;
        let mut check = self.payload.check(index);
        while let Some(piece) = download.next().await {
            if !check.next(&piece.map_err(Failure::at(&key))?) {
                return Err(Failure::WrongBytes(key));
            }
        }
        check
            .is_complete()
            .then_some(())
            .ok_or(Failure::WrongBytes(key))
    }
}

/// Deletes the objects of the run, some at once.
async fn remove(clients: &[Client], bench: &Arc<Bench>, concurrency: u16) -> Result<(), Failure> {
    let mut workers: JoinSet<Result<(), Failure>> = JoinSet::new();
    for worker in 0..u32::from(concurrency) {
        let client = clients[worker as usize % clients.len()].clone();
        let bench = Arc::clone(bench);
        workers.spawn(async move {
            for index in (worker..bench.objects).step_by(usize::from(concurrency)) {
                let key = bench.key(index);
                let any = Preconditions::default();
                let gone = client.delete(&bench.bucket, &key, &any).await;
                gone.map_err(Failure::at(key))?;
            }
            Ok(())
        });
    }
    while let Some(done) = workers.join_next().await {
        done.map_err(|_| Failure::Interrupted)??;
    }
    Ok(())
}

impl Seen {
    fn new() -> Self {
        Self {
            histogram: Histogram::new(),
            failed: 0,
            first_failure: None,
        }
    }

    fn add(&mut self, latency: Duration, result: Result<(), Failure>) {
        match result {
            Ok(()) => self.histogram.add(latency),
            Err(failure) => {
                self.failed += 1;
                self.first_failure.get_or_insert(failure);
            }
        }
    }

    fn merge(&mut self, other: Self) {
        self.histogram.merge(&other.histogram);
        self.failed += other.failed;
        self.first_failure = self.first_failure.take().or(other.first_failure);
    }
}
