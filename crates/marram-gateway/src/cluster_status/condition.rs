//! How nodes are by the word of several peers, what was decided about their absence, and the work that is
//! under way, as the API has it.

use marram_meta::NodeRecord;
use marram_proto::v1;
use marram_types::{ClusterHealth, Health};

pub(super) fn of_node(node: &NodeRecord, health: &ClusterHealth) -> v1::NodeCondition {
    let seen = health.nodes.get(&node.node).copied().unwrap_or_default();
    let word = match seen.health {
        Health::Unknown => v1::NodeHealth::Unspecified,
        Health::Up => v1::NodeHealth::Up,
        Health::Slow => v1::NodeHealth::Slow,
        Health::Suspect => v1::NodeHealth::Suspect,
        Health::Dead => v1::NodeHealth::Dead,
    };
    let absence = node.absence;
    v1::NodeCondition {
        health: word.into(),
        health_for_ms: seen.for_ms,
        peers_heard: seen.words,
        peers_unreached: seen.unreached,
        slowness_permille: seen.slowness_permille,
        given_up_at_ms: absence.lost.map_or(0, |lost| lost.since_ms),
        rebuilt_elsewhere: absence.lost.is_some_and(|lost| lost.rebuild),
        maintenance_until_ms: absence.maintenance_until_ms.unwrap_or(0),
        leads_not_until_ms: absence.leads_not_until_ms.unwrap_or(0),
        clock_ahead_ms: seen.clock_ahead_ms,
    }
}

pub(super) fn of_work(health: &ClusterHealth) -> v1::WorkStatus {
    let work = health.work;
    v1::WorkStatus {
        moves_under_way: work.under_way,
        moves_waiting: work.waiting,
        moves_to_go: work.to_go,
        slots_without_place: work.unplaced,
        written_bytes: work.written_bytes,
        for_ms: work.for_ms,
        left_ms: work.left_ms(),
        notes: health.notes.clone(),
        bytes_per_s: work.written_per_s,
    }
}
