//! Commits a version.

use marram_types::caps::{COPIES_BYTES_MAX, ROW_EXTENTS_MAX};
use marram_types::{DataId, Generation, Profile};

use super::check::check_form;
use super::copied::CopiedVersion;
use super::extents::{History, adopt, history, settle};
use super::fence::open_bucket;
use super::outcome::ObjectOutcome;
use super::put_ref::{NewBodyRef, PutRef};
use super::{quota, usage, versions};
use crate::kinds::data_ref::DataRef;
use crate::kinds::extent::{Extent, ser_chunk, ser_chunk_key};
use crate::kinds::inline;
use crate::kinds::object::{BodyRef, RowRef, VersionRow, ser_key};
use crate::kinds::usage::Usage;
use crate::kinds::versioning::Versioning;
use crate::kv::Table;
use crate::layout::Layout;
use crate::refusal::Refusal;
use crate::requests::Apply;
use crate::stored::{StateError, load};

/// How the extents compare with what the bucket asks for.
#[derive(Clone, Copy)]
struct Protection {
    nominal: Profile,
    own: Option<Profile>,
    narrowed: bool,
    under_protected: bool,
    off_profile: bool,
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
    match history_of(apply, put, current.as_ref())? {
        History::New => {}
        History::Committed => return Ok(ObjectOutcome::AlreadyCommitted),
        History::Discarded => return Ok(ObjectOutcome::Refused(Refusal::DataDiscarded)),
    }
    let mut layout = Layout::default();
    let extents = match judge(apply, &mut layout, put, current.as_ref())? {
        Ok(extents) => extents,
        Err(refusal) => return Ok(ObjectOutcome::Refused(refusal)),
    };
    let own = match record.own_profile(put.own) {
        Ok(own) => own,
        Err(profile) => {
            let refusal = Refusal::ProfileNotAllowed { profile };
            return Ok(ObjectOutcome::Refused(refusal));
        }
    };
    let protection = protection(put, (record.profile, own), &extents);
    let counted = counted(put, protection);
    let freed = versions::freed(apply.kv, &record, put.key, current.as_ref())?;
    if let Err(refusal) = quota::judge(apply.kv, &record, freed, counted)? {
        return Ok(ObjectOutcome::Refused(refusal));
    }
    let generation = Generation(apply.index + apply.state.generation_offset);
    versions::make_way(apply, &mut layout, &record, put.key, current)?;
    let data = write_body(apply, put, &extents, protection)?;
    let mut row = row(put, &data, generation, apply.now_ms(), protection);
    row.numbered = record.versioning == Versioning::On;
    apply.kv.put(Table::Objects, &row_key, &row.ser_value())?;
    usage::change(apply, put.bucket, Usage::default(), counted)?;
    if put.told_asked.is_some() {
        let copied = copied(put, generation, apply.now_ms(), (&extents, protection));
        return Ok(ObjectOutcome::Copied(Box::new(copied)));
    }
    Ok(ObjectOutcome::Committed {
        version: put.version,
        generation,
        modified_ms: apply.now_ms(),
        narrowed: protection.narrowed,
        under_protected: protection.under_protected,
    })
}

/// What an attempt that reads other bytes is told of the new version.
fn copied(
    put: &PutRef<'_>,
    generation: Generation,
    modified_ms: u64,
    (extents, protection): (&[Extent], Protection),
) -> CopiedVersion {
    let mut profiles = Vec::new();
    for extent in extents {
        if !profiles.contains(&extent.profile) {
            profiles.push(extent.profile);
        }
    }
    CopiedVersion {
        version: put.version,
        generation,
        modified_ms,
        size: put.size,
        crc64: put.crc64,
        etag: put.etag.to_owned(),
        content_type: put.content_type.to_owned(),
        metadata: put.owned_metadata(),
        tags: put.owned_tags(),
        profiles,
        under_protected: protection.under_protected,
    }
}

/// What is counted of the new version.
fn counted(put: &PutRef<'_>, protection: Protection) -> Usage {
    Usage {
        objects: 1,
        bytes: put.size,
        narrowed: u64::from(protection.narrowed),
        under_protected: u64::from(protection.under_protected),
        off_profile: u64::from(protection.off_profile),
        ..Usage::default()
    }
}

