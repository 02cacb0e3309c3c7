//! Moving objects: one at a time, and many at once.

use std::path::PathBuf;
use std::sync::Arc;

use marram_client::{
    Client, CopyOptions, Deletion, ObjectInfo, Preconditions, PutBody, PutOptions,
};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};

use crate::failure::Failure;
use crate::location::Remote;
use crate::output::{Output, Progress, printable};
use crate::paths::make_parents;

mod download;
mod how;
mod job;
pub(crate) use download::{download, write_out, write_ranges};
pub(crate) use how::{How, pairs};
pub(crate) use job::{Job, Order, Tally};

/// Jobs that are known before anybody does them.
pub(crate) const JOBS_AHEAD: usize = 256;

/// A job, and what came of it.
type Done = (Job, Result<(), Failure>);

/// How jobs are done.
#[derive(Clone)]
pub(crate) struct Crew {
    pub(crate) client: Client,
    pub(crate) output: Arc<Output>,
    pub(crate) progress: Progress,
    /// Delete the source once its copy is there.
    pub(crate) moving: bool,
    /// Go on with uploads that broke off.
    pub(crate) resume: bool,
    /// What the command line says of each object.
    pub(crate) how: Arc<How>,
    pub(crate) jobs: u16,
}

impl Crew {
    /// Does all jobs, some at once. A failure is told at once and does not keep the others.
    pub(crate) async fn work(&self, mut orders: mpsc::Receiver<Order>) -> Tally {
        let mut tally = Tally::default();
        let mut running: JoinSet<Done> = JoinSet::new();
        while let Some(order) = orders.recv().await {
            match order {
                Order::Do(job) => {
                    self.progress.expect(job.bytes());
                    if running.len() >= usize::from(self.jobs) {
                        self.take(running.join_next().await, &mut tally);
                    }
                    let crew = self.clone();
                    running.spawn(async move {
                        let result = crew.one(&job).await;
                        (job, result)
                    });
                }
                Order::Same => tally.skipped += 1,
                Order::Skip(path, why) => {
                    tally.skipped += 1;
                    self.warn(&format!("skipped {}: {why}", path.display()));
                }
                Order::Failed(failure) => self.failed(&failure, &mut tally),
            }
        }
        while let Some(done) = running.join_next().await {
            self.take(Some(done), &mut tally);
        }
        self.progress.finish();
        tally
    }

    /// Does one job; its failure is returned, not told.
    pub(crate) async fn single(&self, job: Job) -> Result<Tally, Failure> {
        self.progress.expect(job.bytes());
        let result = self.one(&job).await;
        self.progress.finish();
        result?;
        Ok(Tally {
            copied: 1,
            bytes: job.bytes(),
            ..Tally::default()
        })
    }

    fn take(&self, done: Option<Result<Done, JoinError>>, tally: &mut Tally) {
        match done {
            Some(Ok((job, Ok(())))) => match job {
                Job::DeleteObject { .. } | Job::DeleteVersion { .. } | Job::DeleteFile { .. } => {
                    tally.deleted += 1;
                }
                Job::Upload { .. } | Job::Download { .. } | Job::Copy { .. } => {
                    tally.copied += 1;
                    tally.bytes += job.bytes();
                }
            },
            Some(Ok((_, Err(failure)))) => self.failed(&failure, tally),
            // A job that panicked has told so itself.
            Some(Err(_)) => tally.failed += 1,
            None => {}
        }
    }

    fn failed(&self, failure: &Failure, tally: &mut Tally) {
        tally.failed += 1;
        self.progress.aside(|| failure.tell(self.output.json));
    }

    fn warn(&self, text: &str) {
        if !self.output.quiet {
            self.progress
                .aside(|| eprintln!("marram: {}", printable(text)));
        }
    }

