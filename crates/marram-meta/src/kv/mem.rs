//! A store in memory, for tests and models.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use super::{KvError, KvRead, KvWrite, Table};

/// All tables in ordered maps. Two are equal when they hold the same bytes, which is how tests
/// compare replicas.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemKv {
    tables: BTreeMap<Table, BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl MemKv {
    /// A store without a key.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many keys a table holds.
    #[must_use]
    pub fn len(&self, table: Table) -> usize {
        self.tables.get(&table).map_or(0, BTreeMap::len)
    }

    /// Whether a table holds no key.
    #[must_use]
    pub fn is_empty(&self, table: Table) -> bool {
        self.len(table) == 0
    }
}

/// `BTreeMap::range` panics on an inverted range; the trait promises an empty one.
fn is_inverted(from: Bound<&[u8]>, to: Bound<&[u8]>) -> bool {
    match (from, to) {
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (
            Bound::Included(from) | Bound::Excluded(from),
            Bound::Excluded(to) | Bound::Included(to),
        ) => from >= to,
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
    }
}

impl KvRead for MemKv {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        Ok(self.tables.get(&table).and_then(|t| t.get(key)).cloned())
    }

    fn scan(
        &self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        each: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), KvError> {
        let Some(rows) = self.tables.get(&table) else {
            return Ok(());
        };
        if is_inverted(from, to) {
            return Ok(());
        }
        for (key, value) in rows.range::<[u8], _>((from, to)) {
            if each(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl KvWrite for MemKv {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), KvError> {
        let rows = self.tables.entry(table).or_default();
        rows.insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), KvError> {
        if let Some(rows) = self.tables.get_mut(&table) {
            rows.remove(key);
            // An emptied table equals one that never held a key.
            if rows.is_empty() {
                self.tables.remove(&table);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scans_keep_order_and_bounds() {
        let mut kv = MemKv::new();
        for key in [b"a", b"b", b"c", b"d"] {
            kv.put(Table::Meta, key, b"").unwrap();
        }
        let seen = |from, to| {
            let mut keys = Vec::new();
            kv.scan(Table::Meta, from, to, &mut |key, _| {
                keys.push(key[0]);
                if keys.len() == 2 {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })
            .unwrap();
            keys
        };
        assert_eq!(seen(Bound::Unbounded, Bound::Unbounded), b"ab");
        assert_eq!(seen(Bound::Excluded(b"a"), Bound::Excluded(b"c")), b"b");
        assert_eq!(seen(Bound::Included(b"d"), Bound::Included(b"d")), b"d");
        assert_eq!(seen(Bound::Excluded(b"b"), Bound::Excluded(b"b")), b"");
        assert_eq!(seen(Bound::Included(b"d"), Bound::Included(b"a")), b"");
    }
}
