//! The shape of a new extent on the slots that live.

use marram_types::Profile;

/// How an extent is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteShape {
    /// The profile it gets.
    pub profile: Profile,
    /// `slots[i]` is the slot of the placement group's row that takes shard `i`.
    pub slots: Vec<u8>,
    /// The profile has fewer shards than was asked for.
    pub narrowed: bool,
    /// The profile survives fewer losses than was asked for: answered with a flag and repaired
    /// first (rules.md 18).
    pub under_protected: bool,
}

/// Too few slots live for any acknowledgement (rules.md 18).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{living} drives of the placement group can take data, and {profile} needs at least {need}"
)]
pub struct NoPlace {
    /// What was asked for.
    pub profile: Profile,
    /// Slots that live.
    pub living: usize,
    /// Slots that the least promise takes: 2, or 1 when the profile has no parity.
    pub need: usize,
}

/// Fits `profile` to the slots that live (rules.md 18): `k` shrinks and `m` does not; only where
/// `k` would be below 1 does `m` shrink, and never to 0 unless the profile says 0. The first living
/// slots are taken in row order, which the planner made even.
///
/// # Errors
/// When fewer than two slots live, or none for a profile without parity.
pub fn narrow(profile: Profile, living_slots: &[bool]) -> Result<WriteShape, NoPlace> {
    let living: Vec<u8> = (0..=u8::MAX)
        .zip(living_slots)
        .filter_map(|(slot, lives)| lives.then_some(slot))
        .collect();
    let need = 1 + profile.m().min(1);
    if living.len() < need {
        return Err(NoPlace {
            profile,
            living: living.len(),
            need,
        });
    }
    let count = living.len().min(profile.width());
    let (k, m) = if count > profile.m() {
        (count - profile.m(), profile.m())
    } else {
        (1, count - 1)
    };
    let byte = |n: usize| u8::try_from(n).expect("not above the profile's own numbers");
    let shape = Profile::new(byte(k), byte(m)).expect("k is at least 1, neither grew");
    Ok(WriteShape {
        profile: shape,
        slots: living[..count].to_vec(),
        narrowed: shape != profile,
        under_protected: m < profile.m(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(profile: &str, living: &[bool]) -> Result<(String, Vec<u8>, bool, bool), usize> {
        narrow(profile.parse().expect("valid"), living)
            .map(|s| {
                (
                    s.profile.to_string(),
                    s.slots,
                    s.narrowed,
                    s.under_protected,
                )
            })
            .map_err(|e| e.living)
    }

    #[test]
    fn k_shrinks_and_m_does_not() {
        let of = |living| {
            let slots: Vec<bool> = (0..6).map(|i| i < living).collect();
            shape("4+2", &slots).map(|(p, _, narrowed, under)| (p, narrowed, under))
        };
        assert_eq!(of(6), Ok(("4+2".into(), false, false)));
        assert_eq!(of(5), Ok(("3+2".into(), true, false)));
        assert_eq!(of(4), Ok(("2+2".into(), true, false)));
        assert_eq!(of(3), Ok(("1+2".into(), true, false)));
        assert_eq!(of(2), Ok(("1+1".into(), true, true)));
        assert_eq!((of(1), of(0)), (Err(1), Err(0)));
    }

    #[test]
    fn living_slots_are_named_in_row_order() {
        let living = [true, false, true, true, false, true];
        let want = ("2+2".to_owned(), vec![0, 2, 3, 5], true, false);
        assert_eq!(shape("4+2", &living), Ok(want));
    }

    #[test]
    fn copies_fit_into_a_wider_row() {
        let living = [false, true, true, true, true, true];
        let want = ("1+2".to_owned(), vec![1, 2, 3], false, false);
        assert_eq!(shape("1+2", &living), Ok(want));
    }

    #[test]
    fn no_parity_needs_one_slot() {
        let want = ("1+0".to_owned(), vec![1], false, false);
        assert_eq!(shape("1+0", &[false, true]), Ok(want));
        assert_eq!(shape("1+0", &[false]), Err(0));
        let want = ("2+0".to_owned(), vec![0, 2], true, false);
        assert_eq!(shape("3+0", &[true, false, true]), Ok(want));
    }
}
