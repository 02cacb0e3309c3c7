//! The file of the bundle: a compressed tar, which has its name only when it is complete.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use tar::{Builder, Header};

use crate::failure::Failure;
use crate::nameless::without_objects;

/// A bundle that is being written.
pub(super) struct Archive {
    to: Builder<GzEncoder<BufWriter<File>>>,
    path: PathBuf,
    part: PathBuf,
    /// What everything in it lies in: nobody wants many files where the bundle is unpacked.
    folder: String,
    modified_s: u64,
    entries: usize,
    /// Whether names of objects stay in it.
    names: bool,
    complete: bool,
}

impl Archive {
    /// Begins one. Nobody but its owner may read it.
    pub(super) fn create(path: &Path, names: bool) -> Result<Self, Failure> {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let stem = name
            .strip_suffix(".tar.gz")
            .or_else(|| name.strip_suffix(".tgz"));
        let Some(stem) = stem.filter(|stem| !stem.is_empty()) else {
            return Err(Failure::Usage(
                "name a file that ends in .tar.gz or .tgz: the bundle is a tar, compressed with gzip",
            ));
        };
        let failed = |error| Failure::local("write", path)(error);
        if path.exists() {
            return Err(failed(io::ErrorKind::AlreadyExists.into()));
        }
        let part = path.with_file_name(format!(".{name}.part"));
        // One that was left behind may belong to somebody else, or lead elsewhere.
        match std::fs::remove_file(&part) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Failure::local("replace", &part)(error));
            }
            _ => {}
        }
        let mut how = File::options();
        let file = how.write(true).create_new(true).mode(0o600);
        let file = file.open(&part).map_err(Failure::local("write", &part))?;
        let to = GzEncoder::new(BufWriter::new(file), Compression::default());
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Ok(Self {
            to: Builder::new(to),
            path: path.to_owned(),
            folder: stem.to_owned(),
            part,
            modified_s: since.map_or(0, |since| since.as_secs()),
            entries: 0,
            names,
            complete: false,
        })
    }

    /// Adds a file.
    pub(super) fn text(&mut self, name: &str, text: &str) -> Result<(), Failure> {
        let text = match self.names {
            true => Cow::Borrowed(text),
            false => without_objects(text),
        };
        let mut header = Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(self.modified_s);
        let name = format!("{}/{name}", self.folder);
        let added = self.to.append_data(&mut header, name, text.as_bytes());
        self.entries += 1;
        added.map_err(Failure::local("write", &self.part))
    }

    /// Adds a value as JSON that people can read.
    pub(super) fn json(&mut self, name: &str, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value);
        let text = text.map_err(|error| Failure::local("write", &self.part)(error.into()))?;
        self.text(name, &text)
    }

    /// Ends it and gives it its name: how many files it has, and bytes.
    pub(super) fn finish(mut self) -> Result<(usize, u64), Failure> {
        let mut write = || -> io::Result<u64> {
            self.to.finish()?;
            let gzip = self.to.get_mut();
            gzip.try_finish()?;
            let file = gzip.get_mut();
            file.flush()?;
            file.get_ref().sync_all()?;
            let bytes = file.get_ref().metadata()?.len();
            // Unlike a renaming it refuses where something has come to be there.
            std::fs::hard_link(&self.part, &self.path)?;
            Ok(bytes)
        };
        let bytes = write().map_err(Failure::local("write", &self.path))?;
        self.complete = true;
        Ok((self.entries, bytes))
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.part)
            && self.complete
        {
            tracing::debug!(%error, part = %self.part.display(), "a second name of the bundle stays");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_bundle_is_there_when_it_is_complete_and_has_what_was_put_into_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.tar.gz");
        let mut archive = Archive::create(&path, false).expect("made");
        archive
            .text("deep/er.txt", "hello <m://b/k>")
            .expect("added");
        archive.json("v.json", &[1, 2]).expect("added");
        assert!(!path.exists());
        let (entries, bytes) = archive.finish().expect("ended");
        let file = File::open(&path).expect("there");
        assert_eq!((entries, bytes), (2, file.metadata().expect("read").len()));
        let mut unpacked = tar::Archive::new(flate2::read::GzDecoder::new(file));
        let mut entries = unpacked.entries().expect("a tar");
        let mut first = entries.next().expect("two").expect("whole");
        assert_eq!(
            first.path().expect("a path").to_str(),
            Some("x/deep/er.txt")
        );
        let mut text = String::new();
        first.read_to_string(&mut text).expect("read");
        assert_eq!(text, "hello <an object>", "without names");
        assert_eq!(std::fs::read_dir(folder.path()).expect("read").count(), 1);
    }

    #[test]
    fn nothing_is_left_of_one_that_broke_off_and_nothing_is_written_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.tgz");
        drop(Archive::create(&path, false).expect("made"));
        assert_eq!(std::fs::read_dir(folder.path()).expect("read").count(), 0);
        std::fs::write(&path, "mine").expect("written");
        assert!(Archive::create(&path, false).is_err());
        for wrong in ["x.zip", ".tar.gz", "x.tar.zst", ""] {
            assert!(
                matches!(
                    Archive::create(Path::new(wrong), false),
                    Err(Failure::Usage(_))
                ),
                "{wrong}"
            );
        }
    }
}
