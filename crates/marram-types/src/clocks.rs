//! Which of several clocks is right.

/// Further than this from the middle of all clocks a clock is wrong, in milliseconds. Servers that keep
/// their time by NTP are closer by far, and what compares clocks allows more: servers' tickets 30 s,
/// tokens of clients 60 s.
pub const CLOCKS_APART_MS: i64 = 5_000;
/// Clocks without which nobody can say which one is wrong.
const CLOCKS_MIN: usize = 3;

/// How far the middle one of all clocks is ahead of one's own, in milliseconds, where `peers` says how far
/// each peer's clock is ahead of it. None with fewer than three clocks: of two that differ either may be
/// the wrong one.
#[must_use]
pub fn middle_clock(peers: impl IntoIterator<Item = i64>) -> Option<i64> {
    let mut clocks: Vec<i64> = peers.into_iter().chain([0]).collect();
    clocks.sort_unstable();
    (clocks.len() >= CLOCKS_MIN).then(|| clocks[(clocks.len() - 1) / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN_MIN: i64 = 600_000;

    #[test]
    fn whoever_looks_finds_the_same_clock() {
        for clocks in [
            vec![0, 0, TEN_MIN],
            vec![0, TEN_MIN, -TEN_MIN],
            vec![0, 20, TEN_MIN, -TEN_MIN],
            vec![0, 5, 9, TEN_MIN, TEN_MIN],
        ] {
            let middle = |own: usize| {
                let peers = clocks.iter().enumerate().filter(|(at, _)| *at != own);
                let ahead = peers.map(|(_, clock)| clock - clocks[own]);
                clocks[own] + middle_clock(ahead).expect("three or more")
            };
            let first = middle(0);
            assert!((0..CLOCKS_APART_MS).contains(&first), "{clocks:?}: {first}");
            assert!((1..clocks.len()).all(|own| middle(own) == first));
        }
    }

    #[test]
    fn two_clocks_do_not_say_which_is_wrong() {
        assert_eq!(middle_clock([]), None);
        assert_eq!(middle_clock([TEN_MIN]), None);
    }
}
