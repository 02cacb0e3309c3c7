//! The next step of an `AccessKey`. The cluster shows a secret once, and the operator keeps none: what it will do
//! stands in the status first. An operator that dies between the cluster's answer and the Secret leaves that
//! note, and the next one has the secret made anew; the one before holds for its overlap.

use marram_client::AccessKeyInfo;
use marram_types::Grant;

use super::Hold;
use super::said::State;
use crate::api::{AccessKey, AccessKeyStatus, Pending};

/// The Secret as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretView {
    /// There is none.
    Missing,
    /// There is one, and it is not this resource's.
    Foreign,
    /// This resource's.
    Ours {
        /// The key's id in it.
        id: Option<String>,
        /// SHA-256 of the secret in it.
        hash: Option<String>,
        /// Endpoint, CA and labels are as they are to be.
        current: bool,
    },
}

/// What was seen.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyView {
    /// The resource.
    pub key: AccessKey,
    /// Now, in seconds since 1970.
    pub now: i64,
    /// The grants that hold.
    pub grants: Vec<Grant>,
    /// Why others do not.
    pub without: Vec<String>,
    /// The keys of the cluster that bear this resource's mark.
    pub known: Vec<AccessKeyInfo>,
    /// The Secret.
    pub secret: SecretView,
    /// What stands against the resource in the cluster as a whole: its key is switched off.
    pub refused: Option<Hold>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing: it is as it should be.
    Rest,
    /// Something stands against it.
    Hold(Hold),
    /// Write down what is to be done next.
    Note(Pending),
    /// Make a key, and write the Secret.
    Create,
    /// Have the key's secret made anew, and write the Secret.
    Rotate {
        /// The key.
        id: String,
        /// For how long the one before holds.
        overlap_seconds: u64,
    },
    /// Remove a key that nobody has the secret of.
    Remove(String),
    /// Switch a key off: its namespace is not allowed any more.
    Disable(String),
    /// Change what a key may do, and until when.
    Change {
        /// The key.
        id: String,
        /// Grants to add.
        add: Vec<Grant>,
        /// Grants to take back.
        remove: Vec<Grant>,
        /// Until when, in milliseconds since 1970; 0: for ever.
        expires_ms: Option<i64>,
        /// It was switched off, and is not to be.
        enable: bool,
    },
    /// Write the Secret anew around the secret that is in it.
    Refresh,
}

impl KeyView {
    fn status(&self) -> AccessKeyStatus {
        self.key.status.clone().unwrap_or_default()
    }

    /// When the key ends, in milliseconds since 1970.
    #[must_use]
    pub fn expires_ms(&self) -> Option<i64> {
        let at = self.key.spec.expires_at.as_ref();
        at.map(|time| time.0.as_millisecond())
    }

    /// The key that counts: the one that is written down, or else the newest.
    #[must_use]
    pub fn current(&self) -> Option<&AccessKeyInfo> {
        let written = self.status().access_key_id;
        let known = || self.known.iter();
        known()
            .find(|key| written.as_deref() == Some(key.id.as_str()))
            .or_else(|| known().max_by_key(|key| (key.created_ms, key.id.clone())))
    }

    fn is_over(&self) -> bool {
        self.expires_ms().is_some_and(|end| end <= self.now * 1000)
    }

    /// When the key is due for another secret by its age, in seconds since 1970.
    #[must_use]
    pub fn rotates_at(&self) -> Option<i64> {
        let every = self.key.spec.rotation.as_ref()?.every_seconds?;
        let rotated = self.status().rotated_at?;
        Some(rotated.0.as_second() + i64::from(every))
    }

    /// Seconds for which the secret before is to hold. One that nobody was given holds for none.
    fn overlap(&self) -> u64 {
        match self.status().secret_hash {
            Some(_) => self.key.spec.overlap_seconds(),
            None => 0,
        }
    }

    /// Whether the Secret holds the secret that was put there.
    fn is_whole(&self, id: &str) -> bool {
        let written = self.status().secret_hash;
        matches!(&self.secret, SecretView::Ours { id: there, hash, .. }
            if there.as_deref() == Some(id) && written.is_some() && *hash == written)
    }

    fn is_due(&self, id: &str) -> bool {
        let status = self.status();
        let trigger = self.key.spec.rotation.as_ref();
        let trigger = trigger.and_then(|rotation| rotation.trigger.as_ref());
        let triggered = trigger.is_some() && trigger != status.trigger.as_ref();
        let old = self.rotates_at().is_some_and(|at| at <= self.now);
        triggered || old || !self.is_whole(id)
    }
}

