//! Finds the row that holds an extent's data, by its back reference (rules.md 16).

use std::ops::{Bound, ControlFlow};

use marram_types::codec::DecodeError;
use marram_types::{BucketId, DataId, Generation, PgId, Profile, UploadId, VersionId};

use crate::kinds::data_ref::{self, DataRef};
use crate::kinds::extent::{Extent, deser_chunk, ser_chunk, ser_chunk_key};
use crate::kinds::noncurrent::{self as past, Past};
use crate::kinds::object::{Body, VersionRow, ser_key};
use crate::kinds::part::{self, PartRow, PartsBody};
use crate::kv::{KvError, KvRead, KvWrite, Table};
use crate::stored::{StateError, Stored, load, store};

/// An extent that a version or a part holds, in what holds it.
pub(crate) struct Held {
    pub(crate) bucket: BucketId,
    pub(crate) key: String,
    pub(crate) holder: Holder,
    /// Those that are written together with it, in the order of the bytes.
    extents: Vec<Extent>,
    at: usize,
}

/// Where the row of a version lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shelf {
    /// It is the current version of its object.
    Current,
    /// It is an earlier one (decision 0032).
    Noncurrent,
}

/// Where the extent is written.
pub(crate) enum Holder {
    /// In the row of a version.
    Row(VersionRow, Shelf),
    /// In a chunk beside it.
    Chunk {
        row: VersionRow,
        shelf: Shelf,
        chunk: u16,
    },
    /// In the row of a part, whose own list of extents is empty here.
    Part {
        upload: UploadId,
        part: u16,
        row: PartRow,
    },
}

impl Held {
    /// The extent.
    pub(crate) fn extent(&self) -> &Extent {
        &self.extents[self.at]
    }

    /// The extents of a row that holds them itself; of another one those of one chunk.
    pub(crate) fn row_extents(&self) -> &[Extent] {
        &self.extents
    }

    /// The profile that the extent should have.
    pub(crate) fn nominal(&self) -> Profile {
        match &self.holder {
            Holder::Row(row, _) | Holder::Chunk { row, .. } => row.nominal,
            Holder::Part { row, .. } => row.nominal,
        }
    }

    /// The version that holds it; the upload in whose part it is, whatever became of it.
    pub(crate) fn version(&self) -> VersionId {
        match &self.holder {
            Holder::Row(row, _) | Holder::Chunk { row, .. } => row.version,
            Holder::Part { upload, .. } => VersionId(upload.0),
        }
    }

    /// The checksum of the extent's bytes, where they are all that a version or part has.
    pub(crate) fn crc64(&self) -> Option<u64> {
        let crc64 = match &self.holder {
            Holder::Row(row, _) => row.crc64,
            Holder::Chunk { .. } => return None,
            Holder::Part { row, .. } => row.crc64,
        };
        (self.extents.len() == 1).then_some(crc64)
    }

    /// Writes the extent with `change` made to it, where it was.
    pub(crate) fn update(
        mut self,
        kv: &mut dyn KvWrite,
        change: impl FnOnce(&mut Extent),
    ) -> Result<(), KvError> {
        change(&mut self.extents[self.at]);
        match self.holder {
            Holder::Row(mut row, shelf) => {
                row.body = Body::Extents(self.extents);
                store_row(kv, (self.bucket, &self.key), shelf, row)
            }
            Holder::Chunk { row, chunk, .. } => {
                let key = ser_chunk_key(row.version, chunk);
                kv.put(Table::ExtentRows, &key, &ser_chunk(&self.extents))
            }
            Holder::Part {
                upload,
                part,
                mut row,
            } => {
                row.extents = self.extents;
                store(kv, Table::UploadParts, &part::ser_key(upload, part), &row)
            }
        }
    }
}

/// The extent of this data, if a version, current or not, or a part holds it.
pub(crate) fn find(kv: &dyn KvRead, pg: PgId, data: DataId) -> Result<Option<Held>, StateError> {
    match load(kv, Table::DataRefs, &data_ref::ser_key(pg, data))? {
        None => Ok(None),
        Some(reference) => held_by(kv, reference, (pg, data)),
    }
}

/// The extent of a back reference, if something holds it: rows and references change together.
pub(crate) fn held_by(
    kv: &dyn KvRead,
    reference: DataRef,
    (pg, data): (PgId, DataId),
) -> Result<Option<Held>, StateError> {
    let is_it = |e: &Extent| e.data == data && e.pg == pg;
    match reference {
        DataRef::Live { bucket, key } => {
            let row = load(kv, Table::Objects, &ser_key(bucket, &key))?;
            let row = row.ok_or_else(dangling)?;
            find_in(kv, (bucket, key), (row, Shelf::Current), is_it).map(Some)
        }
        DataRef::Noncurrent {
            bucket,
            key,
            generation,
        } => {
            let row = noncurrent(kv, (bucket, &key), generation)?.ok_or_else(dangling)?;
            find_in(kv, (bucket, key), (row, Shelf::Noncurrent), is_it).map(Some)
        }
        DataRef::Part {
            bucket,
            key,
            upload,
            part,
        } => find_part(kv, (bucket, key), (upload, part), is_it).map(Some),
        DataRef::Displaced { .. } | DataRef::Discarded { .. } => Ok(None),
    }
}

