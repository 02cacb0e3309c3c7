//! `Meta`/`layout`: how often the layout or what it is made from has changed.

use marram_types::codec::{DecodeError, Reader, Writer};

use crate::kv::{KvError, KvRead, Table};
use crate::refusal::Refusal;
use crate::requests::Apply;
use crate::stored::{StateError, Stored, load, only_version, store};

const VERSION: u8 = 1;

pub(crate) const KEY: &[u8] = b"layout";

/// The root group's own word on the layout as a whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LayoutState {
    /// The root index of the last change of nodes, duties, drives or placement groups: whoever
    /// decides by a status names it, and is refused when it is another one by then.
    pub epoch: u64,
    /// The root index at which a rebalance was asked for that is not over; 0 for none.
    pub rebalance: u64,
}

impl Stored for LayoutState {
    fn encode(&self, out: &mut Writer) {
        out.u8(VERSION).varint(self.epoch).varint(self.rebalance);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        only_version(from, "layout state version", VERSION)?;
        Ok(Self {
            epoch: from.varint()?,
            rebalance: from.varint()?,
        })
    }
}

pub(crate) fn of(kv: &dyn KvRead) -> Result<LayoutState, StateError> {
    Ok(load(kv, Table::Meta, KEY)?.unwrap_or_default())
}

pub(crate) fn put(apply: &mut Apply<'_>, state: &LayoutState) -> Result<(), KvError> {
    store(apply.kv, Table::Meta, KEY, state)
}

/// Notes that this entry changed the layout, or what it is made from.
pub(crate) fn changed(apply: &mut Apply<'_>) -> Result<(), StateError> {
    let mut state = of(apply.kv)?;
    state.epoch = apply.index;
    Ok(put(apply, &state)?)
}

/// Why a decision made as of `if_epoch` does not hold any more.
pub(crate) fn moved_on(
    kv: &dyn KvRead,
    if_epoch: Option<u64>,
) -> Result<Option<Refusal>, StateError> {
    let epoch = of(kv)?.epoch;
    let given = if_epoch.filter(|given| *given != epoch);
    Ok(given.map(|given| Refusal::LayoutMoved { given, epoch }))
}
