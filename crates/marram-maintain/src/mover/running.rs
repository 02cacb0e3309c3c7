//! Work on placement groups that is under way. It goes on over rounds, a bounded number of rows at a
//! time, so that a long one keeps neither the others nor what the rounds decide waiting.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use marram_meta::Pausable;
use marram_placement::PgRow;
use marram_types::{DataId, GroupId, PgId};
use tokio::task::{AbortHandle, JoinSet};

use super::carry::carry_group;
use super::clean::clean_group;
use super::rounds::RowKey;
use super::vacate::vacate_group;
use super::{Wait, Work};
use crate::consensus::Consensus;
use crate::moves::{self, Homes, Next};
use crate::shards::Shards;

/// Rows that are carried at once for balance or a drain: as long as there is nothing more urgent.
pub(super) const CARRIES_AT_ONCE: usize = 8;
/// Rows that are worked on at once. What is more than the carries above is kept for what must not wait
/// until one of them ends: rebuilding first of all.
pub(super) const ROWS_AT_ONCE: usize = 12;
/// Rows that are rebuilt at once. What is more is kept for rows that are short: those of a node that was
/// rebuilt must come to their end while the next one is.
const REBUILDS_AT_ONCE: usize = 10;

/// What this server has done of a move in one state of its row. What was verified in an epoch stays:
/// no permission of that epoch takes it away.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// Groups of which all is done.
    pub(super) groups: BTreeSet<GroupId>,
    /// The last extent of a group up to which all are at the new place.
    pub(super) carried: BTreeMap<GroupId, DataId>,
}

/// Work on one placement group.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) pg: PgId,
    pub(super) row: PgRow,
    pub(super) homes: Arc<Homes>,
    pub(super) next: Next,
    pub(super) groups: Vec<GroupId>,
    part: Arc<Mutex<Part>>,
}

impl Task {
    pub(super) fn new(
        (pg, row): (PgId, PgRow),
        next: Next,
        homes: Arc<Homes>,
        groups: Vec<GroupId>,
        part: Arc<Mutex<Part>>,
    ) -> Self {
        Self {
            pg,
            row,
            homes,
            next,
            groups,
            part,
        }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.row.epoch
    }

    pub(super) fn key(&self) -> RowKey {
        (self.pg.pool, self.pg.index, self.row.epoch)
    }

    pub(super) fn part(&self) -> MutexGuard<'_, Part> {
        self.part.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What comes first: rebuilding, those rows first that lost most, then what is short, then what is
    /// moved although nothing lacks.
    fn rank(&self) -> Rank {
        match (self.next, self.row.moving) {
            (Next::Carry, Some(m))
                if moves::work_of(m.from, m.to, &self.homes) == Pausable::Repair =>
            {
                Rank::Rebuild
            }
            (Next::Carry, _) => Rank::Carry,
            _ => Rank::Short,
        }
    }
}

/// The urgency of work on a row, the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// Brings back redundancy.
    Rebuild,
    /// Reads rows and looks at shards, and copies nothing or little.
    Short,
    /// Copies what is redundant where it is.
    Carry,
}

/// What became of a task: `None` when the row is to go on to its next phase.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) task: Task,
    pub(super) wait: Option<Wait>,
}

#[derive(Debug)]
struct Run {
    /// Which start of this row it was: what a stopped one says is not listened to.
    start: u64,
    next: Next,
    rank: Rank,
    stop: AbortHandle,
}

/// What is under way.
#[derive(Debug, Default)]
pub(super) struct Running {
    tasks: JoinSet<(u64, Done)>,
    rows: BTreeMap<RowKey, Run>,
    /// What waits for a place, the next one last.
    queue: Vec<Task>,
    starts: u64,
    /// The last start of rows that were worked on: one that fails again and again must not keep others
    /// waiting.
    started: BTreeMap<RowKey, u64>,
}

impl Running {
    pub(super) fn has(&self, key: &RowKey) -> bool {
        self.rows.contains_key(key)
    }

    /// Nothing is under way, and nothing waits for a place.
    pub(super) fn is_idle(&self) -> bool {
        self.rows.is_empty() && self.queue.is_empty()
    }

