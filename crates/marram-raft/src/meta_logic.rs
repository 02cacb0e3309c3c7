//! The state machines of marram-meta as a [`GroupLogic`].

use std::sync::atomic::{AtomicU8, Ordering};

use marram_meta::{KvRead, KvWrite};
use marram_types::GroupId;

use crate::logic::{GroupLogic, LogicError};

/// The root group's and the object groups' state machines.
#[derive(Debug, Default)]
pub struct MetaLogic {
    /// The cluster's version; 0 while it is not known.
    gate: AtomicU8,
}

/// A command of a version that the cluster does not use yet.
#[derive(Debug, thiserror::Error)]
#[error("the command has version {version}, the cluster is at version {gate}")]
struct AboveGate {
    version: u8,
    gate: u8,
}

impl MetaLogic {
    /// Takes note of the cluster's version: commands of a later one are not proposed (rules.md 9).
    pub fn set_gate(&self, version: u8) {
        self.gate.store(version, Ordering::Release);
    }

    fn pass_gate(&self, command: &[u8]) -> Result<(), AboveGate> {
        let gate = self.gate.load(Ordering::Acquire);
        match command.first().copied() {
            Some(version) if gate > 0 && version > gate => Err(AboveGate { version, gate }),
            _ => Ok(()),
        }
    }
}

impl GroupLogic for MetaLogic {
    /// Reads the command, too: one that no replica could read must not get into the log, where it
    /// would stop all of them.
    fn stamp(&self, group: GroupId, command: &mut [u8], time_ms: u64) -> Result<(), LogicError> {
        self.pass_gate(command).map_err(LogicError::new)?;
        marram_meta::stamp(command, time_ms).map_err(LogicError::new)?;
        if group == GroupId::ROOT {
            marram_meta::check_root(command).map_err(LogicError::new)
        } else {
            marram_meta::check_object(command).map_err(LogicError::new)
        }
    }

    fn grows(&self, group: GroupId, command: &[u8]) -> bool {
        group != GroupId::ROOT && marram_meta::adds_data(command)
    }

    fn apply(
        &self,
        group: GroupId,
        state: &mut dyn KvWrite,
        index: u64,
        command: &[u8],
    ) -> Result<Vec<u8>, LogicError> {
        if group == GroupId::ROOT {
            marram_meta::apply_root(state, index, command).map_err(LogicError::new)
        } else {
            marram_meta::apply_object(state, index, command).map_err(LogicError::new)
        }
    }

    /// The root group on this server is asked through [`marram_meta::view`] on a [`crate::ReadView`].
    fn query(
        &self,
        group: GroupId,
        state: &dyn KvRead,
        applied: u64,
        query: &[u8],
    ) -> Result<Vec<u8>, LogicError> {
        if group == GroupId::ROOT {
            marram_meta::answer_root(state, query).map_err(LogicError::new)
        } else {
            marram_meta::answer_object(state, applied, query).map_err(LogicError::new)
        }
    }
}

#[cfg(test)]
mod tests {
    use marram_meta::{COMMAND_VERSION, Envelope, RootCommand, VERSIONING_SINCE, Versioning};
    use marram_types::BucketName;

    use super::*;

    #[test]
    fn what_no_replica_could_apply_is_refused_before_it_is_proposed() {
        let seal = |version| Envelope::seal_internal(&RootCommand::FinalizeVersion { version });
        let logic = MetaLogic::default();
        let mut good = seal(COMMAND_VERSION);
        logic.stamp(GroupId::ROOT, &mut good, 77).unwrap();
        assert_eq!(Envelope::decode(&good).unwrap().time_ms, 77);
        let newer = logic.stamp(GroupId::ROOT, &mut seal(COMMAND_VERSION + 1), 77);
        assert!(newer.is_err());
        for group in [GroupId::ROOT, GroupId(1)] {
            let cut = good.len() - 1;
            assert!(logic.stamp(group, &mut good.clone()[..cut], 77).is_err());
            assert!(logic.stamp(group, &mut [0; 64], 77).is_err());
        }
    }

    #[test]
    fn a_leader_proposes_nothing_that_the_cluster_does_not_use_yet() {
        let logic = MetaLogic::default();
        let versioning = Versioning::On;
        let name = BucketName::new("photos").expect("a name");
        let new = RootCommand::SetVersioning { name, versioning };
        let old = RootCommand::HoldLayout { until_ms: 0 };
        let propose = |command: &RootCommand| {
            logic.stamp(GroupId::ROOT, &mut Envelope::seal_internal(command), 5)
        };
        propose(&new).expect("nothing is known of the gate");
        let before = VERSIONING_SINCE - 1;
        logic.set_gate(before);
        let refused = propose(&new).expect_err("it is above").to_string();
        assert!(refused.contains(&format!("at version {before}")));
        propose(&old).expect("it is what it was before");
        logic.set_gate(COMMAND_VERSION);
        propose(&new).expect("the gate was raised");
    }
}
