//! An object into a file, or into anything that takes bytes.

use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use marram_client::{ByteRange, Client, Download, ObjectInfo, ReadConditions};
use tokio::sync::mpsc;

use crate::failure::Failure;
use crate::location::Remote;
use crate::output::Progress;

/// Pieces that have arrived before they are written.
const WRITE_BEHIND: usize = 4;

/// Begins to read an object, or the version that is meant, of which there are no conditions.
async fn open(
    client: &Client,
    from: &Remote,
    wanted: &ReadConditions,
    range: Option<ByteRange>,
) -> Result<Download, Failure> {
    let (bucket, key) = (&from.bucket, &from.key);
    let begun = match from.generation {
        None => client.get_if(bucket, key, range, wanted).await,
        Some(generation) => client.get_version(bucket, key, generation, range).await,
    };
    begun.map_err(Failure::at(from))
}

/// Reads an object into a file, which appears whole or not at all and gets the object's time.
pub(crate) async fn download(
    client: &Client,
    from: &Remote,
    wanted: &ReadConditions,
    path: PathBuf,
    progress: &Progress,
) -> Result<ObjectInfo, Failure> {
    let download = open(client, from, wanted, None).await?;
    let info = download.info().clone();
    let begun = blocking({
        let path = path.clone();
        move || Partial::begin(path)
    })
    .await;
    let partial = begun.map_err(Failure::local("write", &path))?;
    let partial = pour(from, download, partial, &path, progress).await?;
    let modified_ms = info.modified_ms;
    blocking(move || partial.finish(modified_ms))
        .await
        .map_err(Failure::local("write", &path))?;
    Ok(info)
}

/// Reads an object, or a part of it, to `to`, for example standard output.
pub(crate) async fn write_out(
    client: &Client,
    from: &Remote,
    wanted: &ReadConditions,
    range: Option<ByteRange>,
    to: impl Write + Send + 'static,
) -> Result<(), Failure> {
    let download = open(client, from, wanted, range).await?;
    let (pieces, rest) = mpsc::channel(WRITE_BEHIND);
    let writer = tokio::task::spawn_blocking(move || write_all(to, rest));
    let fetched = fetch(from, download, &pieces, None).await;
    drop(pieces);
    let written = writer.await.unwrap_or_else(|stopped| Err(stopped.into()));
    written.map_err(Failure::Output)?;
    fetched
}

/// Reads ranges of an object, all of one version, to `to`, one after the other.
pub(crate) async fn write_ranges(
    client: &Client,
    from: &Remote,
    wanted: &ReadConditions,
    ranges: &[ByteRange],
    to: impl Write + Send + 'static,
) -> Result<(), Failure> {
    let name = (from.bucket.as_str(), from.key.as_str());
    let begun = client
        .get_ranges(name, from.generation, ranges, wanted)
        .await;
    let mut download = begun.map_err(Failure::at(from))?;
    let (pieces, rest) = mpsc::channel(WRITE_BEHIND);
    let writer = tokio::task::spawn_blocking(move || write_all(to, rest));
    let mut fetched = Ok(());
    while let Some(piece) = download.next().await {
        match piece {
            Ok(piece) => {
                if pieces.send(piece.data).await.is_err() {
                    break;
                }
            }
            Err(error) => fetched = Err(Failure::at(from)(error)),
        }
    }
    drop(pieces);
    let written = writer.await.unwrap_or_else(|stopped| Err(stopped.into()));
    written.map_err(Failure::Output)?;
    fetched
}

/// Pours a download into a file; fetching and writing go on at the same time.
async fn pour(
    from: &Remote,
    download: Download,
    partial: Partial,
    path: &Path,
    progress: &Progress,
) -> Result<Partial, Failure> {
    let (pieces, rest) = mpsc::channel(WRITE_BEHIND);
    let writer = tokio::task::spawn_blocking(move || write_all(partial, rest));
    let fetched = fetch(from, download, &pieces, Some(progress)).await;
    drop(pieces);
    let written = writer.await.unwrap_or_else(|stopped| Err(stopped.into()));
    let partial = written.map_err(Failure::local("write", path))?;
    fetched.map(|()| partial)
}