    /// Stops what is not to be done any more, in the middle of what it does: the mover may end at any
    /// moment, so nothing depends on the end of a task. A node ends the request that it has.
    pub(super) fn keep(&mut self, wanted: impl Fn(&RowKey, Next) -> bool) {
        self.rows.retain(|key, run| {
            let keeps = wanted(key, run.next);
            if !keeps {
                tracing::debug!(?key, next = ?run.next, "work on a row is stopped");
                run.stop.abort();
            }
            keeps
        });
    }

    /// Forgets rows that are in another state.
    pub(super) fn forget(&mut self, keeps: impl Fn(&RowKey) -> bool) {
        self.started.retain(|key, _| keeps(key));
    }

    /// Takes what is to be done beside what is under way, in place of what still waited.
    pub(super) fn set_queue(&mut self, mut tasks: Vec<Task>) {
        let urgency = |task: &Task| {
            let key = task.key();
            let lost = moves::lost_slots(&task.row, &task.homes);
            let tried = self.started.get(&key).copied().unwrap_or(0);
            (task.rank(), std::cmp::Reverse(lost), tried, key)
        };
        tasks.sort_by_cached_key(urgency);
        tasks.reverse();
        self.queue = tasks;
    }

    /// Begins what there is room for, the most urgent first.
    pub(super) fn begin<C: Consensus + 'static, S: Shards>(&mut self, work: &Arc<Work<C, S>>) {
        let mut waiting = Vec::new();
        while self.rows.len() < ROWS_AT_ONCE {
            let Some(task) = self.queue.pop() else {
                break;
            };
            if self.has_room(task.rank()) {
                self.start(work, task);
            } else {
                waiting.push(task);
            }
        }
        self.queue.extend(waiting.into_iter().rev());
    }

    fn start<C: Consensus + 'static, S: Shards>(&mut self, work: &Arc<Work<C, S>>, task: Task) {
        let (key, next, rank) = (task.key(), task.next, task.rank());
        self.starts += 1;
        let start = self.starts;
        self.started.insert(key, start);
        let work = Arc::clone(work);
        let stop = self
            .tasks
            .spawn(async move { (start, carry_on(&work, task).await) });
        let run = Run {
            start,
            next,
            rank,
            stop,
        };
        self.rows.insert(key, run);
    }

    /// Whether another row of a rank may be begun beside those that are worked on.
    fn has_room(&self, rank: Rank) -> bool {
        let most = match rank {
            Rank::Rebuild => REBUILDS_AT_ONCE,
            Rank::Short => ROWS_AT_ONCE,
            Rank::Carry => CARRIES_AT_ONCE,
        };
        let like = self.rows.values().filter(|run| run.rank == rank).count();
        self.rows.len() < ROWS_AT_ONCE && like < most
    }

    /// The next task that comes to its end; none when nothing is under way.
    pub(super) async fn next(&mut self) -> Option<Done> {
        loop {
            match self.tasks.join_next().await? {
                Ok((start, done)) => {
                    let key = done.task.key();
                    if self.rows.get(&key).is_some_and(|run| run.start == start) {
                        self.rows.remove(&key);
                        return Some(done);
                    }
                }
                // What was stopped was forgotten then.
                Err(error) if error.is_cancelled() => {}
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
    }
}

/// Does what a move needs in every group.
async fn carry_on<C: Consensus, S: Shards>(work: &Work<C, S>, task: Task) -> Done {
    let mut waits = None;
    let moving = task
        .row
        .moving
        .filter(|_| matches!(task.next, Next::Carry | Next::Clean | Next::Vacate));
    if let Some(moving) = moving {
        for group in task.groups.clone() {
            if task.part().groups.contains(&group) {
                continue;
            }
            let ran = match task.next {
                Next::Clean => clean_group(work, &task, moving, group).await,
                Next::Vacate => vacate_group(work, &task, moving, group).await,
                _ => carry_group(work, &task, moving, group).await,
            };
            match ran {
                Ok(()) => {
                    task.part().groups.insert(group);
                }
                Err(Wait::Later) => waits = Some(Wait::Later),
                Err(wait) => {
                    waits = waits.max(Some(wait));
                    break;
                }
            }
        }
    }
    Done { task, wait: waits }
}
