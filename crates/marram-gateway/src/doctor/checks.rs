//! What is looked at, each by a pure function from facts to findings.
//!
//! ```text
//! cluster   nodes, readiness, redundancy, consensus       work      what is paused, stuck or decided for a while
//! drives    state, speed, room                  scrubs    whether drives give back what was written
//! members   releases, clocks, certificates      machines  limits, file systems, what fails together
//! size      nodes and zones for the profiles   quotas    what buckets may hold
//! backups   whether there is a way back
//! ```

mod backups;
mod cluster;
mod drives;
mod machines;
mod members;
mod quotas;
mod scrubs;
mod size;
mod work;

use marram_proto::v1;

use super::facts::Facts;

/// A check.
pub(crate) struct CheckOf {
    /// Its name, for programs: it stays.
    pub(crate) name: &'static str,
    /// What it asks, for people.
    pub(crate) question: &'static str,
    /// Finds what is wrong.
    pub(crate) look: fn(&Facts) -> Vec<v1::Finding>,
}

const fn check(
    name: &'static str,
    question: &'static str,
    look: fn(&Facts) -> Vec<v1::Finding>,
) -> CheckOf {
    CheckOf {
        name,
        question,
        look,
    }
}

/// All of them, what matters most first.
pub(crate) const CHECKS: [CheckOf; 18] = [
    check("nodes", "Do all nodes answer?", cluster::nodes),
    check(
        "readiness",
        "Do all nodes and gateways that answer take clients?",
        cluster::readiness,
    ),
    check(
        "redundancy",
        "Does every object survive what it should?",
        cluster::redundancy,
    ),
    check(
        "consensus",
        "Do the metadata groups have leaders and all voters?",
        cluster::consensus,
    ),
    check("drives", "Do all drives work?", drives::state),
    check(
        "slow-drives",
        "Are drives as fast as others?",
        drives::speed,
    ),
    check("room", "Is there room for data and metadata?", drives::room),
    check(
        "quotas",
        "Do buckets have room within their quotas?",
        quotas::room,
    ),
    check(
        "damage",
        "Do drives and replicas hold what was written?",
        scrubs::damage,
    ),
    check("work", "Does work in the background go on?", work::going_on),
    check(
        "backups",
        "Is there a fresh backup of the metadata?",
        backups::fresh,
    ),
    check(
        "certificates",
        "Are certificates good for long enough?",
        members::certificates,
    ),
    check(
        "versions",
        "Do all nodes and gateways run one release, and is it in use?",
        members::versions,
    ),
    check("clocks", "Do clocks agree?", members::clocks),
    check(
        "size",
        "Are there enough nodes and zones for the profiles?",
        size::enough,
    ),
    check(
        "limits",
        "Do machines give the servers enough?",
        machines::limits,
    ),
    check(
        "file-systems",
        "Are drives on file systems that keep data?",
        machines::file_systems,
    ),
    check(
        "independence",
        "Do nodes and drives fail one at a time?",
        machines::independence,
    ),
];

#[cfg(test)]
pub(super) mod testing;

#[cfg(test)]
mod tests {
    use super::testing::facts;
    use super::*;

    #[test]
    fn a_healthy_cluster_has_no_findings() {
        let facts = facts(7);
        for check in CHECKS {
            assert_eq!((check.look)(&facts), [], "{}", check.name);
        }
    }

    #[test]
    fn names_are_unique_and_written_in_one_way() {
        let mut names: Vec<&str> = CHECKS.iter().map(|check| check.name).collect();
        let plain = |name: &&str| name.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        assert!(names.iter().all(plain));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CHECKS.len());
    }
}
