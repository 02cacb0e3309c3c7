//! What runs beside the API until this process stops. Each task has a name, and none may end on its own
//! account: a server whose mover panicked would go on leading while nothing moves, and nobody would know.
//! So the process stops in order, says which task it was, and fails: whoever supervises it starts it anew.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Mutex, PoisonError};

use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// How a task is allowed to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    /// Not before the process stops.
    Stopped,
    /// When its work is done.
    Done,
}

/// A task that is no more, though the process was not to stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the task `{name}` {how}: this server cannot go on without it and ends, to be started again"
)]
pub(super) struct Lost {
    /// Which.
    name: &'static str,
    /// In which way it ended.
    how: String,
}

/// The tasks of this process.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    running: JoinSet<()>,
    names: HashMap<Id, (&'static str, Until)>,
}

impl Tasks {
    /// Runs what goes on until the process stops.
    pub(super) fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.add(name, Until::Stopped, task);
    }

    /// Runs what has an end.
    pub(super) fn spawn_finite(
        &mut self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.add(name, Until::Done, task);
    }

    fn add(
        &mut self,
        name: &'static str,
        until: Until,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let id = self.running.spawn(task).id();
        self.names.insert(id, (name, until));
    }

    /// The first task that is lost; none is while `stop` says that the process stops. Withdrawn, it may be
    /// asked again.
    pub(super) async fn lost(&mut self, stop: &CancellationToken) -> Lost {
        loop {
            let Some(ended) = self.running.join_next_with_id().await else {
                return std::future::pending().await;
            };
            let (id, how) = match ended {
                Ok((id, ())) => (id, None),
                Err(error) => (error.id(), Some(panicked(error))),
            };
            let (name, until) = self.names.remove(&id).expect("every task has a name");
            if stop.is_cancelled() || (how.is_none() && until == Until::Done) {
                tracing::debug!(task = name, ?how, "a task has ended");
                continue;
            }
            let how = how.unwrap_or_else(|| "has ended".to_owned());
            let lost = Lost { name, how };
            tracing::error!(task = name, error = %lost, "a task was lost");
            return lost;
        }
    }

    /// Runs `serving`, which ends when `stop` says so. When a task is lost, it is ended in the same order as on
    /// any other stop: what this server leads goes to others, and calls that are under way may end. `fate` is
    /// for whoever gives up waiting for that.
    ///
    /// # Errors
    /// Those of `serving`, and a task that was lost.
    pub(super) async fn beside(
        &mut self,
        serving: impl Future<Output = anyhow::Result<()>>,
        (stop, fate): (&CancellationToken, &Fate),
    ) -> anyhow::Result<()> {
        let mut serving = std::pin::pin!(serving);
        tokio::select! {
            served = &mut serving => return served,
            lost = self.lost(stop) => fate.decide(lost),
        }
        stop.cancel();
        let ended = serving.await;
        fate.judge().and(ended)
    }

    /// Ends all of them.
    pub(super) async fn shutdown(&mut self) {
        self.running.shutdown().await;
    }
}

fn panicked(error: JoinError) -> String {
    if !error.is_panic() {
        return "was cancelled".to_owned();
    }
    let why = error.into_panic();
    let said = why.downcast_ref::<&str>().map(|said| (*said).to_owned());
    let said = said.or_else(|| why.downcast_ref::<String>().cloned());
    format!("panicked: {}", said.as_deref().unwrap_or("without a word"))
}

/// What became of the process, for the one that gives up waiting for its orderly stop.
#[derive(Debug, Default)]
pub(super) struct Fate(Mutex<Option<Lost>>);

impl Fate {
    /// A task was lost.
    pub(super) fn decide(&self, lost: Lost) {
        let mut fate = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        fate.get_or_insert(lost);
    }

