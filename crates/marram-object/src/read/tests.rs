//! Steps decided by hand, then random ranges with random failures.

use std::collections::BTreeSet;

use bytes::Bytes;
use marram_erasure::{codec_for, encode_window};
use marram_types::{DataId, GroupId, PgId, Profile};
use proptest::prelude::*;

use super::*;

fn content(len: u64) -> Vec<u8> {
    (0..len).map(|i| (i * 37 % 251).to_le_bytes()[0]).collect()
}

fn extent(profile: &str, cell: u32, length: u64) -> Extent {
    let profile: Profile = profile.parse().expect("valid");
    Extent {
        data: DataId {
            group: GroupId(1),
            begin: 1,
            random: length,
        },
        pg: PgId::default(),
        profile,
        cell,
        length,
        slots: (0..u8::try_from(profile.width()).expect("small")).collect(),
        missing: 0,
        overrides: vec![],
    }
}

fn shards(extent: &Extent, content: &[u8]) -> Vec<Bytes> {
    let geometry =
        Geometry::with_cell(extent.profile, extent.cell, extent.length).expect("possible");
    let mut padded = content.to_vec();
    padded.resize(usize::try_from(geometry.padded_len()).expect("small"), 0);
    let runs = encode_window(&*codec_for(extent.profile), &geometry, &padded.into());
    let runs = runs.expect("fits");
    runs.into_iter()
        .map(|pieces| pieces.concat().into())
        .collect()
}

fn cut(shards: &[Bytes], fetch: Fetch) -> Bytes {
    let at = usize::try_from(fetch.offset).expect("small");
    shards[usize::from(fetch.shard)].slice(at..at + fetch.len)
}

fn of(fetches: &[Fetch]) -> Vec<u8> {
    fetches.iter().map(|f| f.shard).collect()
}

fn step_of(extent: &Extent, range: Range<u64>, health: impl Fn(u8) -> Health) -> ReadStep {
    let mut plan = ReadPlan::new(vec![extent.clone()], range).expect("possible");
    plan.next_step(|_, shard| health(shard)).expect("a step")
}

#[test]
fn a_small_range_touches_only_its_shard() {
    let extent = extent("4+2", 10, 80);
    let shards = shards(&extent, &content(80));
    let mut step = step_of(&extent, 52..58, |_| Health::Good);
    let fetches = step.start().expect("readable");
    let want = Fetch {
        shard: 1,
        offset: 12,
        len: 6,
    };
    assert_eq!(fetches, [want]);
    assert!(!step.is_ready());
    assert_eq!(step.arrived(want, cut(&shards, want)), Ok(vec![]));
    assert!(step.is_ready() && !step.needs_decoding());
    assert_eq!(step.finish().expect("ready").concat(), content(80)[52..58]);
}

#[test]
fn a_lost_shard_is_decoded_from_its_own_range_only() {
    let extent = extent("4+2", 10, 80);
    let shards = shards(&extent, &content(80));
    let mut step = step_of(&extent, 52..58, |shard| {
        if shard == 1 {
            Health::Poor
        } else {
            Health::Good
        }
    });
    let fetches = step.start().expect("readable");
    assert_eq!(of(&fetches), [0, 2, 3, 4]);
    assert!(fetches.iter().all(|f| (f.offset, f.len) == (12, 6)));
    assert_eq!(of(&step.failed(2).expect("two to spare")), [5]);
    let last = step.failed(3).expect("the poor one is left");
    assert_eq!(of(&last), [1]);
    for shard in [0, 1, 4, 5] {
        let fetch = Fetch {
            shard,
            ..fetches[0]
        };
        step.arrived(fetch, cut(&shards, fetch)).expect("readable");
    }
    assert_eq!(step.finish().expect("ready").concat(), content(80)[52..58]);
}

