//! What operators are told of scrubs, garbage and single drives.

use marram_proto::v1;
use serde::Serialize;

/// The scrubs of the whole cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScrubStatus {
    /// Since when all of them are paused, in milliseconds since 1970.
    pub paused_since_ms: Option<u64>,
    /// The drives, by node.
    pub drives: Vec<DriveScrub>,
    /// What the nodes' scans for data of nobody found.
    pub scans: Vec<NodeScan>,
    /// The last comparison of each metadata group's replicas.
    pub comparisons: Vec<ReplicaComparison>,
    /// Names of nodes that did not answer.
    pub away: Vec<String>,
}

/// What a pass does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ScrubStage {
    /// No pass is under way.
    Resting,
    /// The drive is read.
    Reading,
    /// What the metadata says to be there is looked for.
    Comparing,
    /// Not said, or said in a way this release does not know.
    Unknown,
}

/// What a pass has read and found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ScrubFindings {
    /// Runs of shards that were read.
    pub runs: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Shards that the metadata says to be on the drive, as far as they were compared.
    pub compared: u64,
    /// Runs that are not what was written.
    pub damaged: u64,
    /// Runs that the drive does not give any more.
    pub unreadable: u64,
    /// Runs whose file is gone.
    pub gone: u64,
    /// Shards that the metadata says to be there and that were not.
    pub missing: u64,
    /// Shards that are repaired because of all that.
    pub tickets: u64,
    /// Headers of segments that were written anew.
    pub mended: u64,
}

/// A pass that went through everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct FullScrub {
    /// When it began, in milliseconds since 1970.
    pub began_ms: u64,
    /// When it ended.
    pub ended_ms: u64,
    /// What it found.
    pub found: ScrubFindings,
}

/// The scrub of one drive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DriveScrub {
    /// The node's id.
    pub node_id: u64,
    /// The node's name.
    pub node: String,
    /// The drive.
    pub drive_id: u64,
    /// What is being done.
    pub stage: ScrubStage,
    /// When that began, in milliseconds since 1970.
    pub since_ms: u64,
    /// What the pass under way has found.
    pub found: ScrubFindings,
    /// The last full pass.
    pub last: Option<FullScrub>,
    /// Bytes of records on the drive.
    pub total_bytes: u64,
    /// Bytes read in a second; 0 where that is not known.
    pub bytes_per_s: u64,
    /// Seconds that reading the rest takes at that rate.
    pub seconds_left: Option<u64>,
    /// The last step could not be taken and is tried again.
    pub stuck: bool,
}

/// What a node's last scan for data of nobody found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeScan {
    /// The node's id.
    pub node_id: u64,
    /// The node's name.
    pub node: String,
    /// Scans since its process began.
    pub scans: u64,
    /// Shards that were looked at.
    pub shards: u64,
    /// Data that belonged to nobody and was removed.
    pub removed: u64,
    /// Copies left over from moves that were removed.
    pub cleaned: u64,
    /// Shards that nobody refers to and that may not go yet.
    pub waiting: u64,
}

/// The replicas of a metadata group compared at one index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReplicaComparison {
    /// The group; 0 is the root group.
    pub group: u32,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// The index.
    pub index: u64,
    /// Replicas with the same state; 0 where none was at the same index.
    pub equal: u32,
    /// Nodes whose replica has another state than the leader's.
    pub different_node_ids: Vec<u64>,
}

impl ScrubStatus {
    pub(crate) fn from_wire(status: Option<v1::ScrubStatus>) -> Self {
        let status = status.unwrap_or_default();
        Self {
            paused_since_ms: status.paused_since_ms,
            drives: status.drives.into_iter().map(drive_scrub).collect(),
            scans: status.scans.into_iter().map(scan).collect(),
            comparisons: status.comparisons.into_iter().map(comparison).collect(),
            away: status.away,
        }
    }
}

fn findings(found: Option<v1::ScrubFindings>) -> ScrubFindings {
    let found = found.unwrap_or_default();
    ScrubFindings {
        runs: found.runs,
        bytes: found.bytes,
        compared: found.compared,
        damaged: found.damaged,
        unreadable: found.unreadable,
        gone: found.gone,
        missing: found.missing,
        tickets: found.tickets,
        mended: found.mended,
    }
}

