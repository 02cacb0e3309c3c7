//! Whether nodes may stop now: every object readable and writable without them, and without as many more
//! as the caller wants to be able to lose meanwhile.
//!
//! Judged by the root group's and the object groups' linearizable answers. Nodes that are away, that
//! several peers hold dead, or that are in maintenance (somebody is about to stop them) count as stopped.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use marram_meta::{
    ClusterView, LiveExtent, NodeRecord, ObjectAnswer, ObjectQuery, TicketItem, Usage,
};
use marram_proto::v1;
use marram_types::caps::LIST_PAGE_MAX;
use marram_types::{GroupId, Health, NodeId};

use super::redundancy::Facts;
use super::{members, report, usage};
use crate::admin::{AdminError, member};
use crate::core::Core;
use crate::drives::DriveReport;
use crate::groups::GroupError;
use crate::validate::InvalidField;

/// Nodes in one question.
const NODES_MAX: usize = 1000;
/// Pages of tickets that are gone through in each group; with more repairs than that waiting, nobody
/// should stop a node.
const TICKET_PAGES_MAX: usize = 100;

/// The answer.
pub(crate) async fn ask(
    core: &Core,
    request: v1::OkToStopRequest,
) -> Result<v1::OkToStopResponse, AdminError> {
    if request.nodes.is_empty() || request.nodes.len() > NODES_MAX {
        return Err(AdminError::Invalid(InvalidField::Wrong {
            field: "nodes",
            rule: "name 1 to 1000 nodes",
        }));
    }
    let view = core.fresh_view().await?;
    let mut stopped = BTreeSet::new();
    for name in &request.nodes {
        stopped.insert(member(&view, name)?.node);
    }
    let groups = view.cluster.as_ref().map_or(0, |c| c.object_groups);
    let reports = join_all(members(&view).map(|node| report(core, node)));
    let weak = join_all((1..=groups).map(|group| waiting(core, GroupId(group))));
    let (reports, usage, weak) = tokio::join!(reports, usage(core, groups), weak);
    let reports = reports
        .into_iter()
        .map(|(node, report)| (node, report.map(|report| report.drives)));
    let reports: BTreeMap<NodeId, Option<Vec<DriveReport>>> = reports.collect();
    let weak = weak.into_iter().collect::<Result<Vec<_>, _>>()?;
    let health = core.health();
    let is_up = |node: NodeId| {
        let held = matches!(health.of(node), Health::Dead | Health::Suspect);
        // Asked just now: what this server noticed last may be a second old.
        let answers = reports.get(&node).is_some_and(Option::is_some);
        answers && !held && !core.nodes.is_leaving(node)
    };
    let question = Question {
        view: &view,
        stopped: &stopped,
        margin: i32::try_from(request.margin).unwrap_or(i32::MAX),
    };
    Ok(question.judge(&reports, usage, &weak, is_up))
}

/// What waits for repair in a group; nothing when it is too much to be gone through.
type Waiting = Option<Vec<LiveExtent>>;

