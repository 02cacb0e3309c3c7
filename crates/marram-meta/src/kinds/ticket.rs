//! `Tickets`: data id -> what is to be done for it; `TicketQueue`: kind of work, data id, so that each
//! kind is found without passing over the others.

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{DataId, PgId, Profile};

use super::extent::Extent;
use crate::refusal::unknown;
use crate::stored::{Stored, get_pg, get_profile, only_version, put_pg, put_profile};

/// Version 1 had one reason for each ticket, version 2 no reason for another profile.
const VERSION: u8 = 3;

/// Why an extent needs work, the most urgent last. The numbers are bits of [`TicketReasons`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum TicketReason {
    /// More data or parity shards than the bucket asks for, whose profile was changed. What has
    /// fewer is [`Self::Narrowed`], whatever the cause.
    Reshape = 1,
    /// A shard lies elsewhere than the layout says: the row names its place
    /// (placement-protocol.md 5).
    Misplaced = 2,
    /// Fewer data or parity shards than the bucket asks for (rules.md 18, 19).
    Narrowed = 4,
    /// Fewer parity shards than the bucket asks for: survives fewer losses (rules.md 18).
    UnderProtected = 8,
    /// A shard was found to be lost (placement-protocol.md 14).
    Missing = 16,
}

/// A kind of work in the queue of tickets, the most urgent first. A ticket is queued once for the
/// repair of its shards and once for being encoded anew, when it asks for both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum TicketWork {
    /// A shard is lost: restore it.
    Missing = 1,
    /// A shard strayed: bring it to its place.
    Misplaced = 2,
    /// Encode it anew with as many parity shards as the bucket asks for.
    UnderProtected = 3,
    /// Encode it anew with as many data shards as the bucket asks for.
    Narrowed = 4,
    /// Encode it anew by the bucket's new profile.
    Reshape = 5,
}

impl TicketWork {
    pub(crate) fn from_byte(byte: u8) -> Result<Self, DecodeError> {
        Ok(match byte {
            1 => Self::Missing,
            2 => Self::Misplaced,
            3 => Self::UnderProtected,
            4 => Self::Narrowed,
            5 => Self::Reshape,
            other => return Err(unknown("kind of ticket work", other)),
        })
    }
}

/// All reasons of one ticket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TicketReasons(u8);

impl TicketReasons {
    const ALL: [TicketReason; 5] = [
        TicketReason::Reshape,
        TicketReason::Misplaced,
        TicketReason::Narrowed,
        TicketReason::UnderProtected,
        TicketReason::Missing,
    ];

    /// Why an extent needs work, when `nominal` is what its object should have. A ticket exists
    /// exactly while this is not empty.
    #[must_use]
    pub fn of(extent: &Extent, nominal: Profile) -> Self {
        let profile = extent.profile;
        let is_more = profile.k() > nominal.k() || profile.m() > nominal.m();
        let reasons = [
            (TicketReason::Reshape, is_more),
            (TicketReason::Misplaced, !extent.overrides.is_empty()),
            (TicketReason::Narrowed, extent.is_narrower_than(nominal)),
            (
                TicketReason::UnderProtected,
                extent.profile.m() < nominal.m(),
            ),
            (TicketReason::Missing, extent.missing != 0),
        ];
        let held = reasons.into_iter().filter(|(_, holds)| *holds);
        Self(held.fold(0, |bits, (reason, _)| bits | reason as u8))
    }

    /// No reason: there is nothing to do.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `reason` is one of them.
    #[must_use]
    pub fn contains(self, reason: TicketReason) -> bool {
        self.0 & reason as u8 != 0
    }

    /// The reasons, the most urgent last.
    pub fn iter(self) -> impl Iterator<Item = TicketReason> {
        Self::ALL
            .into_iter()
            .filter(move |reason| self.contains(*reason))
    }

    /// What is to be done for its shards, if anything.
    #[must_use]
    pub fn repair(self) -> Option<TicketWork> {
        if self.contains(TicketReason::Missing) {
            Some(TicketWork::Missing)
        } else {
            self.contains(TicketReason::Misplaced)
                .then_some(TicketWork::Misplaced)
        }
    }

    /// Why it is to be encoded anew, if it is.
    #[must_use]
    pub fn reencoding(self) -> Option<TicketWork> {
        let reasons = [
            (TicketReason::UnderProtected, TicketWork::UnderProtected),
            (TicketReason::Narrowed, TicketWork::Narrowed),
            (TicketReason::Reshape, TicketWork::Reshape),
        ];
        let found = reasons.into_iter().find(|(why, _)| self.contains(*why));
        found.map(|(_, work)| work)
    }

