//! Every loss pattern of the profiles in use, beside another implementation of the same code.

use reed_solomon_erasure::galois_8::ReedSolomon as Other;

use super::*;

/// Not a multiple of any vector width.
const LEN: usize = 131;

fn profile(k: u8, m: u8) -> Profile {
    Profile::new(k, m).expect("valid")
}

/// Bytes that differ everywhere.
fn data(k: usize, len: usize) -> Vec<Vec<u8>> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    (0..k)
        .map(|_| {
            (0..len)
                .map(|_| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    state.to_le_bytes()[3]
                })
                .collect()
        })
        .collect()
}

fn encoded(codec: &dyn Codec, len: usize) -> Vec<Vec<u8>> {
    let data = data(codec.profile().k(), len);
    let refs: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    let mut parity = vec![vec![0xaa; len]; codec.profile().m()];
    let mut out: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
    codec.encode(&refs, &mut out).expect("fits");
    data.into_iter().chain(parity).collect()
}

/// Restores the shards of `want` from those of `have` (bit sets) and compares.
fn restore(codec: &dyn Codec, all: &[Vec<u8>], have: u32, want: u32) {
    let mut out = vec![vec![0x55; all[0].len()]; all.len()];
    let mut shards: Vec<Shard<'_>> = all
        .iter()
        .zip(&mut out)
        .enumerate()
        .map(|(i, (full, out))| match (have >> i & 1, want >> i & 1) {
            (1, _) => Shard::Have(full),
            (_, 1) => Shard::Want(out),
            _ => Shard::Skip,
        })
        .collect();
    codec.reconstruct(&mut shards).expect("enough shards");
    for i in 0..all.len() {
        if have >> i & 1 == 0 && want >> i & 1 == 1 {
            assert_eq!(
                out[i],
                all[i],
                "shard {i} of {}, have {have:b}",
                codec.profile()
            );
        }
    }
}

/// The parity equals the other implementation's, and every pattern of up to m losses is restored
/// by both, from shards that the other one made.
#[test]
fn all_loss_patterns_agree_with_another_implementation() {
    let profiles = [
        (1, 0),
        (1, 1),
        (1, 2),
        (2, 1),
        (2, 2),
        (4, 2),
        (8, 3),
        (8, 4),
    ];
    for (k, m) in profiles {
        let codec = codec_for(profile(k, m));
        let all = encoded(&*codec, LEN);
        let other = (m > 0).then(|| Other::new(k.into(), m.into()).expect("valid"));
        if let Some(other) = &other {
            let mut theirs = all.clone();
            theirs[usize::from(k)..].iter_mut().for_each(|p| p.fill(0));
            other.encode(&mut theirs).expect("fits");
            assert_eq!(theirs, all, "parity of {k}+{m}");
        }
        let full = (1_u32 << (k + m)) - 1;
        let mut patterns = 0;
        for have in (0..=full).filter(|have| have.count_ones() >= u32::from(k)) {
            patterns += 1;
            let lost = full & !have;
            restore(&*codec, &all, have, lost);
            if let Some(other) = &other {
                let mut theirs: Vec<Option<Vec<u8>>> = (0..all.len())
                    .map(|i| (have >> i & 1 == 1).then(|| all[i].clone()))
                    .collect();
                other.reconstruct(&mut theirs).expect("enough shards");
                assert!(theirs.iter().flatten().eq(&all), "{k}+{m} have {have:b}");
            }
        }
        let choose = |n: u32, r: u32| (0..r).fold(1, |c, i| c * (n - i) / (i + 1));
        let n = u32::from(k + m);
        let want: u32 = (0..=u32::from(m)).map(|lost| choose(n, lost)).sum();
        assert_eq!(patterns, want, "patterns of {k}+{m}");
    }
}

/// A reader asks for one shard and has exactly k: any k, any one of the others.
#[test]
fn one_shard_from_any_k() {
    for (k, m) in [(1, 2), (2, 2), (4, 2), (8, 3)] {
        let codec = codec_for(profile(k, m));
        let all = encoded(&*codec, LEN);
        let full = (1_u32 << (k + m)) - 1;
        for have in (0..=full).filter(|have| have.count_ones() == u32::from(k)) {
            for one in (0..k + m).filter(|i| have >> i & 1 == 0) {
                restore(&*codec, &all, have, 1 << one);
            }
        }
    }
}

#[test]
fn too_few_shards_and_wrong_shapes_are_errors() {
    let codec = codec_for(profile(4, 2));
    let all = encoded(&*codec, LEN);
    let mut out = vec![0; LEN];
    let mut shards = vec![
        Shard::Have(&all[0]),
        Shard::Have(&all[1]),
        Shard::Have(&all[2]),
        Shard::Want(&mut out),
        Shard::Skip,
        Shard::Skip,
    ];
    let too_few = CodecError::TooFew { need: 4, have: 3 };
    assert_eq!(codec.reconstruct(&mut shards), Err(too_few));
    shards[4] = Shard::Have(&all[4][1..]);
    assert_eq!(codec.reconstruct(&mut shards), Err(CodecError::Lengths));
    shards.pop();
    let count = CodecError::ShardCount { want: 6, got: 5 };
    assert_eq!(codec.reconstruct(&mut shards), Err(count));
    let refs: Vec<&[u8]> = all[..4].iter().map(Vec::as_slice).collect();
    let count = CodecError::ShardCount { want: 2, got: 0 };
    assert_eq!(codec.encode(&refs, &mut []), Err(count));
}

#[test]
fn no_bytes_are_no_work() {
    for (k, m) in [(1, 2), (4, 2)] {
        let codec = codec_for(profile(k, m));
        let all = encoded(&*codec, 0);
        restore(&*codec, &all, (1 << k) - 1, 0);
    }
}

#[test]
fn codecs_are_shared() {
    let first = codec_for(profile(6, 3));
    assert!(Arc::ptr_eq(&first, &codec_for(profile(6, 3))));
}

/// Stored shards depend on this parity: it must never change. The values are those of the common
/// Vandermonde matrix, worked out by hand for 2+1: rows (1,0), (0,1) and 3a + 2b.
#[test]
fn the_matrix_never_changes() {
    let codec = codec_for(profile(2, 1));
    let mut parity = [0; 3];
    let data: [&[u8]; 2] = [&[1, 0, 7], &[0, 1, 9]];
    codec.encode(&data, &mut [&mut parity]).expect("fits");
    assert_eq!(parity, [3, 2, (7 ^ 14) ^ 18]);
}
