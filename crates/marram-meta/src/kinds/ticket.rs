//! `Tickets`: data id -> what is to be done for it.

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{DataId, PgId, Profile};

use super::extent::Extent;
use crate::stored::{Stored, get_pg, get_profile, only_version, put_pg, put_profile};

/// Version 1 had one reason for each ticket.
const VERSION: u8 = 2;

/// Why an extent needs work, the most urgent last. The numbers are bits of [`TicketReasons`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum TicketReason {
    /// A shard lies elsewhere than the layout says: the row names its place
    /// (placement-protocol.md 5).
    Misplaced = 1,
    /// Fewer data or parity shards than the bucket asks for (rules.md 18, 19).
    Narrowed = 2,
    /// Fewer parity shards than the bucket asks for: survives fewer losses (rules.md 18).
    UnderProtected = 4,
    /// A shard was found to be lost (placement-protocol.md 14).
    Missing = 8,
}

/// All reasons of one ticket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TicketReasons(u8);

impl TicketReasons {
    const ALL: [TicketReason; 4] = [
        TicketReason::Misplaced,
        TicketReason::Narrowed,
        TicketReason::UnderProtected,
        TicketReason::Missing,
    ];

    /// Why an extent needs work, when `nominal` is what its object should have. A ticket exists
    /// exactly while this is not empty.
    #[must_use]
    pub fn of(extent: &Extent, nominal: Profile) -> Self {
        let reasons = [
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
                bits @ 1..=15 => TicketReasons(bits),
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
        use TicketReason::{Misplaced, Missing, Narrowed, UnderProtected};
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
        assert_eq!(TicketReasons::default().most_urgent(), None);
        assert_eq!(TicketReasons(15).most_urgent(), Some(Missing));
        assert!(TicketReasons::default().is_empty() && !TicketReasons(4).is_empty());
    }
}
