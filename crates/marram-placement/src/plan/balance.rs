//! The last step of a plan: slots go from drives above their quota to drives below it.
//!
//! Each exchange keeps its row's spread. Nearly always a drive above its quota has a row that a drive
//! below it may enter. Where none has, a shortest chain of exchanges over other drives is looked
//! for, as in any matching; it leaves those others with as many slots as they had. The search is
//! bounded: with thousands of drives and zones that bind, as when all nodes change their zone at
//! once, some slots may stay where they are; the plan reports it, and later plans go on.
//!
//! Exchanges that cost no move, of drives that only this plan put there, come first. Then moves are
//! spent, but only where a whole slot is amiss, not for rounding, and only when there are no drives
//! to be emptied: removing a node moves what it held and nothing else. Where zones bind, this may leave a
//! balance that could be better, and the plan after it makes it so.

use std::collections::{BTreeMap, VecDeque};

use super::domains::Domains;
use super::draft::{Draft, NONE, mix};
use super::ranking::{Ranking, RowView};

/// Exchanges that the search for chains may look at, for each kind of pass. Chains are short and
/// rare; this bounds the time for a table that cannot be balanced.
const CHAIN_STEPS: usize = 4_000_000;
/// Rounds at most.
const ROUNDS: usize = 8;
/// What it costs to look for a drive below its quota, in such steps.
const TAKER_STEPS: usize = 20;
/// Drives that one search for a chain may go over. With more of them it takes a sample.
const CHAIN_DRIVES: usize = 256;

/// What exchanges a pass makes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// Those that cost no move.
    Free,
    /// From drives that hold a whole slot too much.
    FromFull,
    /// To drives that lack a whole slot.
    ToEmpty,
}

impl Pass {
    fn gives(self, draft: &Draft<'_>, drive: usize) -> bool {
        let over = draft.surplus(drive) > 0;
        over && (self != Self::FromFull || draft.off_by_a_slot(drive, 1.0))
    }

    fn takes(self, draft: &Draft<'_>, drive: usize) -> bool {
        let under = draft.surplus(drive) < 0;
        under && (self != Self::ToEmpty || draft.off_by_a_slot(drive, -1.0))
    }

    /// Whether a drive may leave a row, `to` coming in its place.
    fn may(self, draft: &Draft<'_>, row: usize, from: usize, to: usize) -> bool {
        self != Self::Free || !draft.was_in(row, from) || draft.was_in(row, to)
    }
}

/// Brings drives to their quotas. It is repeated while exchanges are made, because each may open the
/// way for another, and with the quotas rounded again by what drives hold by then. So a second plan
/// right after the first finds nothing to do; nearly always the first round is the last to find any.
pub(super) fn balance(draft: &mut Draft<'_>) {
    let mut passes = [Pass::Free, Pass::FromFull, Pass::ToEmpty].map(|pass| (pass, CHAIN_STEPS));
    let count = if draft.empties { 1 } else { passes.len() };
    for _ in 0..ROUNDS {
        let mut exchanged = false;
        for (pass, steps) in passes.iter_mut().take(count) {
            exchanged |= run(draft, *pass, steps);
        }
        if !draft.round_quotas() && !exchanged {
            break;
        }
    }
}

/// Makes one pass over all drives; whether there was an exchange.
fn run(draft: &mut Draft<'_>, pass: Pass, steps: &mut usize) -> bool {
    let want = |draft: &Draft<'_>, drive: usize| pass.takes(draft, drive);
    let ranking = draft.ranking(&want);
    let mut balancer = Balancer {
        pass,
        draft,
        ranking,
        view: RowView::default(),
        exchanged: false,
    };
    let drives = 0..balancer.domains().drives.len();
    for drive in drives.clone() {
        balancer.direct(drive);
    }
    for drive in drives {
        while pass.gives(balancer.draft, drive) && balancer.chain(drive, steps) {}
    }
    balancer.exchanged
}

struct Balancer<'a, 'd> {
    pass: Pass,
    draft: &'a mut Draft<'d>,
    /// The drives below their quota.
    ranking: Ranking,
    view: RowView,
    exchanged: bool,
}

/// How the search for a chain came to a drive: in `row`, from `before`.
#[derive(Clone, Copy)]
struct Step {
    before: usize,
    row: usize,
}

impl Balancer<'_, '_> {
    fn domains(&self) -> &Domains {
        self.draft.domains
    }

    /// A drive below its quota that may take the place of `from` in a row.
    fn taker(&mut self, row: usize, from: usize) -> Option<usize> {
        self.draft.view_without(row, from, &mut self.view);
        let crowd = self.view.added(self.domains(), from);
        loop {
            let (cost, to) = self.ranking.best(self.domains(), &self.view)?;
            if self.pass.takes(self.draft, to) {
                let may = cost <= crowd && self.pass.may(self.draft, row, from, to);
                return may.then_some(to);
            }
            // Its node was filled through another drive: no whole slot is amiss any more.
            self.rank(to);
        }
    }

    fn rank(&mut self, drive: usize) {
        let pass = self.pass;
        let want = |draft: &Draft<'_>, drive: usize| pass.takes(draft, drive);
        self.draft.rank(&mut self.ranking, &want, drive);
    }

    fn exchange(&mut self, row: usize, from: usize, to: usize) {
        self.exchanged = true;
        self.draft.replace(row, from, to);
        self.rank(from);
        self.rank(to);
    }

