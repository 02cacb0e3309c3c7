//! Keys to file names and back. A key may be anything S3 allows; a file name may not, and must
//! never leave the folder that it was meant for.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// Why a key has no file name below a folder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("key {key:?} cannot be a file name: {reason}; copy it alone and give it a name")]
pub(crate) struct UnsafeKey {
    pub(crate) key: String,
    pub(crate) reason: &'static str,
}

/// Why a file has no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path:?} cannot be a key: its name is not UTF-8")]
pub(crate) struct UnsafePath {
    pub(crate) path: PathBuf,
}

/// The path, relative to the target folder, of the part of `key` that follows a prefix.
pub(crate) fn relative_path(key: &str, rest: &str) -> Result<PathBuf, UnsafeKey> {
    let refuse = |reason| {
        Err(UnsafeKey {
            key: key.to_owned(),
            reason,
        })
    };
    if rest.is_empty() {
        return refuse("nothing is left of it after the prefix");
    }
    if rest.starts_with('/') {
        return refuse("it would be an absolute path");
    }
    for part in rest.split('/') {
        match part {
            "" => return refuse("it has an empty part, two slashes in a row or one at the end"),
            "." | ".." => return refuse("it has . or .. as a part and would leave the folder"),
            _ if part.contains('\0') => return refuse("it holds a zero byte"),
            _ => {}
        }
    }
    let path = PathBuf::from(rest);
    // What the platform makes of it decides in the end.
    if path.components().all(|c| matches!(c, Component::Normal(_))) {
        Ok(path)
    } else {
        refuse("it would leave the folder")
    }
}

/// The last part of a key, as a file name.
pub(crate) fn file_name(key: &str) -> Result<PathBuf, UnsafeKey> {
    let last = key.rsplit('/').next().unwrap_or(key);
    relative_path(key, last)
}

/// The part of a key that a path below a folder gives.
pub(crate) fn relative_key(relative: &Path) -> Result<String, UnsafePath> {
    let parts: Option<Vec<&str>> = relative.iter().map(OsStr::to_str).collect();
    parts
        .map(|parts| parts.join("/"))
        .ok_or_else(|| UnsafePath {
            path: relative.to_owned(),
        })
}

/// Makes the folders from `root` down to the one of `relative`, without ever leaving `root`: a
/// symbolic link on the way may only lead to another folder below it.
pub(crate) fn make_parents(root: &Path, relative: &Path) -> io::Result<()> {
    fs::create_dir_all(root)?;
    let home = root.canonicalize()?;
    let Some(parents) = relative.parent() else {
        return Ok(());
    };
    let mut here = root.to_owned();
    for part in parents {
        here.push(part);
        match fs::create_dir(&here) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                stays_inside(&here, &home)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn stays_inside(folder: &Path, home: &Path) -> io::Result<()> {
    let real = folder.canonicalize()?;
    if !real.is_dir() {
        let text = format!("{} is in the way: it is not a folder", folder.display());
        return Err(io::Error::new(io::ErrorKind::NotADirectory, text));
    }
    if !real.starts_with(home) {
        let text = format!("{} leads out of the target folder", folder.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn harmless_keys_are_their_own_paths() {
        for key in [
            "a",
            "a/b.jpg",
            "..a/b..",
            "a b/\u{e9}",
            "-",
            "...",
            "a\\..\\b",
            "~/x",
        ] {
            assert_eq!(relative_path(key, key), Ok(PathBuf::from(key)));
        }
    }

    #[test]
    fn keys_that_would_escape_are_refused() {
        for key in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../x",
            "a/../../x",
            "a/..",
            ".",
            "./a",
            "a//b",
            "a/",
            "a\0b",
        ] {
            assert!(relative_path(key, key).is_err(), "{key:?}");
        }
        assert!(file_name("a/..").is_err());
        assert!(file_name("a/").is_err());
        assert_eq!(file_name("../a.jpg"), Ok(PathBuf::from("a.jpg")));
    }

    #[test]
    fn paths_become_keys() {
        assert_eq!(relative_key(Path::new("a/b c")), Ok("a/b c".to_owned()));
        #[cfg(unix)]
        {
            use std::os::unix::ffi::OsStrExt;
            let odd = Path::new(OsStr::from_bytes(b"a\xff"));
            assert!(relative_key(odd).is_err());
        }
    }

    proptest! {
        /// Whatever the key: either it is refused, or joining it stays below the folder and
        /// gives the key back.
        #[test]
        fn no_key_escapes(key in "([./a\\\\]|\\PC){0,12}") {
            if let Ok(path) = relative_path(&key, &key) {
                let inside = path.components().all(|c| matches!(c, Component::Normal(_)));
                prop_assert!(inside, "{path:?}");
                prop_assert_eq!(relative_key(&path), Ok(key));
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_out_of_the_folder_are_not_followed() {
        let dir = tempfile::tempdir().expect("a folder");
        let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
        fs::create_dir_all(root.join("real")).expect("made");
        fs::create_dir(&outside).expect("made");
        std::os::unix::fs::symlink(&outside, root.join("out")).expect("linked");
        std::os::unix::fs::symlink("real", root.join("in")).expect("linked");
        let refused = make_parents(&root, Path::new("out/deep/file")).expect_err("refused");
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
        assert!(!outside.join("deep").exists());
        make_parents(&root, Path::new("in/deep/file")).expect("inside");
        assert!(root.join("real/deep").is_dir());
        make_parents(&root, Path::new("file")).expect("nothing to make");
    }
}
