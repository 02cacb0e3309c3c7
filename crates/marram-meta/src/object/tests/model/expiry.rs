//! What goes by the bucket's rules in a history: those of a day that is past, and of delete markers of
//! which nothing is left. Nothing is due that has to be replaced for a day first: histories take seconds.

use std::sync::Arc;

use marram_types::{Generation, ObjectKey};

use super::reference::Model;
use super::{KEYS, Run};
use crate::testing::BUCKET;
use crate::{
    BucketState, Due, DueWhat, ExpireCommand, Expired, Expiry, Lifecycle, LifecycleRule,
    NoncurrentExpiry, ObjectCommand, ObjectOutcome, Refusal, RuleFilter,
};

/// Rules as the model has them.
struct Rules {
    /// Current versions go whose key begins so, and that are larger.
    prefix: &'static str,
    larger_than: Option<u64>,
    expires: bool,
    /// Markers go that are alone, of these keys.
    markers: bool,
}

/// The rules of a bucket's epoch; the first one has none.
fn rules_of(epoch: u64) -> Rules {
    let (prefix, larger_than) = match epoch {
        2 => ("a", None),
        5 => ("", Some(4)),
        _ => ("", None),
    };
    Rules {
        prefix,
        larger_than,
        expires: matches!(epoch, 2 | 4 | 5),
        markers: matches!(epoch, 3 | 4),
    }
}

/// The same as a group is told them.
pub(super) fn lifecycle_of(epoch: u64) -> Option<Arc<Lifecycle>> {
    let wanted = rules_of(epoch);
    let rule = |id: &str| LifecycleRule {
        id: id.to_owned(),
        enabled: true,
        filter: RuleFilter {
            prefix: wanted.prefix.to_owned(),
            larger_than: wanted.larger_than,
            ..RuleFilter::default()
        },
        expire: None,
        noncurrent: None,
        expired_markers: false,
        abort_after_days: None,
    };
    let mut rules = Vec::new();
    if wanted.expires {
        rules.push(LifecycleRule {
            expire: Some(Expiry::OnDate(0)),
            noncurrent: Some(NoncurrentExpiry {
                after_days: 1,
                keep_newest: 0,
            }),
            ..rule("past")
        });
    }
    if wanted.markers {
        rules.push(LifecycleRule {
            expired_markers: true,
            ..rule("markers")
        });
    }
    let lifecycle = Lifecycle { rules };
    lifecycle.check().expect("rules that can be");
    (!lifecycle.rules.is_empty()).then(|| Arc::new(lifecycle))
}

impl Run {
    /// Makes a command of what keys have now, or seem to have.
    pub(super) fn find_due(&mut self, found: &[(usize, usize, u8)], now: bool) {
        let due = found.iter().map(|(key, nth, what)| {
            let has = self.model.generations(KEYS[*key]);
            let generation = |nth: usize| Generation(has.get(nth).copied().unwrap_or(3));
            Due {
                key: ObjectKey::new(KEYS[*key]).expect("a key"),
                what: match what {
                    0 => DueWhat::Marker(generation(*nth)),
                    1 => DueWhat::Noncurrent {
                        generation: generation(nth + 1),
                        next: generation(*nth),
                    },
                    _ => DueWhat::Current(generation(*nth)),
                },
            }
        });
        let command = ExpireCommand {
            bucket: BUCKET,
            due: due.collect(),
        };
        self.expiries.push(command.clone());
        if now {
            self.expire(command);
        }
    }

    pub(super) fn expire(&mut self, command: ExpireCommand) {
        let due = command.due.clone();
        let entry = self.group.seal(None, &ObjectCommand::Expire(command));
        let outcome = self.group.apply(&entry);
        let index = self.group.index;
        self.entries.push((index, entry, outcome.encode()));
        assert_eq!(outcome, self.model.expire(&due, index), "{due:?}");
        self.replay.follow(&self.group);
    }
}

impl Model {
    /// The oldest first, as it was found.
    fn expire(&mut self, due: &[Due], index: u64) -> ObjectOutcome {
        let (epoch, state) = self.bucket.expect("known from the start");
        if state == BucketState::Deleting {
            return ObjectOutcome::Refused(Refusal::BucketSealed { bucket: BUCKET });
        }
        let (rules, mut done) = (rules_of(epoch), Expired::default());
        for one in due.iter().rev() {
            let named = KEYS.iter().find(|key| **key == one.key.as_str());
            let key = *named.expect("one of the keys");
            let is_below = key.starts_with(rules.prefix);
            match one.what {
                DueWhat::Current(seen) => {
                    let large = |size| rules.larger_than.is_none_or(|least| size > least);
                    let current = self.objects.get(key);
                    let current = current.filter(|object| object.generation == seen.0);
                    let Some(size) = current.map(|object| object.size) else {
                        continue;
                    };
                    if rules.expires && is_below && large(size) {
                        done.current += 1;
                        done.bytes += size;
                        self.make_way(key, index);
                        self.deleted(key, true, index);
                    }
                }
                DueWhat::Marker(seen) => {
                    let is_alone = self.generations(key) == [seen.0];
                    let is_marker = |at| self.past.get(&at).is_some_and(|p| p.object.is_none());
                    if rules.markers && is_below && is_alone && is_marker((key, seen.0)) {
                        done.markers += 1;
                        self.forget((key, seen.0), index);
                    }
                }
                DueWhat::Noncurrent { .. } | DueWhat::Upload(_) => {}
            }
        }
        ObjectOutcome::Expired(done)
    }
}
