//! A small file of the drive that is replaced whole: `marram.note`.
//!
//! ```text
//! magic "MARRAMNT" | format u8 = 1 | bytes | crc32c u32 of everything before
//! ```
//!
//! What is in it is the caller's. A note that is damaged counts as none: it is never the only place of
//! anything that matters.

use std::io;

use marram_types::crc32c;

use super::store::Store;
use crate::vfs::OpenMode;

const NAME: &str = "marram.note";
const TEMP_NAME: &str = "marram.note.tmp";
const MAGIC: &[u8; 9] = b"MARRAMNT\x01";
/// Most bytes that are read of a note.
const BYTES_MAX: usize = 64 * 1024;

/// Reads the note.
pub(super) fn read(store: &Store) -> Option<Vec<u8>> {
    let path = store.root.join(NAME);
    let file = store.vfs.open(&path, OpenMode::Existing).ok()?;
    let bytes = file.read_vec(0, BYTES_MAX).ok()?;
    let note = unframe(&bytes);
    if note.is_none() {
        tracing::warn!(path = %path.display(), "a damaged note is left out of account");
    }
    note
}

fn unframe(bytes: &[u8]) -> Option<Vec<u8>> {
    let (body, crc) = bytes.split_last_chunk::<4>()?;
    let note = body.strip_prefix(MAGIC)?;
    (crc32c(body) == u32::from_be_bytes(*crc)).then(|| note.to_vec())
}

/// Replaces the note.
pub(super) fn keep(store: &Store, note: &[u8]) -> io::Result<()> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(note);
    let crc = crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_be_bytes());
    let temp = store.root.join(TEMP_NAME);
    let file = store.vfs.open(&temp, OpenMode::OpenOrCreate)?;
    file.set_len(0)?;
    file.write_at(0, &bytes)?;
    file.sync_data()
        .inspect_err(|error| store.sync_failed(error))?;
    store.vfs.rename(&temp, &store.root.join(NAME))?;
    store
        .vfs
        .sync_dir(&store.root)
        .inspect_err(|error| store.sync_failed(error))
}
