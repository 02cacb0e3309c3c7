//! The CA of the API's certificates over its life. It is replaced in three steps, so that nobody who trusts it has
//! to change at one moment: the next CA is trusted beside it, then issues, then the old one is forgotten. What is
//! trusted between two steps is published for a while before the next one, which counts from when it was.

use super::{Pair, read};

/// A CA is replaced by itself when it is good for less than this, in seconds: 2 years.
pub(crate) const REPLACE_BEFORE: i64 = 2 * 365 * 86_400;

/// The CAs of one cluster that count.
#[derive(Clone)]
pub struct Authority {
    /// The one that issues.
    pub signer: Pair,
    /// The one that will, and is trusted already.
    pub next: Option<Pair>,
    /// The certificate of the one that did, and is trusted still.
    pub previous: Option<String>,
    /// Since when what is trusted now is published, in seconds since 1970; none until it is.
    pub since: Option<i64>,
    /// The wish for another CA that was heard last.
    pub heard: Option<String>,
}

/// When a CA is replaced.
#[derive(Debug, Clone, Copy)]
pub struct Policy<'a> {
    /// Seconds between two steps.
    pub overlap: i64,
    /// A wish for another CA: one that differs from the one before.
    pub wish: Option<&'a str>,
}

/// A step of the replacement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Another CA is made, and trusted beside the one that issues. With the reason.
    Announce(&'static str),
    /// The next one issues.
    Switch,
    /// The one that issued before is not trusted any more.
    Forget,
}

impl Authority {
    /// One that has just been made.
    #[must_use]
    pub fn new(signer: Pair, wish: Option<&str>) -> Self {
        Self {
            signer,
            next: None,
            previous: None,
            since: None,
            heard: wish.map(str::to_owned),
        }
    }

    /// The certificates that are to be trusted, in PEM, the one that issues first.
    #[must_use]
    pub fn bundle(&self) -> String {
        let next = self.next.as_ref().map(|next| &next.certificate);
        let all = [Some(&self.signer.certificate), next, self.previous.as_ref()];
        let lines = all.into_iter().flatten().map(|pem| pem.trim_end());
        lines.fold(String::new(), |all, pem| all + pem + "\n")
    }

    /// Whether a replacement is under way.
    #[must_use]
    pub fn changes(&self) -> bool {
        self.next.is_some() || self.previous.is_some()
    }

    /// Whether a text holds all that is to be trusted.
    #[must_use]
    pub fn is_published(&self, text: &str) -> bool {
        let next = self.next.as_ref().map(|next| &next.certificate);
        let all = [Some(&self.signer.certificate), next, self.previous.as_ref()];
        all.into_iter()
            .flatten()
            .all(|pem| text.contains(pem.trim()))
    }

    /// When the next step is due, in seconds since 1970, where the present one is published.
    #[must_use]
    pub fn next_step(&self, overlap: i64) -> Option<i64> {
        let since = self.since.filter(|_| self.changes())?;
        Some(since.saturating_add(overlap))
    }

    /// The step that is due now. A CA that has ended proves nothing: nothing is waited for then.
    #[must_use]
    pub fn due(&self, policy: Policy<'_>, now: i64) -> Option<Turn> {
        let ends = |pem: &str| read(pem).map_or(i64::MAX, |facts| facts.not_after);
        // A time that has not come yet is of a clock that was wrong.
        let counts = self.since.is_some_and(|since| since <= now);
        let waited = counts && self.next_step(policy.overlap).is_some_and(|at| at <= now);
        if self.next.is_some() {
            return (waited || ends(&self.signer.certificate) <= now).then_some(Turn::Switch);
        }
        if let Some(previous) = &self.previous {
            return (waited || ends(previous) <= now).then_some(Turn::Forget);
        }
        if policy.wish.is_some() && policy.wish != self.heard.as_deref() {
            return Some(Turn::Announce("it was asked for"));
        }
        let ends_soon = ends(&self.signer.certificate) - REPLACE_BEFORE <= now;
        ends_soon.then_some(Turn::Announce("it ends"))
    }

    /// What it is after a step; `fresh` is the CA that is announced.
    #[must_use]
    pub fn turned(mut self, turn: Turn, wish: Option<&str>, fresh: Option<Pair>) -> Self {
        match turn {
            Turn::Announce(_) => {
                self.next = fresh;
                if wish.is_some() {
                    self.heard = wish.map(str::to_owned);
                }
            }
            Turn::Switch => {
                if let Some(next) = self.next.take() {
                    let old = std::mem::replace(&mut self.signer, next);
                    self.previous = Some(old.certificate);
                }
            }
            Turn::Forget => self.previous = None,
        }
        self.since = None;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::super::{issue, make_ca};
    use super::*;

    const NOW: i64 = 1_800_000_000;
    const DAY: i64 = 86_400;

    fn policy(wish: Option<&str>) -> Policy<'_> {
        Policy {
            overlap: 7 * DAY,
            wish,
        }
    }