/// Whether the put was applied before, under whatever request (placement-protocol.md 10): its
/// version is the current one, or its data is known.
fn history_of(
    apply: &Apply<'_>,
    put: &PutRef<'_>,
    current: Option<&VersionRow>,
) -> Result<History, StateError> {
    if current.is_some_and(|row| row.version == put.version) {
        return Ok(History::Committed);
    }
    match &put.body {
        NewBodyRef::Inline { .. } => Ok(History::New),
        NewBodyRef::Extents(extents) => history(apply, extents),
    }
}

/// What the group's state has against the put, or its extents as the row will hold them.
fn judge(
    apply: &Apply<'_>,
    layout: &mut Layout,
    put: &PutRef<'_>,
    current: Option<&VersionRow>,
) -> Result<Result<Vec<Extent>, Refusal>, StateError> {
    let extents = match &put.body {
        NewBodyRef::Inline { .. } => Vec::new(),
        NewBodyRef::Extents(extents) => match settle(apply, layout, extents)? {
            Ok(extents) => extents,
            Err(refusal) => return Ok(Err(refusal)),
        },
    };
    let present = current.map(|row| (row.generation, row.etag.as_str()));
    if put.precondition.holds(present) {
        return Ok(Ok(extents));
    }
    Ok(Err(Refusal::PreconditionFailed {
        current: present.map_or(Generation(0), |(generation, _)| generation),
    }))
}

/// Small objects are kept as copies, so that is what is asked for them.
fn protection(
    put: &PutRef<'_>,
    (of_bucket, own): (Profile, Option<Profile>),
    extents: &[Extent],
) -> Protection {
    let nominal = nominal(put.size, own.unwrap_or(of_bucket));
    Protection {
        nominal,
        own,
        narrowed: extents.iter().any(|e| e.is_narrower_than(nominal)),
        under_protected: extents.iter().any(|e| e.profile.m() < nominal.m()),
        off_profile: extents.iter().any(|e| e.profile != nominal),
    }
}

/// What a bucket of this profile asks for, for an object of this size.
pub(super) fn nominal(size: u64, profile: Profile) -> Profile {
    if size <= COPIES_BYTES_MAX as u64 {
        profile.as_copies()
    } else {
        profile
    }
}

/// Where the new version's bytes are, as its row will say.
enum Written<'a> {
    Inline(DataId),
    Row(&'a [Extent]),
    Spilled(u32),
}

fn row<'a>(
    put: &'a PutRef<'a>,
    data: &Written<'a>,
    generation: Generation,
    modified_ms: u64,
    protection: Protection,
) -> RowRef<'a> {
    let body = match *data {
        Written::Inline(data) => BodyRef::Inline { data },
        Written::Row(extents) => BodyRef::Extents(extents),
        Written::Spilled(extents) => BodyRef::Spilled { extents },
    };
    RowRef {
        version: put.version,
        generation,
        modified_ms,
        placed_ms: None,
        size: put.size,
        crc64: put.crc64,
        etag: put.etag,
        content_type: put.content_type,
        metadata: put.metadata,
        tags: put.tags,
        body,
        nominal: protection.nominal,
        own: protection.own,
        narrowed: protection.narrowed,
        under_protected: protection.under_protected,
        off_profile: protection.off_profile,
        numbered: false,
    }
}

fn write_body<'a>(
    apply: &mut Apply<'_>,
    put: &PutRef<'_>,
    extents: &'a [Extent],
    protection: Protection,
) -> Result<Written<'a>, StateError> {
    if let NewBodyRef::Inline { data, bytes } = &put.body {
        // Inline bytes need no begin token; the commit's own index makes their id unique.
        let data = DataId {
            begin: apply.index,
            ..*data
        };
        let value = inline::ser_value(bytes);
        let key = inline::ser_key(data);
        apply.kv.put(Table::Inline, &key, &value)?;
        return Ok(Written::Inline(data));
    }
    let holder = DataRef::Live {
        bucket: put.bucket,
        key: put.key.to_owned(),
    };
    adopt(apply, &holder, extents, protection.nominal)?;
    if extents.len() <= ROW_EXTENTS_MAX {
        return Ok(Written::Row(extents));
    }
    for (chunk, extents) in (0_u16..).zip(extents.chunks(ROW_EXTENTS_MAX)) {
        let key = ser_chunk_key(put.version, chunk);
        apply.kv.put(Table::ExtentRows, &key, &ser_chunk(extents))?;
    }
    let count = u32::try_from(extents.len()).expect("at most OBJECT_EXTENTS_MAX");
    Ok(Written::Spilled(count))
}
