//! How much lacks shards, by how much more may be lost.

use std::collections::BTreeMap;

use marram_types::DataId;
use marram_types::codec::{DecodeError, Reader, Writer};

use super::live::queue;
use crate::kinds::extent::Extent;
use crate::kinds::ticket::{TicketReason, TicketWork};
use crate::kv::KvRead;
use crate::stored::{StateError, Stored};

/// Tickets are counted up to here: whoever asks wants to know about how many there are.
pub const LOST_COUNTED_MAX: u64 = 10_000;

/// Tickets looked at at once.
const PAGE: u32 = 256;

/// How much lacks shards.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LostTotals {
    /// Extents with lost shards, by how many more of their shards may be lost with the data still there.
    /// Negative: fewer are left than it takes to read it.
    pub spare: BTreeMap<i16, u64>,
    /// About how many bytes their lost shards have.
    pub bytes: u64,
    /// Extents that have all of their shards, some of them elsewhere than the layout wants them.
    pub misplaced: u64,
    /// There are more than were counted.
    pub more: bool,
    /// The same extents and their bytes, by how many losses their own profile survives, and how many more they
    /// survive now.
    pub lacking: BTreeMap<(i16, i16), Lacking>,
}

/// Extents that lack shards.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lacking {
    /// How many.
    pub extents: u64,
    /// Their bytes together, without parity and copies.
    pub bytes: u64,
}

impl Stored for LostTotals {
    fn encode(&self, out: &mut Writer) {
        out.varint(self.spare.len() as u64);
        for (spare, extents) in &self.spare {
            out.u16_be(spare.cast_unsigned()).varint(*extents);
        }
        out.varint(self.bytes).varint(self.misplaced);
        out.bool(self.more);
        out.varint(self.lacking.len() as u64);
        for ((whole, spare), lacking) in &self.lacking {
            out.u16_be(whole.cast_unsigned())
                .u16_be(spare.cast_unsigned())
                .varint(lacking.extents)
                .varint(lacking.bytes);
        }
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let spare = from.list(|from| Ok((from.u16_be()?.cast_signed(), from.varint()?)))?;
        let (bytes, misplaced, more) = (from.varint()?, from.varint()?, from.bool()?);
        let lacking = from.list(|from| {
            let at = (from.u16_be()?.cast_signed(), from.u16_be()?.cast_signed());
            let (extents, bytes) = (from.varint()?, from.varint()?);
            Ok((at, Lacking { extents, bytes }))
        })?;
        Ok(Self {
            spare: spare.into_iter().collect(),
            bytes,
            misplaced,
            more,
            lacking: lacking.into_iter().collect(),
        })
    }
}

impl Extent {
    /// How many of its shards may be lost while none is.
    fn whole(&self) -> i16 {
        i16::try_from(self.profile.m()).expect("at most 8")
    }

    /// How many more of its shards may be lost with its bytes still there; negative when they are not.
    #[must_use]
    pub fn spare(&self) -> i16 {
        let lost = i16::try_from(self.missing.count_ones()).expect("at most 64");
        self.whole() - lost
    }
}

/// Counts the tickets for shards.
pub(super) fn lost_totals(kv: &dyn KvRead, applied: u64) -> Result<LostTotals, StateError> {
    let kinds = (TicketWork::Missing, TicketWork::Misplaced);
    let mut totals = LostTotals::default();
    let mut counted = 0;
    let mut after: Option<(TicketWork, DataId)> = None;
    loop {
        let page = queue(kv, applied, kinds, after, PAGE)?;
        for item in &page.tickets {
            if counted == LOST_COUNTED_MAX {
                totals.more = true;
                return Ok(totals);
            }
            counted += 1;
            let extent = &item.extent.extent;
            if item.ticket.reasons.contains(TicketReason::Missing) {
                *totals.spare.entry(extent.spare()).or_default() += 1;
                let at = (extent.whole(), extent.spare());
                let lacking = totals.lacking.entry(at).or_default();
                lacking.extents += 1;
                lacking.bytes = lacking.bytes.saturating_add(extent.length);
                let shard = extent.length.div_ceil(extent.profile.k().max(1) as u64);
                totals.bytes += shard.saturating_mul(u64::from(extent.missing.count_ones()));
            } else {
                totals.misplaced += 1;
            }
        }
        let last = page.tickets.last();
        after = last.and_then(|item| Some((item.ticket.reasons.repair()?, item.ticket.data)));
        if !page.more || after.is_none() {
            return Ok(totals);
        }
    }
}