    /// The kinds of work that it is queued for.
    pub(crate) fn works(self) -> impl Iterator<Item = TicketWork> {
        self.repair().into_iter().chain(self.reencoding())
    }

    /// The most urgent one.
    #[must_use]
    pub fn most_urgent(self) -> Option<TicketReason> {
        self.iter().last()
    }
}

/// Work that an extent waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepairTicket {
    /// The extent's data.
    pub data: DataId,
    /// Its placement group: with the data id the key of its back reference.
    pub pg: PgId,
    /// Why, at least one reason.
    pub reasons: TicketReasons,
    /// The profile to bring it to.
    pub nominal: Profile,
    /// The index that filed the ticket.
    pub since: u64,
    /// The index of the last report that a shard is lost, 0 without one: what was found out before
    /// it does not clear the report.
    pub missing_at: u64,
}

pub(crate) fn ser_key(data: DataId) -> [u8; DataId::BYTES] {
    data.to_bytes()
}

pub(crate) fn ser_queue_key(work: TicketWork, data: DataId) -> [u8; 1 + DataId::BYTES] {
    let mut key = [work as u8; 1 + DataId::BYTES];
    key[1..].copy_from_slice(&data.to_bytes());
    key
}

pub(crate) fn deser_queue_key(key: &[u8]) -> Result<(TicketWork, DataId), DecodeError> {
    let mut from = Reader::new(key);
    let pair = (
        TicketWork::from_byte(from.u8()?)?,
        DataId::decode(&mut from)?,
    );
    from.finish()?;
    Ok(pair)
}

impl Stored for RepairTicket {
    fn encode(&self, out: &mut Writer) {
        out.u8(VERSION);
        self.data.encode(out);
        put_pg(out, self.pg);
        out.u8(self.reasons.0);
        put_profile(out, self.nominal);
        out.varint(self.since).varint(self.missing_at);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        only_version(from, "repair ticket version", VERSION)?;
        Ok(Self {
            data: DataId::decode(from)?,
            pg: get_pg(from)?,
            reasons: match from.u8()? {
                bits @ 1..=31 => TicketReasons(bits),
                _ => return Err(DecodeError::Invalid("ticket reasons")),
            },
            nominal: get_profile(from)?,
            since: from.varint()?,
            missing_at: from.varint()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{data, extent, profile};

    #[test]
    fn reasons_follow_from_the_extent() {
        let reasons = |change: &dyn Fn(&mut Extent)| {
            let mut one = extent(data(5, 1), profile("4+2"), 1);
            change(&mut one);
            TicketReasons::of(&one, profile("4+2"))
                .iter()
                .collect::<Vec<_>>()
        };
        use TicketReason::{Misplaced, Missing, Narrowed, Reshape, UnderProtected};
        assert_eq!(reasons(&|_| ()), []);
        assert_eq!(reasons(&|e| e.missing = 2), [Missing]);
        assert_eq!(reasons(&|e| e.profile = profile("2+2")), [Narrowed]);
        let weak = reasons(&|e| e.profile = profile("4+1"));
        assert_eq!(weak, [Narrowed, UnderProtected]);
        let both = reasons(&|e| {
            e.overrides.push((1, marram_types::DriveId(9)));
            e.missing = 1;
        });
        assert_eq!(both, [Misplaced, Missing]);
        assert_eq!(reasons(&|e| e.profile = profile("8+2")), [Reshape]);
        let both = reasons(&|e| e.profile = profile("2+3"));
        assert_eq!(both, [Reshape, Narrowed]);
        assert_eq!(TicketReasons::default().most_urgent(), None);
        assert_eq!(TicketReasons(31).most_urgent(), Some(Missing));
        assert!(TicketReasons::default().is_empty() && !TicketReasons(4).is_empty());
    }

    #[test]
    fn a_ticket_is_queued_for_its_most_urgent_repair_and_reencoding() {
        let works = |bits| TicketReasons(bits).works().collect::<Vec<_>>();
        use TicketWork::{Misplaced, Missing, Narrowed, Reshape, UnderProtected};
        assert_eq!(works(0), []);
        assert_eq!(works(16 + 2), [Missing]);
        assert_eq!(works(8 + 4), [UnderProtected]);
        assert_eq!(works(4 + 2 + 1), [Misplaced, Narrowed]);
        assert_eq!(works(1), [Reshape]);
        for work in [Missing, Misplaced, UnderProtected, Narrowed, Reshape] {
            let key = ser_queue_key(work, data(5, 1));
            assert_eq!(deser_queue_key(&key), Ok((work, data(5, 1))));
        }
        assert!(deser_queue_key(&[6; 19]).is_err());
    }
}
