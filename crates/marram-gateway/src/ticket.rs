//! Shard tickets: a gateway's word that a caller may read a part of one shard, redeemed at the node
//! that has it (rules.md 31).
//!
//! A ticket names the shard, its drive, the bytes and when it ends; its tag also covers the access
//! key and the revision of its grants, which the redeeming node looks up by itself: a ticket is void
//! as soon as the grants change. Any server can check any ticket: the key
//! comes from the key-encryption key and the hour of the ticket's end.

use std::ops::Range;

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{DataId, DriveId, ShardId};
use ring::hmac;

use crate::auth::Caller;
use crate::secret::Kek;

/// Version byte of a ticket: version, tag, content.
const TICKET_VERSION: u8 = 1;
/// Bytes of the tag; 128 bits cannot be guessed.
const TAG_BYTES: usize = 16;
/// How long a ticket holds by the clock of the server that issued it.
pub(crate) const LIFETIME_MS: u64 = 30_000;
/// How far the clocks of two servers may differ: a ticket is redeemed for so long after its end.
const CLOCK_SKEW_MS: u64 = 30_000;
// No node redeems a ticket that was issued longer ago by its own clock (rules.md 31).
const _: () = assert!(LIFETIME_MS + CLOCK_SKEW_MS <= 60_000);
/// How long tickets are signed with one key.
const PERIOD_MS: u64 = 3_600_000;

/// What a ticket allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// The drive that has the shard.
    pub(crate) drive: DriveId,
    /// The shard.
    pub(crate) shard: ShardId,
    /// The bytes of the shard that may be read.
    pub(crate) bytes: Range<u64>,
    /// When it ends, in milliseconds since 1970.
    pub(crate) expires_ms: u64,
}

/// A ticket that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TicketError {
    /// Not one of ours, or not of this access key.
    #[error("the ticket is not valid for this access key: ask for a new read plan")]
    Invalid,
    /// Its time is over.
    #[error("the ticket has expired: ask for a new read plan")]
    Expired,
}

fn content(ticket: &Ticket) -> Writer {
    let mut out = Writer::with_capacity(64);
    out.varint(ticket.expires_ms).varint(ticket.drive.0);
    ticket.shard.data.encode(&mut out);
    out.u8(ticket.shard.slot)
        .u16_be(ticket.shard.repair)
        .varint(ticket.bytes.start)
        .varint(ticket.bytes.end);
    out
}

fn read(bytes: &[u8]) -> Result<Ticket, DecodeError> {
    let mut from = Reader::new(bytes);
    let ticket = Ticket {
        expires_ms: from.varint()?,
        drive: DriveId(from.varint()?),
        shard: ShardId {
            data: DataId::decode(&mut from)?,
            slot: from.u8()?,
            repair: from.u16_be()?,
        },
        bytes: from.varint()?..from.varint()?,
    };
    from.finish()?;
    Ok(ticket)
}

/// Signs the tickets of one plan, for one access key.
pub(crate) struct Issuer<'a> {
    access_key: &'a str,
    revision: u64,
    key: hmac::Key,
    expires_ms: u64,
}

impl<'a> Issuer<'a> {
    /// An issuer of tickets that hold from now on.
    pub(crate) fn new(kek: &Kek, caller: &'a Caller, now_ms: u64) -> Self {
        let expires_ms = now_ms + LIFETIME_MS;
        Self {
            access_key: &caller.access_key,
            revision: caller.revision,
            key: kek.tickets(expires_ms / PERIOD_MS),
            expires_ms,
        }
    }

    /// A ticket for a part of a shard.
    pub(crate) fn issue(&self, drive: DriveId, shard: ShardId, bytes: Range<u64>) -> Vec<u8> {
        let content = content(&Ticket {
            drive,
            shard,
            bytes,
            expires_ms: self.expires_ms,
        });
        let tag = hmac::sign(
            &self.key,
            &covered(self.access_key, self.revision, content.as_slice()),
        );
        let mut out = Writer::with_capacity(1 + TAG_BYTES + content.as_slice().len());
        out.u8(TICKET_VERSION)
            .raw(&tag.as_ref()[..TAG_BYTES])
            .raw(content.as_slice());
        out.finish()
    }
}

