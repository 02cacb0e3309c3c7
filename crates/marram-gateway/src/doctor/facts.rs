//! What was learned of a cluster.

use std::collections::BTreeMap;
use std::sync::Arc;

use marram_meta::{ClusterView, DriveRecord, NodeRecord, NodeState};
use marram_proto::v1;
use marram_types::{DriveId, NodeId};

/// All that a check may look at.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// When, by the clock of the server that asked, in milliseconds since 1970.
    pub(crate) now_ms: u64,
    /// What was decided.
    pub(crate) view: Arc<ClusterView>,
    /// How the cluster is.
    pub(crate) status: v1::GetClusterStatusResponse,
    /// What each member said of itself.
    pub(crate) nodes: BTreeMap<NodeId, Told>,
    /// How far scrubs are; none where nobody could say.
    pub(crate) scrub: Option<v1::ScrubStatus>,
    /// How much garbage waits; none where nobody could say.
    pub(crate) garbage: Option<v1::GetGarbageResponse>,
    /// What buckets with a quota hold, as far as groups answered.
    pub(crate) quotas: Vec<(String, v1::GetBucketUsageResponse)>,
}

/// What a member said of itself, or why it did not.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    /// What it said.
    pub(crate) said: Result<v1::NodeInspection, String>,
}

impl Facts {
    /// The members, by id.
    pub(crate) fn members(&self) -> impl Iterator<Item = &NodeRecord> {
        let nodes = self.view.nodes.values();
        nodes.filter(|node| node.state == NodeState::Active)
    }

    /// Members that answered, with what they said.
    pub(crate) fn answered(&self) -> impl Iterator<Item = (&NodeRecord, &v1::NodeInspection)> {
        self.members().filter_map(|node| {
            let told = self.nodes.get(&node.node)?;
            Some((node, told.said.as_ref().ok()?))
        })
    }

    /// Their machines.
    pub(crate) fn machines(&self) -> impl Iterator<Item = (&NodeRecord, &v1::MachineFacts)> {
        let told = self.answered();
        told.filter_map(|(node, said)| Some((node, said.machine.as_ref()?)))
    }

    /// Their data folders.
    pub(crate) fn folders(&self) -> impl Iterator<Item = (&NodeRecord, &v1::FolderFacts)> {
        let told = self.answered();
        told.flat_map(|(node, said)| said.folders.iter().map(move |folder| (node, folder)))
    }

    /// Drives of members, with their state.
    pub(crate) fn drives(
        &self,
    ) -> impl Iterator<Item = (&NodeRecord, &DriveRecord, &v1::DriveStatus)> {
        self.members().flat_map(|node| {
            let status = self.status.nodes.iter();
            let status = status.filter(move |status| status.node_id == node.node.0);
            let drives = status.flat_map(|status| &status.drives);
            drives.filter_map(move |drive| {
                let record = node.drive(DriveId(drive.drive_id))?;
                Some((node, record, drive))
            })
        })
    }

    /// The name of a node.
    pub(crate) fn name(&self, node: u64) -> String {
        let known = self.view.nodes.get(&NodeId(node));
        known.map_or_else(|| format!("node {node}"), |node| node.name.clone())
    }

    /// Whether all members are reached over loopback: a cluster for development on one machine, where what
    /// speaks of machines is no surprise.
    pub(crate) fn is_for_development(&self) -> bool {
        let mut members = self.members();
        members.all(|node| {
            let host = node.mesh_addr.rsplit_once(':').map_or("", |(host, _)| host);
            let host = host.trim_start_matches('[').trim_end_matches(']');
            host == "localhost"
                || host
                    .parse::<std::net::IpAddr>()
                    .is_ok_and(|address| address.is_loopback())
        })
    }
}
