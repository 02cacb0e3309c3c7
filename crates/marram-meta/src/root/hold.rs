//! A layout that rests for a while: a backup reads the groups one after the other, and all of them
//! must know the same places.

use marram_types::codec::{DecodeError, Reader, Writer};

use super::apply::Ran;
use super::outcome::RootOutcome;
use crate::kv::{KvError, KvWrite, Table};
use crate::requests::Apply;
use crate::stored::{StateError, Stored, load, store};

/// Longest time that the layout is held from now on, in milliseconds: a backup that takes longer
/// asks again.
const HOLD_MS_MAX: u64 = 10 * 60 * 1000;

const VERSION: u8 = 1;
const KEY: &[u8] = b"layout_hold";

/// The leader time until which no move takes a step.
struct LayoutHold(u64);

impl Stored for LayoutHold {
    fn encode(&self, out: &mut Writer) {
        out.u8(VERSION).varint(self.0);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        from.version("layout hold version", VERSION)?;
        Ok(Self(from.varint()?))
    }
}

/// Holds the layout until then, or no longer.
pub(super) fn set(apply: &mut Apply<'_>, until_ms: u64) -> Ran {
    let most = apply.now_ms().saturating_add(HOLD_MS_MAX);
    let hold = LayoutHold(until_ms.min(most));
    store(apply.kv, Table::Meta, KEY, &hold)?;
    Ok(Ok(RootOutcome::Done))
}

/// Lets go of the layout, outside of any entry: in a state that begins a new log.
pub(crate) fn clear(kv: &mut dyn KvWrite) -> Result<(), KvError> {
    kv.delete(Table::Meta, KEY)
}

/// Until when the layout is held, if it is.
pub(super) fn until(apply: &Apply<'_>) -> Result<Option<u64>, StateError> {
    let held: Option<LayoutHold> = load(apply.kv, Table::Meta, KEY)?;
    let until_ms = held.map_or(0, |hold| hold.0);
    Ok((until_ms > apply.now_ms()).then_some(until_ms))
}