    async fn one(&self, job: &Job) -> Result<(), Failure> {
        self.progress.name(&job.describe());
        match job {
            Job::Upload { path, to, .. } => {
                self.upload(path.clone(), to).await?;
                if self.moving {
                    delete_file(path).await?;
                }
                Ok(())
            }
            Job::Download {
                from,
                folder,
                relative,
                ..
            } => {
                parents(folder.clone(), relative.clone()).await?;
                let path = folder.join(relative);
                let wanted = self.how.read_conditions();
                let info = download(&self.client, from, &wanted, path, &self.progress).await?;
                self.moved(from, &info).await
            }
            Job::Copy { from, to, .. } => {
                let source = self.copy(from, to).await?;
                self.moved(from, &source).await
            }
            Job::DeleteObject { place, generation } => {
                let wanted = of_generation(*generation);
                delete(&self.client, place, &wanted).await.map(|_| ())
            }
            Job::DeleteVersion { place } => {
                let always = Preconditions::default();
                delete(&self.client, place, &always).await.map(|_| ())
            }
            Job::DeleteFile { path } => delete_file(path).await,
        }
    }

    /// A file into the cluster.
    async fn upload(&self, path: PathBuf, to: &Remote) -> Result<ObjectInfo, Failure> {
        let options = PutOptions {
            resume: self.resume,
            watcher: Some(self.progress.watcher()),
            ..self.how.put_options(Some(&path)).await?
        };
        put(&self.client, PutBody::file(path), to, options).await
    }

    /// An object to another place in the cluster; returns the version that was copied.
    async fn copy(&self, from: &Remote, to: &Remote) -> Result<ObjectInfo, Failure> {
        let options = CopyOptions {
            watcher: Some(self.progress.watcher()),
            ..self.how.copy_options(&self.client, from).await?
        };
        let copied = self
            .client
            .copy((&from.bucket, &from.key), (&to.bucket, &to.key), options)
            .await
            .map_err(Failure::at(format_args!("{from} to {to}")))?;
        Ok(copied.source)
    }

    /// Deletes the version that was copied, and no newer one.
    async fn moved(&self, from: &Remote, copied: &ObjectInfo) -> Result<(), Failure> {
        if self.moving {
            let still = of_generation(Some(copied.generation));
            delete(&self.client, from, &still).await?;
        }
        Ok(())
    }
}

/// Bytes into the cluster.
pub(crate) async fn put(
    client: &Client,
    body: PutBody,
    to: &Remote,
    options: PutOptions,
) -> Result<ObjectInfo, Failure> {
    client
        .put(&to.bucket, &to.key, body, options)
        .await
        .map_err(Failure::at(to))
}

/// What an object, or the version that is meant, is.
pub(crate) async fn look(client: &Client, place: &Remote) -> Result<ObjectInfo, Failure> {
    let (bucket, key) = (&place.bucket, &place.key);
    let found = match place.generation {
        None => client.head(bucket, key).await,
        Some(generation) => client.head_version(bucket, key, generation).await,
    };
    found.map_err(Failure::at(place))
}

/// With a generation: only if the object is still that version.
fn of_generation(generation: Option<u64>) -> Preconditions {
    Preconditions {
        if_generation_match: generation,
        ..Preconditions::default()
    }
}

/// Away with an object, or with the version that is meant for good.
pub(crate) async fn delete(
    client: &Client,
    place: &Remote,
    wanted: &Preconditions,
) -> Result<Deletion, Failure> {
    client
        .delete_version(&place.bucket, &place.key, place.generation, wanted)
        .await
        .map_err(Failure::at(place))
}

async fn delete_file(path: &std::path::Path) -> Result<(), Failure> {
    tokio::fs::remove_file(path)
        .await
        .map_err(Failure::local("delete", path))
}

async fn parents(folder: PathBuf, relative: PathBuf) -> Result<(), Failure> {
    let path = folder.join(&relative);
    let made = tokio::task::spawn_blocking(move || make_parents(&folder, &relative)).await;
    made.unwrap_or_else(|stopped| Err(stopped.into()))
        .map_err(Failure::local("make the folders of", &path))
}
