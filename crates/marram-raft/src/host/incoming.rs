//! A snapshot of which some pieces have arrived.
//!
//! Its bytes gather in `group-N.incoming`. A note beside them, replaced every few MiB, says what
//! they are, so that a process that was restarted asks for the rest and not for all of it:
//!
//! ```text
//! version (1)  bytes of all (8)  bytes here (8)  their CRC32C (4)  name (length, text)  CRC32C of the note (4)
//! ```
//! Nothing is synced: what a power cut took from the file does not fit the note's checksum, and then
//! the transfer begins anew.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use marram_store::{OpenMode, VfsFile};
use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{crc32c, crc32c_joined};

use crate::machine::{self, INCOMING_NOTE, MachineError, Place};

/// Bytes that arrive between two notes: at most so many are sent twice after a restart.
pub(super) const NOTE_EVERY_BYTES: u64 = 4 << 20;
/// A snapshot that nobody has gone on with for so long goes: the replica was given another one, or
/// has caught up from the log.
const INCOMING_KEPT: Duration = Duration::from_secs(600);
const VERSION: u8 = 1;
/// Longest note: a name is far shorter.
const NOTE_BYTES_MAX: usize = 4096;
/// Bytes checked at once.
const CHECK_BYTES: usize = 1 << 20;

/// What a group has of a snapshot.
pub(super) struct Inbox {
    current: Option<Incoming>,
    /// The drive was asked what an earlier process of this node has left.
    looked: bool,
    used: Instant,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self {
            current: None,
            looked: false,
            used: Instant::now(),
        }
    }

    /// The snapshot that is being received, also over a restart of this node.
    pub(super) async fn current(
        &mut self,
        place: &Place,
    ) -> Result<Option<&mut Incoming>, MachineError> {
        self.used = Instant::now();
        if !self.looked {
            let place = place.clone();
            self.current = machine::blocking(move || Incoming::left_behind(&place)).await?;
            self.looked = true;
        }
        Ok(self.current.as_mut())
    }

    /// Begins another one, in the place of what was there.
    pub(super) fn begin(&mut self, place: &Place, name: Name<'_>) -> Result<(), MachineError> {
        self.looked = true;
        self.current = None;
        self.current = Some(Incoming::begin(place, name)?);
        Ok(())
    }

    pub(super) fn take(&mut self) -> Option<Incoming> {
        self.current.take()
    }

    /// Removes what nobody goes on with.
    pub(super) fn drop_old(&mut self, place: &Place) {
        let nothing = self.looked && self.current.is_none();
        if !nothing && self.used.elapsed() >= INCOMING_KEPT {
            self.forget(place);
        }
    }

    /// Removes what has arrived.
    pub(super) fn forget(&mut self, place: &Place) {
        self.looked = true;
        self.current = None;
        if let Err(error) = remove(place) {
            let group = place.group;
            tracing::warn!(%group, %error, "a part of a snapshot cannot be removed");
        }
    }
}

/// Which snapshot: its name and how many bytes it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Name<'a> {
    pub(super) id: &'a str,
    pub(super) total_bytes: u64,
}

/// A snapshot of which some pieces have arrived.
#[derive(Debug)]
pub(super) struct Incoming {
    id: String,
    total_bytes: u64,
    place: Place,
    file: Arc<dyn VfsFile>,
    len: u64,
    crc32c: u32,
    noted: u64,
}

impl Incoming {
    fn begin(place: &Place, name: Name<'_>) -> Result<Self, MachineError> {
        remove(place)?;
        Ok(Self {
            id: name.id.to_owned(),
            total_bytes: name.total_bytes,
            place: place.clone(),
            file: machine::open_incoming(place)?,
            len: 0,
            crc32c: crc32c(&[]),
            noted: 0,
        })
    }

    /// What an earlier process has received, as far as its last note; nothing when that does not fit.
    fn left_behind(place: &Place) -> Result<Option<Self>, MachineError> {
        let group = place.group;
        match Self::noted(place) {
            Ok(found) => {
                if let Some(found) = &found {
                    let (id, len, total) = (&found.id, found.len, found.total_bytes);
                    tracing::info!(%group, %id, len, total, "a part of a snapshot is here already");
                }
                Ok(found)
            }
            // A drive that cannot read it may still take it anew; one that cannot says so then.
            Err(error) => {
                tracing::warn!(%group, %error, "a part of a snapshot is of no use: it begins anew");
                remove(place)?;
                Ok(None)
            }
        }
    }

