//! `marram sync`: one way, by size and time, or by size and checksum.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use marram_client::Client;
use tokio::sync::mpsc;

use crate::cli::SyncArgs;
use crate::commands::Context;
use crate::failure::Failure;
use crate::filter::Filter;
use crate::location::Remote;
use crate::paths::relative_path;
use crate::transfer::{Crew, JOBS_AHEAD, Job, Order, Tally};

mod compare;
mod tree;
use compare::Comparisons;
use tree::{Entry, Seen, Tree, for_each};

/// Makes the target equal to the source.
pub(super) async fn run(context: &Context<'_>, args: SyncArgs) -> Result<(), Failure> {
    let (source, target) = (Tree::parse(&args.source)?, Tree::parse(&args.target)?);
    check(&source, &target)?;
    let filter = Filter::new(&args.filter)?;
    let crew = Crew {
        client: context.client()?,
        output: Arc::clone(&context.output),
        progress: context.output.progress(),
        moving: false,
        resume: false,
        how: Arc::default(),
        jobs: args.jobs,
    };
    let (to, orders) = mpsc::channel(JOBS_AHEAD);
    let trees = Trees {
        source: &source,
        target: &target,
        filter: &filter,
        contents: args.checksum.then_some(args.jobs),
        delete: args.delete,
    };
    let find = find(&crew.client, trees, to);
    let do_it = async {
        if args.dry_run {
            dry_run(context, orders).await
        } else {
            Ok(crew.work(orders).await)
        }
    };
    let (found, tally) = tokio::join!(find, do_it);
    let tally = tally?;
    if !args.dry_run || context.output.json {
        context.output.done(&tally, || {
            format!(
                "{} copied, {} deleted, {} equal or skipped",
                tally.copied, tally.deleted, tally.skipped
            )
        })?;
    }
    found.and_then(|()| tally.verdict())
}

fn check(source: &Tree, target: &Tree) -> Result<(), Failure> {
    match (source, target) {
        (Tree::Folder(_), Tree::Folder(_)) => Err(Failure::Usage(
            "source or target must be in the cluster, as m://bucket/prefix",
        )),
        (Tree::Prefix(from), Tree::Prefix(to))
            if from.bucket == to.bucket
                && (from.key.starts_with(&to.key) || to.key.starts_with(&from.key)) =>
        {
            Err(Failure::SamePlace(from.to_string()))
        }
        (Tree::Folder(path), _) => {
            let metadata = fs::metadata(path).map_err(Failure::local("read", path))?;
            let refusal = Failure::Usage("the source must be a folder; use cp for a file");
            metadata.is_dir().then_some(()).ok_or(refusal)
        }
        _ => Ok(()),
    }
}

/// What is made equal.
struct Trees<'a> {
    source: &'a Tree,
    target: &'a Tree,
    /// What it does not take is as if it were in neither tree.
    filter: &'a Filter,
    /// Contents are compared, so many at once.
    contents: Option<u16>,
    /// What is only in the target is deleted.
    delete: bool,
}

/// Finds what differs. Nothing is deleted when the source could not be read completely: what is
/// missing from it may be there after all.
async fn find(client: &Client, trees: Trees<'_>, to: mpsc::Sender<Order>) -> Result<(), Failure> {
    let Trees {
        source,
        target,
        filter,
        contents,
        delete,
    } = trees;
    let mut present = HashMap::new();
    let mut clean = true;
    let at_once = contents.unwrap_or_default();
    let mut comparing = Comparisons::new(client.clone(), source, target, at_once);
    for_each(client, target, async |entry| {
        match entry {
            Entry::Seen(relative, _) if !filter.takes(&relative) => {}
            Entry::Seen(relative, seen) => {
                present.insert(relative, seen);
            }
            Entry::Order(order) => clean &= !matches!(order, Order::Failed(_)),
        }
        Ok(())
    })
    .await?;
    for_each(client, source, async |entry| {
        let order = match entry {
            Entry::Seen(relative, _) if !filter.takes(&relative) => return Ok(()),
            Entry::Seen(relative, seen) => {
                let order = copy_order(source, target, &relative, seen.size);
                match present.remove(&relative) {
                    Some(copy) if contents.is_some() && copy.size == seen.size => {
                        match comparing.begin(relative, order).await {
                            None => return Ok(()),
                            Some(done) => done,
                        }
                    }
                    Some(copy) if contents.is_none() && copy.is_copy_of(seen) => Order::Same,
                    _ => order,
                }
            }
            Entry::Order(order) => order,
        };
        clean &= !matches!(order, Order::Failed(_));
        send(&to, order).await
    })
    .await?;
    while let Some(order) = comparing.next().await {
        clean &= !matches!(order, Order::Failed(_));
        send(&to, order).await?;
    }
    if !delete || !clean {
        return Ok(());
    }
    for (relative, seen) in present {
        send(&to, delete_order(target, &relative, seen)).await?;
    }
    Ok(())
}

