//! What this node says of itself and its machine, to whoever asks for an operator.
//!
//! ```text
//! machine    limits and memory, as Linux tells them
//! folders    data folders: file systems, devices, room, how their files do lately
//! settings   the configuration, with where each value comes from; secrets are not told
//! names      takes names of buckets and access keys out of log lines
//! ```

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use marram_gateway::{ApiTls, LogLevelError, OwnProcess, ProfileError};
use marram_mesh::Mesh;
use marram_meta::ClusterView;
use marram_metrics::{Format, Sources, Verdict};
use marram_proto::mesh::v1 as wire;
use marram_proto::v1;
use marram_raft::RaftHost;
use tokio::sync::watch;

use super::lifetime::now_ms;
use super::observe::replica_facts;
use super::process::Process;
use super::room::Limits;
use super::storage::Drives;
use crate::nameless::without_objects;
use crate::recent;

mod folders;
mod machine;
mod names;
mod settings;

pub(super) use settings::Settings;

/// Bytes of metrics in one answer: with the log lines it has to fit into a message of the API.
const METRICS_BYTES_MAX: usize = 2 << 20;

/// What can be asked of this node about itself.
pub(super) struct Inspector {
    /// The metrics.
    pub sources: Arc<Sources>,
    /// Whether this process is ready, and why not.
    pub ready: watch::Receiver<Arc<Verdict>>,
    /// The drives.
    pub drives: Arc<Drives>,
    /// The replicas.
    pub host: Arc<RaftHost>,
    /// Who answers, and the own certificate.
    pub mesh: Mesh,
    /// The cluster, for names that are left out.
    pub view: watch::Receiver<Arc<ClusterView>>,
    /// The certificate that applications see.
    pub tls: Option<Arc<ApiTls>>,
    /// The settings.
    pub settings: Settings,
    /// For how long the certificates are good that are issued here.
    pub certificate_lifetime_s: u64,
    /// What may be used of the metadata drive, and where the metadata lies.
    pub limits: (Limits, PathBuf),
    /// When the process started.
    pub started_ms: u64,
}

impl Inspector {
    /// Answers.
    pub(super) async fn answer(&self, asked: v1::InspectNodeRequest) -> v1::NodeInspection {
        let (drives, limits) = (Arc::clone(&self.drives), self.limits.clone());
        // Asking file systems may take long.
        let read =
            tokio::task::spawn_blocking(move || (machine::read(), folders::read(&drives, &limits)));
        let (machine, folders) = read.await.unwrap_or_default();
        let view = self.view.borrow().clone();
        let settings = match asked.settings {
            true => self.settings.all().to_vec(),
            false => Vec::new(),
        };
        let not_after = self.tls.as_ref().and_then(|tls| tls.not_after());
        let not_ready = self.ready.borrow().reasons();
        v1::NodeInspection {
            node_id: self.mesh.node().map_or(0, |node| node.0),
            name: self.mesh.certificate().name.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_ms: self.started_ms,
            clock_ms: now_ms(),
            machine: Some(machine),
            folders,
            replicas: replica_facts(&self.host, &self.mesh, &view),
            api_certificate_not_after_s: not_after.unwrap_or(0),
            certificate_lifetime_s: self.certificate_lifetime_s,
            settings,
            not_ready,
            log: log(&view, &asked),
            metrics: metrics(&self.sources, &asked).await,
        }
    }
}

/// The metrics that are asked for, as text.
async fn metrics(sources: &Sources, asked: &v1::InspectNodeRequest) -> String {
    if asked.metrics.is_empty() && !asked.all_metrics {
        return String::new();
    }
    let Ok(page) = sources.scrape(Format::Prometheus).await else {
        return String::new();
    };
    let wanted = |line: &&str| {
        (asked.all_metrics || is_of(line, &asked.metrics)) && (asked.names || !names_bucket(line))
    };
    let mut out = String::new();
    for line in page.lines().filter(wanted) {
        if out.len() + line.len() >= METRICS_BYTES_MAX {
            out.push_str("# the rest does not fit into one answer\n");
            break;
        }
        out.push_str(line);
        out.push('\n');
    }
    out
}

/// Whether a line of metrics has the name of a bucket in it. Those of the catalogue that do begin so.
fn names_bucket(line: &str) -> bool {
    line.starts_with("marram_bucket_")
}

/// A gateway without drives, which answers for itself.
pub(super) struct GatewayInspector {
    /// The metrics.
    pub sources: Arc<Sources>,
    /// Whether this process is ready, and why not.
    pub ready: watch::Receiver<Arc<Verdict>>,
    /// The cluster, for names that are left out.
    pub view: watch::Receiver<Arc<ClusterView>>,
    /// The certificate that applications see.
    pub tls: Option<Arc<ApiTls>>,
    /// When the process started.
    pub started_ms: u64,
}

#[async_trait]
impl OwnProcess for GatewayInspector {
    fn log_level(
        &self,
        change: Option<v1::SetLogLevelRequest>,
    ) -> Result<v1::LogLevel, LogLevelError> {
        Process.log_level(change)
    }

    async fn inspect(&self, asked: v1::InspectNodeRequest) -> Option<v1::NodeInspection> {
        let machine = tokio::task::spawn_blocking(machine::read).await;
        let not_after = self.tls.as_ref().and_then(|tls| tls.not_after());
        let not_ready = self.ready.borrow().reasons();
        let view = self.view.borrow().clone();
        Some(v1::NodeInspection {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_ms: self.started_ms,
            clock_ms: now_ms(),
            machine: machine.ok(),
            api_certificate_not_after_s: not_after.unwrap_or(0),
            not_ready,
            log: log(&view, &asked),
            metrics: metrics(&self.sources, &asked).await,
            ..v1::NodeInspection::default()
        })
    }

    async fn profile(&self, cpu: Option<Duration>) -> Result<wire::ProfileResponse, ProfileError> {
        Process.profile(cpu).await
    }
}

/// Whether a line is a sample of one of these families.
fn is_of(line: &str, families: &[String]) -> bool {
    let name = line.split(['{', ' ']).next().unwrap_or_default();
    families.iter().any(|family| {
        let rest = name.strip_prefix(family.as_str());
        rest.is_some_and(|rest| matches!(rest, "" | "_bucket" | "_sum" | "_count"))
    })
}

/// The newest log lines that are kept.
fn log(view: &ClusterView, asked: &v1::InspectNodeRequest) -> Vec<String> {
    let most = usize::try_from(asked.log_lines).unwrap_or(usize::MAX);
    let lines = recent::newest(most, asked.names);
    if asked.names {
        return lines;
    }
    let hidden = names::Hidden::of(view);
    let lines = lines.iter();
    lines
        .map(|line| hidden.taken_out_of(&without_objects(line)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_belong_to_their_families() {
        let families = ["a_seconds", "b"].map(str::to_owned);
        for line in [
            "a_seconds_bucket{le=\"1\"} 3",
            "a_seconds_count 3",
            "b 1",
            "b{x=\"y z\"} 1",
        ] {
            assert!(is_of(line, &families), "{line}");
        }
        for line in ["# HELP b It is b.", "bc 1", "a_seconds_total 1", ""] {
            assert!(!is_of(line, &families), "{line}");
        }
    }
}
