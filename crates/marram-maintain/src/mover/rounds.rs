//! The rounds of the moves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::join_all;
use marram_meta::{ClusterView, ObjectCommand, ObjectOutcome, Pausable, RootCommand, RootOutcome};
use marram_placement::{Move, PgRow, Phase, PoolPlan, PoolTable, SlotMove, Standing};
use marram_types::{DriveId, GroupId, NodeId, PoolId};

use super::backoff::Backoff;
use super::running::{Done, Part, Running, Task};
use super::{MoverProgress, Wait, Work};
use crate::consensus::Consensus;
use crate::fault::fault_point;
use crate::moves::{self, Doubt, Homes, MOVES_MAX, Next, RowsMoving};
use crate::observed::Fences;
use crate::shards::Shards;
use crate::vacate;

/// Rows that are remembered as to be tried later: more than all pools may have moving.
const WAITING_MAX: usize = 100_000;

/// A move in one state of its row.
pub(super) type RowKey = (PoolId, u16, u64);

pub(super) struct Rounds<C, S> {
    work: Arc<Work<C, S>>,
    fences: Fences,
    /// Tables that the view must show before a pool is acted on again: those of this server's own
    /// proposals.
    behind: BTreeMap<PoolId, u64>,
    later: Backoff<RowKey>,
    /// Since when a drive does not do what a row needs of it.
    stuck: BTreeMap<RowKey, Instant>,
    /// What was done of each row: work that was stopped goes on there.
    parts: BTreeMap<RowKey, Arc<Mutex<Part>>>,
    running: Running,
    away: BTreeMap<NodeId, Instant>,
    /// The nodes that were there at the last look.
    up: BTreeSet<NodeId>,
    /// Pools that are being balanced: what was begun is brought to its end.
    balancing: BTreeSet<PoolId>,
    /// How many moves of a pool could be begun at once the last time, and when that was.
    begun: BTreeMap<PoolId, (usize, Instant)>,
    homes: Arc<Homes>,
    changed: Instant,
    planned: Option<Planned>,
}

/// The plans, and what they were made from.
#[derive(Debug)]
struct Planned {
    index: u64,
    unfit: BTreeSet<DriveId>,
    pools: BTreeMap<PoolId, PoolPlan>,
}