async fn send(to: &mpsc::Sender<Order>, order: Order) -> Result<(), Failure> {
    // The receiver ends only with the whole command.
    to.send(order).await.map_err(|_| Failure::Interrupted)
}

fn copy_order(source: &Tree, target: &Tree, relative: &str, size: u64) -> Order {
    let below = |place: &Remote| place.with_key(format!("{}{relative}", place.key));
    Order::Do(match (source, target) {
        (Tree::Folder(folder), Tree::Prefix(to)) => Job::Upload {
            path: folder.join(relative),
            to: below(to),
            size,
        },
        (Tree::Prefix(from), Tree::Prefix(to)) => Job::Copy {
            from: below(from),
            to: below(to),
            size,
        },
        (Tree::Prefix(from), Tree::Folder(folder)) => {
            let from = below(from);
            match relative_path(&from.key, relative) {
                Ok(relative) => Job::Download {
                    folder: folder.clone(),
                    from,
                    relative,
                    size,
                },
                Err(failure) => return Order::Failed(failure.into()),
            }
        }
        (Tree::Folder(_), Tree::Folder(_)) => {
            return Order::Failed(Failure::Usage("two folders of this machine"));
        }
    })
}

fn delete_order(target: &Tree, relative: &str, seen: Seen) -> Order {
    Order::Do(match target {
        Tree::Folder(folder) => Job::DeleteFile {
            path: folder.join(Path::new(relative)),
        },
        Tree::Prefix(prefix) => Job::DeleteObject {
            place: prefix.with_key(format!("{}{relative}", prefix.key)),
            generation: seen.generation,
        },
    })
}

/// Says what would be done.
async fn dry_run(
    context: &Context<'_>,
    mut orders: mpsc::Receiver<Order>,
) -> Result<Tally, Failure> {
    let mut tally = Tally::default();
    while let Some(order) = orders.recv().await {
        match order {
            Order::Do(job) => {
                match &job {
                    Job::DeleteObject { .. }
                    | Job::DeleteVersion { .. }
                    | Job::DeleteFile { .. } => tally.deleted += 1,
                    Job::Upload { size, .. }
                    | Job::Download { size, .. }
                    | Job::Copy { size, .. } => {
                        tally.copied += 1;
                        tally.bytes += size;
                    }
                }
                if !context.output.json {
                    context.output.line(&format!("would {}", job.describe()))?;
                }
            }
            Order::Same | Order::Skip(..) => tally.skipped += 1,
            Order::Failed(failure) => {
                tally.failed += 1;
                failure.tell(context.output.json);
            }
        }
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(size: u64, modified_ms: i64) -> Seen {
        Seen {
            size,
            modified_ms,
            generation: None,
        }
    }

    #[test]
    fn a_copy_is_as_long_and_not_older() {
        assert!(seen(5, 100).is_copy_of(seen(5, 100)));
        assert!(seen(5, 101).is_copy_of(seen(5, 100)));
        assert!(!seen(5, 99).is_copy_of(seen(5, 100)));
        assert!(!seen(6, 101).is_copy_of(seen(5, 100)));
    }

    #[test]
    fn trees_in_each_other_are_refused() {
        let tree = |text| Tree::parse(text).expect("valid");
        let refused = |a, b| check(&tree(a), &tree(b)).is_err();
        assert!(refused("m://abc/x", "m://abc/x/y"));
        assert!(refused("m://abc/x/y", "m://abc"));
        assert!(refused("a", "b"));
        assert!(!refused("m://abc/x", "m://abc/xy"));
        assert!(!refused("m://abc/x", "m://abd/x"));
    }
}