    /// An error when a task was lost.
    pub(super) fn judge(&self) -> anyhow::Result<()> {
        let fate = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        fate.clone().map_or(Ok(()), |lost| Err(lost.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn lost(name: &'static str, how: &str) -> Lost {
        let how = how.to_owned();
        Lost { name, how }
    }

    #[tokio::test]
    async fn a_task_that_panics_is_lost_and_named() {
        let (mut tasks, stop) = (Tasks::default(), CancellationToken::new());
        tasks.spawn("goes on", std::future::pending());
        tasks.spawn("mover", async { panic!("a row of {}", 3) });
        let one = tasks.lost(&stop).await;
        assert_eq!(one, lost("mover", "panicked: a row of 3"));
        assert!(one.to_string().contains("`mover` panicked"), "{one}");
        tasks.spawn_finite("report", async { panic!("no") });
        assert_eq!(tasks.lost(&stop).await, lost("report", "panicked: no"));
        tasks.shutdown().await;
    }

    #[tokio::test]
    async fn a_task_that_ends_is_lost_unless_it_has_an_end() {
        let (mut tasks, stop) = (Tasks::default(), CancellationToken::new());
        tasks.spawn_finite("report", async {});
        tasks.spawn_finite("version report", async {});
        {
            let mut waits = std::pin::pin!(tasks.lost(&stop));
            while tokio::runtime::Handle::current()
                .metrics()
                .num_alive_tasks()
                > 0
            {
                assert!(futures::poll!(&mut waits).is_pending());
                tokio::task::yield_now().await;
            }
            assert!(futures::poll!(&mut waits).is_pending(), "all is done");
        }
        tasks.spawn("view", async {});
        assert_eq!(tasks.lost(&stop).await, lost("view", "has ended"));
    }

    #[tokio::test]
    async fn nothing_is_lost_when_the_process_stops() {
        let (mut tasks, stop) = (Tasks::default(), CancellationToken::new());
        stop.cancel();
        tasks.spawn("leave", async {});
        tasks.spawn("mover", async { panic!("its peers are gone") });
        let mut waits = std::pin::pin!(tasks.lost(&stop));
        while tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
            > 0
        {
            assert!(futures::poll!(&mut waits).is_pending());
            tokio::task::yield_now().await;
        }
        assert!(futures::poll!(&mut waits).is_pending());
    }

    /// Serves until the stop, and says so in `ended`.
    async fn serve(stop: CancellationToken, ended: &AtomicBool) -> anyhow::Result<()> {
        stop.cancelled().await;
        ended.store(true, Ordering::Relaxed);
        Ok(())
    }

    #[tokio::test]
    async fn a_process_that_loses_a_task_stops_in_order_and_fails() {
        let (mut tasks, fate) = (Tasks::default(), Fate::default());
        let (stop, ended) = (CancellationToken::new(), AtomicBool::new(false));
        tasks.spawn("mover", async { panic!("a row") });
        let serving = serve(stop.clone(), &ended);
        let failed = tasks.beside(serving, (&stop, &fate)).await;
        let said = failed.expect_err("it failed").to_string();
        assert!(said.contains("`mover` panicked: a row"), "{said}");
        assert!(ended.load(Ordering::Relaxed), "what it served was ended");
        assert!(fate.judge().is_err(), "also for who does not wait for it");
    }

    #[tokio::test]
    async fn a_process_that_is_stopped_ends_well() {
        let (mut tasks, fate) = (Tasks::default(), Fate::default());
        let (stop, ended) = (CancellationToken::new(), AtomicBool::new(false));
        tasks.spawn("mover", std::future::pending());
        let told = stop.clone();
        tasks.spawn("stop", async move { told.cancelled().await });
        stop.cancel();
        let serving = serve(stop.clone(), &ended);
        tasks
            .beside(serving, (&stop, &fate))
            .await
            .expect("it ends well");
        assert!(fate.judge().is_ok());
    }

    #[test]
    fn a_process_that_lost_a_task_fails() {
        let fate = Fate::default();
        assert!(fate.judge().is_ok());
        fate.decide(lost("mover", "has ended"));
        fate.decide(lost("view", "has ended"));
        let said = fate.judge().expect_err("it failed").to_string();
        assert!(said.contains("`mover`"), "the first one: {said}");
    }
}
