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
    let last = view.names.pod(from - 1);
    let stays = |node: &&&NodeStatus| node.duty == NodeDuty::Serving && node.name != last;
    let after = members.iter().filter(stays).count();
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

/// Why the data of these members, of one failure domain, cannot go to the others now; none where it can.
pub(super) fn without(view: &View, going: &[String]) -> Option<String> {
    let down = view.spec.scale_down.clone().unwrap_or_default();
    let cluster = view.cluster.as_ref().ok()?;
    let members: Vec<&NodeStatus> = view
        .members()
        .filter(|node| node.duty != NodeDuty::Fenced)
        .collect();
    let away: Vec<&str> = members
        .iter()
        .filter(|node| !is_up(node))
        .map(|node| node.name.as_str())
        .collect();
    if !away.is_empty() {
        return Some(format!("these members do not answer: {}", away.join(", ")));
    }
    let stay = members
        .iter()
        .filter(|node| node.duty == NodeDuty::Serving && !going.contains(&node.name))
        .count();
    let buckets = cluster.buckets.iter();
    let widest = buckets.max_by_key(|bucket| bucket.nodes);
    match widest {
        _ if stay == 0 => return Some("no node would stay to take the data".to_owned()),
        Some(bucket) if bucket.nodes > stay && !down.allow_narrower => {
            return Some(format!(
                "{stay} nodes would stay: bucket {} ({}) needs {} nodes; change its profile or set \
                 spec.scaleDown.allowNarrower",
                bucket.name, bucket.profile, bucket.nodes
            ));
        }
        _ => {}
    }
    if let Err(why) = view.fully_redundant() {
        return Some(format!("not all data is redundant: {why}"));
    }
    let fill = fill(&members, |name| going.iter().any(|it| it == name))?;
    (fill > down.max_fill()).then(|| {
        format!(
            "without {} the other nodes would be {fill} % full, and at most {} % are allowed: delete data, or \
             set spec.scaleDown.maxFillPercent",
            going.join(", "),
            down.max_fill()
        )
    })
}

/// How full in per cent the nodes that stay would be with the data of those that leave, and of those that are being
/// emptied. Only nodes that serve take any.
fn fill(members: &[&NodeStatus], leaves: impl Fn(&str) -> bool) -> Option<u64> {
    let of = |is: &dyn Fn(&NodeStatus) -> bool| {
        let nodes = members.iter().filter(|node| is(node));
        nodes.flat_map(|node| &node.drives).collect::<Vec<_>>()
    };
    let leaves = |node: &NodeStatus| leaves(&node.name) || node.duty == NodeDuty::Draining;
    let stays = of(&|node| !leaves(node) && node.duty == NodeDuty::Serving);
    let goes = of(&leaves);
    let used: u64 = stays
        .iter()
        .map(|drive| drive.capacity_bytes.saturating_sub(drive.free_bytes))
        .sum();
    let comes: u64 = goes.iter().map(|drive| drive.record_bytes).sum();
    let room: u64 = stays.iter().map(|drive| drive.capacity_bytes).sum();
    (used + comes).saturating_mul(100).checked_div(room)
}

/// Whether what is stored would fill the nodes that stay beyond what is allowed.
fn too_full(view: &View, members: &[&NodeStatus], max_fill: u64) -> Option<Hold> {
    let last = &view.names.pod(view.replicas() - 1);
    let fill = fill(members, |name| name == last)?;
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
