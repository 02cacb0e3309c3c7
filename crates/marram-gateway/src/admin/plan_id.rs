//! What a plan of the layout was made from, as an id that operators can hand back: one hash for each
//! kind of thing that may change, so that it can be said which did.

use std::fmt;
use std::str::FromStr;

use marram_meta::ClusterView;
use marram_types::Crc64Nvme;

/// The id of a plan. Plans are pure: the same id is the same plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PlanId {
    drives: u32,
    standings: u32,
    tables: u32,
}

impl PlanId {
    pub(crate) fn of(view: &ClusterView) -> Self {
        let mut drives = Vec::new();
        let mut standings = Vec::new();
        for seat in view.seats() {
            let info = &seat.info;
            for number in [info.drive.0, info.node.0, info.weight] {
                drives.extend_from_slice(&number.to_be_bytes());
            }
            drives.extend_from_slice(info.zone.as_bytes());
            drives.push(0xff);
            standings.push(seat.standing as u8);
        }
        let rows = view.pools.values().flat_map(|table| &table.rows);
        let mut tables = Vec::new();
        for row in rows {
            tables.extend_from_slice(&row.epoch.to_be_bytes());
            for drive in &row.drives {
                tables.extend_from_slice(&drive.0.to_be_bytes());
            }
        }
        Self {
            drives: short(&drives),
            standings: short(&standings),
            tables: short(&tables),
        }
    }

    /// What is another thing now; none when the plan is still the same.
    pub(crate) fn changed_since(self, now: &Self) -> Option<&'static str> {
        if self.drives != now.drives {
            return Some("nodes or drives came, went or changed their size or zone");
        }
        if self.standings != now.standings {
            return Some("nodes changed their duty");
        }
        (self.tables != now.tables).then_some("placement groups moved")
    }
}

fn short(bytes: &[u8]) -> u32 {
    let hash = Crc64Nvme::of(bytes);
    u32::try_from(hash >> 32).expect("32 bits are left")
}

impl fmt::Display for PlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (drives, standings, tables) = (self.drives, self.standings, self.tables);
        write!(f, "{drives:08x}-{standings:08x}-{tables:08x}")
    }
}

impl FromStr for PlanId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let parts: Vec<u32> = text
            .split('-')
            .map(|part| u32::from_str_radix(part, 16).map_err(|_| ()))
            .collect::<Result<_, _>>()?;
        let [drives, standings, tables] = parts[..] else {
            return Err(());
        };
        Ok(Self {
            drives,
            standings,
            tables,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_back_and_says_what_changed() {
        let id = PlanId::of(&ClusterView::default());
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["", "1-2", "1-2-3-4", "x-y-z"] {
            assert_eq!(bad.parse::<PlanId>(), Err(()), "{bad}");
        }
        let other = |change: fn(&mut PlanId)| {
            let mut other = id;
            change(&mut other);
            id.changed_since(&other).unwrap_or("nothing")
        };
        assert_eq!(other(|_| ()), "nothing");
        assert!(other(|id| id.drives ^= 1).contains("size"));
        assert!(other(|id| id.standings ^= 1).contains("duty"));
        assert!(other(|id| id.tables ^= 1).contains("moved"));
    }
}