    fn noted(place: &Place) -> Result<Option<Self>, NoteError> {
        let open = |path: PathBuf| match place.vfs.open(&path, OpenMode::Existing) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        let (Some(note), Some(file)) = (open(note_path(place))?, open(place.incoming_path())?)
        else {
            return Ok(None);
        };
        let stored = note.read_vec(0, NOTE_BYTES_MAX)?;
        let found = Self::decode(place, &stored, file)?;
        let checked = crc_of(found.file.as_ref(), found.len)?;
        if checked != found.crc32c {
            return Err(NoteError::Checksum);
        }
        Ok(Some(found))
    }

    fn encode(&self) -> Vec<u8> {
        let mut note = Writer::new();
        note.u8(VERSION)
            .u64_be(self.total_bytes)
            .u64_be(self.len)
            .u32_be(self.crc32c)
            .str(&self.id);
        let crc = crc32c(note.as_slice());
        note.u32_be(crc);
        note.finish()
    }

    fn decode(place: &Place, stored: &[u8], file: Arc<dyn VfsFile>) -> Result<Self, NoteError> {
        let (body, crc) = stored.split_last_chunk::<4>().ok_or(DecodeError::Short)?;
        if crc32c(body) != u32::from_be_bytes(*crc) {
            return Err(NoteError::Checksum);
        }
        let mut from = Reader::new(body);
        from.version("version of a note of a snapshot", VERSION)?;
        let (total_bytes, len) = (from.u64_be()?, from.u64_be()?);
        let crc32c = from.u32_be()?;
        let id = from.str()?.to_owned();
        from.finish()?;
        if len >= total_bytes {
            return Err(DecodeError::Invalid("the length of a part of a snapshot").into());
        }
        Ok(Self {
            id,
            total_bytes,
            place: place.clone(),
            file,
            len,
            crc32c,
            noted: len,
        })
    }

    /// Whether it is this one. A request that only asks does not know the length yet.
    pub(super) fn is(&self, name: Name<'_>) -> bool {
        let same_length = name.total_bytes == 0 || name.total_bytes == self.total_bytes;
        self.id == name.id && same_length
    }

    /// How many of its bytes are here, from the first one on.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn is_complete(&self) -> bool {
        self.len >= self.total_bytes
    }

    /// The checksum of all that is here.
    pub(super) fn crc32c(&self) -> u32 {
        self.crc32c
    }

    pub(super) fn file(&self) -> &dyn VfsFile {
        self.file.as_ref()
    }

    /// Adds the next piece.
    pub(super) async fn write(&mut self, piece: &Bytes) -> Result<(), MachineError> {
        let (file, bytes, offset) = (self.file.clone(), piece.clone(), self.len);
        let written = machine::blocking(move || file.write_at(offset, &bytes)).await;
        written.map_err(|error| self.place.io(error))?;
        self.len += piece.len() as u64;
        self.crc32c = crc32c_joined(self.crc32c, crc32c(piece), piece.len() as u64);
        if self.len >= self.noted + NOTE_EVERY_BYTES && !self.is_complete() {
            let (place, note) = (self.place.clone(), self.encode());
            let noted = machine::blocking(move || write_note(&place, &note)).await;
            noted.map_err(|error| self.place.io(error))?;
            self.noted = self.len;
        }
        Ok(())
    }

    /// Removes it from the drive.
    pub(super) fn remove(self) -> Result<(), MachineError> {
        remove(&self.place)
    }
}

/// Why a note is of no use.
#[derive(Debug, thiserror::Error)]
enum NoteError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("the checksum does not fit")]
    Checksum,
}

fn note_path(place: &Place) -> PathBuf {
    place.dir.join(format!("{}{INCOMING_NOTE}", place.stem()))
}

fn write_note(place: &Place, note: &[u8]) -> io::Result<()> {
    let path = note_path(place);
    let fresh = path.with_extension("fresh-note");
    remove_file(place, &fresh)?;
    let file = place.vfs.open(&fresh, OpenMode::CreateNew)?;
    file.write_at(0, note)?;
    place.vfs.rename(&fresh, &path)
}

/// The note goes first: bytes without one are no part of anything.
fn remove(place: &Place) -> Result<(), MachineError> {
    let removed = remove_file(place, &note_path(place))
        .and_then(|()| remove_file(place, &place.incoming_path()));
    removed.map_err(|error| place.io(error))
}

fn remove_file(place: &Place, path: &std::path::Path) -> io::Result<()> {
    match place.vfs.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn crc_of(file: &dyn VfsFile, len: u64) -> io::Result<u32> {
    let mut crc = marram_types::Crc32c::default();
    let (mut at, mut buffer) = (0, vec![0; CHECK_BYTES]);
    while at < len {
        let count = usize::try_from(len - at).map_or(CHECK_BYTES, |left| left.min(CHECK_BYTES));
        file.read_at(at, &mut buffer[..count])?;
        crc.update(&buffer[..count]);
        at += count as u64;
    }
    Ok(crc.value())
}

#[cfg(test)]
mod tests;
