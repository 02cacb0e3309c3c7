//! The replicas of this server, and of the groups that it leads what is in them.

use std::sync::Arc;

use async_trait::async_trait;
use marram_meta::{ObjectAnswer, ObjectQuery};
use marram_metrics::catalogue::{
    GROUP_NARROWED, GROUP_OBJECT, GROUP_OBJECTS, GROUP_REENCODINGS, GROUP_REPAIRS,
    GROUP_UNDER_PROTECTED, RAFT_APPLIED, RAFT_CHECKPOINT, RAFT_COMMITTED, RAFT_HAS_LEADER,
    RAFT_LAG, RAFT_LAST, RAFT_ROLE, RAFT_TERM, RAFT_VOTERS,
};
use marram_metrics::{Sheet, Source};
use marram_raft::{GroupStatus, RaftHost, Role};
use marram_types::GroupId;

const ROLES: [&str; 5] = ["leader", "follower", "candidate", "learner", "stopped"];

/// The replicas.
pub(in crate::server) struct Groups(pub(in crate::server) Arc<RaftHost>);

#[async_trait]
impl Source for Groups {
    async fn collect(&self, sheet: &mut Sheet) {
        for group in self.0.groups() {
            let Some(status) = self.0.status(group) else {
                continue;
            };
            let name = group.0.to_string();
            write(sheet, &name, &status);
            if status.role == Role::Leader && group != GroupId::ROOT {
                self.write_content(sheet, group, &name).await;
            }
        }
    }
}

impl Groups {
    /// Reads what this replica has applied: a leader's is as new as any.
    async fn ask(&self, group: GroupId, query: ObjectQuery) -> Option<ObjectAnswer> {
        let answer = self.0.query(group, &query.encode(), false).await.ok()?;
        ObjectAnswer::decode(&answer.0).ok()
    }

    async fn write_content(&self, sheet: &mut Sheet, group: GroupId, name: &str) {
        let labels = [name];
        let usage = ObjectQuery::Usage { bucket: None };
        if let Some(ObjectAnswer::Usage(usage)) = self.ask(group, usage).await {
            sheet.set(&GROUP_OBJECTS, &labels, usage.objects);
            sheet.set(&GROUP_OBJECT, &labels, usage.bytes);
            sheet.set(&GROUP_NARROWED, &labels, usage.narrowed);
            sheet.set(&GROUP_UNDER_PROTECTED, &labels, usage.under_protected);
        }
        if let Some(ObjectAnswer::Status(counters)) = self.ask(group, ObjectQuery::Status).await {
            sheet.set(&GROUP_REPAIRS, &labels, counters.tickets);
            sheet.set(&GROUP_REENCODINGS, &labels, counters.reencodings);
        }
    }
}

fn write(sheet: &mut Sheet, name: &str, status: &GroupStatus) {
    let labels = [name];
    let role = match status.role {
        Role::Leader => "leader",
        Role::Follower => "follower",
        Role::Candidate => "candidate",
        Role::Learner => "learner",
        Role::Stopped => "stopped",
    };
    sheet.set_one_of(&RAFT_ROLE, &labels, &ROLES, role);
    let led = status.leader.is_some() && status.role != Role::Stopped;
    sheet.set(&RAFT_HAS_LEADER, &labels, u64::from(led));
    sheet.set(&RAFT_TERM, &labels, status.term);
    sheet.set(&RAFT_LAST, &labels, status.last);
    sheet.set(&RAFT_COMMITTED, &labels, status.committed);
    sheet.set(&RAFT_APPLIED, &labels, status.applied);
    sheet.set(&RAFT_CHECKPOINT, &labels, status.checkpoint);
    sheet.set(&RAFT_VOTERS, &labels, status.voters.len() as u64);
    if status.role == Role::Leader {
        sheet.set(&RAFT_LAG, &labels, slowest_voter(status));
    }
}

/// Entries that the slowest voter is behind. One that never answered is behind by all of them.
fn slowest_voter(status: &GroupStatus) -> u64 {
    let voters = status
        .matched
        .iter()
        .filter(|(replica, _)| status.voters.contains(replica));
    let behind = voters.map(|(_, matched)| status.last.saturating_sub(*matched));
    behind.max().unwrap_or(0)
}
