//! The replicas of this server, and of the groups that it leads what is in them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use marram_mesh::Mesh;
use marram_meta::{ClusterView, LostTotals, ObjectAnswer, ObjectQuery, USAGES_PAGE_MAX};
use marram_metrics::catalogue::{
    CACHE_HITS, CACHE_MISSES, CACHE_SIZE, GROUP_GARBAGE, GROUP_GARBAGE_AGE, GROUP_GARBAGE_SIZE,
    GROUP_LACKING, GROUP_LOST, GROUP_MARKERS, GROUP_MISPLACED, GROUP_NARROWED, GROUP_NONCURRENT,
    GROUP_NONCURRENT_SIZE, GROUP_OBJECT, GROUP_OBJECTS, GROUP_REENCODINGS, GROUP_REPAIRS,
    GROUP_UNDER_PROTECTED, GROUP_UPLOAD_SIZE, GROUP_VERSION_SIZE, GROUP_VERSIONS, RAFT_APPLIED,
    RAFT_CHECKPOINT, RAFT_COMMITTED, RAFT_HAS_LEADER, RAFT_LAG, RAFT_LAST, RAFT_LEADER_CHANGES,
    RAFT_ROLE, RAFT_SNAPSHOT_SIZE, RAFT_SNAPSHOTS, RAFT_TERM, RAFT_VOTERS,
};
use marram_metrics::{Sheet, Source};
use marram_proto::v1::ReplicaFacts;
use marram_raft::{GroupFigures, GroupStatus, RaftHost, Role};
use marram_types::{BucketId, GroupId, Profile, ReplicaId};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::super::view::node_of;
use super::proposals::ProposalCounts;

const ROLES: [&str; 5] = ["leader", "follower", "candidate", "learner", "stopped"];

/// A leader that no majority has answered for so long leads nobody: it would be replaced by now, if
/// there were a majority.
const UNANSWERED_MAX_MS: u64 = 3_000;

/// The replicas.
pub(in crate::server) struct Groups {
    /// The replicas of this server.
    pub host: Arc<RaftHost>,
    /// Who answers.
    pub mesh: Mesh,
    /// Who runs which replica.
    pub view: watch::Receiver<Arc<ClusterView>>,
    /// What lacked shards when it was last counted.
    pub lost: Lost,
    /// What is proposed to them.
    pub proposals: Arc<ProposalCounts>,
}

/// What lacks shards in each group, counted not too often: each ticket's extent is looked at.
#[derive(Debug, Default)]
pub(in crate::server) struct Lost(Mutex<BTreeMap<GroupId, (Instant, Arc<LostTotals>)>>);

/// How long a count is good.
const LOST_FOR: Duration = Duration::from_secs(5);

impl Lost {
    fn known(&self, group: GroupId) -> Option<Arc<LostTotals>> {
        let known = self.0.lock();
        let (since, totals) = known.get(&group)?;
        (since.elapsed() < LOST_FOR).then(|| Arc::clone(totals))
    }

    fn keep(&self, group: GroupId, totals: LostTotals) -> Arc<LostTotals> {
        let totals = Arc::new(totals);
        self.0
            .lock()
            .insert(group, (Instant::now(), Arc::clone(&totals)));
        totals
    }
}

#[async_trait]
impl Source for Groups {
    async fn collect(&self, sheet: &mut Sheet) {
        let view = self.view.borrow().clone();
        let answers = |replica| node_of(&view, replica).is_some_and(|n| self.mesh.is_up(n));
        let pages = self.host.pages();
        sheet.set(&CACHE_HITS, &["tables"], pages.hits);
        sheet.set(&CACHE_MISSES, &["tables"], pages.misses);
        sheet.set(&CACHE_SIZE, &["tables"], pages.bytes);
        for group in self.host.groups() {
            let Some(status) = self.host.status(group) else {
                continue;
            };
            let name = group.0.to_string();
            let led = is_led(&status, answers);
            sheet.set(&RAFT_HAS_LEADER, &[&name], u64::from(led));
            write(sheet, &name, &status);
            self.proposals.begin(group);
            if let Some(figures) = self.host.figures(group) {
                write_figures(sheet, &name, &figures);
            }
            if status.role == Role::Leader && group != GroupId::ROOT {
                self.write_content(sheet, group, &name).await;
            }
        }
    }
}