fn drive_scrub(scrub: v1::DriveScrub) -> DriveScrub {
    DriveScrub {
        stage: match scrub.stage() {
            v1::ScrubStage::Resting => ScrubStage::Resting,
            v1::ScrubStage::Reading => ScrubStage::Reading,
            v1::ScrubStage::Comparing => ScrubStage::Comparing,
            v1::ScrubStage::Unspecified => ScrubStage::Unknown,
        },
        node_id: scrub.node_id,
        node: scrub.node,
        drive_id: scrub.drive_id,
        since_ms: scrub.since_ms,
        found: findings(scrub.found),
        last: scrub.last.map(|pass| FullScrub {
            began_ms: pass.began_ms,
            ended_ms: pass.ended_ms,
            found: findings(pass.found),
        }),
        total_bytes: scrub.total_bytes,
        bytes_per_s: scrub.bytes_per_s,
        seconds_left: scrub.seconds_left,
        stuck: scrub.stuck,
    }
}

fn scan(scan: v1::NodeScan) -> NodeScan {
    NodeScan {
        node_id: scan.node_id,
        node: scan.node,
        scans: scan.scans,
        shards: scan.shards,
        removed: scan.removed,
        cleaned: scan.cleaned,
        waiting: scan.waiting,
    }
}

fn comparison(compared: v1::ReplicaComparison) -> ReplicaComparison {
    ReplicaComparison {
        group: compared.group,
        at_ms: compared.at_ms,
        index: compared.index,
        equal: compared.equal,
        different_node_ids: compared.different_node_ids,
    }
}

/// How much garbage waits to be removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GarbageStatus {
    /// Since when nothing is removed, in milliseconds since 1970.
    pub paused_since_ms: Option<u64>,
    /// Extents that wait in all queues.
    pub entries: u64,
    /// About how many bytes their shards have.
    pub bytes: u64,
    /// Those of the extents that may go now.
    pub due: u64,
    /// Milliseconds that the oldest has waited.
    pub oldest_age_ms: u64,
    /// The queues of the metadata groups.
    pub groups: Vec<GroupGarbage>,
    /// Metadata groups that do not answer.
    pub silent_groups: Vec<u32>,
    /// Names of nodes that answer and act by an older decision about pausing.
    pub behind: Vec<String>,
}

/// The garbage queue of one metadata group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupGarbage {
    /// The group.
    pub group: u32,
    /// Extents that wait, as far as they were counted.
    pub entries: u64,
    /// About how many bytes their shards have.
    pub bytes: u64,
    /// Those that may go now.
    pub due: u64,
    /// Milliseconds that the oldest has waited.
    pub oldest_age_ms: u64,
    /// There are more than were counted.
    pub more: bool,
}

impl GarbageStatus {
    pub(crate) fn from_wire(answer: v1::GetGarbageResponse) -> Self {
        let group = |group: v1::GroupGarbage| GroupGarbage {
            group: group.group,
            entries: group.entries,
            bytes: group.bytes,
            due: group.due,
            oldest_age_ms: group.oldest_age_ms,
            more: group.more,
        };
        Self {
            paused_since_ms: answer.paused_since_ms,
            entries: answer.entries,
            bytes: answer.bytes,
            due: answer.due,
            oldest_age_ms: answer.oldest_age_ms,
            groups: answer.groups.into_iter().map(group).collect(),
            silent_groups: answer.silent_groups,
            behind: answer.behind,
        }
    }
}

/// Work that can be paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PausableWork {
    /// Removing shards that nobody needs.
    Garbage,
    /// Reading all shards through.
    Scrub,
    /// Repairing lost shards, rebuilding what was on drives that are gone, and encoding anew.
    Repair,
    /// Moving data for balance, and away from what is drained.
    Moves,
}

impl PausableWork {
    pub(crate) fn to_wire(self) -> v1::PausableWork {
        match self {
            Self::Garbage => v1::PausableWork::Garbage,
            Self::Scrub => v1::PausableWork::Scrub,
            Self::Repair => v1::PausableWork::Repair,
            Self::Moves => v1::PausableWork::Moves,
        }
    }
}