fn covered(access_key: &str, revision: u64, content: &[u8]) -> Vec<u8> {
    let mut out = Writer::with_capacity(access_key.len() + content.len() + 8);
    out.str(access_key).varint(revision).bytes(content);
    out.finish()
}

/// What a ticket allows the bearer, whose access key was authenticated.
///
/// # Errors
/// When the ticket is not one of this cluster for this access key, or its time is over.
pub(crate) fn redeem(
    kek: &Kek,
    caller: &Caller,
    bytes: &[u8],
    now_ms: u64,
) -> Result<Ticket, TicketError> {
    let rest = bytes
        .strip_prefix(&[TICKET_VERSION])
        .ok_or(TicketError::Invalid)?;
    let (found, content) = rest
        .split_first_chunk::<TAG_BYTES>()
        .ok_or(TicketError::Invalid)?;
    let ticket = read(content).map_err(|_| TicketError::Invalid)?;
    let key = kek.tickets(ticket.expires_ms / PERIOD_MS);
    let wanted = hmac::sign(&key, &covered(&caller.access_key, caller.revision, content));
    // Compared without an early end: the time must not tell how many bytes were right.
    let difference = found
        .iter()
        .zip(wanted.as_ref())
        .fold(0, |sum, (a, b)| sum | (a ^ b));
    if std::hint::black_box(difference) != 0 {
        return Err(TicketError::Invalid);
    }
    if now_ms > ticket.expires_ms.saturating_add(CLOCK_SKEW_MS) {
        return Err(TicketError::Expired);
    }
    Ok(ticket)
}

#[cfg(test)]
mod tests {
    use marram_types::GroupId;

    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    fn kek() -> Kek {
        Kek::from_bytes(&[3; 32])
    }

    fn shard() -> ShardId {
        ShardId {
            data: DataId {
                group: GroupId(3),
                begin: 900,
                random: 77,
            },
            slot: 5,
            repair: 0,
        }
    }

    fn caller(access_key: &str, revision: u64) -> Caller {
        Caller {
            access_key: access_key.to_owned(),
            revision,
        }
    }

    fn issued() -> Vec<u8> {
        Issuer::new(&kek(), &caller("MKONE", 5), NOW).issue(DriveId(1280), shard(), 4096..1 << 20)
    }

    #[test]
    fn a_ticket_says_what_was_issued() {
        let ticket = redeem(&kek(), &caller("MKONE", 5), &issued(), NOW + 1000).unwrap();
        assert_eq!(ticket.drive, DriveId(1280));
        assert_eq!(ticket.shard, shard());
        assert_eq!(ticket.bytes, 4096..1 << 20);
    }

    #[test]
    fn another_key_another_cluster_or_later_it_does_not_hold() {
        let of = |kek: &Kek, key, now| redeem(kek, &caller(key, 5), &issued(), now).map(|_| ());
        let changed = redeem(&kek(), &caller("MKONE", 6), &issued(), NOW);
        assert_eq!(changed.map(|_| ()), Err(TicketError::Invalid));
        assert_eq!(of(&kek(), "MKTWO", NOW), Err(TicketError::Invalid));
        let other = Kek::from_bytes(&[4; 32]);
        assert_eq!(of(&other, "MKONE", NOW), Err(TicketError::Invalid));
        let last = NOW + LIFETIME_MS + CLOCK_SKEW_MS;
        assert_eq!(of(&kek(), "MKONE", last), Ok(()));
        assert_eq!(of(&kek(), "MKONE", last + 1), Err(TicketError::Expired));
    }

    #[test]
    fn any_changed_or_missing_byte_is_noticed() {
        let good = issued();
        for at in 0..good.len() {
            let mut changed = good.clone();
            changed[at] ^= 1;
            assert!(
                redeem(&kek(), &caller("MKONE", 5), &changed, NOW).is_err(),
                "byte {at}"
            );
            assert!(
                redeem(&kek(), &caller("MKONE", 5), &good[..at], NOW).is_err(),
                "cut {at}"
            );
        }
    }
}