impl Groups {
    /// Reads what this replica has applied: a leader's is as new as any.
    async fn ask(&self, group: GroupId, query: ObjectQuery) -> Option<ObjectAnswer> {
        let answer = self.host.query(group, &query.encode(), false).await.ok()?;
        ObjectAnswer::decode(&answer.0).ok()
    }

    async fn lost(&self, group: GroupId) -> Option<Arc<LostTotals>> {
        if let Some(known) = self.lost.known(group) {
            return Some(known);
        }
        match self.ask(group, ObjectQuery::LostTotals).await {
            Some(ObjectAnswer::LostTotals(totals)) => Some(self.lost.keep(group, totals)),
            _ => None,
        }
    }

    /// What the group holds, by how many losses it survives.
    async fn levels(&self, group: GroupId, lost: &LostTotals) -> Option<[Level; SPARES.len()]> {
        let view = self.view.borrow().clone();
        let profiles = view.buckets.values();
        let profiles: HashMap<BucketId, usize> = profiles
            .map(|bucket| {
                // A version may have any of them: all count as those that survive least.
                let m = bucket.profiles().map(Profile::m).min();
                (bucket.bucket, m.unwrap_or(0))
            })
            .collect();
        let (mut levels, mut after) = ([Level::default(); SPARES.len()], None);
        loop {
            let limit = USAGES_PAGE_MAX;
            let asked = self.ask(group, ObjectQuery::Usages { after, limit }).await;
            let Some(ObjectAnswer::Usages(page)) = asked else {
                return None;
            };
            for (bucket, usage) in &page.buckets {
                // One that is not in the view any more is being deleted, and holds next to nothing.
                let m = profiles.get(bucket).copied().unwrap_or(0);
                let level = &mut levels[at_spare(i16::try_from(m).unwrap_or(i16::MAX))];
                level.versions += usage.versions();
                level.bytes += usage.bytes + usage.noncurrent_bytes;
            }
            after = page.buckets.last().map(|(bucket, _)| *bucket);
            if !page.more {
                break;
            }
        }
        lower(&mut levels, lost);
        Some(levels)
    }

    async fn write_content(&self, sheet: &mut Sheet, group: GroupId, name: &str) {
        let labels = [name];
        let usage = ObjectQuery::Usage { bucket: None };
        if let Some(ObjectAnswer::Usage(usage)) = self.ask(group, usage).await {
            sheet.set(&GROUP_OBJECTS, &labels, usage.objects);
            sheet.set(&GROUP_OBJECT, &labels, usage.bytes);
            sheet.set(&GROUP_NONCURRENT, &labels, usage.noncurrent);
            sheet.set(&GROUP_NONCURRENT_SIZE, &labels, usage.noncurrent_bytes);
            sheet.set(&GROUP_MARKERS, &labels, usage.markers);
            sheet.set(&GROUP_UPLOAD_SIZE, &labels, usage.part_bytes);
            sheet.set(&GROUP_NARROWED, &labels, usage.narrowed);
            sheet.set(&GROUP_UNDER_PROTECTED, &labels, usage.under_protected);
        }
        if let Some(ObjectAnswer::Status(counters)) = self.ask(group, ObjectQuery::Status).await {
            sheet.set(&GROUP_REPAIRS, &labels, counters.tickets);
            sheet.set(&GROUP_REENCODINGS, &labels, counters.reencodings);
        }
        if let Some(lost) = self.lost(group).await {
            write_lost(sheet, name, &lost);
            if let Some(levels) = self.levels(group, &lost).await {
                write_levels(sheet, name, &levels);
            }
        }
        let garbage = ObjectQuery::GarbageTotals;
        if let Some(ObjectAnswer::GarbageTotals(totals)) = self.ask(group, garbage).await {
            sheet.set(&GROUP_GARBAGE, &labels, totals.entries);
            sheet.set(&GROUP_GARBAGE_SIZE, &labels, totals.bytes);
            let oldest = totals.oldest_ms.unwrap_or(totals.now_ms);
            let age = Duration::from_millis(totals.now_ms.saturating_sub(oldest));
            sheet.set_time(&GROUP_GARBAGE_AGE, &labels, age);
        }
    }
}

