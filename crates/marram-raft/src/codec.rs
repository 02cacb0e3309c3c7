//! The stored forms of votes, log ids, memberships and entries.
//!
//! An entry is stored as one kind byte and its content. A command carries that byte from the
//! moment it is proposed, so that the log, the network and the state machine share one buffer.

use std::collections::BTreeSet;

use bytes::Bytes;
use marram_types::codec::{DecodeError, Reader, Writer};
use openraft::EmptyNode;

use crate::types::{
    Command, LeaderId, LogId, Membership, Payload, SnapshotMeta, StoredMembership, Vote, log_id,
};

const VERSION: u8 = 1;
const KIND_BLANK: u8 = 1;
/// First byte of a stored command; the envelope follows.
pub(crate) const KIND_COMMAND: u8 = 2;
const KIND_MEMBERSHIP: u8 = 3;

/// The stored form of an entry's payload; a command is shared, not copied.
pub(crate) fn payload_to_bytes(payload: &Payload) -> Bytes {
    match payload {
        Payload::Blank => Bytes::from_static(&[KIND_BLANK]),
        Payload::Normal(command) => command.0.clone(),
        Payload::Membership(membership) => {
            let mut out = Writer::with_capacity(64);
            out.u8(KIND_MEMBERSHIP).u8(VERSION);
            write_membership(&mut out, membership);
            Bytes::from(out.finish())
        }
    }
}

/// Reads a stored entry; a command is a slice of `stored`.
pub(crate) fn payload_from_bytes(stored: Bytes) -> Result<Payload, DecodeError> {
    match stored.first().copied() {
        None => Err(DecodeError::Short),
        Some(KIND_BLANK) => Ok(Payload::Blank),
        Some(KIND_COMMAND) => Ok(Payload::Normal(Command(stored))),
        Some(KIND_MEMBERSHIP) => {
            let mut from = Reader::new(&stored[1..]);
            from.version("membership version", VERSION)?;
            let membership = read_membership(&mut from)?;
            from.finish()?;
            Ok(Payload::Membership(membership))
        }
        Some(found) => Err(DecodeError::Unknown {
            what: "entry kind",
            found: u64::from(found),
        }),
    }
}

/// The stored form of a vote.
pub(crate) fn vote_to_bytes(vote: &Vote) -> Bytes {
    let mut out = Writer::with_capacity(18);
    out.u8(VERSION)
        .u64_be(vote.leader_id.term)
        .u64_be(vote.leader_id.node_id)
        .bool(vote.committed);
    Bytes::from(out.finish())
}

/// Reads a stored vote.
pub(crate) fn vote_from_bytes(stored: &[u8]) -> Result<Vote, DecodeError> {
    let mut from = Reader::new(stored);
    from.version("vote version", VERSION)?;
    let vote = Vote {
        leader_id: LeaderId {
            term: from.u64_be()?,
            node_id: from.u64_be()?,
        },
        committed: from.bool()?,
    };
    from.finish()?;
    Ok(vote)
}

/// The stored form of a log id that may be absent.
pub(crate) fn log_id_to_bytes(id: Option<&LogId>) -> Bytes {
    let mut out = Writer::with_capacity(26);
    out.u8(VERSION);
    write_log_id(&mut out, id);
    Bytes::from(out.finish())
}

/// Reads a stored log id.
pub(crate) fn log_id_from_bytes(stored: &[u8]) -> Result<Option<LogId>, DecodeError> {
    let mut from = Reader::new(stored);
    from.version("log id version", VERSION)?;
    let id = read_log_id(&mut from)?;
    from.finish()?;
    Ok(id)
}

/// The stored form of a membership and of the entry that set it.
pub(crate) fn stored_membership_to_bytes(membership: &StoredMembership) -> Vec<u8> {
    let mut out = Writer::with_capacity(96);
    out.u8(VERSION);
    write_stored_membership(&mut out, membership);
    out.finish()
}

/// Reads a stored membership.
pub(crate) fn stored_membership_from_bytes(stored: &[u8]) -> Result<StoredMembership, DecodeError> {
    let mut from = Reader::new(stored);
    from.version("membership version", VERSION)?;
    let membership = read_stored_membership(&mut from)?;
    from.finish()?;
    Ok(membership)
}

/// The form of a snapshot's last log id and membership that travels with its bytes.
pub(crate) fn meta_to_bytes(meta: &SnapshotMeta) -> Bytes {
    let mut out = Writer::with_capacity(128);
    out.u8(VERSION);
    write_log_id(&mut out, meta.last_log_id.as_ref());
    write_stored_membership(&mut out, &meta.last_membership);
    Bytes::from(out.finish())
}