/// Work was paused, or goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PauseChange {
    /// Since when it is paused, in milliseconds since 1970; none when it is not.
    pub paused_since_ms: Option<u64>,
    /// It was so before.
    pub unchanged: bool,
    /// Names of nodes that answer and have not taken the decision over yet.
    pub behind: Vec<String>,
}

impl PauseChange {
    pub(crate) fn from_wire(answer: v1::SetPausedResponse) -> Self {
        Self {
            paused_since_ms: answer.paused_since_ms,
            unchanged: answer.unchanged,
            behind: answer.behind,
        }
    }
}

/// What a drive is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DriveDuty {
    /// It takes data, as far as its node does.
    Serving,
    /// It gives up what it has.
    Draining,
    /// Its node runs without it: what it had is rebuilt elsewhere, until it is found again.
    Away,
    /// It failed for good: what it had is rebuilt elsewhere.
    Failed,
    /// Not said, or said in a way this release does not know.
    Unknown,
}

impl DriveDuty {
    pub(crate) fn from_wire(duty: v1::DriveDuty) -> Self {
        match duty {
            v1::DriveDuty::Serving => Self::Serving,
            v1::DriveDuty::Draining => Self::Draining,
            v1::DriveDuty::Away => Self::Away,
            v1::DriveDuty::Failed => Self::Failed,
            v1::DriveDuty::Unspecified => Self::Unknown,
        }
    }

    pub(crate) fn to_wire(self) -> v1::DriveDuty {
        match self {
            Self::Serving => v1::DriveDuty::Serving,
            Self::Draining => v1::DriveDuty::Draining,
            Self::Away => v1::DriveDuty::Away,
            Self::Failed => v1::DriveDuty::Failed,
            Self::Unknown => v1::DriveDuty::Unspecified,
        }
    }
}

/// A drive of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DriveEntry {
    /// The node's id.
    pub node_id: u64,
    /// The node's name.
    pub node: String,
    /// The drive's id.
    pub drive_id: u64,
    /// Its number within the node; 0 is the metadata drive.
    pub number: u32,
    /// What it is there for.
    pub duty: DriveDuty,
    /// What it says of itself: active, full, retired, away or unknown.
    pub state: String,
    /// Its size in bytes, by which data is shared out.
    pub capacity_bytes: u64,
    /// Bytes of live records.
    pub record_bytes: Option<u64>,
    /// Free bytes.
    pub free_bytes: Option<u64>,
    /// Slots of placement groups that are read from it.
    pub slots: u64,
}

impl DriveEntry {
    pub(crate) fn from_wire(entry: v1::DriveEntry) -> Self {
        Self {
            duty: DriveDuty::from_wire(entry.duty()),
            node_id: entry.node_id,
            node: entry.node,
            drive_id: entry.drive_id,
            number: entry.number,
            state: entry.state,
            capacity_bytes: entry.capacity_bytes,
            record_bytes: entry.record_bytes,
            free_bytes: entry.free_bytes,
            slots: entry.slots,
        }
    }
}

/// A change of what a drive is there for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DriveChange {
    /// The drive's id.
    pub drive_id: u64,
    /// The node's name.
    pub node: String,
    /// What it is there for now.
    pub duty: DriveDuty,
    /// What it was there for before.
    pub before: DriveDuty,
}

impl DriveChange {
    pub(crate) fn from_wire(answer: v1::SetDriveDutyResponse) -> Self {
        Self {
            duty: DriveDuty::from_wire(answer.duty()),
            before: DriveDuty::from_wire(answer.before()),
            drive_id: answer.drive_id,
            node: answer.node,
        }
    }
}

/// A drive that is gone for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RemovedDrive {
    /// Its id.
    pub drive_id: u64,
    /// The node's name.
    pub node: String,
}

impl RemovedDrive {
    pub(crate) fn from_wire(answer: v1::RemoveDriveResponse) -> Self {
        Self {
            drive_id: answer.drive_id,
            node: answer.node,
        }
    }
}