/// What the replicas of this server are and how far.
pub(in crate::server) fn replica_facts(
    host: &RaftHost,
    mesh: &Mesh,
    view: &ClusterView,
) -> Vec<ReplicaFacts> {
    let answers = |replica| node_of(view, replica).is_some_and(|node| mesh.is_up(node));
    let each = host.groups().into_iter().filter_map(|group| {
        let status = host.status(group)?;
        Some(ReplicaFacts {
            group: u32::from(group.0),
            role: role_name(status.role).to_owned(),
            led: is_led(&status, answers),
            term: status.term,
            last_index: status.last,
            applied_index: status.applied,
            failure: status.failed.unwrap_or_default(),
        })
    });
    each.collect()
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Leader => "leader",
        Role::Follower => "follower",
        Role::Candidate => "candidate",
        Role::Learner => "learner",
        Role::Stopped => "stopped",
    }
}

fn write(sheet: &mut Sheet, name: &str, status: &GroupStatus) {
    let labels = [name];
    let role = role_name(status.role);
    sheet.set_one_of(&RAFT_ROLE, &labels, &ROLES, role);
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

fn write_figures(sheet: &mut Sheet, name: &str, figures: &GroupFigures) {
    sheet.set(&RAFT_LEADER_CHANGES, &[name], figures.leader_changes);
    for (event, count) in [
        ("built", figures.snapshots_built),
        ("sent", figures.snapshots_sent),
        ("installed", figures.snapshots_installed),
    ] {
        sheet.set(&RAFT_SNAPSHOTS, &[name, event], count);
    }
    for (way, bytes) in [
        ("sent", figures.snapshot_sent_bytes),
        ("received", figures.snapshot_received_bytes),
    ] {
        sheet.set(&RAFT_SNAPSHOT_SIZE, &[name, way], bytes);
    }
}

/// Names of how many more losses an extent survives.
const SPARES: [&str; 10] = ["lost", "0", "1", "2", "3", "4", "5", "6", "7", "8"];

/// The place of a number of further losses among their names. No profile has more than eight parity shards.
fn at_spare(spare: i16) -> usize {
    let at = usize::try_from(spare.saturating_add(1)).unwrap_or(0);
    at.min(SPARES.len() - 1)
}

/// What survives as many losses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Level {
    versions: u64,
    bytes: u64,
}

/// Puts what lacks shards where it belongs.
fn lower(levels: &mut [Level; SPARES.len()], lost: &LostTotals) {
    for ((whole, spare), lacking) in &lost.lacking {
        // Extents of other profiles than their bucket's are not where they are looked for: no more than what
        // is there can be moved.
        let from = &mut levels[at_spare(*whole)];
        let versions = lacking.extents.min(from.versions);
        let bytes = lacking.bytes.min(from.bytes);
        (from.versions, from.bytes) = (from.versions - versions, from.bytes - bytes);
        let to = &mut levels[at_spare(*spare)];
        (to.versions, to.bytes) = (to.versions + versions, to.bytes + bytes);
    }
}

fn write_levels(sheet: &mut Sheet, name: &str, levels: &[Level; SPARES.len()]) {
    for (survives, level) in SPARES.iter().zip(levels) {
        // The first ones are there from the start, so that an increase is one.
        if level.versions > 0 || matches!(*survives, "lost" | "0" | "1") {
            sheet.set(&GROUP_VERSIONS, &[name, survives], level.versions);
            sheet.set(&GROUP_VERSION_SIZE, &[name, survives], level.bytes);
        }
    }
}

fn write_lost(sheet: &mut Sheet, name: &str, lost: &LostTotals) {
    let mut extents = [0; SPARES.len()];
    for (spare, count) in &lost.spare {
        extents[at_spare(*spare)] += count;
    }
    for (spare, count) in SPARES.iter().zip(extents) {
        // The first ones are there from the start, so that an increase is one.
        if count > 0 || matches!(*spare, "lost" | "0" | "1") {
            sheet.set(&GROUP_LACKING, &[name, spare], count);
        }
    }
    sheet.set(&GROUP_LOST, &[name], lost.bytes);
    sheet.set(&GROUP_MISPLACED, &[name], lost.misplaced);
}

