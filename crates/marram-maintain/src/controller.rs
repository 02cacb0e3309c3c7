//! The loop that carries steps out while this server leads the root group.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{join_all, try_join_all};
use marram_meta::{
    Amount, BucketRecord, ClusterView, EndingCommand, LeaseCommand, ObjectCommand, ObjectOutcome,
    Quota, QuotaCommand, RootCommand, RootOutcome, Tombstone,
};
use marram_placement::PgRow;
use marram_types::{BucketId, GroupId, NodeId, PoolId, ReplicaId};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::consensus::{Consensus, ConsensusError};
use crate::fault::fault_point;
use crate::observed::{EventsKept, Fences, Observed};
use crate::steps::{Step, next_steps};

/// How often the controller looks when nothing changes.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long it waits after a step that failed.
const AFTER_FAILURE: Duration = Duration::from_millis(300);
/// Steps carried out at once.
const STEPS_AT_ONCE_MAX: usize = 64;

/// Runs the root leader's duties.
#[derive(Debug)]
pub struct Controller<C> {
    consensus: Arc<C>,
    view: watch::Receiver<Arc<ClusterView>>,
    fences: Fences,
    nodes_seen: usize,
    last_join: Instant,
    events: EventsKept,
}

impl<C: Consensus> Controller<C> {
    /// A controller that watches `view`, and has groups keep events as `events` says.
    #[must_use]
    pub fn new(
        consensus: Arc<C>,
        view: watch::Receiver<Arc<ClusterView>>,
        events: EventsKept,
    ) -> Self {
        Self {
            consensus,
            view,
            fences: Fences::default(),
            nodes_seen: 0,
            last_join: Instant::now(),
            events,
        }
    }

    /// Runs until the view's sender is gone.
    pub async fn run(mut self) {
        loop {
            let pause = match self.round().await {
                Round::Worked => Duration::ZERO,
                Round::Idle => LOOK_EVERY,
                Round::Failed => AFTER_FAILURE,
            };
            if let Ok(Err(_)) = tokio::time::timeout(pause, self.view.changed()).await {
                return;
            }
        }
    }

    async fn round(&mut self) -> Round {
        let view = self.view.borrow_and_update().clone();
        let Some(root) = self.consensus.root_if_leading() else {
            // Another leader may change what the groups hold; what was noted is void.
            self.fences = Fences::default();
            return Round::Idle;
        };
        if view.nodes.len() != self.nodes_seen {
            self.nodes_seen = view.nodes.len();
            self.last_join = Instant::now();
        }
        let own = self.consensus.own_replica();
        let replicas = view.nodes.values().filter_map(|n| n.replica);
        let up = replicas.filter(|r| *r == own || self.consensus.is_up(*r));
        let up: BTreeSet<ReplicaId> = up.chain([own]).collect();
        let observed = Observed {
            view: &view,
            root: &root,
            own,
            up: &up,
            quiet: self.last_join.elapsed(),
            fences: &self.fences,
            events: self.events,
        };
        let steps = match next_steps(&observed) {
            Ok(mut steps) => {
                // A leader that is to lose its vote hands over first, and the next one takes it.
                let leaves = |s: &Step| matches!(s, Step::SetRootVoters(v) if !v.contains(&own));
                steps.retain(|step| !(root.settled && leaves(step)));
                if steps.is_empty() {
                    return Round::Idle;
                }
                steps
            }
            Err(error) => {
                tracing::error!(%error, "placement cannot be planned");
                return Round::Failed;
            }
        };
        self.carry_out(steps).await
    }

    async fn carry_out(&mut self, steps: Vec<Step>) -> Round {
        let consensus = Arc::clone(&self.consensus);
        let running = steps.into_iter().take(STEPS_AT_ONCE_MAX).map(|step| {
            let consensus = Arc::clone(&consensus);
            async move {
                let done = execute(consensus.as_ref(), &step).await;
                (step, done)
            }
        });
        let mut round = Round::Worked;
        for (step, done) in join_all(running).await {
            match done {
                // The step stays to be done, and would be refused again at once.
                Ok(Noted::Refused) => round = Round::Failed,
                Ok(noted) => self.note(noted),
                Err(error) => {
                    tracing::warn!(?step, %error, "a step failed and is tried again");
                    round = Round::Failed;
                }
            }
        }
        round
    }

