//! The loop that gathers what the nodes say about each other while this server leads the root group,
//! makes verdicts of it, and proposes what follows; elsewhere it learns the leader's verdicts.
//!
//! It keeps nothing that a successor would need: how long a node has been away is in the words.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use marram_meta::{ClusterView, Lost, NodeState, RootCommand, RootOutcome};
use marram_types::{ClusterHealth, MaintainWork, NodeHealth, NodeId};
use tokio::sync::watch;
use tokio::time::Instant;

use super::clocks;
use super::giving_up::{Decisions, Holds, Patience, decide};
use super::lost;
use super::verdict::{Word, Words, observers, verdicts};
use crate::consensus::Consensus;
use crate::fault::fault_point;
use crate::mover::MoverProgress;

/// How often words are gathered, or the leader is asked.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Observers that are asked at once.
const OBSERVERS_AT_ONCE: usize = 64;
/// Without news from a leader for so long nothing is known.
const STALE_AFTER: Duration = Duration::from_secs(5);
/// How often the same note is written into the log.
const NOTE_EVERY: Duration = Duration::from_secs(300);

/// The seam to what nodes say.
#[async_trait::async_trait]
pub trait Witnesses: Send + Sync + 'static {
    /// This node and its own word about each peer; none before it is a member.
    fn own(&self) -> Option<(NodeId, BTreeMap<NodeId, Word>)>;

    /// The word of another node about each of its peers; none when it does not answer soon.
    async fn ask(&self, node: NodeId) -> Option<BTreeMap<NodeId, Word>>;

    /// What the leader of the root group says; none when nobody answers as such.
    async fn of_leader(&self) -> Option<ClusterHealth>;

    /// How far the clock of each peer that answers is ahead of this machine's own.
    fn clocks(&self) -> BTreeMap<NodeId, i64>;

    /// The wall clock, in milliseconds since 1970.
    fn now_ms(&self) -> u64;
}

/// Keeps what is known of the nodes' health.
#[derive(Debug)]
pub struct Warden<C, W> {
    consensus: Arc<C>,
    witnesses: Arc<W>,
    view: watch::Receiver<Arc<ClusterView>>,
    mover: watch::Receiver<MoverProgress>,
    patience: Patience,
    health: watch::Sender<Arc<ClusterHealth>>,
    heard: Instant,
    noted: BTreeMap<String, Instant>,
    held: Option<(u64, BTreeMap<BTreeSet<NodeId>, Holds>)>,
    pace: Progress,
}

/// How moves come along.
#[derive(Debug, Default)]
struct Progress {
    most: u64,
    tickets_most: u64,
    /// Bytes that had been written at the last look, and when that was.
    written: Option<(u64, Instant)>,
    per_s: u64,
}

/// A second's share of the rate that is told: what was written long before counts for little.
const RATE_PARTS: u64 = 8;

impl<C: Consensus, W: Witnesses> Warden<C, W> {
    /// A warden that tells `health`, and how far `mover` is.
    #[must_use]
    pub fn new(
        consensus: Arc<C>,
        witnesses: Arc<W>,
        view: watch::Receiver<Arc<ClusterView>>,
        mover: watch::Receiver<MoverProgress>,
        patience: Patience,
        health: watch::Sender<Arc<ClusterHealth>>,
    ) -> Self {
        Self {
            consensus,
            witnesses,
            view,
            mover,
            patience,
            health,
            heard: Instant::now(),
            noted: BTreeMap::new(),
            held: None,
            pace: Progress::default(),
        }
    }

    /// Runs until the view's sender is gone.
    pub async fn run(mut self) {
        while self.view.has_changed().is_ok() {
            tokio::time::sleep(LOOK_EVERY).await;
            if self.consensus.root_if_leading().is_some() {
                self.lead().await;
            } else {
                self.follow().await;
            }
        }
    }

    async fn follow(&mut self) {
        self.held = None;
        if let Some(health) = self.witnesses.of_leader().await {
            self.heard = Instant::now();
            self.health.send_replace(Arc::new(health));
        } else if self.heard.elapsed() >= STALE_AFTER {
            self.health.send_if_modified(|health| {
                let known = **health != ClusterHealth::default();
                *health = Arc::default();
                known
            });
        }
    }

    async fn lead(&mut self) {
        let view = self.view.borrow().clone();
        let words = self.gather(&view).await;
        let members = active(&view);
        let mut nodes = verdicts(members, &words);
        let mut decisions = self.decide(&view, &nodes, observers(&words));
        decisions.notes.extend(self.judge_clocks(&view, &mut nodes));
        let unreadable = lost::note(&view, &self.mover.borrow().unreadable);
        decisions.notes.extend(unreadable);
        self.heard = Instant::now();
        self.tell_changes(&view, &nodes);
        self.health.send_replace(Arc::new(ClusterHealth {
            nodes,
            notes: decisions.notes.clone(),
            work: self.pace.work(&self.mover.borrow()),
            grace_ms: self.patience.grace_ms,
            urgent_ms: self.patience.at_the_limit_ms(),
        }));
        self.note(&decisions.notes);
        for command in decisions.commands {
            self.propose(&view, command).await;
        }
    }

