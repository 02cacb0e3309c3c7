//! What is said of one family.

use super::Label;

/// What kind of number a family gives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// It only grows, from the start of the process.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How often a value was at most so large; the bounds are in the unit of the family.
    Histogram(&'static [f64]),
}

/// The base unit at the end of a family's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A number of things.
    None,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
}

/// Which processes give a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// Servers and gateways.
    All,
    /// Servers.
    Servers,
    /// Servers, those values that belong to a group from the server that leads it: the sum over all
    /// servers is the cluster's.
    Leaders,
    /// The server that leads the root group, of the whole cluster, where its configuration asks for it.
    Asked,
    /// Servers and gateways whose API speaks TLS.
    WithTls,
    /// The operator of clusters on Kubernetes.
    Operator,
}

/// One metric family.
#[derive(Debug)]
pub struct Family {
    /// Its whole name, as it is asked for: with the unit, and `_total` at the end of a counter.
    pub name: &'static str,
    /// What kind of number it is.
    pub kind: Kind,
    /// Its unit.
    pub unit: Unit,
    /// Its labels.
    pub labels: &'static [Label],
    /// Who gives it.
    pub from: From,
    /// What it says; one sentence without a full stop.
    pub help: &'static str,
}

impl Family {
    /// The name without what the formats add by themselves.
    #[must_use]
    pub(crate) fn stem(&self) -> &'static str {
        let name = self.name.strip_suffix("_total").unwrap_or(self.name);
        let unit = match self.unit {
            Unit::None => return name,
            Unit::Seconds => "_seconds",
            Unit::Bytes => "_bytes",
        };
        name.strip_suffix(unit).unwrap_or(name)
    }

    /// How many series one process may give of it.
    #[must_use]
    pub fn series_max(&self) -> usize {
        self.labels.iter().map(|label| label.most).product()
    }
}
