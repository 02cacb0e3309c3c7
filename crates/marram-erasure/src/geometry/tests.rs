//! Lengths around every boundary.

use proptest::prelude::*;

use super::*;

fn profile(k: u8, m: u8) -> Profile {
    Profile::new(k, m).expect("valid")
}

#[test]
fn cells_and_windows_of_every_k() {
    for k in 1..=32 {
        let (cell, window) = (cell_bytes(k), window_bytes(k));
        assert!(cell % BLOCK_BYTES == 0 && (BLOCK_BYTES..=CELL_BYTES_MAX).contains(&cell));
        assert!(k * cell <= STRIPE_BYTES_MAX);
        assert!(window % (k * cell) == 0 && window <= STRIPE_BYTES_MAX);
        assert!(window > STRIPE_BYTES_MAX / 2, "k {k}: window {window}");
    }
}

#[test]
fn a_known_extent() {
    let geometry = Geometry::with_cell(profile(4, 2), 10, 83).expect("valid");
    assert_eq!(geometry.stripes(), 3);
    assert_eq!(geometry.stripe_range(2), 80..83);
    assert_eq!(geometry.stripe_range(3), 83..83);
    assert_eq!((geometry.cell_of(1), geometry.cell_of(2)), (10, 1));
    assert_eq!((geometry.shard_len(), geometry.padded_len()), (21, 84));
    let runs: Vec<_> = geometry
        .locate(35..200)
        .map(|l| (l.shard, l.shard_offset, l.len))
        .collect();
    let want = [
        (3, 5, 5),
        (0, 10, 10),
        (1, 10, 10),
        (2, 10, 10),
        (3, 10, 10),
        (0, 20, 1),
        (1, 20, 1),
        (2, 20, 1),
    ];
    assert_eq!(runs, want);
}

#[test]
fn impossible_cells_are_refused() {
    for cell in [0, (1 << 20) + 1] {
        let refused = Geometry::with_cell(profile(4, 2), cell, 1);
        assert_eq!(refused, Err(GeometryError { cell }));
    }
}

/// Lengths at and around the boundaries, in units that the strategy below scales.
fn lengths(k: u64, cell: u64) -> impl Strategy<Value = u64> {
    let stripe = k * cell;
    let near = prop::sample::select(vec![0, 1, cell, 2 * cell, stripe, 2 * stripe, 7 * stripe]);
    prop_oneof![
        (near, 0_u64..3).prop_map(|(at, off)| (at + off).saturating_sub(1)),
        0..9 * stripe,
    ]
}

fn cases() -> impl Strategy<Value = (Geometry, u64, u64)> {
    (
        1_u8..=12,
        prop::sample::select(vec![1_u32, 2, 3, 7, 64, 100]),
    )
        .prop_flat_map(|(k, cell)| {
            lengths(k.into(), cell.into()).prop_flat_map(move |length| {
                let geometry = Geometry::with_cell(profile(k, 2), cell, length).expect("valid");
                (Just(geometry), 0..=length + 1, 0..=length + 2)
            })
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// The runs of a range are the range: in order, without gap, each byte where its stripe's
    /// layout says.
    #[test]
    fn located_runs_cover_the_range((geometry, start, end) in cases()) {
        let (k, cell) = (geometry.profile().k() as u64, u64::from(geometry.cell()));
        let mut at = start;
        for run in geometry.locate(start..end) {
            prop_assert_eq!(run.extent_offset, at);
            prop_assert!(run.len > 0 && u64::from(run.shard) < k);
            prop_assert_eq!(run.stripe, at / (k * cell));
            let in_cell = run.shard_offset - run.stripe * cell;
            let own_cell = u64::from(geometry.cell_of(run.stripe));
            prop_assert!(in_cell + u64::from(run.len) <= own_cell);
            let rebuilt = run.stripe * k * cell + u64::from(run.shard) * own_cell + in_cell;
            prop_assert_eq!(rebuilt, at);
            prop_assert!(run.shard_offset + u64::from(run.len) <= geometry.shard_len());
            at += u64::from(run.len);
        }
        prop_assert_eq!(at, start.max(end.min(geometry.length())));
    }

    /// Stripes tile the extent, cells tile the shards, and padding is below k bytes.
    #[test]
    fn stripes_tile_the_extent((geometry, _, _) in cases()) {
        let (mut at, mut shard_at) = (0, 0);
        for n in 0..geometry.stripes() {
            let range = geometry.stripe_range(n);
            prop_assert!(range.start == at && range.end > at);
            at = range.end;
            let cells = geometry.shard_range(n);
            prop_assert!(cells.start == shard_at && cells.end > shard_at);
            shard_at = cells.end;
        }
        prop_assert_eq!((at, shard_at), (geometry.length(), geometry.shard_len()));
        let padding = geometry.padded_len() - geometry.length();
        prop_assert!(padding < geometry.profile().k() as u64);
        prop_assert_eq!(geometry.cell_of(geometry.stripes()), 0);
    }
}