    /// Rows of a drive, those first that it leaves for nothing, in the order of a hash, so that what it
    /// gives is a fair sample of what it has.
    fn rows_of(&self, drive: usize) -> Vec<usize> {
        let mut rows = self.draft.rows_of(drive);
        let id = self.draft.drive_id(drive).0;
        rows.sort_by_cached_key(|row| {
            let costs = self.draft.was_in(*row, drive);
            (costs, mix(*row as u64, id), *row)
        });
        rows
    }

    /// Gives what a drive has too much directly to drives that have too little.
    fn direct(&mut self, from: usize) {
        if !self.pass.gives(self.draft, from) {
            return;
        }
        for row in self.rows_of(from) {
            let costs = self.pass == Pass::Free && self.draft.was_in(row, from);
            if costs || !self.pass.gives(self.draft, from) {
                return;
            }
            if let Some(to) = self.taker(row, from) {
                self.exchange(row, from, to);
            }
        }
    }

    /// Gives one slot of `from` to a drive that has too little by a chain of exchanges, each in a row of
    /// its own; `false` when there is none, or the search takes too long.
    fn chain(&mut self, from: usize, steps: &mut usize) -> bool {
        let mut search = Search::new(from);
        while let Some(drive) = search.queue.pop_front() {
            let used = search.path(drive);
            let rows = self.rows_of(drive);
            for row in &rows {
                if used.iter().all(|(_, step)| step.row != *row) {
                    let looked_at = self.widen_for_nothing(&mut search, drive, *row);
                    *steps = steps.saturating_sub(looked_at);
                }
            }
            for row in rows {
                if used.iter().any(|(_, step)| step.row == row) {
                    continue;
                }
                if let Some(to) = self.taker(row, drive).filter(|to| *to != from) {
                    let before = drive;
                    for (to, step) in used.into_iter().chain([(to, Step { before, row })]) {
                        self.exchange(step.row, step.before, to);
                    }
                    return true;
                }
                let looked_at = self.widen(&mut search, drive, row);
                *steps = steps.saturating_sub(looked_at + TAKER_STEPS);
                if *steps == 0 {
                    return false;
                }
            }
        }
        false
    }

    /// Adds the drives that left a row to the search, where they may return in the place of `drive`: what
    /// leaves costs as much as what returns saves, so this way to them is the best there is. Of a drive that
    /// gives, the slots that a saturated newcomer got from the wrong drives are put right so.
    fn widen_for_nothing(&mut self, search: &mut Search, drive: usize, row: usize) -> usize {
        self.draft.view_without(row, drive, &mut self.view);
        let crowd = self.view.added(self.domains(), drive);
        let step = Step { before: drive, row };
        let left = self.draft.origin(row);
        for next in left.iter().filter(|d| **d != NONE) {
            let reached = !self.view.drives.contains(next)
                && self.view.added(self.draft.domains, *next) <= crowd;
            if reached {
                search.see(*next, step);
            }
        }
        left.len()
    }

    /// Adds the drives that may take the place of `drive` in a row to the search; how many it looked at.
    fn widen(&mut self, search: &mut Search, drive: usize, row: usize) -> usize {
        self.draft.view_without(row, drive, &mut self.view);
        let crowd = self.view.added(self.domains(), drive);
        let (view, draft, pass) = (&self.view, &*self.draft, self.pass);
        let reached = |next: &usize| {
            !view.drives.contains(next)
                && view.added(draft.domains, *next) <= crowd
                && pass.may(draft, row, drive, *next)
        };
        let step = Step { before: drive, row };
        if pass == Pass::Free && draft.was_in(row, drive) {
            // Only a drive that left the row may enter it.
            for next in draft.origin(row).iter().filter(|d| **d != NONE) {
                if reached(next) {
                    search.see(*next, step);
                }
            }
            return draft.origin(row).len();
        }
        let unseen = search.unseen(draft);
        let looked_at = unseen.len() + 1;
        let (found, rest) = unseen.into_iter().partition(reached);
        search.unseen = Some(rest);
        let found: Vec<usize> = found;
        for next in found {
            search.see(next, step);
        }
        looked_at
    }
}

/// A search for a chain, breadth first.
struct Search {
    from: usize,
    came: BTreeMap<usize, Step>,
    queue: VecDeque<usize>,
    /// The drives not seen yet, once they were needed; perhaps some that were seen since.
    unseen: Option<Vec<usize>>,
}

impl Search {
    fn new(from: usize) -> Self {
        Self {
            from,
            came: BTreeMap::new(),
            queue: VecDeque::from([from]),
            unseen: None,
        }
    }

    fn see(&mut self, drive: usize, step: Step) {
        if drive != self.from && !self.came.contains_key(&drive) {
            self.came.insert(drive, step);
            self.queue.push_back(drive);
        }
    }

    fn unseen(&mut self, draft: &Draft<'_>) -> Vec<usize> {
        if let Some(unseen) = self.unseen.take() {
            return unseen;
        }
        let fresh = |d: &usize| *d != self.from && !self.came.contains_key(d);
        let mut all: Vec<usize> = (0..draft.domains.drives.len()).filter(fresh).collect();
        if all.len() > CHAIN_DRIVES {
            let seed = draft.drive_id(self.from).0;
            let hash = |d: &usize| (mix(!seed, draft.drive_id(*d).0), *d);
            all.select_nth_unstable_by_key(CHAIN_DRIVES, hash);
            all.truncate(CHAIN_DRIVES);
            all.sort_unstable();
        }
        all
    }

    /// The drives on the way to `drive` with the steps to them, the first first.
    fn path(&self, drive: usize) -> Vec<(usize, Step)> {
        let mut steps = Vec::new();
        let mut at = drive;
        while let Some(step) = self.came.get(&at) {
            steps.push((at, *step));
            at = step.before;
        }
        steps.reverse();
        steps
    }
}
