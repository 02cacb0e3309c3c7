//! Multipart uploads: begun, given parts, ended without an object.

use marram_types::Profile;
use marram_types::caps::{PART_BYTES_MAX, PART_EXTENTS_MAX, UPLOAD_EXTENTS_MAX, UPLOAD_PARTS_MAX};

use super::check::{ETAG_BYTES_MAX, check_extents, check_metadata, check_tags};
use super::complete;
use super::displace::displace_extent;
use super::drops;
use super::extents::{History, adopt, history, settle};
use super::fence::open_bucket;
use super::outcome::ObjectOutcome;
use super::put::nominal;
use super::upload_command::{NewPart, UploadCommand, UploadName};
use super::{quota, stream, usage};
use crate::kinds::data_ref::DataRef;
use crate::kinds::object::{self, VersionRow};
use crate::kinds::part::{self, PartRow, PartTotals};
use crate::kinds::upload::{StreamState, UploadRow, ser_key};
use crate::kinds::usage::Usage;
use crate::kv::Table;
use crate::layout::Layout;
use crate::live;
use crate::refusal::{Malformed, Refusal, UploadRefusal};
use crate::requests::Apply;
use crate::stored::{StateError, load, store};

/// Names and values.
type Pairs<'a> = &'a [(String, String)];

pub(super) fn apply(
    apply: &mut Apply<'_>,
    command: &UploadCommand,
) -> Result<ObjectOutcome, StateError> {
    match command {
        UploadCommand::Create {
            name,
            content_type,
            metadata,
            tags,
            stream,
            own,
        } => {
            let stream = stream.then(StreamState::new);
            create(apply, name, (content_type, metadata, tags), stream, *own)
        }
        UploadCommand::Open { name, offset } => stream::open(apply, name, *offset),
        UploadCommand::Run { name, content } => stream::record(apply, name, content),
        UploadCommand::Part { name, content } => put_part(apply, name, content),
        UploadCommand::Complete {
            name,
            content,
            precondition,
        } => complete::apply(apply, name, content, precondition),
        UploadCommand::Abort(name) => abort(apply, name),
        UploadCommand::Drop => drops::next(apply),
    }
}

pub(super) fn refused(refusal: impl Into<Refusal>) -> ObjectOutcome {
    ObjectOutcome::Refused(refusal.into())
}

fn create(
    apply: &mut Apply<'_>,
    name: &UploadName,
    (content_type, metadata, tags): (&str, Pairs<'_>, Pairs<'_>),
    stream: Option<StreamState>,
    asked: Option<Profile>,
) -> Result<ObjectOutcome, StateError> {
    let bytes = metadata.iter().map(|(n, v)| n.len() + v.len()).sum();
    let checked = check_metadata(bytes, content_type).and_then(|()| check_tags(tags));
    if let Err(what) = checked {
        return Ok(refused(what));
    }
    let record = match open_bucket(apply.kv, name.bucket)? {
        Ok(record) => record,
        Err(refusal) => return Ok(refused(refusal)),
    };
    let own = match record.own_profile(asked) {
        Ok(own) => own,
        Err(profile) => return Ok(refused(Refusal::ProfileNotAllowed { profile })),
    };
    let key = ser_key(name.bucket, name.key.as_str(), name.upload);
    let row = UploadRow {
        created_ms: apply.now_ms(),
        revision: apply.index,
        content_type: content_type.to_owned(),
        metadata: metadata.to_vec(),
        tags: tags.to_vec(),
        profile: own.unwrap_or(record.profile),
        own,
        mixed: false,
        totals: PartTotals::default(),
        counted: true,
        stream,
    };
    // Ids are drawn at random, so only a repeated entry finds the row.
    if apply.kv.get(Table::Uploads, &key)?.is_none() {
        store(apply.kv, Table::Uploads, &key, &row)?;
    }
    Ok(ObjectOutcome::UploadCreated {
        upload: name.upload,
        created_ms: row.created_ms,
    })
}

/// The upload's row, or why there is none: it became an object, or it never was or is not any more.
pub(super) fn find(
    apply: &Apply<'_>,
    name: &UploadName,
) -> Result<Result<UploadRow, Refusal>, StateError> {
    let key = ser_key(name.bucket, name.key.as_str(), name.upload);
    if let Some(row) = load(apply.kv, Table::Uploads, &key)? {
        return Ok(Ok(row));
    }
    let became = live::became(apply.kv, (name.bucket, name.key.as_str()), name.upload)?;
    Ok(Err(match became {
        Some((row, _)) => UploadRefusal::Completed {
            generation: row.generation,
        },
        None => UploadRefusal::Unknown,
    }
    .into()))
}

/// The current version of the upload's key.
pub(super) fn current(
    apply: &Apply<'_>,
    name: &UploadName,
) -> Result<Option<VersionRow>, StateError> {
    let key = object::ser_key(name.bucket, name.key.as_str());
    load(apply.kv, Table::Objects, &key)
}