/// What to do next.
#[must_use]
pub fn next(view: &KeyView) -> Step {
    let current = view.current();
    if let Some(hold) = &view.refused {
        return match current {
            Some(key) if hold.stalled && !key.disabled => Step::Disable(key.id.clone()),
            _ => Step::Hold(hold.clone()),
        };
    }
    if view.secret == SecretView::Foreign {
        let name = view.key.secret_name();
        let message = format!(
            "there is a Secret {name} already, and it is not of this AccessKey: delete it, or write another \
             AccessKey with another secretName"
        );
        return Step::Hold(Hold::stalled("SecretTaken", message));
    }
    if let Some(spare) = spare(view, current) {
        return Step::Remove(spare);
    }
    let Some(key) = current else {
        return match view.status().pending {
            _ if view.is_over() => Step::Hold(over(view)),
            _ if view.grants.is_empty() => Step::Hold(missing_grants(view)),
            Some(Pending::Create) => Step::Create,
            _ => Step::Note(Pending::Create),
        };
    };
    if let Some(change) = change(view, key) {
        return change;
    }
    if view.is_over() {
        return Step::Hold(over(view));
    }
    match view.status().pending {
        Some(Pending::Rotate) => {
            return Step::Rotate {
                id: key.id.clone(),
                overlap_seconds: view.overlap(),
            };
        }
        // A key that was made and whose secret nobody got is due by that.
        _ if view.is_due(&key.id) => return Step::Note(Pending::Rotate),
        _ => {}
    }
    match &view.secret {
        SecretView::Ours { current: false, .. } => Step::Refresh,
        _ if !view.without.is_empty() => Step::Hold(missing_grants(view)),
        _ => Step::Rest,
    }
}

/// A key besides the one that counts.
fn spare(view: &KeyView, current: Option<&AccessKeyInfo>) -> Option<String> {
    let current = current?;
    let mut others = view.known.iter().filter(|key| key.id != current.id);
    others.next().map(|key| key.id.clone())
}

fn missing_grants(view: &KeyView) -> Hold {
    Hold::waits("GrantsMissing", view.without.join("; "))
}

fn over(view: &KeyView) -> Hold {
    let at = view.key.spec.expires_at.as_ref();
    let at = at.map(|time| time.0.to_string()).unwrap_or_default();
    Hold::stalled(
        "Expired",
        format!("the key ended at {at}: set a later spec.expiresAt, or take it out"),
    )
}

fn change(view: &KeyView, key: &AccessKeyInfo) -> Option<Step> {
    let missing = |from: &[Grant], of: &[Grant]| -> Vec<Grant> {
        of.iter()
            .filter(|grant| !from.contains(grant))
            .cloned()
            .collect()
    };
    let add = missing(&key.grants, &view.grants);
    let remove = missing(&view.grants, &key.grants);
    let wanted = view.expires_ms();
    let expires_ms = (wanted != key.expires_ms).then(|| wanted.unwrap_or(0));
    let same = add.is_empty() && remove.is_empty() && expires_ms.is_none() && !key.disabled;
    (!same).then(|| Step::Change {
        id: key.id.clone(),
        add,
        remove,
        expires_ms,
        enable: key.disabled,
    })
}

/// How the resource is after this look, for its conditions.
#[must_use]
pub fn state(view: &KeyView, step: &Step) -> State {
    match step {
        Step::Rest => State::Ready(format!(
            "the Secret {} holds a key that works",
            view.key.secret_name()
        )),
        Step::Hold(hold) => State::Held(hold.clone()),
        Step::Note(Pending::Create) | Step::Create => {
            State::Working("the key is being made".to_owned())
        }
        Step::Note(Pending::Rotate) | Step::Rotate { .. } => {
            State::Working("the key is getting another secret".to_owned())
        }
        Step::Remove(_) | Step::Disable(_) | Step::Change { .. } => {
            State::Working("the key is being changed".to_owned())
        }
        Step::Refresh => State::Working("the Secret is being written anew".to_owned()),
    }
}

/// The seconds until the key has to be looked at again, if that is sooner than `at_most`.
#[must_use]
pub fn again(view: &KeyView, at_most: u64) -> u64 {
    let ends = view.expires_ms().map(|end| end / 1000 + 1);
    let due = [ends, view.rotates_at()].into_iter().flatten();
    let left = due.filter(|at| *at > view.now).map(|at| at - view.now);
    let left = left.filter_map(|left| u64::try_from(left).ok());
    left.min().unwrap_or(at_most).clamp(1, at_most.max(1))
}
