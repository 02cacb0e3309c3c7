//! Commands and queries from any node to the replica that can take them.
//!
//! In steady state the leader is known and the first try is the right one; after a change of
//! leader one redirect finds the new one. What stays unknown is tried again with the same bytes:
//! a command's request id lets `apply` answer a second attempt with the first one's outcome
//! (rules.md 14), and commands without one repeat harmlessly.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use marram_types::{GroupId, ReplicaId};
use parking_lot::RwLock;
use rand::RngExt;

use crate::host::RaftHost;

mod call;

pub use call::{CallError, RemoteCall, RouteError};

/// Longest wait for one replica, so that a leader cut off from its group does not use up all the
/// time there is.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
/// First pause between attempts; it doubles.
const BACKOFF_MIN: Duration = Duration::from_millis(10);
/// Longest pause.
const BACKOFF_MAX: Duration = Duration::from_millis(250);
/// Redirects in a row that are followed without a pause.
const REDIRECTS_AT_ONCE: u32 = 1;

/// What is known of a group.
#[derive(Debug, Default, Clone)]
struct Route {
    voters: Vec<ReplicaId>,
    /// The replica that last answered as the leader or was named as it.
    leader: Option<ReplicaId>,
}

/// Finds the replica for each request.
pub struct Router {
    host: Option<Arc<RaftHost>>,
    remote: Arc<dyn RemoteCall>,
    routes: RwLock<HashMap<GroupId, Route>>,
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Router")
            .field("host", &self.host)
            .field("routes", &self.routes)
            .finish_non_exhaustive()
    }
}

/// The state of one request.
struct Search {
    group: GroupId,
    deadline: Instant,
    /// Where the next attempt goes, when somebody said so.
    next: Option<ReplicaId>,
    /// Which voter comes next when nobody knows better.
    turn: usize,
    redirects: u32,
    pause: Duration,
    unknown: bool,
    last: CallError,
}

impl Search {
    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    fn give_up(self) -> RouteError {
        match self.last {
            // An attempt that may have been carried out is not undone by a later refusal.
            _ if self.unknown => RouteError::OutcomeUnknown,
            CallError::Refused(why) => RouteError::Refused(why),
            CallError::Overloaded => RouteError::Overloaded(self.group),
            CallError::NoRoom => RouteError::NoRoom(self.group),
            last => RouteError::Unavailable {
                group: self.group,
                last: last.to_string(),
            },
        }
    }
}

impl Router {
    /// A router that uses the replicas of `host` when there is one, and others through `remote`.
    #[must_use]
    pub fn new(host: Option<Arc<RaftHost>>, remote: Arc<dyn RemoteCall>) -> Self {
        Self {
            host,
            remote,
            routes: RwLock::default(),
        }
    }

    /// Says who votes in each group; the first of them is tried first. Called whenever the root
    /// group's view changes. Groups that are not named keep their routes.
    pub fn set_voters(&self, groups: impl IntoIterator<Item = (GroupId, Vec<ReplicaId>)>) {
        let mut routes = self.routes.write();
        for (group, voters) in groups {
            routes.entry(group).or_default().voters = voters;
        }
    }

    /// The leader of a group as this node knows it.
    #[must_use]
    pub fn leader(&self, group: GroupId) -> Option<ReplicaId> {
        let local = self.host.as_ref().and_then(|host| host.leader(group));
        local.or_else(|| self.routes.read().get(&group)?.leader)
    }

