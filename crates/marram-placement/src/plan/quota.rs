//! The fair share of every drive, and how many slots each shall hold.
//!
//! Shares follow the weights as far as the spread of rows allows: a node that can hold one slot of
//! a row gets no more slots than there are rows, whatever its weight, and what it cannot take goes to
//! the others. Zones, nodes and drives are nested, so there is one *level* (slots per weight) for
//! all that is not at a bound, one of its own for each zone or node that is. Since the bounds are
//! nested, rows exist that give every drive its share, up to rounding (the constraints are totally
//! unimodular).

use super::domains::{BestSpread, Bounds, Domains};

/// Halvings of the interval of a level: enough for weights that differ by 2^64.
const HALVINGS: usize = 160;
/// Shares are rounded to this, so that noise of the arithmetic is not taken for a slot.
const GRAIN: f64 = 1e-6;

/// A number for zones, nodes and drives each.
pub(super) struct PerDomain<T> {
    pub(super) zones: Vec<T>,
    pub(super) nodes: Vec<T>,
    pub(super) drives: Vec<T>,
}

/// Slots held, by domain.
pub(super) type Counts = PerDomain<i64>;
/// Fair shares in slots, by domain.
pub(super) type Shares = PerDomain<f64>;

impl Counts {
    pub(super) fn zero(domains: &Domains) -> Self {
        Self {
            zones: vec![0; domains.zones.len()],
            nodes: vec![0; domains.nodes.len()],
            drives: vec![0; domains.drives.len()],
        }
    }

    pub(super) fn add(&mut self, domains: &Domains, drive: usize, slots: i64) {
        self.drives[drive] += slots;
        self.nodes[domains.drives[drive].node] += slots;
        self.zones[domains.zone_of(drive)] += slots;
    }
}

/// The tree of domains as a function of the level.
struct Tree<'a> {
    domains: &'a Domains,
    best: &'a BestSpread,
    rows: f64,
    level_max: f64,
}

impl Tree<'_> {
    fn drive(&self, drive: usize, level: f64) -> f64 {
        (self.domains.drives[drive].weight as f64 * level).min(self.rows)
    }

    fn inside_node(&self, node: usize, level: f64) -> f64 {
        let drives = self.domains.nodes[node].drives.iter();
        drives.map(|d| self.drive(*d, level)).sum()
    }

    fn bounded(&self, value: f64, bounds: Bounds) -> f64 {
        let (low, high) = (f64::from(bounds.low), f64::from(bounds.high));
        value.clamp(low * self.rows, high * self.rows)
    }

    fn node(&self, node: usize, level: f64) -> f64 {
        self.bounded(self.inside_node(node, level), self.best.nodes[node])
    }

    fn inside_zone(&self, zone: usize, level: f64) -> f64 {
        let nodes = self.domains.zones[zone].iter();
        nodes.map(|n| self.node(*n, level)).sum()
    }

    fn zone(&self, zone: usize, level: f64) -> f64 {
        self.bounded(self.inside_zone(zone, level), self.best.zones[zone])
    }

    fn all(&self, level: f64) -> f64 {
        let zones = 0..self.domains.zones.len();
        zones.map(|z| self.zone(z, level)).sum()
    }

    /// The level at which `of`, which rises with it, gives `total`.
    fn level(&self, total: f64, of: impl Fn(f64) -> f64) -> f64 {
        let (mut low, mut high) = (0.0, self.level_max);
        for _ in 0..HALVINGS {
            let middle = (low + high) / 2.0;
            if middle <= low || middle >= high {
                break;
            }
            if of(middle) < total {
                low = middle;
            } else {
                high = middle;
            }
        }
        high
    }
}

/// The fair shares of `total` slots in `rows` rows.
pub(super) fn fair_shares(domains: &Domains, best: &BestSpread, rows: usize, total: i64) -> Shares {
    let lightest = domains.drives.iter().map(|d| d.weight).min().unwrap_or(1);
    let tree = Tree {
        domains,
        best,
        rows: rows as f64,
        level_max: (rows as f64 + 1.0) / lightest as f64,
    };
    let mut shares = Shares {
        zones: vec![0.0; domains.zones.len()],
        nodes: vec![0.0; domains.nodes.len()],
        drives: vec![0.0; domains.drives.len()],
    };
    let top = tree.level(total as f64, |level| tree.all(level));
    for (zone, nodes) in domains.zones.iter().enumerate() {
        let share = tree.zone(zone, top);
        let of_zone = tree.level(share, |level| tree.inside_zone(zone, level));
        shares.zones[zone] = rounded(share);
        for node in nodes {
            let share = tree.node(*node, of_zone);
            let of_node = tree.level(share, |level| tree.inside_node(*node, level));
            shares.nodes[*node] = rounded(share);
            for drive in &domains.nodes[*node].drives {
                shares.drives[*drive] = rounded(tree.drive(*drive, of_node));
            }
        }
    }
    shares
}

fn rounded(share: f64) -> f64 {
    (share / GRAIN).round() * GRAIN
}

/// Whole slots for every domain: its share rounded up or down, the way that is nearer to what it
/// holds, so that rounding by itself moves nothing.
pub(super) fn quotas(domains: &Domains, shares: &Shares, held: &Counts, total: i64) -> Counts {
    let mut quotas = Counts::zero(domains);
    let all: Vec<usize> = (0..domains.zones.len()).collect();
    split(total, &all, &shares.zones, &held.zones, &mut quotas.zones);
    for (zone, nodes) in domains.zones.iter().enumerate() {
        let total = quotas.zones[zone];
        split(total, nodes, &shares.nodes, &held.nodes, &mut quotas.nodes);
    }
    for (node, inside) in domains.nodes.iter().enumerate() {
        let (total, drives) = (quotas.nodes[node], &inside.drives);
        split(
            total,
            drives,
            &shares.drives,
            &held.drives,
            &mut quotas.drives,
        );
    }
    quotas
}

/// Splits `total` among `members`.
fn split(total: i64, members: &[usize], shares: &[f64], held: &[i64], quotas: &mut [i64]) {
    for member in members {
        let (share, has) = (shares[*member], held[*member]);
        let near = (has as f64 - share).abs() <= 1.0;
        quotas[*member] = if near {
            has
        } else {
            has.clamp(share.floor() as i64, share.ceil() as i64)
        };
    }
    let mut order = members.to_vec();
    let mut missing = total - members.iter().map(|m| quotas[*m]).sum::<i64>();
    // When nobody has to give, rounding is taken from those that are to receive.
    let nobody_gives = members.iter().all(|m| quotas[*m] >= held[*m]);
    while missing != 0 && !order.is_empty() {
        let step = missing.signum();
        let gap = |m: usize, quotas: &[i64]| (shares[m] - quotas[m] as f64) * step as f64;
        let costly = |m: usize, quotas: &[i64]| {
            let receives = quotas[m] > held[m] && gap(m, quotas) < 1.0;
            step < 0 && nobody_gives && !receives
        };
        order.sort_by(|a, b| {
            let by_cost = costly(*a, quotas).cmp(&costly(*b, quotas));
            let by_gap = gap(*b, quotas).total_cmp(&gap(*a, quotas));
            by_cost.then(by_gap).then(a.cmp(b))
        });
        let mut changed = false;
        for member in &order {
            if missing != 0 && quotas[*member] + step >= 0 {
                quotas[*member] += step;
                missing -= step;
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
}
