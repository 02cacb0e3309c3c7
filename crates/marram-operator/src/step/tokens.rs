//! Which pods are given a join token, and which have no use for theirs any more.

use crate::step::{Act, Step};
use crate::view::View;

/// How long a token is good for, in seconds.
pub const TOKEN_SECONDS: i64 = 3600;
/// A token this old is replaced while its pod is not yet a member.
const RENEW_SECONDS: i64 = 3000;

/// The next step for the tokens of these pods, if there is any: one whose pod is somewhere and no member
/// is made; those of members go.
pub(super) fn tokens(view: &View, pods: &[String]) -> Option<Step> {
    let done: Vec<String> = view
        .tokens
        .keys()
        .filter(|pod| view.member(pod).is_some())
        .cloned()
        .collect();
    if !done.is_empty() {
        return Some(Step::Act(Act::DropTokens(done)));
    }
    pods.iter().find_map(|name| {
        let fresh = |made: &i64| view.now - made < RENEW_SECONDS;
        if view.member(name).is_some() || view.tokens.get(name).is_some_and(fresh) {
            return None;
        }
        let pod = view.pods.get(&view.names.ordinal(name)?)?;
        let zone = view.zone(pod).filter(|_| !pod.deleting)?;
        let pod = name.clone();
        Some(Step::Act(Act::Mint { pod, zone }))
    })
}
