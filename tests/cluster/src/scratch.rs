//! A folder that goes with the test, or stays when the test fails.

use std::path::{Path, PathBuf};

/// A temporary folder. It is removed when this is dropped, unless the thread panics: then it stays
/// and the test says where.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes a folder named after the test.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let made = tempfile::Builder::new()
            .prefix(&format!("marram-{name}-"))
            .tempdir();
        Self {
            path: made.expect("a temporary folder can be made").keep(),
        }
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the folder of this test stays: {}", self.path.display());
        } else {
            // What cannot be removed lies in the folder for temporary files.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}