#[test]
fn a_shard_marked_missing_is_asked_last_of_all() {
    let mut extent = extent("2+2", 10, 40);
    extent.missing = 0b0001;
    let shards = shards(&extent, &content(40));
    let poor = |shard| {
        if shard == 3 {
            Health::Poor
        } else {
            Health::Near
        }
    };
    let mut step = step_of(&extent, 0..20, poor);
    let fetches = step.start().expect("readable");
    assert_eq!(of(&fetches), [1, 2]);
    assert_eq!(of(&step.failed(2).expect("the poor one")), [3]);
    let last = step
        .failed(3)
        .expect("what is doubted is better than nothing");
    assert_eq!(of(&last), [0]);
    for fetch in [fetches[0], last[0]] {
        step.arrived(fetch, cut(&shards, fetch)).expect("readable");
    }
    assert_eq!(step.finish().expect("ready").concat(), content(40)[..20]);

    let gone = |shard| {
        if shard == 0 {
            Health::Gone
        } else {
            Health::Good
        }
    };
    let mut step = step_of(&extent, 0..20, gone);
    step.start().expect("readable");
    step.failed(2).expect("another one");
    let lost = step.failed(3).expect_err("one of two is left");
    assert_eq!((lost.left, lost.need, lost.width), (1, 2, 4));
}

#[test]
fn a_late_answer_is_hedged_and_still_welcome() {
    let extent = extent("4+2", 10, 40);
    let shards = shards(&extent, &content(40));
    let run = |late_comes: bool| {
        let mut step = step_of(&extent, 0..40, |_| Health::Good);
        let fetches = step.start().expect("readable");
        assert_eq!(of(&fetches), [0, 1, 2, 3]);
        for fetch in &fetches[1..] {
            step.arrived(*fetch, cut(&shards, *fetch))
                .expect("readable");
        }
        let hedges = step.hedge();
        assert_eq!(of(&hedges), [4]);
        assert!(!step.is_ready());
        let first = if late_comes { fetches[0] } else { hedges[0] };
        step.arrived(first, cut(&shards, first)).expect("readable");
        assert!(step.is_ready() && step.needs_decoding() != late_comes);
        assert_eq!(step.hedge(), []);
        assert_eq!(step.finish().expect("ready").concat(), content(40));
    };
    run(true);
    run(false);
}

#[test]
fn copies_are_taken_from_near_then_in_turns() {
    let extent = extent("1+2", 4, 40);
    let first = |number: u64, near: Option<u8>| {
        let mut plan = ReadPlan::with_step(vec![extent.clone()], 0..40, 4).expect("possible");
        plan.number = number;
        let health = |shard| match near {
            Some(near) if near == shard => Health::Near,
            _ => Health::Good,
        };
        let mut step = plan.next_step(|_, shard| health(shard)).expect("a step");
        of(&step.start().expect("readable"))
    };
    let turns: Vec<_> = (0..4).map(|n| first(n, None)).collect();
    assert_eq!(turns, [[0], [1], [2], [0]]);
    assert_eq!(first(0, Some(2)), [2]);
    let shards = shards(&extent, &content(40));
    let mut step = step_of(&extent, 3..9, |_| Health::Good);
    assert_eq!(of(&step.start().expect("readable")), [0]);
    let second = step.failed(0).expect("two are left");
    assert_eq!(of(&second), [1]);
    step.arrived(second[0], cut(&shards, second[0]))
        .expect("readable");
    assert!(!step.needs_decoding());
    let pieces = step.finish().expect("ready");
    assert_eq!(pieces.concat(), content(40)[3..9]);
    assert_eq!(
        pieces[0].as_ptr(),
        shards[1][3..].as_ptr(),
        "no bytes are copied"
    );
}

#[test]
fn answers_of_another_length_are_failures() {
    let extent = extent("2+1", 10, 20);
    let mut step = step_of(&extent, 0..20, |_| Health::Good);
    let fetches = step.start().expect("readable");
    let more = step.arrived(fetches[0], Bytes::from_static(b"short"));
    assert_eq!(of(&more.expect("parity is left")), [2]);
    assert!(matches!(step.finish(), Err(NotReady)));
}

