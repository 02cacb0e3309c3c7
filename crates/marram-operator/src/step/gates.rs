//! What stands against a smaller cluster, with numbers.

use marram_client::{NodeDuty, NodeStatus};

use crate::step::Hold;
use crate::view::{View, is_up};

fn hold(reason: &'static str, message: String) -> Hold {
    Hold {
        condition: "ScaleBlocked",
        reason,
        message,
    }
}

/// Why the cluster cannot have one node less now; none where it can.
#[must_use]
pub fn blocked(view: &View) -> Option<Hold> {
    let from = view.replicas();
    let down = view.spec.scale_down.clone().unwrap_or_default();
    let Ok(cluster) = &view.cluster else {
        let message = "the cluster does not answer: no node is taken away meanwhile".to_owned();
        return Some(hold("ClusterUnavailable", message));
    };
    let members: Vec<&NodeStatus> = view
        .members()
        .filter(|node| node.duty != NodeDuty::Fenced)
        .collect();
    let after = members.len().saturating_sub(1);
    if after == 0 {
        return Some(hold(
            "LastNode",
            "the last node cannot be taken away".to_owned(),
        ));
    }
    if !down.allow_narrower {
        let widest = cluster.buckets.iter().filter(|bucket| bucket.nodes > after);
        if let Some(bucket) = widest.max_by_key(|bucket| bucket.nodes) {
            return Some(hold(
                "ProfileTooWide",
                format!(
                    "{} nodes are wanted and {after} would be next: bucket {} ({}) needs {} nodes; change \
                     its profile or set spec.scaleDown.allowNarrower",
                    view.spec.nodes(),
                    bucket.name,
                    bucket.profile,
                    bucket.nodes
                ),
            ));
        }
    }
    if let Some(changed) = view.status.scaled_at {
        let wait = down.cool_down() - (view.now - changed);
        if wait > 0 {
            let message = format!(
                "the number of nodes changed less than spec.scaleDown.coolDownSeconds ({}) ago: {from} stay \
                 for {wait} s more",
                down.cool_down()
            );
            return Some(hold("CoolDown", message));
        }
    }
    let away: Vec<&str> = members
        .iter()
        .filter(|node| !is_up(node))
        .map(|node| node.name.as_str())
        .collect();
    if !away.is_empty() {
        let message = format!(
            "{} of {} members do not answer: {}",
            away.len(),
            members.len(),
            away.join(", ")
        );
        return Some(hold("MembersAway", message));
    }
    if let Err(why) = view.fully_redundant() {
        return Some(hold(
            "NotRedundant",
            format!("not all data is redundant: {why}"),
        ));
    }
    too_full(view, &members, down.max_fill())
}

/// Whether what is stored would fill the nodes that stay beyond what is allowed.
fn too_full(view: &View, members: &[&NodeStatus], max_fill: u64) -> Option<Hold> {
    let last = &view.names.pod(view.replicas() - 1);
    let of = |leaves: bool| {
        let nodes = members
            .iter()
            .filter(move |node| (node.name == *last) == leaves);
        nodes.flat_map(|node| &node.drives)
    };
    let used: u64 = of(false)
        .map(|drive| drive.capacity_bytes.saturating_sub(drive.free_bytes))
        .sum();
    let comes: u64 = of(true).map(|drive| drive.record_bytes).sum();
    let stays: u64 = of(false).map(|drive| drive.capacity_bytes).sum();
    if stays == 0 {
        return None;
    }
    let fill = (used + comes).saturating_mul(100) / stays;
    (fill > max_fill).then(|| {
        hold(
            "TooFull",
            format!(
                "without {last} the other nodes would be {fill} % full, and at most {max_fill} % are \
                 allowed: delete data, or set spec.scaleDown.maxFillPercent"
            ),
        )
    })
}