/// Reads what [`meta_to_bytes`] wrote.
pub(crate) fn meta_from_bytes(stored: &[u8]) -> Result<SnapshotMeta, DecodeError> {
    let mut from = Reader::new(stored);
    from.version("snapshot version", VERSION)?;
    let meta = SnapshotMeta {
        last_log_id: read_log_id(&mut from)?,
        last_membership: read_stored_membership(&mut from)?,
    };
    from.finish()?;
    Ok(meta)
}

fn write_log_id(out: &mut Writer, id: Option<&LogId>) {
    out.option(id, |out, id| {
        out.u64_be(id.leader_id.term)
            .u64_be(id.leader_id.node_id)
            .u64_be(id.index);
    });
}

fn read_log_id(from: &mut Reader<'_>) -> Result<Option<LogId>, DecodeError> {
    from.option(|from| Ok(log_id(from.u64_be()?, from.u64_be()?, from.u64_be()?)))
}

fn write_stored_membership(out: &mut Writer, membership: &StoredMembership) {
    write_log_id(out, membership.log_id().as_ref());
    write_membership(out, membership.membership());
}

fn read_stored_membership(from: &mut Reader<'_>) -> Result<StoredMembership, DecodeError> {
    let id = read_log_id(from)?;
    Ok(StoredMembership::new(id, read_membership(from)?))
}

fn write_membership(out: &mut Writer, membership: &Membership) {
    let configs: Vec<Vec<u64>> = membership
        .get_joint_config()
        .iter()
        .map(|config| config.iter().copied().collect())
        .collect();
    let nodes: Vec<u64> = membership.nodes().map(|(id, _)| *id).collect();
    out.list(&configs, |out, config| {
        out.list(config, |out, id| {
            out.u64_be(*id);
        });
    });
    out.list(&nodes, |out, id| {
        out.u64_be(*id);
    });
}

fn read_membership(from: &mut Reader<'_>) -> Result<Membership, DecodeError> {
    let configs = from.list(|from| {
        let ids = from.list(Reader::u64_be)?;
        Ok(ids.into_iter().collect::<BTreeSet<u64>>())
    })?;
    let nodes = from.list(Reader::u64_be)?;
    if configs.is_empty() && nodes.is_empty() {
        return Ok(Membership::default());
    }
    let nodes: std::collections::BTreeMap<u64, EmptyNode> =
        nodes.into_iter().map(|id| (id, EmptyNode {})).collect();
    Membership::new(configs, nodes).map_err(|_| DecodeError::Invalid("membership"))
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;

    use super::*;

    fn membership() -> impl Strategy<Value = Membership> {
        (
            vec(btree_set(1_u64..50, 1..6), 1..3),
            btree_set(1_u64..99, 0..6),
        )
            .prop_map(|(configs, learners)| Membership::new_with_defaults(configs, learners))
    }

    fn id() -> impl Strategy<Value = Option<LogId>> {
        proptest::option::of(any::<(u64, u64, u64)>().prop_map(|(t, n, i)| log_id(t, n, i)))
    }

    proptest! {
        #[test]
        fn everything_round_trips(
            term: u64, node_id: u64, committed: bool, id in id(), set_at in id(), m in membership(),
        ) {
            let vote = Vote { leader_id: LeaderId { term, node_id }, committed };
            prop_assert_eq!(vote_from_bytes(&vote_to_bytes(&vote)), Ok(vote));
            prop_assert_eq!(&log_id_from_bytes(&log_id_to_bytes(id.as_ref())), &Ok(id));
            let stored = StoredMembership::new(set_at, m.clone());
            let read = stored_membership_from_bytes(&stored_membership_to_bytes(&stored));
            prop_assert_eq!(read.as_ref(), Ok(&stored));
            let meta = SnapshotMeta { last_log_id: id, last_membership: stored };
            prop_assert_eq!(&meta_from_bytes(&meta_to_bytes(&meta)), &Ok(meta.clone()));
            let payload = Payload::Membership(m);
            prop_assert_eq!(payload_from_bytes(payload_to_bytes(&payload)), Ok(payload));
        }
    }

    #[test]
    fn entries_keep_their_buffer_and_bad_ones_are_refused() {
        let command = Bytes::from(vec![KIND_COMMAND, 7, 8, 9]);
        let payload = payload_from_bytes(command.clone()).expect("a command");
        assert_eq!(payload_to_bytes(&payload).as_ptr(), command.as_ptr());
        let blank = payload_from_bytes(payload_to_bytes(&Payload::Blank));
        assert_eq!(blank, Ok(Payload::Blank));
        assert_eq!(payload_from_bytes(Bytes::new()), Err(DecodeError::Short));
        assert!(payload_from_bytes(Bytes::from_static(&[9, 1])).is_err());
        let empty = StoredMembership::default();
        let read = stored_membership_from_bytes(&stored_membership_to_bytes(&empty));
        assert_eq!(read, Ok(empty));
    }
}