    fn note(&mut self, noted: Noted) {
        match noted {
            Noted::Nothing | Noted::Refused => {}
            Noted::Rows { group, pool, rows } => self.fences.note_rows(group, pool, &rows),
            Noted::Bucket {
                group,
                record,
                live,
            } => {
                self.fences
                    .note_bucket(group, record.bucket, record.epoch, record.state, live);
            }
            Noted::Tombstone { group, node, epoch } => {
                self.fences.note_tombstone(group, node, epoch);
            }
            Noted::Events {
                group,
                for_ms,
                bytes,
            } => self.fences.note_events(group, for_ms, bytes),
            Noted::Settled(bucket) => self.fences.forget_bucket(bucket),
        }
    }
}

enum Round {
    Worked,
    Idle,
    Failed,
}

enum Noted {
    Nothing,
    /// The group took nothing, and the step is tried again.
    Refused,
    Rows {
        group: GroupId,
        pool: PoolId,
        rows: Vec<(u16, u64)>,
    },
    Bucket {
        group: GroupId,
        record: BucketRecord,
        live: u64,
    },
    Tombstone {
        group: GroupId,
        node: NodeId,
        epoch: u64,
    },
    Events {
        group: GroupId,
        for_ms: u64,
        bytes: u64,
    },
    Settled(BucketId),
}

async fn execute<C: Consensus + ?Sized>(
    consensus: &C,
    step: &Step,
) -> Result<Noted, ConsensusError> {
    match step {
        Step::AddRootLearner(replica) => {
            tracing::info!(%replica, "a replica begins to follow the root group");
            consensus.add_root_learner(*replica).await?;
            fault_point("root.follows");
        }
        Step::SetRootVoters(voters) => {
            tracing::info!(?voters, "the root group's voters change");
            consensus.set_root_voters(voters.clone()).await?;
            fault_point("root.votes");
        }
        Step::FenceRows { group, pool, rows } => {
            return fence_rows(consensus, *group, *pool, rows).await;
        }
        Step::FenceBucket { group, record } => {
            return fence_bucket(consensus, *group, record).await;
        }
        Step::TellTombstone { group, tombstone } => {
            return tell_tombstone(consensus, *group, tombstone).await;
        }
        Step::KeepEvents {
            group,
            for_ms,
            bytes,
        } => return keep_events(consensus, *group, *for_ms, *bytes).await,
        Step::Decide(command) => {
            if let RootOutcome::Refused(_) = root(consensus, command.clone()).await? {
                return Ok(Noted::Refused);
            }
            fault_point("root.decided");
        }
        of_bucket => return of_bucket_step(consensus, of_bucket).await,
    }
    Ok(Noted::Nothing)
}

/// The steps that move a bucket's record on in the root group.
async fn of_bucket_step<C: Consensus + ?Sized>(
    consensus: &C,
    step: &Step,
) -> Result<Noted, ConsensusError> {
    match step {
        Step::BucketActive {
            bucket,
            epoch,
            quota,
        } => {
            let (bucket, epoch) = (*bucket, *epoch);
            if let Some((quota, groups)) = quota {
                tell_leases(consensus, bucket, *quota, groups).await?;
            }
            root(consensus, RootCommand::BucketActive { bucket, epoch }).await?;
            Ok(Noted::Settled(bucket))
        }
        Step::BucketSealed {
            bucket,
            epoch,
            nonempty,
            groups,
        } => sealed(consensus, *bucket, *epoch, *nonempty, groups).await,
        Step::BeginEnding { bucket, epoch } => {
            let (bucket, epoch) = (*bucket, *epoch);
            let begin = EndingCommand::Begin { bucket, epoch };
            root(consensus, RootCommand::Ending(begin)).await?;
            fault_point("bucket.ending");
            Ok(Noted::Nothing)
        }
        Step::EndBucket { bucket, epoch } => {
            let (bucket, epoch) = (*bucket, *epoch);
            fault_point("bucket.told");
            let end = EndingCommand::End { bucket, epoch };
            root(consensus, RootCommand::Ending(end)).await?;
            Ok(Noted::Settled(bucket))
        }
        _ => unreachable!("the other steps are carried out before"),
    }
}

async fn sealed<C: Consensus + ?Sized>(
    consensus: &C,
    bucket: BucketId,
    epoch: u64,
    nonempty: bool,
    groups: &[GroupId],
) -> Result<Noted, ConsensusError> {
    let command = RootCommand::BucketSealed {
        bucket,
        epoch,
        nonempty,
    };
    if let RootOutcome::BucketRemoved(record) = root(consensus, command).await? {
        tell_deleted(consensus, &record, groups).await;
    }
    Ok(Noted::Settled(bucket))
}

