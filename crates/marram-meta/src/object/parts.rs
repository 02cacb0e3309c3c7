//! What is counted of parts, kept in line when work in the background changes one of them.

use marram_types::{BucketId, UploadId};

use super::usage;
use crate::kinds::object::Body;
use crate::kinds::part::PartRow;
use crate::kinds::upload::{self, UploadRow};
use crate::kv::Table;
use crate::live;
use crate::requests::Apply;
use crate::stored::{StateError, load, store};

/// Counts a part anew for what has it: the upload, or the version that it became. What is only left
/// to be taken out of use is not counted.
pub(super) fn recount(
    apply: &mut Apply<'_>,
    (bucket, key): (BucketId, &str),
    (upload, part): (UploadId, u16),
    (old, new): (&PartRow, &PartRow),
) -> Result<(), StateError> {
    let upload_key = upload::ser_key(bucket, key, upload);
    if let Some(mut row) = load::<UploadRow>(apply.kv, Table::Uploads, &upload_key)? {
        row.totals = row.totals.minus(old.totals()).plus(new.totals());
        return Ok(store(apply.kv, Table::Uploads, &upload_key, &row)?);
    }
    let Some((held, shelf)) = live::became(apply.kv, (bucket, key), upload)? else {
        return Ok(());
    };
    let mut row = held.clone();
    let Body::Parts(body) = &mut row.body else {
        return Ok(());
    };
    if !body.ranges.contains(part) {
        return Ok(());
    }
    body.totals = body.totals.minus(old.totals()).plus(new.totals());
    let tally = body.totals.tally;
    row.judge_parts(tally);
    usage::change(
        apply,
        bucket,
        usage::of(&held, shelf),
        usage::of(&row, shelf),
    )?;
    Ok(live::store_row(apply.kv, (bucket, key), shelf, row)?)
}
