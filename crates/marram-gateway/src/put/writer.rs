//! Drives one write session: bytes in from a client, or from an extent that is encoded anew, runs out
//! to the drives.
//!
//! Encoding runs here, on the task of the write: at several GiB/s a window costs about a millisecond.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, Stream, StreamExt};
use marram_erasure::{STRIPE_BYTES_MAX, codec_for, encode_window};
use marram_metrics::Phase;
use marram_object::{Command, Completed, RunId, RunOutcome, WindowId, WindowWrite, WriteSession};
use marram_proto::v1;
use marram_trace::{Step, begin};
use marram_types::Profile;
use marram_types::caps::CELL_BYTES_MAX;
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;

use super::cleanup::Held;
use super::commit::{self, Content};
use super::plan::Wanted;
use super::upload::Upload;
use super::window::{Filling, Window};
use super::{Put, PutError, cleanup, plan};
use crate::begin::Begin;
use crate::core::{Core, MEMORY_UNIT_BYTES};
use crate::drives::{DriveError, Place, Run};
use crate::reencode::{WorkPace, paced};

/// Runs on their way to drives.
pub(super) type Runs = FuturesUnordered<BoxFuture<'static, EndedRun>>;

/// How a run ended.
pub(super) struct EndedRun {
    run: RunId,
    outcome: RunOutcome,
    /// A slot that moves has a second place, and the run did not get there.
    second_failed: bool,
}

/// Where the bytes of a write come from.
pub(crate) trait Source: Send {
    /// The pace of work in the background; none of what clients wait for.
    fn pace(&self) -> Option<Arc<dyn WorkPace>> {
        None
    }

    /// The next bytes; nothing at the end, which is known to be the true one. What is given up while
    /// it waits loses no bytes.
    fn next(&mut self) -> impl Future<Output = Result<Option<Bytes>, PutError>> + Send;
}

impl<S> Source for Upload<S>
where
    S: Stream<Item = Result<v1::PutObjectRequest, Status>> + Unpin + Send,
{
    async fn next(&mut self) -> Result<Option<Bytes>, PutError> {
        Ok(Self::next(self).await?)
    }
}

/// Writes an object that does not fit its row. `place` is its place among the transfers.
pub(super) async fn run<S>(
    put: Put,
    profile: Profile,
    first: BytesMut,
    mut upload: Upload<S>,
    place: Option<OwnedSemaphorePermit>,
) -> Result<v1::ObjectInfo, PutError>
where
    S: Stream<Item = Result<v1::PutObjectRequest, Status>> + Unpin + Send,
{
    let place = Arc::new(place);
    let begin = Begin::at(&put.core, put.group, put.bucket.bucket).await?;
    let wanted = Wanted {
        bucket: put.profile(),
        object: profile,
        whole: false,
    };
    let completed = write(&put.core, wanted, begin, first, &mut upload, &place).await?;
    let committed = commit::run(&put, Content::Extents(completed), upload.totals()).await;
    drop(place);
    committed
}

/// Writes all that a source gives, until it is durable. What no commit will name then is removed in
/// the background. `place` is the write's place among the transfers.
pub(crate) async fn write<S: Source>(
    core: &Arc<Core>,
    wanted: Wanted,
    begin: Begin,
    first: BytesMut,
    source: &mut S,
    place: &Arc<Option<OwnedSemaphorePermit>>,
) -> Result<Completed, PutError> {
    let mut writer = Writer {
        core: core.clone(),
        wanted,
        begin,
        session: WriteSession::new(wanted.object),
        windows: HashMap::new(),
        runs: FuturesUnordered::new(),
        filling: Filling::new(first),
        ended: false,
        pace: source.pace(),
    };
    let written = writer.write(source).await;
    if written.is_err() {
        writer.session.abort();
    }
    // The commit is not sent yet: what no commit will name goes at once (rules.md 27).
    let abandoned = writer.session.abandoned();
    let held = Held {
        place: place.clone(),
        windows: writer.windows.values().map(Window::memory).collect(),
    };
    drop(writer.windows);
    cleanup::start(core, abandoned, writer.runs, held);
    written
}

struct Writer {
    core: Arc<Core>,
    wanted: Wanted,
    begin: Begin,
    session: WriteSession,
    windows: HashMap<WindowId, Window>,
    runs: Runs,
    filling: Filling,
    ended: bool,
    /// Of work in the background.
    pace: Option<Arc<dyn WorkPace>>,
}

impl Writer {
    /// Until every window is durable.
    async fn write<S: Source>(&mut self, source: &mut S) -> Result<Completed, PutError> {
        loop {
            self.push_windows();
            if let Some(completed) = self.obey()? {
                return Ok(completed);
            }
            let reading = self.wants_bytes();
            tokio::select! {
                Some(ended) = self.runs.next(), if !self.runs.is_empty() => {
                    if ended.second_failed {
                        self.session.second_place_failed(ended.run);
                    }
                    self.session.run_ended(ended.run, ended.outcome);
                }
                chunk = source.next(), if reading => match chunk? {
                    Some(chunk) => self.filling.push(&chunk, self.window_bytes()),
                    None => self.ended = true,
                },
                else => return Err(PutError::Aborted),
            }
        }
    }

    /// Whether the source may give more: one window is filled while others are on their way.
    fn wants_bytes(&self) -> bool {
        !self.ended && self.filling.len() < self.window_bytes()
    }