async fn fence_rows<C: Consensus + ?Sized>(
    consensus: &C,
    group: GroupId,
    pool: PoolId,
    rows: &[(u16, PgRow)],
) -> Result<Noted, ConsensusError> {
    let command = ObjectCommand::LayoutFence {
        pool,
        rows: rows.to_vec(),
    };
    let told = consensus.propose_object(group, command).await?;
    fault_point("group.told");
    Ok(match told {
        ObjectOutcome::LayoutFenced { .. } => Noted::Rows {
            group,
            pool,
            rows: rows
                .iter()
                .map(|(index, row)| (*index, row.epoch))
                .collect(),
        },
        ObjectOutcome::Refused(refusal) => {
            tracing::error!(%group, %refusal, "a group refused rows of the layout");
            Noted::Refused
        }
        _ => Noted::Refused,
    })
}

async fn tell_tombstone<C: Consensus + ?Sized>(
    consensus: &C,
    group: GroupId,
    tombstone: &Tombstone,
) -> Result<Noted, ConsensusError> {
    let command = ObjectCommand::Tombstone(tombstone.clone());
    fault_point("remove.buried");
    consensus.propose_object(group, command).await?;
    Ok(Noted::Tombstone {
        group,
        node: tombstone.node,
        epoch: tombstone.epoch,
    })
}

async fn keep_events<C: Consensus + ?Sized>(
    consensus: &C,
    group: GroupId,
    for_ms: u64,
    bytes: u64,
) -> Result<Noted, ConsensusError> {
    let command = ObjectCommand::KeepEvents { for_ms, bytes };
    consensus.propose_object(group, command).await?;
    Ok(Noted::Events {
        group,
        for_ms,
        bytes,
    })
}

async fn root<C: Consensus + ?Sized>(
    consensus: &C,
    command: RootCommand,
) -> Result<RootOutcome, ConsensusError> {
    let outcome = consensus.propose_root(command).await?;
    if let RootOutcome::Refused(refusal) = &outcome {
        // Somebody was faster, or the view was old: the next round sees the new state.
        tracing::debug!(%refusal, "the root group refused a step");
    }
    Ok(outcome)
}

async fn fence_bucket<C: Consensus + ?Sized>(
    consensus: &C,
    group: GroupId,
    record: &BucketRecord,
) -> Result<Noted, ConsensusError> {
    let command = ObjectCommand::BucketFence(record.clone());
    match consensus.propose_object(group, command).await? {
        ObjectOutcome::Fenced { live, epoch, state } => {
            let record = BucketRecord {
                epoch,
                state,
                ..record.clone()
            };
            Ok(Noted::Bucket {
                group,
                record,
                live,
            })
        }
        _ => Ok(Noted::Refused),
    }
}

/// Tells the root what the groups hold of a bucket with a new quota, before any of it is shared
/// (decision 0053).
async fn tell_leases<C: Consensus + ?Sized>(
    consensus: &C,
    bucket: BucketId,
    quota: Quota,
    groups: &[GroupId],
) -> Result<(), ConsensusError> {
    let settle = LeaseCommand::Settle {
        bucket,
        since: quota.since,
        granted: Amount::default(),
        give_back: false,
    };
    let ask = |group: GroupId| {
        let asked = consensus.propose_object(group, ObjectCommand::Lease(settle.clone()));
        async move { asked.await.map(|outcome| (group, outcome)) }
    };
    let mut leases = Vec::new();
    for (group, outcome) in try_join_all(groups.iter().copied().map(ask)).await? {
        if let ObjectOutcome::Lease { lease, .. } = outcome {
            leases.push((group, lease));
        }
    }
    let report = QuotaCommand::Report { bucket, leases };
    root(consensus, RootCommand::Quota(report)).await?;
    Ok(())
}

/// Best effort, in a cluster that does not take [`EndingCommand`] yet: a group that misses it answers
/// "sealed" instead of "deleted", which keeps writes out all the same.
async fn tell_deleted<C: Consensus + ?Sized>(
    consensus: &C,
    record: &BucketRecord,
    groups: &[GroupId],
) {
    let tell = |group: &GroupId| {
        consensus.propose_object(*group, ObjectCommand::BucketFence(record.clone()))
    };
    for told in join_all(groups.iter().map(tell)).await {
        if let Err(error) = told {
            tracing::info!(bucket = %record.name, %error, "a group was not told of the deletion");
        }
    }
}

#[cfg(test)]
mod tests;