fn check_part(part: &NewPart, index: u64) -> Result<(), Malformed> {
    if part.part == 0 || part.part > UPLOAD_PARTS_MAX {
        return Err(Malformed::Part);
    }
    if part.etag.len() > ETAG_BYTES_MAX {
        return Err(Malformed::Metadata);
    }
    if part.extents.len() > PART_EXTENTS_MAX {
        return Err(Malformed::Extents);
    }
    if part.size > 0 {
        check_extents(&part.extents, index)?;
    }
    // No overflow: at most 128 times 1 GiB.
    let size: u64 = part.extents.iter().map(|new| new.extent.length).sum();
    if size == part.size && size <= PART_BYTES_MAX {
        Ok(())
    } else {
        Err(Malformed::Size)
    }
}

fn put_part(
    apply: &mut Apply<'_>,
    name: &UploadName,
    new: &NewPart,
) -> Result<ObjectOutcome, StateError> {
    if let Err(what) = check_part(new, apply.index) {
        return Ok(refused(what));
    }
    let record = match open_bucket(apply.kv, name.bucket)? {
        Ok(record) => record,
        Err(refusal) => return Ok(refused(refusal)),
    };
    match history(apply, &new.extents)? {
        History::New => {}
        History::Committed => return Ok(ObjectOutcome::AlreadyCommitted),
        History::Discarded => return Ok(refused(Refusal::DataDiscarded)),
    }
    let upload = match find(apply, name)? {
        Ok(upload) => upload,
        Err(refusal) => return Ok(refused(refusal)),
    };
    if upload.stream.is_some() {
        return Ok(refused(UploadRefusal::IsStream));
    }
    let profile = record.profile_for(upload.own);
    let part_key = part::ser_key(name.upload, new.part);
    let old: Option<PartRow> = load(apply.kv, Table::UploadParts, &part_key)?;
    let mut layout = Layout::default();
    let settled = match settle(apply, &mut layout, &new.extents)? {
        Ok(settled) => settled,
        Err(refusal) => return Ok(refused(refusal)),
    };
    let row = PartRow {
        size: new.size,
        crc64: new.crc64,
        etag: new.etag.clone(),
        sums: new.sums,
        modified_ms: apply.now_ms(),
        nominal: nominal(new.size, profile),
        extents: settled,
    };
    let before = old.as_ref().map(PartRow::totals).unwrap_or_default();
    let totals = upload.totals.minus(before).plus(row.totals());
    if totals.extents > UPLOAD_EXTENTS_MAX {
        return Ok(refused(UploadRefusal::TooManyExtents));
    }
    let counted = |part: PartTotals| usage::of_parts(upload.counts(part.bytes));
    let (freed, added) = (counted(before), counted(row.totals()));
    if let Err(refusal) = quota::judge(apply.kv, &record, freed, added)? {
        return Ok(refused(refusal));
    }
    usage::change(apply, name.bucket, freed, added)?;
    for extent in old.iter().flat_map(|old| &old.extents) {
        displace_extent(apply, &mut layout, extent)?;
    }
    adopt(apply, &holder(name, new.part), &row.extents, row.nominal)?;
    store(apply.kv, Table::UploadParts, &part_key, &row)?;
    touch(apply, name, upload, profile, totals)?;
    Ok(ObjectOutcome::PartStored {
        modified_ms: row.modified_ms,
        under_protected: row.totals().tally.under_protected > 0,
    })
}

/// What the data of a part refers back to.
pub(super) fn holder(name: &UploadName, part: u16) -> DataRef {
    DataRef::Part {
        bucket: name.bucket,
        key: name.key.as_str().to_owned(),
        upload: name.upload,
        part,
    }
}

pub(super) fn touch(
    apply: &mut Apply<'_>,
    name: &UploadName,
    mut upload: UploadRow,
    profile: Profile,
    totals: PartTotals,
) -> Result<(), StateError> {
    upload.revision = apply.index;
    upload.mixed |= profile != upload.profile;
    upload.totals = totals;
    let key = ser_key(name.bucket, name.key.as_str(), name.upload);
    Ok(store(apply.kv, Table::Uploads, &key, &upload)?)
}

fn abort(apply: &mut Apply<'_>, name: &UploadName) -> Result<ObjectOutcome, StateError> {
    if let Err(refusal) = open_bucket(apply.kv, name.bucket)? {
        return Ok(refused(refusal));
    }
    let upload = match find(apply, name)? {
        Ok(upload) => upload,
        Err(refusal) => return Ok(refused(refusal)),
    };
    end(apply, name, &upload)?;
    Ok(ObjectOutcome::Done)
}

/// Ends an upload; its parts are taken out of use by later entries, and not counted any more.
pub(super) fn end(
    apply: &mut Apply<'_>,
    name: &UploadName,
    upload: &UploadRow,
) -> Result<(), StateError> {
    let parts = usage::of_parts(upload.counts(upload.totals.bytes));
    usage::change(apply, name.bucket, parts, Usage::default())?;
    let key = ser_key(name.bucket, name.key.as_str(), name.upload);
    apply.kv.delete(Table::Uploads, &key)?;
    drops::begin(apply, (name.bucket, name.key.as_str()), name.upload)
}
