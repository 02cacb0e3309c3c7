//! Removes what is due by the rules of buckets (decision 0054).
//!
//! Every server runs the same loop, and works on the groups that it leads: it walks through what a group has
//! of each bucket with rules, a page at a time, and proposes what it finds. The group judges again when the
//! entry is applied, by its own copy of the rules and in leader time, so that nothing goes that was replaced
//! meanwhile, or that only a former rule would have removed. A walk is only reads: one that is broken off
//! by a new leader is begun anew.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use marram_meta::{
    BucketRecord, BucketState, ClusterView, DueAnswer, DuePlace, DueQuery, ExpireCommand, Expired,
    ObjectAnswer, ObjectCommand, ObjectOutcome, ObjectQuery,
};
use marram_types::caps::EXPIRED_PER_ENTRY;
use marram_types::{BucketId, GroupId};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::consensus::{Consensus, ConsensusError};

#[cfg(test)]
mod tests;

/// How often the worker looks when nothing is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two pages of a group: a walk through millions of rows leaves the group to others.
const PAGE_PAUSE: Duration = Duration::from_millis(20);
/// Rows of a page.
const PAGE_ROWS: u32 = 1000;
/// Pages of one bucket in one group before the next one has its turn.
const PAGES_PER_TURN: u32 = 50;

/// Tells the time: that of walks, and that of the world in milliseconds since 1970.
pub struct LifecycleClock {
    /// For the time between walks.
    pub steady: fn() -> Instant,
    /// For what is due.
    pub now_ms: fn() -> u64,
}

/// What this server's walks have done since it started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LifecycleReport {
    /// What went.
    pub expired: Expired,
    /// By group that this server leads: when the last walk through all its buckets with rules ended, in
    /// milliseconds since 1970; 0 before the first.
    pub ended_ms: BTreeMap<GroupId, u64>,
}

/// Removes what is due in the groups that this server leads.
pub struct LifecycleWorker<C> {
    consensus: Arc<C>,
    view: watch::Receiver<Arc<ClusterView>>,
    every: Duration,
    clock: LifecycleClock,
    walks: BTreeMap<(GroupId, BucketId), Walk>,
    report: watch::Sender<LifecycleReport>,
}

/// A walk through what a group has of a bucket.
#[derive(Debug)]
struct Walk {
    /// Of the bucket's record with the rules.
    epoch: u64,
    /// Where it goes on; none: it ended.
    place: Option<DuePlace>,
    /// When the last one ended, by both clocks.
    ended: Option<(Instant, u64)>,
}

impl<C: Consensus> LifecycleWorker<C> {
    /// A worker that walks through each bucket with rules so often, and at once when its record changes.
    #[must_use]
    pub fn new(
        consensus: Arc<C>,
        view: watch::Receiver<Arc<ClusterView>>,
        every: Duration,
        clock: LifecycleClock,
    ) -> Self {
        Self {
            consensus,
            view,
            every,
            clock,
            walks: BTreeMap::new(),
            report: watch::Sender::default(),
        }
    }

    /// What the walks have done, to be followed.
    #[must_use]
    pub fn report(&self) -> watch::Receiver<LifecycleReport> {
        self.report.subscribe()
    }

