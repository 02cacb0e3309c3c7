//! The files below a folder of this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use tokio::sync::mpsc;

use crate::failure::Failure;
use crate::paths::relative_key;

/// Files found before anybody takes them.
const AHEAD: usize = 256;
/// Folders inside each other, at most; paths end before that.
const DEPTH_MAX: usize = 2048;

/// A file below a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    /// Its path from the folder, with `/` between the parts.
    pub(crate) relative: String,
    pub(crate) size: u64,
    /// Milliseconds since 1970; 0 when the file system does not know.
    pub(crate) modified_ms: i64,
}

/// What a walk meets.
#[derive(Debug)]
pub(crate) enum Step {
    File(Found),
    /// Left out on purpose, and why.
    Skipped(PathBuf, &'static str),
    /// Could not be looked at.
    Failed(Failure),
}

/// Walks through `root` on a thread of its own: regular files, and links to such, in the order of
/// their names in each folder. Links to folders are not followed (they could lead anywhere, and in
/// circles); sockets, pipes and devices have no bytes to copy.
pub(crate) fn walk(root: PathBuf) -> mpsc::Receiver<Step> {
    let (to, from) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        // An end means that nobody wants to hear more.
        let _ = folder(&root, &root, 0, &to);
    });
    from
}

/// Nobody listens any more.
struct Unheard;

fn tell(to: &mpsc::Sender<Step>, step: Step) -> Result<(), Unheard> {
    to.blocking_send(step).map_err(|_| Unheard)
}

fn folder(root: &Path, here: &Path, depth: usize, to: &mpsc::Sender<Step>) -> Result<(), Unheard> {
    let listed = fs::read_dir(here).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut entries = match listed {
        Ok(entries) => entries,
        Err(error) => return tell(to, Step::Failed(Failure::local("read", here)(error))),
    };
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let step = match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth < DEPTH_MAX => {
                folder(root, &path, depth + 1, to)?;
                continue;
            }
            Ok(kind) if kind.is_dir() => Step::Skipped(path, "too many folders in each other"),
            Ok(kind) => file(root, path, kind.is_symlink()),
            Err(error) => Step::Failed(Failure::local("look at", &path)(error)),
        };
        tell(to, step)?;
    }
    Ok(())
}

fn file(root: &Path, path: PathBuf, is_link: bool) -> Step {
    let metadata = match fs::metadata(&path) {
        Ok(metadata) => metadata,
        Err(_) if is_link => return Step::Skipped(path, "the link leads nowhere"),
        Err(error) => return Step::Failed(Failure::local("look at", &path)(error)),
    };
    if metadata.is_dir() {
        return Step::Skipped(path, "links to folders are not followed");
    }
    if !metadata.is_file() {
        return Step::Skipped(path, "not a regular file");
    }
    let relative = path.strip_prefix(root).unwrap_or(&path);
    match relative_key(relative) {
        Ok(relative) => Step::File(Found {
            relative,
            size: metadata.len(),
            modified_ms: modified_ms(&metadata),
            path,
        }),
        Err(error) => Step::Failed(error.into()),
    }
}

/// When a file was changed, in milliseconds since 1970.
pub(crate) fn modified_ms(metadata: &fs::Metadata) -> i64 {
    metadata
        .modified()
        .ok()
        .and_then(|at| at.duration_since(UNIX_EPOCH).ok())
        .and_then(|age| i64::try_from(age.as_millis()).ok())
        .unwrap_or(0)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[tokio::test]
    async fn files_are_found_and_links_out_are_not_followed() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("b/c")).expect("made");
        fs::create_dir(dir.path().join("outside")).expect("made");
        fs::write(dir.path().join("outside/x"), "x").expect("written");
        fs::write(root.join("a"), "12345").expect("written");
        fs::write(root.join("b/c/d e"), "").expect("written");
        symlink(dir.path().join("outside"), root.join("out")).expect("linked");
        symlink("a", root.join("z")).expect("linked");
        symlink("nowhere", root.join("y")).expect("linked");
        symlink(&root, root.join("b/loop")).expect("linked");
        let mut steps = walk(root.clone());
        let (mut files, mut skipped) = (Vec::new(), Vec::new());
        while let Some(step) = steps.recv().await {
            match step {
                Step::File(found) => files.push((found.relative, found.size)),
                Step::Skipped(path, _) => skipped.push(path),
                Step::Failed(failure) => panic!("{failure}"),
            }
        }
        let want = [("a", 5), ("b/c/d e", 0), ("z", 5)].map(|(key, size)| (key.to_owned(), size));
        assert_eq!(files, want);
        assert_eq!(skipped, ["b/loop", "out", "y"].map(|name| root.join(name)));
    }
}