impl<C: Consensus + 'static, S: Shards> Rounds<C, S> {
    pub(super) fn new(work: Arc<Work<C, S>>) -> Self {
        let pauses = (work.patience.later, work.patience.latest);
        Self {
            work,
            fences: Fences::default(),
            behind: BTreeMap::new(),
            later: Backoff::new(pauses, WAITING_MAX),
            stuck: BTreeMap::new(),
            parts: BTreeMap::new(),
            running: Running::default(),
            away: BTreeMap::new(),
            up: BTreeSet::new(),
            balancing: BTreeSet::new(),
            begun: BTreeMap::new(),
            homes: Arc::default(),
            changed: Instant::now(),
            planned: None,
        }
    }

    pub(super) async fn run(mut self) {
        let mut view = self.work.view.clone();
        loop {
            let pause = if self.round().await || !self.running.is_idle() {
                Duration::from_millis(20)
            } else {
                self.work.patience.look
            };
            view.mark_unchanged();
            if let Ok(Err(_)) = tokio::time::timeout(pause, view.changed()).await {
                return;
            }
        }
    }

    /// One round. Says whether anything was decided. What takes longer goes on over the next rounds.
    pub(super) async fn round(&mut self) -> bool {
        let view = self.work.view.borrow().clone();
        if !self.work.leads() || view.cluster.is_none() {
            if self.work.progress.borrow().leading {
                self.work.progress.send_replace(MoverProgress::default());
            }
            *self = Self::new(Arc::clone(&self.work));
            return false;
        }
        self.watch_nodes(&view);
        let wanted = self.wanted(&view);
        // Before anything is asked of a group: work is stopped at once also while one has no leader.
        self.running
            .keep(|key, next| wanted.get(key) == Some(&next));
        self.fence(&view).await;
        let mut done = self.look(&view, &wanted);
        // Begun before the others go on: the next moves are fenced together with what ends now.
        self.plan(&view);
        let mut worked = self.start(&view).await;
        worked |= self.vacate(&view).await;
        done.extend(self.carry_on().await);
        worked |= self.propose(done).await;
        self.end_rebalance(&view).await;
        self.tell_progress(&view);
        worked
    }

    fn watch_nodes(&mut self, view: &ClusterView) {
        let homes = Homes::of(view);
        if homes.all() != self.homes.all() {
            self.homes = Arc::new(homes);
            self.changed = Instant::now();
        }
        for node in view.nodes.keys() {
            if self.work.shards.is_dead(*node) {
                self.away.entry(*node).or_insert_with(Instant::now);
            } else {
                self.away.remove(node);
            }
        }
        let up = view.nodes.keys().copied();
        let up: BTreeSet<NodeId> = up.filter(|node| self.work.is_up(*node)).collect();
        if !up.is_subset(&self.up) {
            // One came back, perhaps with what was looked for in vain.
            self.later.clear();
        }
        self.up = up;
        let keeps = |key: &RowKey| {
            let table = view.pools.get(&key.0);
            let row = table.and_then(|table| table.rows.get(usize::from(key.1)));
            row.is_some_and(|row| row.epoch <= key.2)
        };
        self.later.retain(keeps);
        self.stuck.retain(|key, _| keeps(key));
        self.parts.retain(|key, _| keeps(key));
        self.running.forget(keeps);
    }

    /// Whether the view shows what this server proposed last.
    fn is_seen(&self, table: &PoolTable) -> bool {
        let behind = self.behind.get(&table.pool());
        behind.is_none_or(|epoch| table.epoch >= *epoch)
    }

    /// Brings moving rows to every group, and those that moved before.
    async fn fence(&mut self, view: &ClusterView) {
        let mut sends = Vec::new();
        for (pool, table) in &view.pools {
            for group in object_groups(view) {
                let fences = &self.fences;
                let rows = fences.missing_rows_of(group, table, |index, row| {
                    row.moving.is_some() || fences.knows_row(group, *pool, index)
                });
                if !rows.is_empty() {
                    sends.push((group, *pool, rows));
                }
            }
        }
        let consensus = &self.work.consensus;
        let sent = join_all(sends.into_iter().map(|(group, pool, rows)| async move {
            let noted: Vec<(u16, u64)> = rows.iter().map(|(i, row)| (*i, row.epoch)).collect();
            let command = ObjectCommand::LayoutFence { pool, rows };
            (
                group,
                pool,
                noted,
                consensus.propose_object(group, command).await,
            )
        }));
        for (group, pool, noted, outcome) in sent.await {
            match outcome {
                Ok(ObjectOutcome::LayoutFenced { .. }) => {
                    fault_point("move.fenced");
                    self.fences.note_rows(group, pool, &noted);
                }
                Ok(outcome) => {
                    tracing::error!(%group, ?outcome, "a group refused rows of the layout");
                }
                Err(error) => tracing::debug!(%group, %error, "a group was not fenced yet"),
            }
        }
    }

    /// What each row that moves needs now.
    fn wanted(&self, view: &ClusterView) -> BTreeMap<RowKey, Next> {
        let unfit = self.work.unfit();
        let mut wanted = BTreeMap::new();
        for (pool, table) in &view.pools {
            for (index, row) in (0_u16..).zip(&table.rows) {
                let Some(moving) = row.moving else { continue };
                let key = (*pool, index, row.epoch);
                if let Some(next) = self.needs(view, &key, (table, row), moving, &unfit) {
                    wanted.insert(key, next);
                }
            }
        }
        wanted
    }

    /// Queues what is to be done beside what is under way, and returns what needs no work and may be
    /// decided at once.
    fn look(&mut self, view: &ClusterView, wanted: &BTreeMap<RowKey, Next>) -> Vec<Done> {
        let groups: Vec<GroupId> = object_groups(view).collect();
        let now = Instant::now();
        let (mut ready, mut queue) = (Vec::new(), Vec::new());
        for (key, next) in wanted {
            let (pool, index, epoch) = *key;
            let table = view.pools.get(&pool);
            let Some((table, row)) =
                table.and_then(|table| Some((table, table.rows.get(usize::from(index))?)))
            else {
                continue;
            };
            let is_fenced = |group: &GroupId| self.fences.has_row(*group, pool, index, epoch);
            let is_ready = !groups.is_empty() && groups.iter().all(is_fenced);
            let is_busy = self.running.has(key) || self.later.waits(key, now);
            if !is_ready || !self.is_seen(table) || is_busy {
                continue;
            }
            let part = Arc::clone(self.parts.entry(*key).or_default());
            let homes = Arc::clone(&self.homes);
            let place = (table.pg(index), row.clone());
            let task = Task::new(place, *next, homes, groups.clone(), part);
            match next {
                Next::Cancel | Next::End => ready.push(Done { task, wait: None }),
                Next::Carry | Next::Clean | Next::Vacate => queue.push(task),
            }
        }
        self.running.set_queue(queue);
        ready
    }

    /// What a row that moves needs now: nothing while an operator has paused it.
    fn needs(
        &self,
        view: &ClusterView,
        key: &RowKey,
        (table, row): (&PoolTable, &PgRow),
        moving: Move,
        unfit: &BTreeSet<DriveId>,
    ) -> Option<Next> {
        let is_lost = |node: NodeId| {
            let since = self.away.get(&node);
            since.is_some_and(|since| since.elapsed() >= self.work.patience.away)
        };
        let is_up = |node| self.work.is_up(node);
        let stuck = self.stuck.get(key);
        let is_stuck = stuck.is_some_and(|since| since.elapsed() >= self.work.patience.away);
        let doubt = Doubt {
            is_stuck,
            to_unfit: unfit.contains(&moving.to),
        };
        if is_stuck && moving.phase == Phase::Dual && !moving.to.is_vacant() {
            self.work
                .mark_unfit(moving.to, "it does not do what a move needs");
        }
        let next = if moving.to.is_vacant() && moving.phase == Phase::Dual {
            match vacate::is_void(moving, (table, row), view, &self.homes) {
                true => Next::Cancel,
                false => Next::Vacate,
            }
        } else {
            moves::next(moving, &self.homes, (is_up, is_lost), doubt)
        };
        self.unless_it_rests(row, moving, next)
    }

    /// Works on rows, until all are done or it is time for the next round. Returns those that came to an end:
    /// small ones are decided together.
    async fn carry_on(&mut self) -> Vec<Done> {
        let until = tokio::time::Instant::now() + self.work.patience.turn;
        let mut done = Vec::new();
        loop {
            self.running.begin(&self.work);
            match tokio::time::timeout_at(until, self.running.next()).await {
                Ok(Some(one)) => done.push(one),
                Ok(None) | Err(_) => return done,
            }
        }
    }

    /// Whether an operator has paused what a move is made for.
    fn rests(&self, from: DriveId, to: DriveId) -> bool {
        self.work.rests(moves::work_of(from, to, &self.homes))
    }

    /// What a move needs while its work may be paused: nothing, mostly. What cannot be is given up also then,
    /// and so is what keeps the same placement group from being rebuilt: a group has one move at a time.
    fn unless_it_rests(&self, row: &PgRow, moving: Move, next: Next) -> Option<Next> {
        if next == Next::Cancel || !self.rests(moving.from, moving.to) {
            return Some(next);
        }
        let is_gone =
            |drive: &DriveId| !drive.is_vacant() && self.homes.standing(*drive) == Standing::Gone;
        let in_the_way = row.drives.iter().any(is_gone) && !self.work.rests(Pausable::Repair);
        let instead = match moving.phase {
            Phase::Dual => Next::Cancel,
            Phase::Cut => next,
        };
        in_the_way.then_some(instead)
    }

    /// Proposes the next phase of what is done. Says whether there was any.
    async fn propose(&mut self, done: Vec<Done>) -> bool {
        let mut steps: BTreeMap<(PoolId, u8), Vec<(u16, u64)>> = BTreeMap::new();
        for Done { task, wait } in done {
            let key = task.key();
            if wait != Some(Wait::Drive) {
                self.stuck.remove(&key);
            }
            match wait {
                None => {
                    self.later.forget(&key);
                    let step = (task.pg.pool, task.next as u8);
                    steps.entry(step).or_default().push((task.pg.index, key.2));
                }
                Some(wait) => {
                    match wait {
                        Wait::Later => {
                            if matches!(task.next, Next::Vacate) {
                                // Each look finds less: it is no failure to be shy of.
                                self.later.forget(&key);
                            }
                            self.later.failed(key, Instant::now());
                        }
                        Wait::Drive => {
                            self.stuck.entry(key).or_insert_with(Instant::now);
                        }
                        Wait::Soon => {}
                    }
                }
            }
        }
        let any = !steps.is_empty();
        for ((pool, next), pgs) in steps {
            let command = match next {
                n if n == Next::Carry as u8 || n == Next::Vacate as u8 => {
                    RootCommand::CutMoves { pool, pgs }
                }
                n if n == Next::Cancel as u8 => RootCommand::CancelMoves { pool, pgs },
                _ => RootCommand::EndMoves { pool, pgs },
            };
            fault_point(match command {
                RootCommand::CutMoves { .. } if next == Next::Vacate as u8 => "vacate.emptied",
                RootCommand::CutMoves { .. } => "move.carried",
                RootCommand::CancelMoves { .. } => "move.cancel",
                _ => "move.cleaned",
            });
            self.decide(pool, command).await;
            fault_point("move.decided");
        }
        any
    }

    async fn decide(&mut self, pool: PoolId, command: RootCommand) {
        match self.work.consensus.propose_root(command).await {
            Ok(RootOutcome::Moved { epoch, .. }) => {
                self.behind.insert(pool, epoch);
            }
            Ok(outcome) => tracing::warn!(pool = pool.0, ?outcome, "a step of moves was refused"),
            Err(error) => tracing::info!(pool = pool.0, %error, "a step of moves is tried again"),
        }
    }

    fn plan(&mut self, view: &ClusterView) {
        let unfit = self.work.unfit();
        let same = |planned: &Planned| planned.index == view.index && planned.unfit == unfit;
        if self.planned.as_ref().is_some_and(same) {
            return;
        }
        let mut seats = view.seats();
        for seat in &mut seats {
            // It keeps what it has. The status plans without this server's experience.
            if seat.standing == Standing::Serving && unfit.contains(&seat.info.drive) {
                seat.standing = Standing::Kept;
            }
        }
        let mut pools = BTreeMap::new();
        for (pool, table) in &view.pools {
            match view.plan_of(table, &seats) {
                Ok(plan) => {
                    pools.insert(*pool, plan);
                }
                Err(error) => tracing::error!(pool = pool.0, %error, "moves cannot be planned"),
            }
        }
        self.planned = Some(Planned {
            index: view.index,
            unfit,
            pools,
        });
    }

    /// Whether a plan is carried out: what must leave its drive, and what an operator asked for, at
    /// once, the rest once it is quiet.
    fn is_due(&self, view: &ClusterView, pool: PoolId, plan: &PoolPlan) -> bool {
        let goes_on = plan.worth || self.balancing.contains(&pool);
        let is_quiet = self.changed.elapsed() >= self.work.patience.quiet;
        plan.empties || view.layout.rebalance > 0 || (goes_on && is_quiet)
    }

    /// Ends a rebalance when nothing is left to be moved.
    async fn end_rebalance(&self, view: &ClusterView) {
        let moves = |table: &PoolTable| table.rows.iter().any(|row| row.moving.is_some());
        let planned = self
            .planned
            .iter()
            .flat_map(|planned| planned.pools.values());
        let is_left =
            view.pools.values().any(moves) || planned.clone().any(|p| !p.moves.is_empty());
        let is_planned = planned.count() == view.pools.len();
        if view.layout.rebalance == 0 || is_left || !is_planned {
            return;
        }
        let command = RootCommand::Rebalance {
            on: false,
            if_epoch: Some(view.layout.epoch),
        };
        match self.work.consensus.propose_root(command).await {
            Ok(_) => tracing::info!("the rebalance is over"),
            Err(error) => tracing::debug!(%error, "the end of the rebalance is told later"),
        }
    }

    /// Begins moves in pools in which nothing is being carried, except what waits for something: old
    /// places may still be cleaned. What lacks redundancy does not wait for what is carried.
    async fn start(&mut self, view: &ClusterView) -> bool {
        let Some(planned) = self.planned.take_if(|planned| planned.index == view.index) else {
            return false;
        };
        let plans = &planned.pools;
        let mut started = false;
        for (pool, table) in view
            .pools
            .iter()
            .filter(|(pool, _)| plans.contains_key(pool))
        {
            let plan = &plans[pool];
            if plan.moves.is_empty() {
                self.balancing.remove(pool);
            }
            if !self.is_seen(table) || !self.is_due(view, *pool, plan) {
                continue;
            }
            let moves = self.chosen(*pool, table, plan);
            if !moves.is_empty() {
                if !plan.empties {
                    self.balancing.insert(*pool);
                }
                tracing::info!(
                    pool = pool.0,
                    moves = moves.len(),
                    to_go = plan.pgs().len(),
                    "moves begin"
                );
                let pool = *pool;
                self.begun
                    .insert(pool, (self.at_once(pool), Instant::now()));
                self.decide(pool, RootCommand::StartMoves { pool, moves })
                    .await;
                fault_point("move.started");
                started = true;
            }
        }
        self.planned = Some(planned);
        started
    }

    fn at_once(&self, pool: PoolId) -> usize {
        let last = self.begun.get(&pool);
        moves::at_once(last.map(|(most, at)| (*most, at.elapsed())))
    }

    /// The rows of a pool that have a move.
    fn moving(&self, pool: PoolId, table: &PoolTable) -> RowsMoving {
        let mut rows = RowsMoving::default();
        for (index, row) in (0_u16..).zip(&table.rows) {
            let Some(m) = row.moving else { continue };
            let key = (pool, index, row.epoch);
            if self.later.has(&key) || self.stuck.contains_key(&key) {
                rows.wait += 1;
            } else if m.phase == Phase::Dual && !self.rests(m.from, m.to) {
                match moves::work_of(m.from, m.to, &self.homes) {
                    Pausable::Repair => rows.rebuild += 1,
                    _ => rows.carry += 1,
                }
            } else {
                rows.other += 1;
            }
        }
        rows
    }

    /// The moves of a pool to begin now.
    fn chosen(&self, pool: PoolId, table: &PoolTable, plan: &PoolPlan) -> Vec<SlotMove> {
        let rows = self.moving(pool, table);
        let (most, rebuilds_only) = rows.room(self.at_once(pool));
        if most == 0 {
            return Vec::new();
        }
        let is_up = |node| self.work.is_up(node);
        let goes_on = |m: &SlotMove| {
            let work = moves::work_of(m.from, m.to, &self.homes);
            (work == Pausable::Repair || !rebuilds_only) && !self.work.rests(work)
        };
        moves::choose(plan, table, &self.homes, is_up, (goes_on, most))
    }

    /// Begins to take slots out of use that have no drive any more. What is gone, and so lacks redundancy, does
    /// not wait for what is carried; the others wait until nothing is, except what waits for something.
    async fn vacate(&mut self, view: &ClusterView) -> bool {
        if self.work.rests(Pausable::Repair) {
            return false;
        }
        let Some(planned) = self.planned.take_if(|planned| planned.index == view.index) else {
            return false;
        };
        let plans = &planned.pools;
        let mut started = false;
        for (pool, table) in view.pools.iter().filter(|(p, _)| plans.contains_key(p)) {
            if !self.is_seen(table) {
                continue;
            }
            let rows = self.moving(*pool, table);
            let is_calm = rows.rebuild + rows.carry + rows.other == 0;
            let plan = &plans[pool];
            let due = self.is_due(view, *pool, plan);
            let moved: BTreeSet<u16> = plan.moves.iter().map(|planned| planned.pg).collect();
            let since = (self.changed.elapsed(), self.work.patience.narrow);
            let busy = |pg| due && moved.contains(&pg);
            let mut moves = vacate::plan(table, view, &self.homes, busy, since);
            let is_vacated = |row: &&PgRow| row.moving.is_some_and(|m| m.to.is_vacant());
            let vacated = table.rows.iter().filter(is_vacated).count();
            let is_gone = |planned: &SlotMove| self.homes.standing(planned.from) == Standing::Gone;
            moves.retain(|planned| is_calm || is_gone(planned));
            moves.truncate(rows.free().min(MOVES_MAX.saturating_sub(vacated)));
            if !moves.is_empty() {
                let (pool, slots) = (*pool, moves.len());
                tracing::info!(
                    pool = pool.0,
                    slots,
                    "slots have no drive; their data gets narrower"
                );
                self.decide(pool, vacate::command(view, pool, moves)).await;
                fault_point("vacate.started");
                started = true;
            }
        }
        self.planned = Some(planned);
        started
    }

    fn tell_progress(&self, view: &ClusterView) {
        let rows = view.pools.values().flat_map(|table| &table.rows);
        let under_way = rows.filter(|row| row.moving.is_some()).count();
        let plans = self.planned.iter().flat_map(|planned| &planned.pools);
        let asked = view.layout.rebalance > 0;
        let due = plans.filter(|(pool, plan)| asked || plan.worth || self.balancing.contains(pool));
        let to_go = due.map(|(_, plan)| plan.pgs().len()).sum();
        let plans = self
            .planned
            .iter()
            .flat_map(|planned| planned.pools.values());
        let unplaced = plans.map(|plan| plan.unplaced.len()).sum();
        let waiting = self.later.len() + self.stuck.len();
        self.work.progress.send_if_modified(|progress| {
            let is_busy = under_way + to_go > 0;
            let since = progress.since.or_else(|| Some(Instant::now()));
            let next = MoverProgress {
                leading: true,
                under_way,
                waiting,
                to_go,
                unplaced,
                since: since.filter(|_| is_busy),
                ..progress.clone()
            };
            let differs = *progress != next;
            *progress = next;
            differs
        });
    }
}

fn object_groups(view: &ClusterView) -> impl Iterator<Item = GroupId> {
    view.groups.keys().copied().filter(|g| *g != GroupId::ROOT)
}