    /// Proposes a sealed command to a group and returns its encoded outcome.
    ///
    /// # Errors
    /// `OutcomeUnknown` when an attempt may have been or may yet be carried out; after all other
    /// errors it was not.
    pub async fn propose(
        &self,
        group: GroupId,
        command: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, RouteError> {
        let mut search = self.search(group, timeout);
        loop {
            let target = self.pick(&mut search)?;
            let wait = search.left().min(ATTEMPT_TIMEOUT);
            let answer = match self.local(target) {
                Some(host) => host
                    .propose(group, &command, wait)
                    .await
                    .map_err(CallError::from),
                None => {
                    self.remote
                        .propose(target, group, command.clone(), wait)
                        .await
                }
            };
            match answer {
                Ok(outcome) => {
                    self.learn(group, Some(target));
                    return Ok(outcome);
                }
                Err(error) => search = self.after(search, target, error).await?,
            }
        }
    }

    /// Asks a group and returns the encoded answer with the index of the view. Without
    /// `linearizable` a replica on this node answers from what it has applied; it may be behind.
    ///
    /// # Errors
    /// See [`RouteError`]; never `OutcomeUnknown`.
    pub async fn query(
        &self,
        group: GroupId,
        query: Bytes,
        linearizable: bool,
        timeout: Duration,
    ) -> Result<(Bytes, u64), RouteError> {
        let mut search = self.search(group, timeout);
        let here = self
            .host
            .as_ref()
            .filter(|host| host.applied_watch(group).is_some());
        if let Some(host) = here.filter(|_| !linearizable) {
            search.next = Some(host.replica());
        }
        loop {
            let target = self.pick(&mut search)?;
            let wait = search.left().min(ATTEMPT_TIMEOUT);
            let answer = match self.local(target) {
                Some(host) => {
                    let asked = host.query(group, &query, linearizable);
                    match tokio::time::timeout(wait, asked).await {
                        Ok(answer) => answer.map_err(CallError::from),
                        Err(_) => Err(CallError::Unavailable("no answer in time".to_owned())),
                    }
                }
                None => {
                    let query = query.clone();
                    self.remote
                        .query(target, group, query, linearizable, wait)
                        .await
                }
            };
            match answer {
                Ok(answer) => {
                    if linearizable {
                        self.learn(group, Some(target));
                    }
                    return Ok(answer);
                }
                // Asking changes nothing, so an answer that was lost is no more than a failure.
                Err(CallError::Unknown) => {
                    let error = CallError::Unavailable("the answer was lost".to_owned());
                    search = self.after(search, target, error).await?;
                }
                Err(error) => search = self.after(search, target, error).await?,
            }
        }
    }

    /// Asks a replica, one on this node where there is one, and returns the encoded answer with the index
    /// of the view: as soon as that replica has applied `at_least`, or else after `wait`, whatever it has
    /// by then.
    ///
    /// # Errors
    /// See [`RouteError`]; never `OutcomeUnknown`.
    pub async fn query_at(
        &self,
        group: GroupId,
        query: Bytes,
        at_least: u64,
        wait: Duration,
    ) -> Result<(Bytes, u64), RouteError> {
        let here = { self.host.as_ref() }.filter(|host| host.applied_watch(group).is_some());
        if let Some(host) = here
            && let Ok(answer) = host.query_at(group, &query, at_least, wait).await
        {
            return Ok(answer);
        }
        let until = Instant::now() + wait;
        let mut search = self.search(group, wait + ATTEMPT_TIMEOUT);
        loop {
            let target = self.pick(&mut search)?;
            if self.local(target).is_some() {
                let error =
                    CallError::Unavailable("this node's replica does not answer".to_owned());
                search = self.after(search, target, error).await?;
                continue;
            }
            let left = until.saturating_duration_since(Instant::now());
            let asked = self
                .remote
                .query_at(target, group, query.clone(), at_least, left);
            match asked.await {
                Ok(answer) => return Ok(answer),
                Err(CallError::Unknown) => {
                    let error = CallError::Unavailable("the answer was lost".to_owned());
                    search = self.after(search, target, error).await?;
                }
                Err(error) => search = self.after(search, target, error).await?,
            }
        }
    }

    fn search(&self, group: GroupId, timeout: Duration) -> Search {
        Search {
            group,
            deadline: Instant::now() + timeout,
            next: self.leader(group),
            turn: 0,
            redirects: 0,
            pause: BACKOFF_MIN,
            unknown: false,
            last: CallError::Unavailable("no time was left to ask".to_owned()),
        }
    }

    fn local(&self, target: ReplicaId) -> Option<&RaftHost> {
        let host = self.host.as_deref()?;
        (host.replica() == target).then_some(host)
    }

    /// The named replica, or the voters in turn; a replica on this node when no voter is known.
    fn pick(&self, search: &mut Search) -> Result<ReplicaId, RouteError> {
        if let Some(named) = search.next.take() {
            return Ok(named);
        }
        let routes = self.routes.read();
        let voters = routes
            .get(&search.group)
            .map_or(&[][..], |route| &route.voters);
        let turn = search.turn;
        search.turn += 1;
        if let Some(voter) = voters.get(turn.checked_rem(voters.len()).unwrap_or(0)) {
            return Ok(*voter);
        }
        let here = self
            .host
            .as_ref()
            .filter(|host| host.status(search.group).is_some());
        here.map(|host| host.replica())
            .ok_or(RouteError::NoRoute(search.group))
    }

    fn learn(&self, group: GroupId, leader: Option<ReplicaId>) {
        let known = self
            .routes
            .read()
            .get(&group)
            .and_then(|route| route.leader);
        if known != leader {
            self.routes.write().entry(group).or_default().leader = leader;
        }
    }

    /// Where to go after a failed attempt, and when.
    async fn after(
        &self,
        mut search: Search,
        target: ReplicaId,
        error: CallError,
    ) -> Result<Search, RouteError> {
        let mut at_once = false;
        match &error {
            CallError::NotLeader { leader } => {
                let named = leader.filter(|leader| *leader != target);
                search.next = named;
                search.redirects += 1;
                at_once = named.is_some() && search.redirects <= REDIRECTS_AT_ONCE;
                self.learn(search.group, named);
            }
            CallError::Unavailable(_) => self.learn(search.group, None),
            CallError::Unknown => {
                search.unknown = true;
                self.learn(search.group, None);
            }
            CallError::Overloaded => search.next = Some(target),
            CallError::NoRoom | CallError::Refused(_) => {}
        }
        let refused = matches!(error, CallError::NoRoom | CallError::Refused(_));
        search.last = error;
        if refused || search.left() <= search.pause {
            return Err(search.give_up());
        }
        if !at_once {
            let jitter = rand::rng().random_range(0.5..1.0);
            tokio::time::sleep(search.pause.mul_f64(jitter)).await;
            search.pause = (search.pause * 2).min(BACKOFF_MAX);
            // Somebody may have been elected meanwhile.
            search.next = search
                .next
                .or_else(|| self.local_hint(search.group, target));
        }
        Ok(search)
    }

    fn local_hint(&self, group: GroupId, failed: ReplicaId) -> Option<ReplicaId> {
        let leader = self.host.as_ref()?.leader(group);
        leader.filter(|leader| *leader != failed)
    }
}

#[cfg(test)]
mod tests;
