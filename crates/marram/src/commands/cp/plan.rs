//! What a copy consists of: which object goes where.

use std::path::{Path, PathBuf};

use marram_client::{Client, ListQuery};
use tokio::sync::mpsc;

use super::{is_folder, key_below, resolved};
use crate::failure::Failure;
use crate::location::{Location, Remote};
use crate::paths::{UnsafePath, file_name, relative_path};
use crate::transfer::{Job, Order, look};
use crate::walk::{Step, walk};

/// The job of one source that is not a folder. With `into`, the target is a folder for sure.
pub(super) async fn single(
    client: &Client,
    source: &Location,
    target: &Location,
    into: bool,
) -> Result<Job, Failure> {
    match (source, target) {
        (Location::Local(path), Location::Remote(to)) => upload(path, to, into).await,
        (Location::Remote(from), Location::Local(path)) => {
            let size = size_of(client, from).await?;
            let (folder, relative) = if into || is_folder(path) {
                (path.clone(), file_name(&from.key)?)
            } else {
                split(&resolved(path.clone()))?
            };
            Ok(Job::Download {
                from: from.clone(),
                folder,
                relative,
                size,
            })
        }
        (Location::Remote(from), Location::Remote(to)) => {
            let size = size_of(client, from).await?;
            let name = from.key.rsplit('/').next().unwrap_or(&from.key);
            let to = key_below(to, name, into);
            if to == *from {
                return Err(Failure::SamePlace(from.to_string()));
            }
            Ok(Job::Copy {
                from: from.clone(),
                to,
                size,
            })
        }
        _ => Err(Failure::Usage(
            "source or target must be in the cluster, as m://bucket/key",
        )),
    }
}

async fn upload(path: &Path, to: &Remote, into: bool) -> Result<Job, Failure> {
    let metadata = tokio::fs::metadata(path)
        .await
        .map_err(Failure::local("read", path))?;
    if metadata.is_dir() {
        return Err(Failure::IsFolder(path.to_owned()));
    }
    let unsafe_path = || UnsafePath {
        path: path.to_owned(),
    };
    let name = path.file_name().and_then(|name| name.to_str());
    let to = key_below(to, name.ok_or_else(unsafe_path)?, into);
    Ok(Job::Upload {
        path: path.to_owned(),
        to,
        size: metadata.len(),
    })
}

async fn size_of(client: &Client, from: &Remote) -> Result<u64, Failure> {
    if from.key.is_empty() {
        return Err(Failure::Usage(
            "the source is a bucket; use -r to take everything in it",
        ));
    }
    look(client, from).await.map(|info| info.size)
}

/// Folder and name of a file.
fn split(path: &Path) -> Result<(PathBuf, PathBuf), Failure> {
    let name = path
        .file_name()
        .ok_or(Failure::Usage("the target has no file name"))?;
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    Ok((folder, PathBuf::from(name)))
}

/// Finds the jobs of everything below a folder or prefix.
pub(super) async fn recursive(
    client: &Client,
    source: &Location,
    target: &Location,
    to: &mpsc::Sender<Order>,
) -> Result<(), Failure> {
    match (source, target) {
        (Location::Local(folder), Location::Remote(target)) => {
            let prefix = target.folder();
            let mut steps = walk(folder.clone());
            while let Some(step) = steps.recv().await {
                let order = match step {
                    Step::File(found) => Order::Do(Job::Upload {
                        to: target.with_key(format!("{prefix}{}", found.relative)),
                        path: found.path,
                        size: found.size,
                    }),
                    Step::Skipped(path, why) => Order::Skip(path, why),
                    Step::Failed(failure) => Order::Failed(failure),
                };
                if to.send(order).await.is_err() {
                    break;
                }
            }
            Ok(())
        }
        (Location::Remote(from), target) => objects(client, from, target, to).await,
        _ => Err(Failure::Usage(
            "source or target must be in the cluster, as m://bucket/key",
        )),
    }
}

async fn objects(
    client: &Client,
    from: &Remote,
    target: &Location,
    to: &mpsc::Sender<Order>,
) -> Result<(), Failure> {
    let prefix = from.folder();
    let mut pages = client.list(&from.bucket, ListQuery::all(&prefix));
    let mut empty = true;
    while let Some(page) = pages.next().await.map_err(Failure::at(from))? {
        for object in page.objects {
            empty = false;
            let place = from.with_key(object.key);
            let order = object_order(place, &prefix, object.size, target);
            if to.send(order).await.is_err() {
                return Ok(());
            }
        }
    }
    if empty && !prefix.is_empty() {
        return Err(Failure::NothingThere(from.with_key(prefix).to_string()));
    }
    Ok(())
}

fn object_order(from: Remote, prefix: &str, size: u64, target: &Location) -> Order {
    let rest = from.key.strip_prefix(prefix).unwrap_or(&from.key);
    match target {
        Location::Remote(target) => Order::Do(Job::Copy {
            to: target.with_key(format!("{}{rest}", target.folder())),
            from,
            size,
        }),
        // Some programs keep folders as empty objects with a slash at the end.
        Location::Local(folder) if size == 0 && (rest.is_empty() || rest.ends_with('/')) => {
            Order::Skip(
                folder.join(rest.trim_matches('/')),
                "an empty object for a folder",
            )
        }
        Location::Local(folder) => match relative_path(&from.key, rest) {
            Ok(relative) => Order::Do(Job::Download {
                folder: folder.clone(),
                relative,
                from,
                size,
            }),
            Err(failure) => Order::Failed(failure.into()),
        },
        Location::Pipe => Order::Failed(Failure::Usage("- takes one object only")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(text: &str) -> Remote {
        Remote::parse(text).expect("valid")
    }

    #[test]
    fn keys_below_a_folder_never_escape_it() {
        let target = Location::Local(PathBuf::from("/t"));
        let order = |key: &str| object_order(remote(&format!("m://abc/p/{key}")), "p/", 1, &target);
        let Order::Do(Job::Download {
            folder, relative, ..
        }) = order("a/b")
        else {
            panic!("a download");
        };
        assert_eq!(folder.join(relative), Path::new("/t/a/b"));
        for bad in ["../x", "/etc/passwd", "a/../../x", "a//b", ".."] {
            assert!(
                matches!(order(bad), Order::Failed(Failure::UnsafeKey(_))),
                "{bad}"
            );
        }
    }

    #[test]
    fn the_target_of_one_file() {
        let below = |target: &str, into| key_below(&remote(target), "f", into).key;
        assert_eq!(below("m://abc", false), "f");
        assert_eq!(below("m://abc/x", false), "x");
        assert_eq!(below("m://abc/x/", false), "x/f");
        assert_eq!(below("m://abc/x", true), "x/f");
    }
}
