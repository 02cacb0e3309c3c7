//! Finds the row that holds an extent's data, by its back reference (rules.md 16).

use std::ops::{Bound, ControlFlow};

use marram_types::codec::DecodeError;
use marram_types::{BucketId, DataId, PgId, VersionId};

use crate::kinds::data_ref::{self, DataRef};
use crate::kinds::extent::{Extent, deser_chunk, ser_chunk, ser_chunk_key};
use crate::kinds::object::{Body, VersionRow, ser_key};
use crate::kv::{KvError, KvRead, KvWrite, Table};
use crate::stored::{StateError, load, store};

/// An extent that a current version holds, in what holds it.
pub(crate) struct Held {
    pub(crate) bucket: BucketId,
    pub(crate) key: String,
    pub(crate) row: VersionRow,
    spot: Spot,
}

/// Where the extent is written.
enum Spot {
    /// In the row.
    Row { extents: Vec<Extent>, at: usize },
    /// In a chunk beside it.
    Chunk {
        chunk: u16,
        extents: Vec<Extent>,
        at: usize,
    },
}

impl Held {
    /// The extent.
    pub(crate) fn extent(&self) -> &Extent {
        match &self.spot {
            Spot::Row { extents, at } | Spot::Chunk { extents, at, .. } => &extents[*at],
        }
    }

    /// The extents of a row that holds them itself; of another one those of one chunk.
    pub(crate) fn row_extents(&self) -> &[Extent] {
        match &self.spot {
            Spot::Row { extents, .. } | Spot::Chunk { extents, .. } => extents,
        }
    }

    /// Writes the extent with `change` made to it, where it was.
    pub(crate) fn update(
        mut self,
        kv: &mut dyn KvWrite,
        change: impl FnOnce(&mut Extent),
    ) -> Result<(), KvError> {
        match self.spot {
            Spot::Row { mut extents, at } => {
                change(&mut extents[at]);
                self.row.body = Body::Extents(extents);
                let key = ser_key(self.bucket, &self.key);
                store(kv, Table::Objects, &key, &self.row)
            }
            Spot::Chunk {
                chunk,
                mut extents,
                at,
            } => {
                change(&mut extents[at]);
                let key = ser_chunk_key(self.row.version, chunk);
                kv.put(Table::ExtentRows, &key, &ser_chunk(&extents))
            }
        }
    }
}

/// The extent of this data, if a current version holds it.
pub(crate) fn find(kv: &dyn KvRead, pg: PgId, data: DataId) -> Result<Option<Held>, StateError> {
    let Some(DataRef::Live { bucket, key }) =
        load(kv, Table::DataRefs, &data_ref::ser_key(pg, data))?
    else {
        return Ok(None);
    };
    find_in(kv, bucket, key, |e| e.data == data && e.pg == pg).map(Some)
}

/// The extent of a back reference, which is there because rows and references change together.
pub(crate) fn find_in(
    kv: &dyn KvRead,
    bucket: BucketId,
    key: String,
    is_it: impl Fn(&Extent) -> bool,
) -> Result<Held, StateError> {
    let mut row: VersionRow =
        load(kv, Table::Objects, &ser_key(bucket, &key))?.ok_or_else(dangling)?;
    let spot = match &mut row.body {
        Body::Inline { .. } => return Err(dangling()),
        Body::Extents(extents) => {
            let extents = std::mem::take(extents);
            let at = extents.iter().position(is_it).ok_or_else(dangling)?;
            Spot::Row { extents, at }
        }
        Body::Spilled { .. } => find_chunk(kv, row.version, is_it)?,
    };
    Ok(Held {
        bucket,
        key,
        row,
        spot,
    })
}

fn find_chunk(
    kv: &dyn KvRead,
    version: VersionId,
    is_it: impl Fn(&Extent) -> bool,
) -> Result<Spot, StateError> {
    let mut found = Ok(None);
    let mut chunk = 0_u16;
    scan_chunks(kv, version, &mut |extents| {
        found = extents.map(|extents| {
            let at = extents.iter().position(&is_it)?;
            Some(Spot::Chunk { chunk, extents, at })
        });
        if !matches!(found, Ok(None)) {
            return ControlFlow::Break(());
        }
        chunk = chunk.saturating_add(1);
        ControlFlow::Continue(())
    })?;
    let found = found.map_err(StateError::corrupt(Table::ExtentRows))?;
    found.ok_or_else(dangling)
}

/// The extents of a version that lie in rows of their own, chunk by chunk.
pub(crate) fn spilled_chunks(
    kv: &dyn KvRead,
    version: VersionId,
) -> Result<Vec<Vec<Extent>>, StateError> {
    let mut chunks = Vec::new();
    scan_chunks(kv, version, &mut |extents| {
        chunks.push(extents);
        ControlFlow::Continue(())
    })?;
    let chunks = chunks.into_iter().collect::<Result<_, _>>();
    chunks.map_err(StateError::corrupt(Table::ExtentRows))
}

fn scan_chunks(
    kv: &dyn KvRead,
    version: VersionId,
    each: &mut dyn FnMut(Result<Vec<Extent>, DecodeError>) -> ControlFlow<()>,
) -> Result<(), KvError> {
    let (first, last) = (ser_chunk_key(version, 0), ser_chunk_key(version, u16::MAX));
    let range = (Bound::Included(&first[..]), Bound::Included(&last[..]));
    kv.scan(Table::ExtentRows, range.0, range.1, &mut |_, bytes| {
        each(deser_chunk(bytes))
    })
}

/// Rows and back references do not agree: the state is damaged.
pub(crate) fn dangling() -> StateError {
    StateError::Corrupt {
        table: Table::DataRefs,
        source: DecodeError::Invalid("back reference"),
    }
}
