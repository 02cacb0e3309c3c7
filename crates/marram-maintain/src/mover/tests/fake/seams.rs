//! What the mover asks of groups and drives, and what of it fails.

use std::collections::BTreeSet;

use marram_meta::{ObjectCommand, ObjectOutcome, RootCommand, RootOutcome};
use marram_types::ReplicaId;

use super::super::super::*;
use super::Fake;
use crate::consensus::Members;
use crate::shards::Seen;

fn lost(group: GroupId) -> ConsensusError {
    ConsensusError::Unavailable {
        group,
        reason: "a fault".into(),
    }
}

#[async_trait::async_trait]
impl Consensus for Fake {
    fn root_if_leading(&self) -> Option<Members> {
        Some(Members::default())
    }

    async fn propose_root(&self, command: RootCommand) -> Result<RootOutcome, ConsensusError> {
        self.call().await;
        let (outcome, fails) = {
            let mut state = self.state();
            if state.fails() {
                return Err(lost(GroupId::ROOT));
            }
            (state.root(&command), state.fails())
        };
        self.publish();
        self.call().await;
        if fails {
            Err(lost(GroupId::ROOT))
        } else {
            Ok(outcome)
        }
    }

    async fn propose_object(
        &self,
        group: GroupId,
        command: ObjectCommand,
    ) -> Result<ObjectOutcome, ConsensusError> {
        self.call().await;
        let (outcome, fails) = {
            let mut state = self.state();
            if state.fails() {
                return Err(lost(group));
            }
            (state.object(group, &command), state.fails())
        };
        self.call().await;
        if fails { Err(lost(group)) } else { Ok(outcome) }
    }

    async fn ask_object(
        &self,
        group: GroupId,
        query: ObjectQuery,
    ) -> Result<ObjectAnswer, ConsensusError> {
        self.call().await;
        let mut state = self.state();
        if state.fails() {
            return Err(lost(group));
        }
        Ok(state.ask(group, &query))
    }

    async fn add_root_learner(&self, _: ReplicaId) -> Result<(), ConsensusError> {
        Ok(())
    }

    async fn set_root_voters(&self, _: Vec<ReplicaId>) -> Result<(), ConsensusError> {
        Ok(())
    }

    fn led_groups(&self) -> Vec<GroupId> {
        Vec::new()
    }

    fn own_replica(&self) -> ReplicaId {
        ReplicaId(1)
    }

    fn is_up(&self, _: ReplicaId) -> bool {
        true
    }

    async fn hand_over(&self, _: GroupId, _: ReplicaId) -> Result<(), ConsensusError> {
        Ok(())
    }
}

#[async_trait::async_trait]
impl Shards for Fake {
    fn is_up(&self, node: NodeId) -> bool {
        !self.state().down.contains(&node)
    }

    async fn restore(
        &self,
        node: NodeId,
        drive: DriveId,
        row: (PgId, u64),
        wanted: Vec<Wanted>,
    ) -> Result<Vec<Restored>, ShardsError> {
        self.call().await;
        self.until_quick(row.0.index).await?;
        let mut state = self.state();
        Self::check(&mut state, node, row)?;
        let ids = wanted.iter().map(|wanted| (row.0.index, shard_id(wanted)));
        state.slow.asked.extend(ids);
        *state.slow.requests.entry(row.0.index).or_default() += 1;
        let mut done = Vec::new();
        for wanted in wanted {
            let id = shard_id(&wanted);
            let source = |shard: u8| {
                let place = wanted.places[usize::from(shard)];
                let id = ShardId { slot: shard, ..id };
                let up = !state.down.contains(&state.home(place));
                up && !wanted.extent.is_missing(shard) && state.is_whole(place, id)
            };
            let others = (0..3).filter(|s| *s != wanted.shard && source(*s)).count();
            done.push(if state.is_whole(drive, id) {
                Restored::Held { written: 0 }
            } else if source(wanted.shard) || others >= 2 {
                let held = state.disks.get(&drive).map_or(0, BTreeSet::len);
                if state.limits.get(&drive).is_some_and(|most| held >= *most) {
                    return Err(ShardsError::Full);
                }
                if state.fails() {
                    Restored::Failed
                } else {
                    state.disks.entry(drive).or_default().insert(id);
                    state.damaged.remove(&(drive, id));
                    Restored::Held { written: 100_000 }
                }
            } else {
                Restored::NoSource
            });
        }
        if state.fails() {
            Err(ShardsError::Away)
        } else {
            Ok(done)
        }
    }

    async fn look(
        &self,
        node: NodeId,
        drive: DriveId,
        row: (PgId, u64),
        shards: Vec<(ShardId, u64)>,
    ) -> Result<Vec<Seen>, ShardsError> {
        self.call().await;
        let mut state = self.state();
        Self::check(&mut state, node, row)?;
        let seen = |(id, _)| match (state.is_whole(drive, id), state.holds(drive, id)) {
            (true, _) => Seen::Whole,
            (false, true) => Seen::Damaged,
            (false, false) => Seen::Missing,
        };
        Ok(shards.into_iter().map(seen).collect())
    }

    async fn clean(
        &self,
        node: NodeId,
        drive: DriveId,
        row: (PgId, u64),
        shards: Vec<(ShardId, u8)>,
    ) -> Result<(), ShardsError> {
        self.call().await;
        let mut state = self.state();
        Self::check(&mut state, node, row)?;
        let known = state.row(row.0);
        for (_, slot) in &shards {
            if known.must_hold(*slot).unwrap().contains(drive) {
                return Err(ShardsError::Refused);
            }
        }
        for (id, _) in &shards {
            state.disks.entry(drive).or_default().remove(id);
        }
        state.cleaned += shards.len();
        state.check_claims();
        if state.fails() {
            Err(ShardsError::Away)
        } else {
            Ok(())
        }
    }

    async fn drop_data(&self, _: NodeId, _: DriveId, _: Vec<DataId>) -> Result<(), ShardsError> {
        Ok(())
    }
}
