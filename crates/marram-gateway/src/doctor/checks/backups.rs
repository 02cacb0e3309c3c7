//! Whether there is a way back when no majority of the metadata is left.

use marram_mesh::ca_validity;
use marram_proto::v1;
use v1::Severity::Warning;

use super::super::facts::Facts;
use super::super::say::{found, time};

/// A backup that is older, a weekly one with a day for being late, brings back too little, and a cluster without one should have one by then.
const BACKUP_MS_MAX: u64 = 8 * DAY_MS;
/// How long ago the newest backup may have stopped to be whole: a daily one may come late once.
const NOT_KEPT_MS_MAX: u64 = DAY_MS;
const DAY_MS: u64 = 86_400_000;

const REMEDY: &str = "`marram admin backup metadata FILE`, every day, and keep the file elsewhere together with the key file. See \
                      docs/runbooks/backups.md";

/// Is there a fresh backup of the metadata?
pub(super) fn fresh(facts: &Facts) -> Vec<v1::Finding> {
    let say = |evidence: String| vec![found(Warning, "", evidence, REMEDY)];
    let Some(backup) = facts.view.upkeep.backup else {
        let is_due = founded_ms(facts).is_some_and(|at| facts.now_ms > at + BACKUP_MS_MAX);
        return match is_due && !facts.is_for_development() {
            true => say("no backup of the metadata was ever made, or none was told of".to_owned()),
            false => Vec::new(),
        };
    };
    let age = facts.now_ms.saturating_sub(backup.made_ms);
    let not_kept = facts.now_ms.saturating_sub(backup.kept_until_ms);
    if age > BACKUP_MS_MAX {
        return say(format!("no backup of the metadata for {}", time(age)));
    }
    if not_kept > NOT_KEPT_MS_MAX {
        return say(format!(
            "the last backup of the metadata is {} old, and what it names is not kept on the drives any more",
            time(age)
        ));
    }
    Vec::new()
}

/// When the cluster was founded, as far as its oldest CA tells: after a rotation, later.
fn founded_ms(facts: &Facts) -> Option<u64> {
    let authorities = facts.view.authorities.values();
    let made = authorities.filter_map(|authority| {
        let validity = ca_validity(&authority.certificate).ok()?;
        u64::try_from(validity.not_before).ok()
    });
    Some(made.min()?.saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use marram_meta::{AuthorityRecord, BackupNote};

    use super::super::testing::{NOW_MS, facts, only};
    use super::*;

    #[test]
    fn an_old_backup_is_told_of() {
        let mut facts = facts(7);
        let mut judged = |age_ms, kept_ms| {
            facts.decided().upkeep.backup = Some(BackupNote {
                made_ms: NOW_MS - age_ms,
                kept_until_ms: NOW_MS - age_ms + kept_ms,
                bytes: 1,
                root_index: 1,
            });
            fresh(&facts)
        };
        assert_eq!(judged(2 * DAY_MS, DAY_MS), []);
        let evidence = only(&judged(2 * DAY_MS + 1, DAY_MS)).2;
        assert!(evidence.contains("2 days old"), "{evidence}");
        assert_eq!(judged(8 * DAY_MS, 30 * DAY_MS), []);
        let evidence = only(&judged(8 * DAY_MS + 1, 30 * DAY_MS)).2;
        assert_eq!(evidence, "no backup of the metadata for 8 days");
    }

    #[test]
    fn a_cluster_gets_a_week_for_its_first_backup() {
        let made = marram_mesh::make_ca(marram_types::ClusterId(7)).expect("made");
        let record = AuthorityRecord {
            authority: 3,
            fingerprint: [7; 32],
            certificate: made.certificate().to_vec(),
            wrapped_key: Vec::new(),
            issues: true,
        };
        let mut facts = facts(7);
        assert_eq!(fresh(&facts), [], "nobody knows how old it is");
        facts.decided().authorities.insert(3, record);
        let founded = founded_ms(&facts).expect("known");
        facts.now_ms = founded + BACKUP_MS_MAX;
        assert_eq!(fresh(&facts), []);
        facts.now_ms += 1;
        assert!(only(&fresh(&facts)).2.contains("ever made"));
        for node in facts.decided().nodes.values_mut() {
            node.mesh_addr = "127.0.0.1:7071".to_owned();
        }
        assert_eq!(fresh(&facts), [], "a cluster for development");
    }
}