    fn ca(at: i64) -> Pair {
        make_ca("store", at).expect("a CA")
    }

    fn count(bundle: &str) -> usize {
        bundle.matches("BEGIN CERTIFICATE").count()
    }

    #[test]
    fn a_wish_is_heard_once_and_done_in_three_steps() {
        let first = Authority::new(ca(NOW), None);
        assert_eq!(first.due(policy(None), NOW), None);
        let wish = Some("1");
        let asked = Turn::Announce("it was asked for");
        assert_eq!(first.due(policy(wish), NOW), Some(asked));
        let old = first.signer.certificate.clone();

        let announced = first.turned(asked, wish, Some(ca(NOW + 1)));
        assert_eq!(announced.signer.certificate, old, "it still issues");
        assert_eq!(count(&announced.bundle()), 2);
        // Nothing is published yet: the time does not run.
        assert_eq!(announced.due(policy(wish), NOW + 100 * DAY), None);
        let published = Authority {
            since: Some(NOW + DAY),
            ..announced
        };
        assert_eq!(published.due(policy(wish), NOW + 8 * DAY - 1), None);
        assert_eq!(
            published.due(policy(wish), NOW + 8 * DAY),
            Some(Turn::Switch)
        );
        let trusted = published.bundle();

        let switched = published.turned(Turn::Switch, wish, None);
        assert!(trusted.contains(switched.signer.certificate.trim_end()));
        assert_eq!(switched.previous.as_ref(), Some(&old));
        assert_eq!(count(&switched.bundle()), 2);
        assert_eq!(switched.due(policy(wish), NOW + 100 * DAY), None);
        let published = Authority {
            since: Some(NOW + 8 * DAY),
            ..switched
        };
        // Another wish meanwhile waits until this one is done.
        assert_eq!(published.due(policy(Some("2")), NOW + 9 * DAY), None);
        assert_eq!(
            published.due(policy(wish), NOW + 15 * DAY),
            Some(Turn::Forget)
        );

        let rests = published.turned(Turn::Forget, wish, None);
        assert_eq!(count(&rests.bundle()), 1);
        assert_eq!(rests.due(policy(wish), NOW + 15 * DAY), None);
        assert_eq!(
            rests.due(policy(None), NOW + 15 * DAY),
            None,
            "no wish is none"
        );
        assert_eq!(rests.due(policy(Some("2")), NOW + 15 * DAY), Some(asked));
    }

    #[test]
    fn what_is_published_holds_all_of_it() {
        let turn = Turn::Announce("it ends");
        let rests = Authority::new(ca(NOW), None);
        let before = rests.bundle();
        let announced = rests.turned(turn, None, Some(ca(NOW + 1)));
        assert!(!announced.is_published(&before) && announced.is_published(&announced.bundle()));
        let more = format!("{}{}", ca(NOW + 2).certificate, announced.bundle());
        assert!(announced.is_published(&more));
    }

    #[test]
    fn it_is_replaced_before_it_ends_and_one_that_ended_is_waited_for_by_nobody() {
        let ends = read(&ca(NOW).certificate).expect("readable").not_after;
        let authority = Authority::new(ca(NOW), None);
        assert_eq!(authority.due(policy(None), ends - REPLACE_BEFORE - 1), None);
        let turn = Turn::Announce("it ends");
        assert_eq!(
            authority.due(policy(None), ends - REPLACE_BEFORE),
            Some(turn)
        );
        let announced = authority.turned(turn, None, Some(ca(ends)));
        assert_eq!(announced.due(policy(None), ends - 1), None);
        assert_eq!(announced.due(policy(None), ends), Some(Turn::Switch));
        let switched = announced.turned(Turn::Switch, None, None);
        assert_eq!(switched.due(policy(None), ends), Some(Turn::Forget));
    }

    #[test]
    fn what_it_issues_ends_no_later_than_it_does() {
        let signer = ca(NOW);
        let ends = read(&signer.certificate).expect("readable").not_after;
        let leaf = issue(&signer, &["store".to_owned()], (ends - DAY, 90 * DAY)).expect("issued");
        assert_eq!(read(&leaf.certificate).expect("readable").not_after, ends);
    }
}