    async fn gather(&self, view: &ClusterView) -> Words {
        let own = self.witnesses.own();
        let own_node = own.as_ref().map(|(node, _)| *node);
        let others = active(view).filter(|node| Some(*node) != own_node);
        let asked = others.map(|node| async move { (node, self.witnesses.ask(node).await) });
        let said = stream::iter(asked).buffer_unordered(OBSERVERS_AT_ONCE);
        let said: Vec<_> = said.collect().await;
        let said = said
            .into_iter()
            .filter_map(|(node, said)| Some((node, said?)));
        said.chain(own).collect()
    }

    fn decide(
        &mut self,
        view: &ClusterView,
        nodes: &BTreeMap<NodeId, NodeHealth>,
        observers: usize,
    ) -> Decisions {
        let known = self.held.take().filter(|(index, _)| *index == view.index);
        let (index, mut known) = known.unwrap_or((view.index, BTreeMap::new()));
        let mut holds = |gone: &BTreeSet<NodeId>| {
            *known
                .entry(gone.clone())
                .or_insert_with(|| can_hold(view, gone))
        };
        let now_ms = self.witnesses.now_ms();
        let decisions = decide(view, nodes, observers, now_ms, self.patience, &mut holds);
        self.held = Some((index, known));
        decisions
    }

    /// Writes down whose clock is wrong; says what people should know of it.
    fn judge_clocks(
        &self,
        view: &ClusterView,
        nodes: &mut BTreeMap<NodeId, NodeHealth>,
    ) -> Vec<String> {
        let Some((own, _)) = self.witnesses.own() else {
            return Vec::new();
        };
        let name = |node: NodeId| view.nodes.get(&node).map_or("?", |n| n.name.as_str());
        let judged = clocks::judge(own, &self.witnesses.clocks());
        for (node, ahead_ms) in &judged.wrong {
            if let Some(seen) = nodes.get_mut(node) {
                seen.clock_ahead_ms = *ahead_ms;
            }
        }
        judged.notes(&name)
    }

    async fn propose(&self, view: &ClusterView, command: RootCommand) {
        let name = |node: &NodeId| view.nodes.get(node).map_or("?", |n| n.name.as_str());
        match &command {
            RootCommand::GiveUp { node, rebuild } => {
                tracing::warn!(%node, name = name(node), rebuild, "a node is given up until it returns");
            }
            RootCommand::TakeBack { node } => {
                tracing::info!(%node, name = name(node), "a node that was given up is back");
            }
            other => tracing::info!(?other, "a pause has run out"),
        }
        let place = match &command {
            RootCommand::GiveUp { .. } => Some("node.given-up"),
            RootCommand::TakeBack { .. } => Some("node.taken-back"),
            _ => None,
        };
        match self.consensus.propose_root(command).await {
            Ok(RootOutcome::Done) => place.into_iter().for_each(fault_point),
            Ok(outcome) => tracing::info!(?outcome, "the root group decided otherwise"),
            Err(error) => tracing::info!(%error, "the decision is tried again"),
        }
    }

    fn tell_changes(&self, view: &ClusterView, nodes: &BTreeMap<NodeId, NodeHealth>) {
        let before = self.health.borrow().clone();
        for (node, seen) in nodes
            .iter()
            .filter(|(n, seen)| before.of(**n) != seen.health)
        {
            let name = view.nodes.get(node).map_or("?", |n| n.name.as_str());
            let NodeHealth {
                health,
                words,
                unreached,
                ..
            } = seen;
            tracing::info!(%node, name, ?health, words, unreached, "by the word of its peers");
        }
    }

    fn note(&mut self, notes: &[String]) {
        self.noted.retain(|_, at| at.elapsed() < NOTE_EVERY);
        for note in notes {
            // What counts down in a note does not make it another one.
            let key: String = note.chars().filter(|c| !c.is_ascii_digit()).collect();
            if self.noted.insert(key, Instant::now()).is_none() {
                tracing::warn!("{note}");
            }
        }
    }
}

