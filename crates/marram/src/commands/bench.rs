//! `marram bench`: puts, gets, both, or lists, with every byte and key verified.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use marram_client::{Client, ErrorKind, ListQuery, Preconditions, PutBody, PutOptions};
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
/// Keys of a page of a listing.
const PAGE: u16 = 1000;

/// What was seen of each kind of request.
struct All {
    put: Seen,
    get: Seen,
    list: Seen,
}

/// What is done for a request.
#[derive(Clone, Copy)]
enum What {
    Put,
    Get,
    List,
}

/// What one worker saw of puts, of gets, or of lists.
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
    let (bench, seconds, seen) = measured(bench, &clients, &args).await?;
    let All { put, get, list } = seen;
    let failure = put.first_failure.or(get.first_failure);
    let failure = failure.or(list.first_failure);
    if !args.keep {
        remove(&clients, &bench, args.concurrency).await?;
    }
    let part = |of: &[BenchKind], seen: &Histogram, failed, size| {
        of.contains(&args.kind)
            .then(|| part(seen, failed, size, seconds))
    };
    let report = Report {
        kind: name(args.kind),
        size: args.size,
        concurrency: args.concurrency,
        objects: bench.objects,
        seconds: seconds.as_secs_f64(),
        put: part(
            &[BenchKind::Put, BenchKind::Mixed],
            &put.histogram,
            put.failed,
            args.size,
        ),
        get: part(
            &[BenchKind::Get, BenchKind::Mixed],
            &get.histogram,
            get.failed,
            args.size,
        ),
        list: part(&[BenchKind::List], &list.histogram, list.failed, 0),
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
            // No two of them may name a change alike.
            config.first_request = None;
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
) -> Result<(Arc<Bench>, Duration, All), Failure> {
    if args.kind != BenchKind::Put {
        bench.count = u64::from(bench.objects);
        let prepare = Arc::new(bench);
        let written = all(&prepare, clients, args.concurrency).await;
        if let Some(failure) = written.put.first_failure {
            return Err(failure);
        }
        bench = Arc::into_inner(prepare).ok_or(Failure::Interrupted)?;
    }
    bench.kind = args.kind;
    if !args.warm_up.is_zero() {
        (bench.next, bench.count) = (AtomicU64::new(0), u64::MAX);
        bench.deadline = Some(Instant::now() + args.warm_up);
        let warm_up = Arc::new(bench);
        let done = all(&warm_up, clients, args.concurrency).await;
        if let Some(failure) = done.first_failure() {
            return Err(failure);
        }
        bench = Arc::into_inner(warm_up).ok_or(Failure::Interrupted)?;
    }
    bench.next = AtomicU64::new(0);
    bench.count = args.count.unwrap_or(u64::MAX);
    let began = Instant::now();
    bench.deadline = args.count.is_none().then(|| began + args.duration);
    let bench = Arc::new(bench);
    let seen = all(&bench, clients, args.concurrency).await;
    Ok((bench, began.elapsed(), seen))
}

/// Lets all workers work to the end.
async fn all(bench: &Arc<Bench>, clients: &[Client], concurrency: u16) -> All {
    let mut workers = JoinSet::new();
    for worker in 0..usize::from(concurrency) {
        let client = clients[worker % clients.len()].clone();
        workers.spawn(Arc::clone(bench).worker(client));
    }
    let mut seen = All::new();
    while let Some(done) = workers.join_next().await {
        match done {
            Ok(more) => seen.merge(more),
            Err(_) => seen.put.failed += 1,
        }
    }
    seen
}

impl Bench {
    async fn worker(self: Arc<Self>, client: Client) -> All {
        let mut seen = All::new();
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let late = self.deadline.is_some_and(|at| Instant::now() >= at);
            if late || number >= self.count {
                return seen;
            }
            let index = u32::try_from(number % u64::from(self.objects)).unwrap_or(0);
            let what = match self.kind {
                BenchKind::Put => What::Put,
                BenchKind::Get => What::Get,
                BenchKind::List => What::List,
                // The tens digit shifts, so that every object is both read and written.
                BenchKind::Mixed if (number + number / 10) % 10 < READS_OF_TEN => What::Get,
                BenchKind::Mixed => What::Put,
            };
            let began = Instant::now();
            match what {
                What::Put => {
                    let result = self.put(&client, index).await;
                    seen.put.add(began.elapsed(), result);
                }
                What::Get => {
                    let result = self.get(&client, index).await;
                    seen.get.add(began.elapsed(), result);
                }
                What::List => {
                    let result = self.list(&client, index).await;
                    seen.list.add(began.elapsed(), result);
                }
            }
        }
    }

    /// The page behind an object: it must be the keys that come next, all of them and no others.
    async fn list(&self, client: &Client, index: u32) -> Result<(), Failure> {
        let after = self.key(index);
        let query = ListQuery {
            prefix: self.prefix.clone(),
            start_after: after.clone(),
            page_size: PAGE,
            ..ListQuery::default()
        };
        let page = client.list(&self.bucket, query).next().await;
        let page = page.map_err(Failure::at(&after))?.unwrap_or_default();
        let last = index.saturating_add(u32::from(PAGE)).min(self.objects - 1);
        let wanted = (index + 1..=last).map(|next| self.key(next));
        let listed = page.objects.into_iter().map(|object| object.key);
        listed
            .eq(wanted)
            .then_some(())
            .ok_or(Failure::WrongBytes(after))
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

impl All {
    fn new() -> Self {
        Self {
            put: Seen::new(),
            get: Seen::new(),
            list: Seen::new(),
        }
    }

    fn merge(&mut self, other: Self) {
        self.put.merge(other.put);
        self.get.merge(other.get);
        self.list.merge(other.list);
    }

    fn first_failure(self) -> Option<Failure> {
        let seen = [self.put, self.get, self.list];
        seen.into_iter().find_map(|seen| seen.first_failure)
    }
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
