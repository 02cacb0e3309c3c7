//! Commits a version.

use marram_types::caps::{COPIES_BYTES_MAX, ROW_EXTENTS_MAX};
use marram_types::{BucketId, DataId, Generation, Profile};

use super::check::check_form;
use super::displace::displace;
use super::fence::{open_bucket, pool_is_known};
use super::outcome::ObjectOutcome;
use super::put_ref::{NewBodyRef, PutRef};
use crate::kinds::data_ref::{self, DataRef};
use crate::kinds::extent::{Extent, ser_chunk, ser_chunk_key};
use crate::kinds::object::{BodyRef, RowRef, VersionRow, ser_key};
use crate::kinds::ticket::{self, RepairTicket, TicketReason};
use crate::kinds::usage::Usage;
use crate::kinds::{bucket, inline};
use crate::kv::{KvError, Table};
use crate::refusal::Refusal;
use crate::requests::Apply;
use crate::stored::{StateError, Stored, load, store};

/// How the extents compare with what the bucket asks for.
#[derive(Clone, Copy)]
struct Protection {
    nominal: Profile,
    narrowed: bool,
    under_protected: bool,
}

pub(super) fn apply(apply: &mut Apply<'_>, put: &PutRef<'_>) -> Result<ObjectOutcome, StateError> {
    if let Err(what) = check_form(put, apply.index) {
        return Ok(ObjectOutcome::Refused(what.into()));
    }
    let record = match open_bucket(apply.kv, put.bucket)? {
        Ok(record) => record,
        Err(refusal) => return Ok(ObjectOutcome::Refused(refusal)),
    };
    let row_key = ser_key(put.bucket, put.key);
    let current: Option<VersionRow> = load(apply.kv, Table::Objects, &row_key)?;
    match history(apply, put, current.as_ref())? {
        History::New => {}
        History::Committed => return Ok(ObjectOutcome::AlreadyCommitted),
        History::Discarded => return Ok(ObjectOutcome::Refused(Refusal::DataDiscarded)),
    }
    if let Some(refusal) = judge(apply, put, current.as_ref())? {
        return Ok(ObjectOutcome::Refused(refusal));
    }
    let protection = protection(put, record.profile);
    let generation = Generation(apply.index + apply.state.generation_offset);
    if let Some(old) = &current {
        displace(apply, old)?;
    }
    let data = write_body(apply, put, protection)?;
    let row = row(put, &data, generation, apply.now_ms(), protection);
    apply.kv.put(Table::Objects, &row_key, &row.ser_value())?;
    count(apply, put, protection, current.as_ref())?;
    Ok(ObjectOutcome::Committed {
        version: put.version,
        generation,
        modified_ms: apply.now_ms(),
        narrowed: protection.narrowed,
        under_protected: protection.under_protected,
    })
}

/// What became of an earlier apply of a put.
enum History {
    New,
    Committed,
    /// Its data was given up, so that it can never be committed.
    Discarded,
}

/// Whether the put was applied before, under whatever request (placement-protocol.md 10): its
/// version is the current one, or its data is known.
fn history(
    apply: &Apply<'_>,
    put: &PutRef<'_>,
    current: Option<&VersionRow>,
) -> Result<History, StateError> {
    if current.is_some_and(|row| row.version == put.version) {
        return Ok(History::Committed);
    }
    let NewBodyRef::Extents(extents) = &put.body else {
        return Ok(History::New);
    };
    let mut history = History::New;
    for extent in extents {
        let key = data_ref::ser_key(extent.pg, extent.data);
        match load(apply.kv, Table::DataRefs, &key)? {
            None => {}
            Some(DataRef::Discarded { .. }) => return Ok(History::Discarded),
            Some(DataRef::Live { .. } | DataRef::Displaced { .. }) => history = History::Committed,
        }
    }
    Ok(history)
}

/// What the group's state has against the put.
fn judge(
    apply: &Apply<'_>,
    put: &PutRef<'_>,
    current: Option<&VersionRow>,
) -> Result<Option<Refusal>, StateError> {
    if let NewBodyRef::Extents(extents) = &put.body {
        let floor = apply.state.gc_floor;
        if extents.iter().any(|extent| extent.data.begin < floor) {
            return Ok(Some(Refusal::BelowFloor { floor }));
        }
        let mut known = None;
        for extent in extents {
            let pool = extent.pg.pool;
            if known != Some(pool) && !pool_is_known(apply.kv, pool)? {
                return Ok(Some(Refusal::PoolUnknown { pool }));
            }
            known = Some(pool);
        }
    }
    let present = current.map(|row| (row.generation, row.etag.as_str()));
    Ok(
        (!put.precondition.holds(present)).then(|| Refusal::PreconditionFailed {
            current: present.map_or(Generation(0), |(generation, _)| generation),
        }),
    )
}

