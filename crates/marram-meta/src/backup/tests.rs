use marram_types::{ClusterId, Crc64Nvme, ReplicaId};
use proptest::prelude::*;

use super::*;

fn header(groups: u16) -> BackupHeader {
    BackupHeader {
        kind: BackupKind::Cluster,
        cluster: ClusterId(7),
        name: "dune".to_owned(),
        made_ms: 1_000,
        kept_until_ms: 2_000,
        object_groups: groups,
        replica: Some(ReplicaId(3)),
    }
}

fn group(number: u16) -> BackupGroup {
    BackupGroup {
        group: GroupId(number),
        term: 3,
        index: 400,
        applied: 399,
        voters: vec![vec![ReplicaId(1), ReplicaId(900)], vec![]],
    }
}

fn frames(groups: u16, pieces: &[Vec<u8>]) -> Vec<BackupFrame> {
    let mut frames = vec![BackupFrame::Header(header(groups))];
    let all = pieces.concat();
    for number in (1..=groups).chain([0]) {
        frames.push(BackupFrame::Group(group(number)));
        frames.extend(pieces.iter().cloned().map(BackupFrame::Piece));
        frames.push(BackupFrame::GroupEnd {
            bytes: all.len() as u64,
            crc64: Crc64Nvme::of(&all),
        });
    }
    frames.push(BackupFrame::End { groups: groups + 1 });
    frames
}

fn file(frames: &[BackupFrame]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frames.iter().for_each(|frame| frame.encode(&mut bytes));
    bytes
}

/// Reads a file in pieces of `step` bytes.
fn read(file: &[u8], step: usize) -> Result<(Vec<BackupFrame>, BackupSummary), BackupError> {
    let (mut reader, mut check) = (FrameReader::default(), BackupCheck::default());
    let mut found = Vec::new();
    for bytes in file.chunks(step) {
        reader.push(bytes);
        while let Some(frame) = reader.next_frame()? {
            check.take(&frame)?;
            found.push(frame);
        }
    }
    Ok((found, check.finish()?))
}

proptest! {
    #[test]
    fn a_file_is_read_back_as_written(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..4),
        step in 1_usize..200,
    ) {
        let frames = frames(2, &pieces);
        let (found, summary) = read(&file(&frames), step).unwrap();
        prop_assert_eq!(found, frames);
        prop_assert_eq!(summary.header, header(2));
        let groups: Vec<_> = summary.groups.iter().map(|(g, _)| g.group.0).collect();
        prop_assert_eq!(groups, [1, 2, 0]);
    }

    #[test]
    fn no_flipped_bit_and_no_cut_goes_unseen(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let whole = file(&frames(1, &[vec![9; 40], vec![8; 3]]));
        let mut flipped = whole.clone();
        flipped[at.index(whole.len())] ^= 1_u8 << bit;
        prop_assert!(read(&flipped, 64).is_err());
        prop_assert!(read(&whole[..at.index(whole.len())], 64).is_err());
    }
}

#[test]
fn what_is_missing_or_out_of_order_is_said() {
    let whole = frames(1, &[vec![1, 2, 3]]);
    let without = |at: usize| {
        let mut less = whole.clone();
        less.remove(at);
        read(&file(&less), 7).unwrap_err()
    };
    assert_eq!(without(0), BackupError::NotABackup);
    assert_eq!(without(2), BackupError::Group(GroupId(1)), "a piece");
    assert!(
        matches!(without(3), BackupError::Order(_)),
        "the end of a group"
    );
    let cut = read(&file(&whole[..whole.len() - 1]), 7).unwrap_err();
    assert_eq!(cut, BackupError::Order("it was cut off"));
    let mut one = whole[..4].to_vec();
    one.push(BackupFrame::End { groups: 1 });
    assert_eq!(
        read(&file(&one), 7).unwrap_err(),
        BackupError::Missing(GroupId::ROOT)
    );
    let mut more = whole;
    more.push(BackupFrame::End { groups: 2 });
    assert!(matches!(read(&file(&more), 7), Err(BackupError::Order(_))));
    assert_eq!(read(b"#!/bin/sh", 3).unwrap_err(), BackupError::NotABackup);
}
