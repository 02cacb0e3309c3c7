//! The rows of a state's bytes, one after the other, as the bytes come.

use std::ops::ControlFlow;

use marram_meta::Table;

use super::super::MachineError;
use super::{END, FORMAT, MAGIC};

/// Longest key and value of a row together: far above what any row has, so that damaged lengths do
/// not take memory.
const ROW_BYTES_MAX: usize = 64 << 20;

/// Reads rows from bytes that come in pieces: the bytes of a snapshot, of a copy, or of a group in a
/// backup.
#[derive(Debug, Default)]
pub struct DumpRows {
    buffer: Vec<u8>,
    begun: bool,
    rows: u64,
    ended: bool,
}

impl DumpRows {
    /// Takes the next bytes and calls `each` with every row that they complete: table, key, value.
    ///
    /// # Errors
    /// When the bytes are not those of a state, or of a newer release.
    #[expect(clippy::type_complexity, reason = "a visitor has no shorter type")]
    pub fn push(
        &mut self,
        bytes: &[u8],
        each: &mut dyn FnMut(Table, &[u8], &[u8]),
    ) -> Result<(), MachineError> {
        self.buffer.extend_from_slice(bytes);
        let mut at = 0;
        if !self.begun {
            let head = MAGIC.len() + 1;
            if self.buffer.len() < head {
                return Ok(());
            }
            if &self.buffer[..MAGIC.len()] != MAGIC {
                return Err(MachineError::Snapshot("it is not a snapshot"));
            }
            if self.buffer[MAGIC.len()] != FORMAT {
                return Err(MachineError::Snapshot("it is of a newer release"));
            }
            (self.begun, at) = (true, head);
        }
        while let ControlFlow::Continue(taken) = self.row(at, each)? {
            at += taken;
        }
        self.buffer.drain(..at);
        Ok(())
    }

    /// Takes the row at `at`, if all of it is there; says how many bytes it has.
    #[expect(clippy::type_complexity, reason = "a visitor has no shorter type")]
    fn row(
        &mut self,
        at: usize,
        each: &mut dyn FnMut(Table, &[u8], &[u8]),
    ) -> Result<ControlFlow<(), usize>, MachineError> {
        let left = &self.buffer[at..];
        let Some(number) = left.first().copied() else {
            return Ok(ControlFlow::Break(()));
        };
        if self.ended {
            return Err(MachineError::Snapshot("something follows its end"));
        }
        if number == END {
            let Some(count) = left.get(1..9) else {
                return Ok(ControlFlow::Break(()));
            };
            let count = u64::from_be_bytes(count.try_into().expect("eight bytes"));
            if count != self.rows {
                return Err(MachineError::Snapshot(
                    "it does not hold the rows that it counts",
                ));
            }
            self.ended = true;
            return Ok(ControlFlow::Continue(9));
        }
        let table = Table::from_number(number);
        let table = table.ok_or(MachineError::Snapshot("it has a table of a newer release"))?;
        let Some(lengths) = left.get(1..9) else {
            return Ok(ControlFlow::Break(()));
        };
        let length = |at: usize| {
            let bytes = lengths[at..at + 4].try_into().expect("four bytes");
            u32::from_be_bytes(bytes) as usize
        };
        let (key, value) = (length(0), length(4));
        if key + value > ROW_BYTES_MAX {
            return Err(MachineError::Snapshot("a row is too long"));
        }
        let Some(row) = left.get(9..9 + key + value) else {
            return Ok(ControlFlow::Break(()));
        };
        each(table, &row[..key], &row[key..]);
        self.rows += 1;
        Ok(ControlFlow::Continue(9 + key + value))
    }

    /// How many rows there were, after the last byte.
    ///
    /// # Errors
    /// When the bytes end too soon.
    pub fn finish(self) -> Result<u64, MachineError> {
        if self.ended && self.buffer.is_empty() {
            Ok(self.rows)
        } else {
            Err(MachineError::Snapshot("it ends in the middle"))
        }
    }
}