impl Progress {
    fn work(&mut self, mover: &MoverProgress) -> MaintainWork {
        let number = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let left = number(mover.under_way + mover.to_go);
        self.most = if left == 0 { 0 } else { self.most.max(left) };
        let since = |at: Option<std::time::Instant>| {
            let for_ms = at.map_or(0, |at| at.elapsed().as_millis());
            u64::try_from(for_ms).unwrap_or(u64::MAX)
        };
        let tickets = number(mover.tickets);
        self.tickets_most = match tickets {
            0 => 0,
            tickets => self.tickets_most.max(tickets),
        };
        self.measure(mover.written, Instant::now());
        MaintainWork {
            under_way: number(mover.under_way),
            waiting: number(mover.waiting),
            to_go: number(mover.to_go),
            unplaced: number(mover.unplaced),
            tickets,
            written_bytes: mover.written,
            for_ms: since(mover.since),
            most: self.most,
            written_per_s: self.per_s,
            repaired: mover.repaired,
            tickets_for_ms: since(mover.tickets_since),
            tickets_most: self.tickets_most,
        }
    }

    /// Follows the rate at which bytes are written.
    fn measure(&mut self, written: u64, now: Instant) {
        let before = self.written.replace((written, now));
        let Some((before, at)) = before.filter(|(before, _)| *before <= written) else {
            self.per_s = 0;
            return;
        };
        let ms = now.saturating_duration_since(at).as_millis().max(1);
        let ms = u64::try_from(ms).unwrap_or(u64::MAX);
        let lately = (written - before).saturating_mul(1000) / ms;
        self.per_s = self.per_s - self.per_s / RATE_PARTS + lately / RATE_PARTS;
    }
}

fn active(view: &ClusterView) -> impl Iterator<Item = NodeId> {
    let nodes = view.nodes.values();
    nodes
        .filter(|n| n.state == NodeState::Active)
        .map(|n| n.node)
}

/// How the others hold what is in the pools without these nodes: what the planner says.
fn can_hold(view: &ClusterView, gone: &BTreeSet<NodeId>) -> Holds {
    let mut without = view.clone();
    let nodes = without.nodes.values_mut();
    for node in nodes.filter(|node| gone.contains(&node.node)) {
        node.absence.lost = Some(Lost {
            since_ms: 0,
            rebuild: true,
        });
    }
    let seats = without.seats();
    let of_pool = |table| match without.plan_of(table, &seats) {
        Ok(plan) if plan.unplaced.iter().all(|slot| slot.drive.is_vacant()) => Holds::Places,
        Ok(plan) if plan.holds() => Holds::Narrower,
        Ok(_) | Err(_) => Holds::Nothing,
    };
    let all: Vec<Holds> = view.pools.values().map(of_pool).collect();
    let mut worst = [Holds::Nothing, Holds::Narrower].into_iter();
    worst.find(|one| all.contains(one)).unwrap_or(Holds::Places)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::testing::{cluster, wide};

    #[test]
    fn the_planner_says_whether_the_others_can_hold_it() {
        let gone = |nodes: &[u64]| nodes.iter().copied().map(NodeId).collect();
        let view = cluster(5, 4);
        assert_eq!(can_hold(&view, &gone(&[2])), Holds::Places);
        assert_eq!(can_hold(&view, &gone(&[2, 3])), Holds::Narrower, "1+2");
        assert_eq!(can_hold(&view, &gone(&[2, 3, 4])), Holds::Nothing);
        assert_eq!(can_hold(&cluster(6, 4), &gone(&[2, 3])), Holds::Places);
        // Free drives of nodes that have a slot already are no places.
        assert_eq!(can_hold(&wide(6, 2, "4+2"), &gone(&[2])), Holds::Narrower);
    }

    #[test]
    fn progress_counts_from_the_most_that_there_was() {
        let mut progress = Progress::default();
        let mover = |under_way, to_go| MoverProgress {
            leading: true,
            under_way,
            to_go,
            ..MoverProgress::default()
        };
        assert_eq!(progress.work(&mover(0, 10)).most, 10);
        assert_eq!(progress.work(&mover(4, 4)).most, 10);
        assert_eq!(progress.work(&mover(0, 0)).most, 0);
        assert_eq!(progress.work(&mover(1, 2)).most, 3);
        let tickets = |tickets| MoverProgress {
            tickets,
            ..MoverProgress::default()
        };
        assert_eq!(progress.work(&tickets(7)).tickets_most, 7);
        assert_eq!(progress.work(&tickets(5)).tickets_most, 7);
        assert_eq!(progress.work(&tickets(0)).tickets_most, 0);
    }

    #[test]
    fn the_rate_follows_what_is_written() {
        let mut progress = Progress::default();
        let began = Instant::now();
        let at = |s| began + Duration::from_secs(s);
        for second in 0..60 {
            progress.measure(second * 8_000, at(second));
        }
        assert!(
            (7_000..=8_000).contains(&progress.per_s),
            "{}",
            progress.per_s
        );
        for second in 60..120 {
            progress.measure(59 * 8_000, at(second));
        }
        assert!(progress.per_s < 100, "{}", progress.per_s);
        progress.measure(5, at(120));
        assert_eq!(progress.per_s, 0, "another leader counts anew");
    }
}