    /// Runs until the view's sender is gone.
    pub async fn run(mut self) {
        while self.view.has_changed().is_ok() {
            if !self.round().await {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }

    /// Gives each bucket in each group a turn. Says whether any of them has more to do.
    async fn round(&mut self) -> bool {
        let view = self.view.borrow_and_update().clone();
        let groups: Vec<GroupId> = self.consensus.led_groups();
        let groups = groups.into_iter().filter(|group| *group != GroupId::ROOT);
        let groups: Vec<GroupId> = groups.collect();
        let with_rules = view.buckets.values().filter(|record| has_rules(record));
        let records: Vec<&BucketRecord> = with_rules.collect();
        self.walks.retain(|(group, bucket), _| {
            groups.contains(group) && records.iter().any(|record| record.bucket == *bucket)
        });
        let mut more = false;
        for group in &groups {
            for record in &records {
                match self.turn(*group, record).await {
                    Ok(goes_on) => more |= goes_on,
                    Err(error) => {
                        let bucket = &record.name;
                        tracing::debug!(target: "lifecycle", %group, %bucket, %error, "a walk goes on later");
                    }
                }
            }
        }
        self.note_ends(&groups, &records);
        more
    }

    /// The walks of a group are as old as that which ended first. Where there is nothing to walk through, that
    /// is done at any time.
    fn note_ends(&self, groups: &[GroupId], records: &[&BucketRecord]) {
        let now_ms = (self.clock.now_ms)();
        let ended = |group: GroupId| {
            let each = records.iter().map(|record| {
                let walk = self.walks.get(&(group, record.bucket));
                let ended = walk.and_then(|walk| walk.ended);
                ended.map_or(0, |(_, ms)| ms)
            });
            (group, each.min().unwrap_or(now_ms))
        };
        let now: BTreeMap<GroupId, u64> = groups.iter().copied().map(ended).collect();
        self.report.send_if_modified(|report| {
            let changed = report.ended_ms != now;
            report.ended_ms = now;
            changed
        });
    }

    /// Goes on with a walk, or begins one that is due. Says whether it goes on.
    async fn turn(
        &mut self,
        group: GroupId,
        record: &BucketRecord,
    ) -> Result<bool, ConsensusError> {
        let now = (self.clock.steady)();
        let every = self.every;
        let walk = self
            .walks
            .entry((group, record.bucket))
            .or_insert_with(|| Walk::begin(record.epoch));
        if walk.epoch != record.epoch {
            *walk = Walk::begin(record.epoch);
        }
        if walk.place.is_none() && walk.ended.is_some_and(|(ended, _)| now < ended + every) {
            return Ok(false);
        }
        let mut place = walk.place.clone().unwrap_or(DuePlace::Objects(None));
        for _ in 0..PAGES_PER_TURN {
            let found = self.page(group, record.bucket, place).await?;
            self.remove(group, record.bucket, &found).await?;
            let ended = ((self.clock.steady)(), (self.clock.now_ms)());
            let Some(walk) = self.walks.get_mut(&(group, record.bucket)) else {
                return Ok(false);
            };
            walk.place.clone_from(&found.next);
            let Some(next) = found.next else {
                walk.ended = Some(ended);
                return Ok(false);
            };
            place = next;
            tokio::time::sleep(PAGE_PAUSE).await;
        }
        Ok(true)
    }

    async fn page(
        &self,
        group: GroupId,
        bucket: BucketId,
        from: DuePlace,
    ) -> Result<DueAnswer, ConsensusError> {
        let query = ObjectQuery::Due(DueQuery {
            bucket,
            now_ms: (self.clock.now_ms)(),
            rules: None,
            from,
            rows: PAGE_ROWS,
        });
        match self.consensus.ask_object(group, query).await? {
            ObjectAnswer::Due(found) => Ok(found),
            _ => {
                tracing::error!(%group, "a group answered something else than what is due");
                Ok(DueAnswer::default())
            }
        }
    }

    /// Proposes what was found, some with each entry.
    async fn remove(
        &self,
        group: GroupId,
        bucket: BucketId,
        found: &DueAnswer,
    ) -> Result<(), ConsensusError> {
        // The last first: older versions before what took their place, by which their age is judged.
        for some in found.items.rchunks(EXPIRED_PER_ENTRY) {
            let command = ObjectCommand::Expire(ExpireCommand {
                bucket,
                due: some.iter().map(|item| item.due.clone()).collect(),
            });
            match self.consensus.propose_object(group, command).await? {
                ObjectOutcome::Expired(done) => {
                    tracing::debug!(target: "lifecycle", %group, %bucket, ?done, "rules removed something");
                    self.report
                        .send_modify(|report| report.expired = report.expired.plus(done));
                }
                ObjectOutcome::Refused(refusal) => {
                    tracing::debug!(target: "lifecycle", %group, %bucket, %refusal, "nothing goes now");
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl Walk {
    fn begin(epoch: u64) -> Self {
        Self {
            epoch,
            place: Some(DuePlace::Objects(None)),
            ended: None,
        }
    }
}

/// Whether a bucket has a rule that does something, known to all groups: until then its walks rest.
fn has_rules(record: &BucketRecord) -> bool {
    let mut rules = record.lifecycle.iter().flat_map(|all| &all.rules);
    record.state == BucketState::Active && rules.any(|rule| rule.enabled)
}