/// Whether the group of this replica has a leader. What the replica believes is not enough: a leader
/// that was cut off, and those who followed one that is gone, believe it until they hear of another.
fn is_led(status: &GroupStatus, answers: impl Fn(ReplicaId) -> bool) -> bool {
    match status.role {
        Role::Stopped => false,
        Role::Leader => {
            let alone = status.voters.len() == 1;
            alone || status.quorum_ms.is_some_and(|ms| ms < UNANSWERED_MAX_MS)
        }
        Role::Follower | Role::Candidate | Role::Learner => status.leader.is_some_and(answers),
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

#[cfg(test)]
mod tests {
    use marram_meta::Lacking;

    use super::*;

    fn status(role: Role, leader: Option<u64>, quorum_ms: Option<u64>) -> GroupStatus {
        GroupStatus {
            role,
            term: 7,
            leader: leader.map(ReplicaId),
            last: 100,
            committed: 100,
            applied: 100,
            checkpoint: 50,
            voters: [1, 2, 3].map(ReplicaId).to_vec(),
            learners: vec![ReplicaId(4)],
            changing: false,
            target: Vec::new(),
            members_at: (1, true),
            matched: [(2, 90), (3, 40), (4, 0)]
                .map(|(r, at)| (ReplicaId(r), at))
                .to_vec(),
            quorum_ms,
            failed: None,
        }
    }

    #[test]
    fn a_leader_is_one_that_a_majority_answers() {
        let nobody = |_: ReplicaId| false;
        let led = |role, leader, quorum_ms| is_led(&status(role, leader, quorum_ms), nobody);
        assert!(led(Role::Leader, Some(1), Some(150)));
        assert!(!led(Role::Leader, Some(1), Some(3_000)), "cut off");
        assert!(!led(Role::Leader, Some(1), None), "just elected");
        let mut alone = status(Role::Leader, Some(1), None);
        alone.voters.truncate(1);
        assert!(is_led(&alone, nobody));
        assert!(!led(Role::Stopped, Some(1), Some(150)));
    }

    #[test]
    fn a_leader_that_does_not_answer_is_none() {
        let is_one = |replica: ReplicaId| replica == ReplicaId(1);
        let led = |leader| is_led(&status(Role::Follower, leader, None), is_one);
        assert!(led(Some(1)));
        assert!(!led(Some(2)) && !led(None));
    }

    #[test]
    fn learners_are_no_slow_voters() {
        assert_eq!(slowest_voter(&status(Role::Leader, Some(1), Some(0))), 60);
    }

    #[test]
    fn what_lacks_shards_survives_less() {
        let mut levels = [Level::default(); SPARES.len()];
        let level = |versions, bytes| Level { versions, bytes };
        levels[at_spare(2)] = level(10, 1000);
        levels[at_spare(1)] = level(1, 5);
        let mut lost = LostTotals::default();
        let lacking = |extents, bytes| Lacking { extents, bytes };
        lost.lacking.insert((2, 1), lacking(3, 300));
        lost.lacking.insert((2, -1), lacking(1, 50));
        lost.lacking.insert((3, 0), lacking(7, 70));
        lost.lacking.insert((1, 0), lacking(2, 4));
        lower(&mut levels, &lost);
        let found = [2, 1, 0, -1, -2].map(|spare| levels[at_spare(spare)]);
        // What is looked for where it is not is not counted twice.
        let expected = [
            level(6, 650),
            level(3, 301),
            level(1, 4),
            level(1, 50),
            level(1, 50),
        ];
        assert_eq!(found, expected);
        assert_eq!((at_spare(8), at_spare(9)), (9, 9));
    }

    #[tokio::test]
    async fn what_survives_fewer_losses_is_told_apart() {
        let mut lost = LostTotals {
            bytes: 700,
            misplaced: 3,
            ..LostTotals::default()
        };
        lost.spare.extend([(-2, 1), (-1, 2), (0, 4), (3, 8)]);
        struct One(LostTotals);
        #[async_trait]
        impl Source for One {
            async fn collect(&self, sheet: &mut Sheet) {
                write_lost(sheet, "5", &self.0);
            }
        }
        let sources = marram_metrics::Sources::default();
        sources.add(Arc::new(One(lost)));
        let page = sources.scrape(marram_metrics::Format::Prometheus).await;
        let page = page.expect("written");
        for line in [
            "marram_group_lacking_extents{group=\"5\",survives=\"lost\"} 3",
            "marram_group_lacking_extents{group=\"5\",survives=\"0\"} 4",
            "marram_group_lacking_extents{group=\"5\",survives=\"1\"} 0",
            "marram_group_lacking_extents{group=\"5\",survives=\"3\"} 8",
            "marram_group_lost_shard_bytes{group=\"5\"} 700",
            "marram_group_misplaced_extents{group=\"5\"} 3",
        ] {
            assert!(page.lines().any(|l| l == line), "{line}\n{page}");
        }
    }
}
