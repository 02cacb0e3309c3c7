//! Drives of a node are looked after beside each other: none waits for a slow one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use marram_meta::ClusterView;
use marram_types::DriveId;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Looks after each drive in a task of its own, until the view's sender is gone. A drive whose task ended gets another
/// one when it is among `drives` again, at the latest `look_every` later; so does one whose task panicked.
pub(crate) async fn each_drive<F>(
    view: &watch::Receiver<Arc<ClusterView>>,
    look_every: Duration,
    drives: impl Fn() -> Vec<DriveId>,
    look_after: impl Fn(DriveId) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    let mut running = BTreeMap::new();
    while view.has_changed().is_ok() {
        for drive in drives() {
            if !running.values().any(|known| *known == drive) {
                running.insert(tasks.spawn(look_after(drive)).id(), drive);
            }
        }
        let ended = tokio::select! {
            ended = tasks.join_next_with_id(), if !tasks.is_empty() => ended,
            () = tokio::time::sleep(look_every) => None,
        };
        match ended {
            Some(Ok((task, ()))) => {
                running.remove(&task);
            }
            Some(Err(error)) => {
                let drive = running.remove(&error.id());
                tracing::error!(?drive, %error, "work on a drive broke off, and begins anew");
                // Not at once again and again.
                tokio::time::sleep(look_every).await;
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test]
    async fn a_drive_whose_task_panicked_is_looked_after_again_and_holds_up_no_other() {
        let (sender, view) = watch::channel(Arc::default());
        let begun = Arc::new(Mutex::new(Vec::new()));
        let looks = Arc::clone(&begun);
        let look_after = move |drive: DriveId| {
            let looks = Arc::clone(&looks);
            async move {
                let first = {
                    let mut looks = looks.lock().expect("no panic holds it");
                    looks.push(drive);
                    looks.iter().filter(|known| **known == drive).count() == 1
                };
                assert!(!first || drive != DriveId(1), "the first look at drive 1");
                std::future::pending::<()>().await;
            }
        };
        let drives = || vec![DriveId(1), DriveId(2)];
        let short = Duration::from_millis(1);
        let running = tokio::spawn(async move {
            each_drive(&view, short, drives, look_after).await;
        });
        let looks = || begun.lock().expect("no panic holds it").clone();
        let began = std::time::Instant::now();
        while looks().len() < 3 {
            assert!(began.elapsed() < Duration::from_secs(30), "{:?}", looks());
            tokio::time::sleep(short).await;
        }
        drop(sender);
        running.await.expect("it ends with the view");
        let mut looked = looks();
        looked.sort();
        assert_eq!(
            looked,
            [DriveId(1), DriveId(1), DriveId(2)],
            "once each else"
        );
    }
}
