//! Streams: uploads whose bytes come in their order from one writer at a time (rules.md 33, decision
//! 0049). What is recorded of one are parts like those of a multipart upload, so that everything that looks
//! for data finds them, and its end joins them as a completion does.

use marram_types::caps::{
    PART_BYTES_MAX, PART_EXTENTS_MAX, UPLOAD_EXTENTS_MAX, UPLOAD_PARTS_MAX, WRITE_PART_EXTENTS,
};
use marram_types::{Crc64Nvme, Profile, crc32c_joined};

use super::check::check_extents;
use super::extents::{History, adopt, history, settle};
use super::fence::open_bucket;
use super::new_run::NewRun;
use super::outcome::ObjectOutcome;
use super::upload::{find, holder, refused, touch};
use super::upload_command::UploadName;
use super::{quota, usage};
use crate::kinds::extent::Extent;
use crate::kinds::part::{self, PartRow, PartSums, PartTotals};
use crate::kinds::upload::{StreamState, UploadRow, ser_key};
use crate::kinds::usage::Usage;
use crate::kv::Table;
use crate::layout::Layout;
use crate::refusal::{Malformed, Refusal, UploadRefusal};
use crate::requests::Apply;
use crate::stored::{StateError, load, store};

/// The row of a stream and its state, or why the upload is none.
fn find_stream(
    apply: &Apply<'_>,
    name: &UploadName,
) -> Result<Result<(UploadRow, StreamState), Refusal>, StateError> {
    Ok(find(apply, name)?.and_then(|row| match row.stream {
        Some(stream) => Ok((row, stream)),
        None => Err(UploadRefusal::NotStream.into()),
    }))
}

fn wrong_offset(row: &UploadRow, offset: u64) -> Option<UploadRefusal> {
    let persisted = row.totals.bytes;
    (persisted != offset).then_some(UploadRefusal::WrongOffset { persisted })
}

/// Begins the epoch of a writer that knows where the stream goes on.
pub(super) fn open(
    apply: &mut Apply<'_>,
    name: &UploadName,
    offset: u64,
) -> Result<ObjectOutcome, StateError> {
    if let Err(refusal) = open_bucket(apply.kv, name.bucket)? {
        return Ok(refused(refusal));
    }
    let (mut row, mut stream) = match find_stream(apply, name)? {
        Ok(found) => found,
        Err(refusal) => return Ok(refused(refusal)),
    };
    if let Some(refusal) = wrong_offset(&row, offset) {
        return Ok(refused(refusal));
    }
    stream.epoch = apply.index;
    row.stream = Some(stream);
    let key = ser_key(name.bucket, name.key.as_str(), name.upload);
    store(apply.kv, Table::Uploads, &key, &row)?;
    Ok(ObjectOutcome::WriteOpened {
        epoch: stream.epoch,
    })
}

fn check(run: &NewRun, index: u64) -> Result<(), Malformed> {
    if run.extents.len() > PART_EXTENTS_MAX {
        return Err(Malformed::Extents);
    }
    if !run.extents.is_empty() {
        check_extents(&run.extents, index)?;
    }
    // No overflow: at most 128 times 1 GiB.
    let size: u64 = run.extents.iter().map(|new| new.extent.length).sum();
    if size == run.size && size <= PART_BYTES_MAX {
        Ok(())
    } else {
        Err(Malformed::Size)
    }
}

/// Records the next bytes, unless a later writer is heard, or others are there already.
pub(super) fn record(
    apply: &mut Apply<'_>,
    name: &UploadName,
    new: &NewRun,
) -> Result<ObjectOutcome, StateError> {
    if let Err(what) = check(new, apply.index) {
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
    let (mut upload, mut stream) = match find_stream(apply, name)? {
        Ok(found) => found,
        Err(refusal) => return Ok(refused(refusal)),
    };
    if stream.epoch != new.epoch {
        let epoch = stream.epoch;
        return Ok(refused(UploadRefusal::StaleWriter { epoch }));
    }
    if let Some(refusal) = wrong_offset(&upload, new.offset) {
        return Ok(refused(refusal));
    }
    let settled = match settle(apply, &mut Layout::default(), &new.extents)? {
        Ok(settled) => settled,
        Err(refusal) => return Ok(refused(refusal)),
    };
    let profile = record.profile_for(upload.own);
    let (number, before, row) = place(apply, name, &upload, profile, (new, &settled))?;
    let totals = upload.totals.minus(before).plus(row.totals());
    if totals.extents > UPLOAD_EXTENTS_MAX || number > UPLOAD_PARTS_MAX {
        return Ok(refused(UploadRefusal::TooManyExtents));
    }
    let added = usage::of_parts(new.size);
    if let Err(refusal) = quota::judge(apply.kv, &record, Usage::default(), added)? {
        return Ok(refused(refusal));
    }
    usage::change(apply, name.bucket, Usage::default(), added)?;
    adopt(apply, &holder(name, number), &settled, row.nominal)?;
    let part_key = part::ser_key(name.upload, number);
    store(apply.kv, Table::UploadParts, &part_key, &row)?;
    stream.crc64 = Crc64Nvme::joined(stream.crc64, new.crc64, new.size);
    stream.crc32c = crc32c_joined(stream.crc32c, new.crc32c, new.size);
    upload.stream = Some(stream);
    touch(apply, name, upload, profile, totals)?;
    Ok(ObjectOutcome::RunRecorded {
        persisted: totals.bytes,
        crc64: stream.crc64,
    })
}

/// The part that takes the bytes: its number, what it was before, and its row. That is the last one, or a
/// new one where that is full or was written for another profile.
fn place(
    apply: &Apply<'_>,
    name: &UploadName,
    upload: &UploadRow,
    profile: Profile,
    (new, settled): (&NewRun, &[Extent]),
) -> Result<(u16, PartTotals, PartRow), StateError> {
    // Parts of a stream are numbered from 1 without gaps, and no more than 10,000.
    let last = u16::try_from(upload.totals.parts).unwrap_or(u16::MAX);
    let last_key = part::ser_key(name.upload, last);
    let held: Option<PartRow> = load(apply.kv, Table::UploadParts, &last_key)?;
    let fits = |row: &PartRow| {
        row.nominal == profile
            && row.extents.len() + settled.len() <= WRITE_PART_EXTENTS
            && row.size + new.size <= PART_BYTES_MAX
    };
    if let Some(mut row) = held.filter(fits) {
        let before = row.totals();
        row.crc64 = Crc64Nvme::joined(row.crc64, new.crc64, new.size);
        let crc32c = row
            .sums
            .crc32c
            .map(|sum| crc32c_joined(sum, new.crc32c, new.size));
        row.sums.crc32c = crc32c;
        row.size += new.size;
        row.modified_ms = apply.now_ms();
        row.extents.extend_from_slice(settled);
        return Ok((last, before, row));
    }
    let row = PartRow {
        size: new.size,
        crc64: new.crc64,
        // Nobody names these parts: they have no entity tags.
        etag: String::new(),
        sums: PartSums {
            crc32c: Some(new.crc32c),
            ..PartSums::default()
        },
        modified_ms: apply.now_ms(),
        // Whatever its size: it is meant to grow.
        nominal: profile,
        extents: settled.to_vec(),
    };
    Ok((last.saturating_add(1), PartTotals::default(), row))
}