/// Ends without an error when the writer does not want more: the writer knows why.
async fn fetch(
    from: &Remote,
    mut download: Download,
    to: &mpsc::Sender<Bytes>,
    progress: Option<&Progress>,
) -> Result<(), Failure> {
    let mut moved = 0;
    while let Some(piece) = download.next().await {
        let piece = piece.inspect_err(|_| {
            if let Some(progress) = progress {
                progress.lost(moved);
            }
        });
        let piece = piece.map_err(Failure::at(from))?;
        let bytes = piece.len() as u64;
        if to.send(piece).await.is_err() {
            break;
        }
        moved += bytes;
        if let Some(progress) = progress {
            progress.moved(bytes);
        }
    }
    Ok(())
}

fn write_all<W: Write>(mut to: W, mut pieces: mpsc::Receiver<Bytes>) -> io::Result<W> {
    while let Some(piece) = pieces.blocking_recv() {
        to.write_all(&piece)?;
    }
    to.flush()?;
    Ok(to)
}

async fn blocking<T: Send + 'static>(
    job: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let done = tokio::task::spawn_blocking(job).await;
    done.unwrap_or_else(|stopped| Err(stopped.into()))
}

/// A file that is being written under another name beside its place; it goes away unless it is
/// finished.
struct Partial {
    file: File,
    target: PathBuf,
    /// `None` for pipes and devices, which are written directly.
    temporary: Option<PathBuf>,
}

impl Partial {
    fn begin(target: PathBuf) -> io::Result<Self> {
        if let Ok(metadata) = fs::metadata(&target) {
            if metadata.is_dir() {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            if !metadata.is_file() {
                let file = OpenOptions::new().write(true).open(&target)?;
                return Ok(Self {
                    file,
                    target,
                    temporary: None,
                });
            }
        }
        let name = format!(".marram-{:016x}.part", rand::random::<u64>());
        let temporary = target.with_file_name(name);
        let file = File::create_new(&temporary)?;
        Ok(Self {
            file,
            target,
            temporary: Some(temporary),
        })
    }

    /// Gives the file its name. Its time becomes that of the object, so that `sync` can compare.
    fn finish(mut self, modified_ms: i64) -> io::Result<()> {
        let Some(temporary) = &self.temporary else {
            return Ok(());
        };
        if let Ok(ms) = u64::try_from(modified_ms) {
            let at = UNIX_EPOCH + Duration::from_millis(ms);
            self.file.set_times(FileTimes::new().set_modified(at))?;
        }
        fs::rename(temporary, &self.target)?;
        self.temporary = None;
        Ok(())
    }
}

impl Write for Partial {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // Nothing is left to be done when even this fails.
            let _ = fs::remove_file(temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let dir = tempfile::tempdir().expect("a folder");
        let target = dir.path().join("a".repeat(255));
        let names = || fs::read_dir(dir.path()).expect("listed").count();
        let mut partial = Partial::begin(target.clone()).expect("begun");
        partial.write_all(b"half").expect("written");
        assert!(!target.exists());
        drop(partial);
        assert_eq!(names(), 0);
        let mut partial = Partial::begin(target.clone()).expect("begun");
        partial.write_all(b"whole").expect("written");
        partial.finish(1_000_000).expect("finished");
        assert_eq!(fs::read(&target).expect("read"), b"whole");
        let modified = fs::metadata(&target)
            .and_then(|m| m.modified())
            .expect("time");
        assert_eq!(modified, UNIX_EPOCH + Duration::from_secs(1000));
        assert_eq!(names(), 1);
        assert!(Partial::begin(dir.path().to_owned()).is_err());
    }
}
