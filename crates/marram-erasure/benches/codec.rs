//! Coding beside memcpy and CRC32C on the same bytes.
//!
//! `cargo bench -p marram-erasure` prints bytes of user data per second. "hot" rounds use one
//! 256 KiB stripe that stays in cache, "window" rounds an 8 MiB window as the gateway codes it.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use marram_erasure::{
    BufferPool, Geometry, Shard, codec_for, encode_window, encode_window_in, parity_of_window,
    window_bytes,
};
use marram_types::{Profile, crc32c};

const HOT_CELL: usize = 64 * 1024;

/// Distance between shards, so that they do not all fall on the same cache sets.
const PITCH: usize = HOT_CELL + 4160;

fn profiles() -> impl Iterator<Item = Profile> {
    ["2+1", "2+2", "4+2", "8+3", "8+4"]
        .into_iter()
        .map(|p| p.parse().expect("a valid profile"))
}

fn content(len: usize) -> Vec<u8> {
    (0..len as u64)
        .map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56).to_le_bytes()[0])
        .collect()
}

fn hot(c: &mut Criterion) {
    let mut group = c.benchmark_group("hot");
    let source = content(4 * HOT_CELL);
    let mut target = vec![0; source.len()];
    group.throughput(Throughput::Bytes(source.len() as u64));
    group.bench_function("memcpy", |b| {
        b.iter(|| target.copy_from_slice(black_box(&source)));
    });
    group.bench_function("crc32c", |b| b.iter(|| crc32c(black_box(&source))));
    for profile in profiles() {
        let (k, m) = (profile.k(), profile.m());
        let source = content(k * PITCH);
        let data: Vec<&[u8]> = source.chunks(PITCH).map(|c| &c[..HOT_CELL]).collect();
        let mut parity = vec![0; m * PITCH];
        let codec = codec_for(profile);
        group.throughput(Throughput::Bytes((k * HOT_CELL) as u64));
        group.bench_function(format!("encode {profile}"), |b| {
            let mut out: Vec<&mut [u8]> = parity
                .chunks_mut(PITCH)
                .map(|c| &mut c[..HOT_CELL])
                .collect();
            b.iter(|| codec.encode(black_box(&data), &mut out).expect("fits"));
        });
        let mut restored = vec![0; m * PITCH];
        group.bench_function(format!("restore m data shards {profile}"), |b| {
            b.iter(|| {
                let lost = m.min(k);
                let outs = restored.chunks_mut(PITCH).take(lost);
                let mut shards: Vec<Shard<'_>> =
                    outs.map(|c| Shard::Want(&mut c[..HOT_CELL])).collect();
                shards.extend(data[lost..].iter().map(|d| Shard::Have(d)));
                let parity = parity.chunks(PITCH).map(|c| Shard::Have(&c[..HOT_CELL]));
                shards.extend(parity);
                codec.reconstruct(&mut shards).expect("enough shards");
            });
        });
    }
    group.finish();
}

fn window(c: &mut Criterion) {
    let mut group = c.benchmark_group("window");
    for profile in profiles() {
        let len = window_bytes(profile.k());
        let geometry = Geometry::new(profile, len as u64);
        let source = Bytes::from(content(len));
        let codec = codec_for(profile);
        let pool = BufferPool::new(64 << 20);
        let mut parity = vec![vec![0; len / profile.k()]; profile.m()];
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(format!("parity into kept buffers {profile}"), |b| {
            let mut out: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
            b.iter(|| parity_of_window(&*codec, &geometry, &source, &mut out).expect("fits"));
        });
        group.bench_function(format!("all runs, fresh buffers {profile}"), |b| {
            b.iter(|| encode_window(&*codec, &geometry, black_box(&source)).expect("fits"));
        });
        group.bench_function(format!("all runs, kept buffers {profile}"), |b| {
            b.iter(|| {
                encode_window_in(&*codec, &geometry, black_box(&source), &pool).expect("fits")
            });
        });
    }
    group.throughput(Throughput::Bytes(8 << 20));
    let source = content(8 << 20);
    let mut target = vec![0; source.len()];
    group.bench_function("memcpy", |b| {
        b.iter(|| target.copy_from_slice(black_box(&source)));
    });
    group.bench_function("crc32c", |b| b.iter(|| crc32c(black_box(&source))));
    group.finish();
}

criterion_group!(benches, hot, window);
criterion_main!(benches);