/// Small objects are kept as copies, so that is what is asked for them.
fn protection(put: &PutRef<'_>, profile: Profile) -> Protection {
    let nominal = if put.size <= COPIES_BYTES_MAX as u64 {
        profile.as_copies()
    } else {
        profile
    };
    let extents: &[Extent] = match &put.body {
        NewBodyRef::Inline { .. } => &[],
        NewBodyRef::Extents(extents) => extents,
    };
    Protection {
        nominal,
        narrowed: extents.iter().any(|e| e.is_narrower_than(nominal)),
        under_protected: extents.iter().any(|e| e.profile.m() < nominal.m()),
    }
}

/// Where the new version's bytes are, as its row will say.
enum Written {
    Inline(DataId),
    Row,
    Spilled(u32),
}

fn row<'a>(
    put: &'a PutRef<'a>,
    data: &Written,
    generation: Generation,
    modified_ms: u64,
    protection: Protection,
) -> RowRef<'a> {
    let body = match (data, &put.body) {
        (Written::Inline(data), _) => BodyRef::Inline { data: *data },
        (Written::Spilled(extents), _) => BodyRef::Spilled { extents: *extents },
        (Written::Row, NewBodyRef::Extents(extents)) => BodyRef::Extents(extents),
        (Written::Row, NewBodyRef::Inline { .. }) => {
            unreachable!("inline bytes are not written to the row")
        }
    };
    RowRef {
        version: put.version,
        generation,
        modified_ms,
        size: put.size,
        crc64: put.crc64,
        etag: put.etag,
        content_type: put.content_type,
        metadata: put.metadata,
        body,
        nominal: protection.nominal,
        narrowed: protection.narrowed,
        under_protected: protection.under_protected,
    }
}

fn write_body(
    apply: &mut Apply<'_>,
    put: &PutRef<'_>,
    protection: Protection,
) -> Result<Written, KvError> {
    match &put.body {
        NewBodyRef::Inline { data, bytes } => {
            // Inline bytes need no begin token; the commit's own index makes their id unique.
            let data = DataId {
                begin: apply.index,
                ..*data
            };
            let value = inline::ser_value(bytes);
            apply
                .kv
                .put(Table::Inline, &inline::ser_key(data), &value)?;
            Ok(Written::Inline(data))
        }
        NewBodyRef::Extents(extents) => {
            let reference = DataRef::Live {
                bucket: put.bucket,
                key: put.key.to_owned(),
            }
            .ser_value();
            for extent in extents {
                let key = data_ref::ser_key(extent.pg, extent.data);
                apply.kv.put(Table::DataRefs, &key, &reference)?;
                file_ticket(apply, extent, protection.nominal)?;
            }
            if extents.len() <= ROW_EXTENTS_MAX {
                return Ok(Written::Row);
            }
            for (chunk, extents) in (0_u16..).zip(extents.chunks(ROW_EXTENTS_MAX)) {
                let key = ser_chunk_key(put.version, chunk);
                apply.kv.put(Table::ExtentRows, &key, &ser_chunk(extents))?;
            }
            let count = u32::try_from(extents.len()).expect("at most OBJECT_EXTENTS_MAX");
            Ok(Written::Spilled(count))
        }
    }
}

/// Files a ticket for an extent that is narrower than the bucket asks for, in the same apply, so
/// that none is forgotten.
fn file_ticket(apply: &mut Apply<'_>, extent: &Extent, nominal: Profile) -> Result<(), KvError> {
    if !extent.is_narrower_than(nominal) {
        return Ok(());
    }
    let reason = if extent.profile.m() < nominal.m() {
        TicketReason::UnderProtected
    } else {
        TicketReason::Narrowed
    };
    let ticket = RepairTicket {
        data: extent.data,
        pg: extent.pg,
        reason,
        nominal,
        since: apply.index,
    };
    let key = ticket::ser_key(extent.data);
    store(apply.kv, Table::Tickets, &key, &ticket)
}

fn count(
    apply: &mut Apply<'_>,
    put: &PutRef<'_>,
    protection: Protection,
    old: Option<&VersionRow>,
) -> Result<(), StateError> {
    let key = bucket::ser_key(put.bucket);
    let before = load(apply.kv, Table::Usage, &key)?.unwrap_or_default();
    let after = without(before, old).plus(Usage {
        objects: 1,
        bytes: put.size,
        narrowed: u64::from(protection.narrowed),
        under_protected: u64::from(protection.under_protected),
    });
    Ok(store(apply.kv, Table::Usage, &key, &after)?)
}

/// The counters without a version that they count.
fn without(usage: Usage, row: Option<&VersionRow>) -> Usage {
    let Some(row) = row else { return usage };
    Usage {
        objects: usage.objects - 1,
        bytes: usage.bytes - row.size,
        narrowed: usage.narrowed - u64::from(row.narrowed),
        under_protected: usage.under_protected - u64::from(row.under_protected),
    }
}

/// Takes a version out of its bucket's counters.
pub(super) fn uncount(
    apply: &mut Apply<'_>,
    bucket: BucketId,
    row: &VersionRow,
) -> Result<(), StateError> {
    let key = bucket::ser_key(bucket);
    let before = load(apply.kv, Table::Usage, &key)?.unwrap_or_default();
    let after = without(before, Some(row));
    Ok(store(apply.kv, Table::Usage, &key, &after)?)
}
