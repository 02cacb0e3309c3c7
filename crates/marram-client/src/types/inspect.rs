//! What is wrong with a cluster, and what nodes say of themselves.

use marram_proto::v1;
use serde::Serialize;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Data is at risk, or cannot be read or written.
    Critical,
    /// It will hurt, or makes a failure worse than it had to be.
    Warning,
    /// Good to know; nothing has to be done.
    Note,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What it is about; empty for the cluster.
    pub subject: String,
    /// What was seen.
    pub evidence: String,
    /// What to do about it.
    pub remedy: String,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its name, which stays the same.
    pub name: String,
    /// What it asks.
    pub question: String,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// What was looked at, and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// Whether nothing critical and no warning was found.
    pub healthy: bool,
    /// The name of the server that answered.
    pub answered_by: String,
    /// Every check, those without findings included.
    pub checks: Vec<Check>,
}

impl Diagnosis {
    pub(crate) fn from_wire(answer: v1::DiagnoseResponse) -> Self {
        let checks: Vec<Check> = answer.checks.into_iter().map(check).collect();
        let mut findings = checks.iter().flat_map(|check| &check.findings);
        Self {
            healthy: findings.all(|finding| finding.severity == Severity::Note),
            answered_by: answer.answered_by,
            checks,
        }
    }
}

fn check(check: v1::Check) -> Check {
    let finding = |finding: v1::Finding| Finding {
        severity: match finding.severity() {
            v1::Severity::Critical => Severity::Critical,
            v1::Severity::Note => Severity::Note,
            // What a newer server says in a way that this release does not know is looked at.
            v1::Severity::Warning | v1::Severity::Unspecified => Severity::Warning,
        },
        subject: finding.subject,
        evidence: finding.evidence,
        remedy: finding.remedy,
    };
    Check {
        name: check.name,
        question: check.question,
        findings: check.findings.into_iter().map(finding).collect(),
    }
}

/// What is asked of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InspectOptions {
    /// Its settings.
    pub settings: bool,
    /// So many of its newest log lines.
    pub log_lines: u32,
    /// These families of metrics.
    pub metrics: Vec<String>,
    /// All metrics.
    pub all_metrics: bool,
    /// Names of buckets and access keys in log lines.
    pub names: bool,
}

/// What a node says of itself and its machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeInspection {
    /// Its id.
    pub node_id: u64,
    /// Its name.
    pub name: String,
    /// The release that runs.
    pub version: String,
    /// When its process started, in milliseconds since 1970.
    pub started_ms: u64,
    /// What its clock said, in milliseconds since 1970.
    pub clock_ms: u64,
    /// Its machine; none where it did not say.
    pub machine: Option<MachineFacts>,
    /// Its data folders.
    pub folders: Vec<FolderFacts>,
    /// Its replicas of metadata groups.
    pub replicas: Vec<ReplicaFacts>,
    /// When the certificate that applications see expires, in seconds since 1970; 0 where there is none.
    pub api_certificate_not_after_s: i64,
    /// For how many seconds certificates are good that it issues.
    pub certificate_lifetime_s: u64,
    /// Why it should get no clients; nothing where it is ready.
    pub not_ready: Vec<String>,
    /// Its settings, where they were asked for.
    pub settings: Vec<SettingFacts>,
    /// Its newest log lines, where they were asked for.
    #[serde(skip)]
    pub log: Vec<String>,
    /// Its metrics as Prometheus text, where they were asked for.
    #[serde(skip)]
    pub metrics: String,
}

/// The machine of a node. What Linux does not tell is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "as in the proto, where each is explained")]
pub struct MachineFacts {
    pub boot_id: String,
    pub kernel: String,
    pub processors: u32,
    pub memory_bytes: Option<u64>,
    pub memory_available_bytes: Option<u64>,
    pub memory_limit_bytes: Option<u64>,
    pub memory_kills: Option<u64>,
    pub swapped_bytes: Option<u64>,
    pub open_files: Option<u64>,
    pub open_files_max: Option<u64>,
    pub overcommit_memory: Option<u32>,
    pub max_map_count: Option<u64>,
}

/// A data folder of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "as in the proto, where each is explained")]
pub struct FolderFacts {
    pub drive_id: u64,
    pub path: String,
    pub metadata: bool,
    pub file_system: String,
    pub device: String,
    pub direct_io: Option<bool>,
    pub capacity_bytes: u64,
    pub free_bytes: u64,
    pub metadata_kept_bytes: u64,
    pub errors: u64,
    pub syncs: u64,
    pub sync_p99_us: u64,
    pub reads: u64,
    pub read_p99_us: u64,
}

/// A replica of a metadata group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "as in the proto, where each is explained")]
pub struct ReplicaFacts {
    pub group: u32,
    pub role: String,
    pub led: bool,
    pub term: u64,
    pub last_index: u64,
    pub applied_index: u64,
    pub failure: String,
}

/// A setting of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SettingFacts {
    /// Its name, as in the configuration file.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Where it comes from: `flag`, `environment`, `file` or `default`.
    pub origin: String,
}

impl NodeInspection {
    pub(crate) fn from_wire(said: v1::NodeInspection) -> Self {
        let setting = |setting: v1::SettingFacts| SettingFacts {
            name: setting.name,
            value: setting.value,
            origin: setting.origin,
        };
        Self {
            node_id: said.node_id,
            name: said.name,
            version: said.version,
            started_ms: said.started_ms,
            clock_ms: said.clock_ms,
            machine: said.machine.map(machine),
            folders: said.folders.into_iter().map(folder).collect(),
            replicas: said.replicas.into_iter().map(replica).collect(),
            api_certificate_not_after_s: said.api_certificate_not_after_s,
            certificate_lifetime_s: said.certificate_lifetime_s,
            not_ready: said.not_ready,
            settings: said.settings.into_iter().map(setting).collect(),
            log: said.log,
            metrics: said.metrics,
        }
    }
}

fn machine(machine: v1::MachineFacts) -> MachineFacts {
    MachineFacts {
        boot_id: machine.boot_id,
        kernel: machine.kernel,
        processors: machine.processors,
        memory_bytes: machine.memory_bytes,
        memory_available_bytes: machine.memory_available_bytes,
        memory_limit_bytes: machine.memory_limit_bytes,
        memory_kills: machine.memory_kills,
        swapped_bytes: machine.swapped_bytes,
        open_files: machine.open_files,
        open_files_max: machine.open_files_max,
        overcommit_memory: machine.overcommit_memory,
        max_map_count: machine.max_map_count,
    }
}

fn folder(folder: v1::FolderFacts) -> FolderFacts {
    FolderFacts {
        drive_id: folder.drive_id,
        path: folder.path,
        metadata: folder.metadata,
        file_system: folder.file_system,
        device: folder.device,
        direct_io: folder.direct_io,
        capacity_bytes: folder.capacity_bytes,
        free_bytes: folder.free_bytes,
        metadata_kept_bytes: folder.metadata_kept_bytes,
        errors: folder.errors,
        syncs: folder.syncs,
        sync_p99_us: folder.sync_p99_us,
        reads: folder.reads,
        read_p99_us: folder.read_p99_us,
    }
}

fn replica(replica: v1::ReplicaFacts) -> ReplicaFacts {
    ReplicaFacts {
        group: replica.group,
        role: replica.role,
        led: replica.led,
        term: replica.term,
        last_index: replica.last_index,
        applied_index: replica.applied_index,
        failure: replica.failure,
    }
}