async fn waiting(core: &Core, group: GroupId) -> Result<Waiting, AdminError> {
    let mut found = Vec::new();
    let mut after = None;
    for _ in 0..TICKET_PAGES_MAX {
        let limit = LIST_PAGE_MAX;
        let query = ObjectQuery::Tickets { after, limit };
        let ObjectAnswer::Tickets(page) = core.ask(group, &query, true).await? else {
            return Err(GroupError::Kind(group).into());
        };
        after = page.tickets.last().map(|item| item.ticket.data);
        let extent = |item: TicketItem| item.extent;
        found.extend(page.tickets.into_iter().map(extent));
        if !page.more {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

struct Question<'a> {
    view: &'a ClusterView,
    stopped: &'a BTreeSet<NodeId>,
    margin: i32,
}

impl Question<'_> {
    fn judge(
        &self,
        reports: &BTreeMap<NodeId, Option<Vec<DriveReport>>>,
        usage: Option<Usage>,
        weak: &[Waiting],
        is_up: impl Fn(NodeId) -> bool,
    ) -> v1::OkToStopResponse {
        let excused = |node: NodeId| {
            let record = self.view.nodes.get(&node);
            record.is_some_and(|n| n.absence.maintenance_until_ms.is_some())
        };
        let runs = |node: NodeId| is_up(node) && !self.stopped.contains(&node) && !excused(node);
        let facts = Facts::new(self.view, reports, usage, runs);
        let mut reasons = Vec::new();
        let others: Vec<&str> = members(self.view)
            .filter(|node| !self.stopped.contains(&node.node) && !runs(node.node))
            .map(|node: &NodeRecord| node.name.as_str())
            .collect();
        if !others.is_empty() {
            let names = others.join(", ");
            reasons.push(format!("Away, or in maintenance, already: {names}."));
        }
        let notes = reasons.len();
        reasons.extend(self.losses(&facts));
        if !facts.writable() {
            reasons.push("New objects could not be written.".to_owned());
        }
        let repairs = self.repairs(&facts, weak);
        reasons.extend(repairs.reasons);
        if usage.is_none() {
            reasons.push("Not every metadata group answers.".to_owned());
        } else {
            reasons.extend(self.under_protected(&facts, usage));
        }
        v1::OkToStopResponse {
            ok: reasons.len() == notes,
            tolerated_losses: facts.tolerated().min(repairs.tolerated),
            writable: facts.writable(),
            node_ids: self.stopped.iter().map(|node| node.0).collect(),
            reasons,
        }
    }

    /// Why fewer nodes could be lost than wanted, by the layout and by the voters.
    fn losses(&self, facts: &Facts<'_>) -> Vec<String> {
        let margin = self.margin;
        let mut reasons = Vec::new();
        match facts.data_tolerated() {
            data if data >= margin => {}
            i32::MIN..=-1 => reasons.push("Some objects could not be read.".to_owned()),
            data => reasons.push(format!(
                "Objects would survive the loss of {data} more nodes (wanted: {margin} more)."
            )),
        }
        match facts.metadata_tolerated() {
            metadata if metadata >= margin => {}
            i32::MIN..=-1 => reasons.push(
                "Some metadata group would have no majority of its voters, so that its objects \
                 could be neither read nor written."
                    .to_owned(),
            ),
            metadata => reasons.push(format!(
                "The metadata groups would survive the loss of {metadata} more nodes (wanted: \
                 {margin} more)."
            )),
        }
        reasons
    }

    /// Versions that were written with fewer parity shards than the layout has slots for.
    fn under_protected(&self, facts: &Facts<'_>, usage: Option<Usage>) -> Option<String> {
        let margin = self.margin;
        let few = usage.map_or(0, |usage| usage.under_protected);
        (few > 0 && facts.tolerated() < margin).then(|| {
            format!("{few} versions survive fewer losses than asked for (wanted: {margin} more).")
        })
    }

    /// Extents that wait for repair have fewer shards than their row of the layout says.
    fn repairs(&self, facts: &Facts<'_>, weak: &[Waiting]) -> Repairs {
        let mut repairs = Repairs {
            tolerated: i32::MAX,
            reasons: Vec::new(),
        };
        let mut few = 0;
        for extent in weak.iter().flatten().flatten() {
            let tolerated = facts.extent_tolerated(extent);
            repairs.tolerated = repairs.tolerated.min(tolerated);
            few += u64::from(tolerated < self.margin);
        }
        if few > 0 {
            let most = repairs.tolerated.max(0);
            repairs.reasons.push(format!(
                "{few} extents wait for repair and would survive the loss of {most} more nodes at \
                 worst (wanted: {} more); they are repaired in the background.",
                self.margin
            ));
        }
        if weak.iter().any(Option::is_none) {
            repairs.reasons.push(
                "A metadata group has too many repairs waiting to say that all would be well."
                    .to_owned(),
            );
        }
        repairs
    }
}

struct Repairs {
    tolerated: i32,
    reasons: Vec<String>,
}

#[cfg(test)]
mod tests;