fn find_part(
    kv: &dyn KvRead,
    (bucket, key): (BucketId, String),
    (upload, part): (UploadId, u16),
    is_it: impl Fn(&Extent) -> bool,
) -> Result<Held, StateError> {
    let row = load(kv, Table::UploadParts, &part::ser_key(upload, part))?;
    let mut row: PartRow = row.ok_or_else(dangling)?;
    let extents = std::mem::take(&mut row.extents);
    let at = extents.iter().position(is_it).ok_or_else(dangling)?;
    Ok(Held {
        bucket,
        key,
        holder: Holder::Part { upload, part, row },
        extents,
        at,
    })
}

fn find_in(
    kv: &dyn KvRead,
    (bucket, key): (BucketId, String),
    (mut row, shelf): (VersionRow, Shelf),
    is_it: impl Fn(&Extent) -> bool,
) -> Result<Held, StateError> {
    let (holder, extents, at) = match &mut row.body {
        Body::Inline { .. } | Body::Parts(_) => return Err(dangling()),
        Body::Extents(extents) => {
            let extents = std::mem::take(extents);
            let at = extents.iter().position(is_it).ok_or_else(dangling)?;
            (Holder::Row(row, shelf), extents, at)
        }
        Body::Spilled { .. } => {
            let (chunk, extents, at) = find_chunk(kv, row.version, is_it)?;
            (Holder::Chunk { row, shelf, chunk }, extents, at)
        }
    };
    Ok(Held {
        bucket,
        key,
        holder,
        extents,
        at,
    })
}

/// Writes the row of a version where it lies.
pub(crate) fn store_row(
    kv: &mut dyn KvWrite,
    (bucket, key): (BucketId, &str),
    shelf: Shelf,
    row: VersionRow,
) -> Result<(), KvError> {
    match shelf {
        Shelf::Current => store(kv, Table::Objects, &ser_key(bucket, key), &row),
        Shelf::Noncurrent => {
            let row_key = past::ser_key(bucket, key, row.generation);
            store(
                kv,
                Table::Noncurrent,
                &row_key,
                &Past::Version(Box::new(row)),
            )
        }
    }
}

/// A version that is not current; none when there is none of this generation, or it is a marker.
pub(crate) fn noncurrent(
    kv: &dyn KvRead,
    (bucket, key): (BucketId, &str),
    generation: Generation,
) -> Result<Option<VersionRow>, StateError> {
    let row_key = past::ser_key(bucket, key, generation);
    Ok(match load(kv, Table::Noncurrent, &row_key)? {
        Some(Past::Version(row)) => Some(*row),
        Some(Past::Marker(_)) | None => None,
    })
}

/// The version of an object that an upload became, current or not, and where its row lies.
pub(crate) fn became(
    kv: &dyn KvRead,
    (bucket, key): (BucketId, &str),
    upload: UploadId,
) -> Result<Option<(VersionRow, Shelf)>, StateError> {
    let current: Option<VersionRow> = load(kv, Table::Objects, &ser_key(bucket, key))?;
    if let Some(row) = current.filter(|row| row.is_of(upload)) {
        return Ok(Some((row, Shelf::Current)));
    }
    let Some(bytes) = kv.get(Table::NoncurrentUploads, &upload.0.to_be_bytes())? else {
        return Ok(None);
    };
    let generation =
        past::deser_generation(&bytes).map_err(StateError::corrupt(Table::NoncurrentUploads))?;
    let row = noncurrent(kv, (bucket, key), generation)?;
    let row = row.filter(|row| row.is_of(upload));
    Ok(row.map(|row| (row, Shelf::Noncurrent)))
}

/// Parts of an upload by number, those behind `after` that are `wanted`; at most `most`.
pub(crate) fn part_rows(
    kv: &dyn KvRead,
    upload: UploadId,
    after: u16,
    most: usize,
    wanted: impl Fn(u16) -> bool,
) -> Result<Vec<(u16, PartRow)>, StateError> {
    let (first, last) = (
        part::ser_key(upload, after),
        part::ser_key(upload, u16::MAX),
    );
    let range = (Bound::Excluded(&first[..]), Bound::Included(&last[..]));
    let mut rows = Vec::new();
    let mut damage = None;
    kv.scan(Table::UploadParts, range.0, range.1, &mut |key, value| {
        let row = part::deser_number(key).and_then(|number| {
            let row = wanted(number).then(|| PartRow::deser_value(value));
            Ok(row.transpose()?.map(|row| (number, row)))
        });
        match row {
            Ok(row) => rows.extend(row),
            Err(source) => damage = Some(source),
        }
        if damage.is_some() || rows.len() >= most {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    match damage {
        None => Ok(rows),
        Some(source) => Err(StateError::corrupt(Table::UploadParts)(source)),
    }
}

/// All parts that a version has.
pub(crate) fn parts_of(
    kv: &dyn KvRead,
    body: &PartsBody,
) -> Result<Vec<(u16, PartRow)>, StateError> {
    part_rows(kv, body.upload, 0, usize::MAX, |n| body.ranges.contains(n))
}

fn find_chunk(
    kv: &dyn KvRead,
    version: VersionId,
    is_it: impl Fn(&Extent) -> bool,
) -> Result<(u16, Vec<Extent>, usize), StateError> {
    let mut found = Ok(None);
    let mut chunk = 0_u16;
    scan_chunks(kv, version, &mut |extents| {
        found = extents.map(|extents| {
            let at = extents.iter().position(&is_it)?;
            Some((chunk, extents, at))
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
