//! Windows are cut, a shard is lost, and the extent is read back byte by byte.

use proptest::prelude::*;

use super::*;
use crate::codec::{Shard, codec_for};
use marram_types::Profile;

/// Small, so that buffers with old bytes in them come back soon.
fn pool() -> BufferPool {
    BufferPool::new(1 << 16)
}

fn bytes_of(length: u64, seed: u64) -> Vec<u8> {
    (0..length)
        .map(|i| ((i + seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56).to_le_bytes()[0])
        .collect()
}

/// Codes an extent in windows of `stripes` stripes and joins the runs to shards.
fn shards_of(geometry: &Geometry, content: &[u8], stripes: u64) -> Vec<Vec<u8>> {
    let codec = codec_for(geometry.profile());
    let pool = pool();
    let mut shards = vec![Vec::new(); geometry.profile().width()];
    for window in content.chunks(small(stripes * geometry.stripe_bytes()).max(1)) {
        let of_window =
            Geometry::with_cell(geometry.profile(), geometry.cell(), window.len() as u64)
                .expect("valid");
        let mut padded = window.to_vec();
        padded.resize(small(of_window.padded_len()), 0);
        let runs = encode_window_in(&*codec, &of_window, &padded.into(), &pool).expect("fits");
        for (shard, run) in shards.iter_mut().zip(runs) {
            assert_eq!(
                run.iter().map(Bytes::len).sum::<usize>() as u64,
                of_window.shard_len()
            );
            run.iter().for_each(|piece| shard.extend_from_slice(piece));
        }
    }
    shards
}

fn near(boundary: u64) -> impl Strategy<Value = u64> {
    (0_u64..3).prop_map(move |off| (boundary + off).saturating_sub(1))
}

fn cases() -> impl Strategy<Value = (Geometry, u64, u64, u64)> {
    let profiles = vec![(1_u8, 0_u8), (1, 2), (2, 1), (2, 2), (3, 2), (4, 2), (8, 3)];
    (
        prop::sample::select(profiles),
        prop::sample::select(vec![1_u32, 5, 64]),
    )
        .prop_flat_map(|((k, m), cell)| {
            let stripe = u64::from(k) * u64::from(cell);
            let length = prop_oneof![
                near(0),
                near(cell.into()),
                near(stripe),
                near(3 * stripe),
                0..5 * stripe
            ];
            (length, 1_u64..4, any::<u64>(), any::<u64>()).prop_map(
                move |(length, window, seed, losses)| {
                    let profile = Profile::new(k, m).expect("valid");
                    let geometry = Geometry::with_cell(profile, cell, length).expect("valid");
                    (geometry, window, seed, losses)
                },
            )
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Shards have the length that the geometry says, hold the bytes where `locate` says, and give
    /// them back after the loss of any m.
    #[test]
    fn what_is_cut_is_read_back((geometry, window, seed, losses) in cases()) {
        let content = bytes_of(geometry.length(), seed);
        let shards = shards_of(&geometry, &content, window);
        let profile = geometry.profile();
        for shard in &shards {
            prop_assert_eq!(shard.len() as u64, geometry.shard_len());
        }
        let mut read = Vec::new();
        for run in geometry.locate(0..geometry.length()) {
            let at = small(run.shard_offset);
            read.extend_from_slice(&shards[usize::from(run.shard)][at..at + run.len as usize]);
        }
        prop_assert_eq!(&read, &content);

        let mut lost = vec![false; profile.width()];
        (0..profile.m()).for_each(|i| {
            lost[usize::from(losses.to_le_bytes()[i]) % profile.width()] = true;
        });
        let mut out = vec![vec![0; small(geometry.shard_len())]; profile.width()];
        let mut view: Vec<Shard<'_>> = shards.iter().zip(&mut out).zip(&lost)
            .map(|((full, out), lost)| if *lost { Shard::Want(out) } else { Shard::Have(full) })
            .collect();
        codec_for(profile).reconstruct(&mut view).expect("m losses at most");
        for i in (0..profile.width()).filter(|i| lost[*i]) {
            prop_assert_eq!(&out[i], &shards[i]);
        }
    }
}

#[test]
fn copies_share_the_bytes() {
    let profile = Profile::new(1, 2).expect("valid");
    let geometry = Geometry::new(profile, 100);
    let window = Bytes::from(bytes_of(100, 1));
    let runs = encode_window(&*codec_for(profile), &geometry, &window).expect("fits");
    assert_eq!(runs.len(), 3);
    assert!(
        runs.iter()
            .all(|r| r.len() == 1 && r[0].as_ptr() == window.as_ptr())
    );
}

#[test]
fn unpadded_windows_and_wrong_buffers_are_refused() {
    let profile = Profile::new(4, 2).expect("valid");
    let geometry = Geometry::new(profile, 9);
    let codec = codec_for(profile);
    let short = encode_window(&*codec, &geometry, &Bytes::from_static(&[0; 9]));
    assert_eq!(short, Err(WindowError::Padding { want: 12, got: 9 }));
    let wrong = parity_of_window(
        &*codec,
        &geometry,
        &[0; 12],
        &mut [&mut [0; 2], &mut [0; 3]],
    );
    assert_eq!(wrong, Err(WindowError::Codec(CodecError::Lengths)));
    let other = codec_for(Profile::new(2, 2).expect("valid"));
    let wrong = encode_window(&*other, &geometry, &Bytes::from_static(&[0; 12]));
    let count = CodecError::ShardCount { want: 2, got: 4 };
    assert_eq!(wrong, Err(WindowError::Codec(count)));
}
