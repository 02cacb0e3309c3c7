//! What is in a folder or below a prefix.

use std::path::PathBuf;

use marram_client::{Client, ListQuery};

use crate::failure::Failure;
use crate::location::{Location, Remote};
use crate::transfer::Order;
use crate::walk::{Step, walk};

/// What is known of a file or an object without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) size: u64,
    pub(super) modified_ms: i64,
    /// Of objects, so that only this version is deleted.
    pub(super) generation: Option<u64>,
}

impl Seen {
    /// Equal sizes, and the copy is not older than its source. An upload is younger than its file;
    /// a download has the time of its object.
    pub(super) fn is_copy_of(self, source: Self) -> bool {
        self.size == source.size && self.modified_ms >= source.modified_ms
    }
}

/// Where a tree of files or objects begins.
#[derive(Debug, Clone)]
pub(super) enum Tree {
    Folder(PathBuf),
    Prefix(Remote),
}

impl Tree {
    /// Reads where a tree begins.
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        match Location::parse(text)? {
            Location::Local(path) => Ok(Self::Folder(path)),
            Location::Remote(remote) => Ok(Self::Prefix(remote.with_key(remote.folder()))),
            Location::Pipe => Err(Failure::Usage("the standard streams cannot be synced")),
        }
    }
}

/// What is met in a tree.
pub(super) enum Entry {
    /// A file or an object, by its path from where the tree begins.
    Seen(String, Seen),
    Order(Order),
}

/// Meets everything in a tree; a folder that is not there is empty.
pub(super) async fn for_each(
    client: &Client,
    tree: &Tree,
    mut each: impl AsyncFnMut(Entry) -> Result<(), Failure>,
) -> Result<(), Failure> {
    match tree {
        Tree::Folder(folder) if !folder.exists() => Ok(()),
        Tree::Folder(folder) => {
            let mut steps = walk(folder.clone());
            while let Some(step) = steps.recv().await {
                let entry = match step {
                    Step::File(found) => {
                        let seen = Seen {
                            size: found.size,
                            modified_ms: found.modified_ms,
                            generation: None,
                        };
                        Entry::Seen(found.relative, seen)
                    }
                    Step::Skipped(path, why) => Entry::Order(Order::Skip(path, why)),
                    Step::Failed(failure) => Entry::Order(Order::Failed(failure)),
                };
                each(entry).await?;
            }
            Ok(())
        }
        Tree::Prefix(prefix) => {
            let mut pages = client.list(&prefix.bucket, ListQuery::all(&prefix.key));
            while let Some(page) = pages.next().await.map_err(Failure::at(prefix))? {
                for object in page.objects {
                    let seen = Seen {
                        size: object.size,
                        modified_ms: object.modified_ms,
                        generation: Some(object.generation),
                    };
                    let relative = object.key[prefix.key.len()..].to_owned();
                    each(Entry::Seen(relative, seen)).await?;
                }
            }
            Ok(())
        }
    }
}