#[test]
fn impossible_extents_and_empty_ranges() {
    let plan = |cell, range| ReadPlan::new(vec![extent("2+1", cell, 20)], range);
    assert!(plan(0, 0..20).is_err());
    for range in [0..0, 20..30, 25..40] {
        let mut plan = plan(10, range).expect("possible");
        assert!(plan.next_step(|_, _| Health::Good).is_none());
        assert_eq!(plan.remaining(), 0);
    }
}

/// Up to three extents, a range, a step size, and a seed for what goes wrong.
fn cases() -> impl Strategy<Value = (Vec<Extent>, Range<u64>, u64, u64)> {
    let profiles = vec!["4+2", "3+2", "2+1", "1+2", "1+0", "8+3"];
    let extent = (prop::sample::select(profiles), 1_u32..9, 1_u64..150)
        .prop_map(|(profile, cell, length)| extent(profile, cell, length));
    prop::collection::vec(extent, 1..4).prop_flat_map(|mut extents| {
        (1..)
            .zip(&mut extents)
            .for_each(|(random, e)| e.data.random = random);
        let size: u64 = extents.iter().map(|e| e.length).sum();
        (
            Just(extents),
            0..=size,
            0..=size + 3,
            1_u64..100,
            any::<u64>(),
        )
            .prop_map(|(extents, start, end, step, seed)| (extents, start..end, step, seed))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// Whatever m shards of each extent fail, dawdle or are poor, in any order of answers, the
    /// bytes are those of the range; with one more lost, the step says so.
    #[test]
    fn ranges_survive_any_m_losses((extents, range, step_bytes, seed) in cases()) {
        let mut state = seed | 1;
        let mut below = |end: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from((state >> 13) % end.max(1) as u64).expect("small")
        };
        let size: u64 = extents.iter().map(|e| e.length).sum();
        let whole = content(size);
        let mut start = 0;
        let mut held = Vec::new();
        for extent in &extents {
            let end = start + usize::try_from(extent.length).expect("small");
            held.push(shards(extent, &whole[start..end]));
            start = end;
        }
        let mut plan =
            ReadPlan::with_step(extents.clone(), range.clone(), step_bytes).expect("possible");
        let mut out = Vec::new();
        let healths = [Health::Near, Health::Good, Health::Good, Health::Poor];
        while let Some(mut step) = plan.next_step(|_, _| healths[below(4)]) {
            let index = extents.iter().position(|e| e == step.extent()).expect("known");
            let profile = extents[index].profile;
            let over = below(8) == 0;
            let lost_count = if over { profile.m() + 1 } else { below(profile.m() + 1) };
            let mut lost = BTreeSet::new();
            while lost.len() < lost_count {
                lost.insert(below(profile.width()));
            }
            let mut fetches = step.start().expect("nothing has failed");
            let mut unreadable = false;
            while !fetches.is_empty() && !step.is_ready() {
                let fetch = fetches.swap_remove(below(fetches.len()));
                if below(5) == 0 {
                    fetches.extend(step.hedge());
                }
                let more = if lost.contains(&usize::from(fetch.shard)) {
                    step.failed(fetch.shard)
                } else {
                    step.arrived(fetch, cut(&held[index], fetch))
                };
                match more {
                    Ok(more) => fetches.extend(more),
                    Err(why) => {
                        prop_assert!(over, "{} lost, and yet {}", lost_count, why);
                        unreadable = true;
                        break;
                    }
                }
            }
            if unreadable {
                return Ok(());
            }
            prop_assert!(step.is_ready(), "no fetch is left, nor an answer");
            out.extend(step.finish().expect("ready").concat());
        }
        let end = usize::try_from(range.end.min(size)).expect("small");
        let start = usize::try_from(range.start).expect("small").min(end);
        prop_assert_eq!(out, &whole[start..end]);
    }
}
