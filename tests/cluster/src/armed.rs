//! Places at which a process dies: `marram_maintain::fault_point` looks for files of their names.

use std::fs;
use std::path::{Path, PathBuf};

/// The folder of the armed places. Whichever process comes to one first takes its file away and dies.
#[derive(Debug)]
pub struct Armed {
    folder: PathBuf,
}

impl Armed {
    /// A folder in which no place is armed.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        fs::create_dir_all(folder).expect("a folder can be made");
        Self {
            folder: folder.to_owned(),
        }
    }

    /// The environment variable by which servers know of the folder.
    ///
    /// # Panics
    /// When its path is not UTF-8.
    #[must_use]
    pub fn env(&self) -> (&'static str, String) {
        let folder = self.folder.to_str().expect("UTF-8");
        ("MARRAM_FAULT_DIR", folder.to_owned())
    }

    /// Has the next process die that comes to the place.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn arm(&self, place: &str) {
        fs::write(self.folder.join(place), []).expect("a file can be written");
    }

    /// Places at which nobody has died yet.
    #[must_use]
    pub fn left<'a>(&self, places: &[&'a str]) -> Vec<&'a str> {
        let is_left = |place: &&&str| self.folder.join(place).exists();
        places.iter().filter(is_left).copied().collect()
    }
}