    /// Length of the next window. Where the session would take the largest, half of it is used as
    /// long as that is whole stripes whatever `k` has become (1, 2 or 4): a run of `4+m` is then
    /// one cell and goes out without being copied, and a put needs half the memory.
    fn window_bytes(&self) -> usize {
        let most = self.session.window_bytes();
        if most == STRIPE_BYTES_MAX && self.wanted.object.k() * CELL_BYTES_MAX < STRIPE_BYTES_MAX {
            most / 2
        } else {
            most
        }
    }

    /// Gives the session what is ready.
    fn push_windows(&mut self) {
        while self.session.wants_window() {
            let len = self.window_bytes().min(self.filling.len());
            let whole = len == self.window_bytes();
            if len == 0 || !(whole || self.ended) {
                break;
            }
            let Some(memory) = self.memory() else {
                break;
            };
            let window = self.filling.cut(len, memory);
            let id = self
                .session
                .push_window(len)
                .expect("the session wants a window, and this one has a length it named");
            self.windows.insert(id, window);
        }
        if self.ended && self.filling.is_empty() {
            self.session.finish();
        }
    }

    /// Memory for another window beside those on their way. The first one of a put needs no
    /// permit, so that every put goes on, however many there are.
    fn memory(&self) -> Option<Option<OwnedSemaphorePermit>> {
        if self.windows.is_empty() {
            return Some(None);
        }
        let units = self.window_bytes() / MEMORY_UNIT_BYTES;
        let units = u32::try_from(units).expect("a small number");
        let uploads = self.core.memory.uploads.clone();
        uploads.try_acquire_many_owned(units).ok().map(Some)
    }

    /// Carries out what the session asks for.
    fn obey(&mut self) -> Result<Option<Completed>, PutError> {
        while let Some(command) = self.session.next_command() {
            match command {
                Command::PlanExtent => {
                    plan::extent(&self.core, &mut self.session, self.wanted, self.begin)?;
                }
                Command::Write(write) => self.send(&write),
                // Late runs are ignored by the session, and waited for by the cleanup.
                Command::Forget { .. } => {}
                Command::Durable(window) => {
                    self.windows.remove(&window);
                }
                Command::Complete(completed) => return Ok(Some(completed)),
                Command::Fail(why) => return Err(why.into()),
            }
        }
        Ok(None)
    }

    /// Encodes a window and sends its runs.
    fn send(&mut self, write: &WindowWrite) {
        let window = self
            .windows
            .get(&write.window)
            .expect("windows are kept until they are durable");
        let padded = window.padded(write.geometry.padded_len());
        let codec = codec_for(write.geometry.profile());
        let began = Instant::now();
        let span = begin(|| Step::new("encode").with("bytes", padded.len()));
        let encoded = encode_window(&*codec, &write.geometry, &padded)
            .expect("the window is padded to its geometry, and the codec has its profile");
        drop(span);
        self.core.calls.phase(Phase::Encode, began.elapsed());
        let places = self.core.places();
        for (target, pieces) in write.targets.iter().zip(encoded) {
            let run = write.run(target.shard);
            let first = places.place(target.drive);
            let second = target.also.map(|drive| places.place(drive));
            let (core, pace) = (self.core.clone(), self.pace.clone());
            let shard = write.shard_id(target.shard);
            let (pg, offset) = (write.pg, write.shard_offset);
            let memory = window.memory();
            let sending = async move {
                // A run that is late holds its bytes longer than the window is kept.
                let _memory = memory;
                let data = join(pieces);
                let to = async |place: Option<Place>| match place {
                    Some(place) => {
                        let data = data.clone();
                        let run = Run {
                            place,
                            shard,
                            pg,
                            offset,
                            data,
                            in_background: pace.is_some(),
                        };
                        write_run(&core, run, pace.as_ref()).await
                    }
                    None => RunOutcome::Failed,
                };
                let also = async {
                    match second {
                        Some(second) => to(second).await == RunOutcome::Failed,
                        None => false,
                    }
                };
                let (outcome, second_failed) = tokio::join!(to(first), also);
                EndedRun {
                    run,
                    outcome,
                    second_failed,
                }
            };
            self.runs.push(sending.boxed());
        }
    }
}

/// One buffer of a run's pieces; a run of one piece is not copied.
fn join(mut pieces: Vec<Bytes>) -> Bytes {
    if pieces.len() == 1 {
        return pieces.remove(0);
    }
    let mut all = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
    for piece in pieces {
        all.extend_from_slice(&piece);
    }
    all.freeze()
}

async fn write_run(core: &Core, run: Run, pace: Option<&Arc<dyn WorkPace>>) -> RunOutcome {
    let started = Instant::now();
    let (place, shard) = (run.place, run.shard);
    let written = match pace {
        None => core.drives.write(run, core.conditions.run_deadline()).await,
        Some(pace) => paced::write(core, pace, run).await,
    };
    match written {
        // How long it waited for its turn says nothing about the drive.
        Ok(()) if pace.is_some() => RunOutcome::Durable,
        Err(error @ DriveError::Overloaded) if pace.is_some() => {
            log_failure(place, shard, error);
            RunOutcome::Failed
        }
        Ok(()) => {
            core.calls.phase(Phase::Drive, started.elapsed());
            core.conditions
                .run_succeeded(place.drive, started.elapsed());
            RunOutcome::Durable
        }
        Err(error) => {
            core.conditions.failed(place.drive, error);
            log_failure(place, shard, error);
            RunOutcome::Failed
        }
    }
}

fn log_failure(place: Place, shard: marram_types::ShardId, error: DriveError) {
    tracing::info!(
        node = %place.node, drive = %place.drive, %shard, %error,
        "a shard was not written here; the write goes on elsewhere"
    );
}
