//! The files of the repository.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// Folders that hold nothing of the repository's own.
const SKIPPED: [&str; 4] = ["target", ".git", ".marram-dev", "node_modules"];
/// Generated code, which its generator and the drift test answer for.
const GENERATED: &str = "crates/marram-proto/src/gen/";

/// The repository could not be read.
#[derive(Debug)]
pub struct TreeError {
    /// What could not be read.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// A text file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its path, relative to the repository's root, with slashes.
    pub path: String,
    /// Its text; bytes that are not UTF-8 are replaced, which the ASCII rule then finds.
    pub text: String,
}

impl Source {
    /// A file made up by a test.
    #[must_use]
    pub fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    /// True when the path ends in `.ext`.
    #[must_use]
    pub fn has_extension(&self, ext: &str) -> bool {
        Path::new(&self.path)
            .extension()
            .is_some_and(|found| found == ext)
    }

    /// The crate below `crates/` that the file belongs to.
    #[must_use]
    pub fn crate_name(&self) -> Option<&str> {
        self.path.strip_prefix("crates/")?.split('/').next()
    }

    /// True for Rust code that a person wrote.
    #[must_use]
    pub fn is_rust(&self) -> bool {
        self.has_extension("rs") && !self.path.starts_with(GENERATED)
    }

    /// True for files that are compiled for tests or benchmarks only: by their folder, or named
    /// `tests.rs`, `testing.rs` or below a folder `tests` of a module.
    #[must_use]
    pub fn is_test(&self) -> bool {
        let by_folder = self
            .path
            .split('/')
            .any(|part| matches!(part, "tests" | "benches" | "examples" | "testing"));
        by_folder || self.path.ends_with("/tests.rs") || self.path.ends_with("/testing.rs")
    }
}

/// All text files of the repository.
#[derive(Debug)]
pub struct Tree {
    /// The repository's root.
    pub root: PathBuf,
    /// The files, by path.
    pub files: Vec<Source>,
}

impl Tree {
    /// Reads the repository that this package belongs to.
    ///
    /// # Errors
    /// [`TreeError`] when a folder or file cannot be read.
    pub fn read() -> Result<Self, TreeError> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let root = root
            .canonicalize()
            .map_err(|source| TreeError { path: root, source })?;
        let mut files = Vec::new();
        walk(&root, &root, &mut files)?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self { root, files })
    }

    /// The Rust files that a person wrote.
    pub fn rust(&self) -> impl Iterator<Item = &Source> {
        self.files.iter().filter(|file| file.is_rust())
    }

    /// The file at `path`.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&Source> {
        self.files.iter().find(|file| file.path == path)
    }
}

fn walk(root: &Path, folder: &Path, files: &mut Vec<Source>) -> Result<(), TreeError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| TreeError { path, source }
    };
    for entry in fs::read_dir(folder).map_err(failed(folder))? {
        let entry = entry.map_err(failed(folder))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(failed(&path))?;
        let name = entry.file_name();
        if kind.is_dir() {
            if !SKIPPED.iter().any(|skipped| name == *skipped) {
                walk(root, &path, files)?;
            }
        } else if kind.is_file() && is_text(&path) {
            let bytes = fs::read(&path).map_err(failed(&path))?;
            let relative = path.strip_prefix(root).unwrap_or(&path);
            files.push(Source {
                path: relative.to_string_lossy().replace('\\', "/"),
                text: String::from_utf8_lossy(&bytes).into_owned(),
            });
        }
    }
    Ok(())
}

fn is_text(path: &Path) -> bool {
    const EXTENSIONS: [&str; 9] = [
        "rs", "toml", "md", "proto", "yaml", "yml", "sh", "py", "txt",
    ];
    match path.extension() {
        Some(ext) => EXTENSIONS.iter().any(|known| ext == *known),
        // Scripts and root files without an extension: .ci/run, LICENSE, .gitignore.
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_repository_is_read() {
        let tree = Tree::read().expect("readable");
        assert!(tree.file("Cargo.toml").is_some());
        assert!(
            tree.file("tests/tidy/src/tree.rs")
                .is_some_and(Source::is_rust)
        );
        assert!(
            tree.files
                .iter()
                .all(|file| !file.path.starts_with("target/"))
        );
    }

    #[test]
    fn files_know_what_they_are() {
        let code = Source::new("crates/marram-meta/src/kinds/pool.rs", "");
        assert_eq!(code.crate_name(), Some("marram-meta"));
        assert!(code.is_rust() && !code.is_test());
        assert!(Source::new("crates/marram-meta/src/kinds/tests.rs", "").is_test());
        assert!(Source::new("crates/marram-mesh/tests/mesh/kit.rs", "").is_test());
        assert!(!Source::new("crates/marram-proto/src/gen/marram.v1.rs", "").is_rust());
    }
}
