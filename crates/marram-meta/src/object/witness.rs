//! Sees what an entry writes to the tables of versions, whoever writes it. Events are made from that
//! alone (decision 0051): a command that changes an object cannot forget to say so.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use crate::kv::{KvError, KvRead, KvWrite, Table};

/// A row before an entry and after it.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) before: Option<Vec<u8>>,
    pub(super) after: Option<Vec<u8>>,
}

/// What was written, by table and key.
pub(super) type Seen = BTreeMap<(Table, Vec<u8>), Written>;

/// A store whose writes of versions are noted.
pub(super) struct Witness<'a> {
    kv: &'a mut dyn KvWrite,
    /// None: nobody wants to know.
    seen: &'a RefCell<Option<Seen>>,
}

impl<'a> Witness<'a> {
    pub(super) fn new(kv: &'a mut dyn KvWrite, seen: &'a RefCell<Option<Seen>>) -> Self {
        Self { kv, seen }
    }

    fn note(&self, table: Table, key: &[u8], after: Option<&[u8]>) -> Result<(), KvError> {
        if !matches!(table, Table::Objects | Table::Noncurrent) {
            return Ok(());
        }
        let mut seen = self.seen.borrow_mut();
        let Some(seen) = seen.as_mut() else {
            return Ok(());
        };
        let after = after.map(<[u8]>::to_vec);
        let name = (table, key.to_vec());
        if let Some(written) = seen.get_mut(&name) {
            written.after = after;
            return Ok(());
        }
        let before = self.kv.get(table, key)?;
        seen.insert(name, Written { before, after });
        Ok(())
    }
}

impl KvRead for Witness<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.kv.get(table, key)
    }

    fn scan(
        &self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        each: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), KvError> {
        self.kv.scan(table, from, to, each)
    }
}

impl KvWrite for Witness<'_> {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), KvError> {
        self.note(table, key, Some(value))?;
        self.kv.put(table, key, value)
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), KvError> {
        self.note(table, key, None)?;
        self.kv.delete(table, key)
    }
}
