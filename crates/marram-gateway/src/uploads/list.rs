//! Pages of parts, and of uploads of all groups merged.

use futures::future::try_join_all;
use marram_meta::{
    ObjectAnswer, ObjectQuery, UploadFound, UploadItem, UploadRefusal, UploadsAnswer, UploadsQuery,
};
use marram_proto::v1;
use marram_types::caps::KEY_BYTES_MAX;
use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{BucketName, GroupId, UploadId};

use super::{Named, UploadError, look};
use crate::convert;
use crate::core::Core;
use crate::groups::GroupError;
use crate::token::{self, Question, TokenError};
use crate::validate::{self, InvalidField};

/// Fewest uploads that a group is asked for: keys are spread over all groups, so each has its share of
/// a page.
const SHARE_MIN: u32 = 16;

/// A page of the parts of an upload.
pub(crate) async fn parts(
    core: &Core,
    request: v1::ListPartsRequest,
) -> Result<v1::ListPartsResponse, UploadError> {
    let named = Named::new(request.bucket, request.key, &request.upload_id)?;
    let limit = validate::page_size(request.page_size)?;
    let placed = named.place(core).await?;
    let upload = placed.name.upload.to_string();
    let question = Question {
        method: "ListParts",
        bucket: placed.name.bucket.0,
        prefix: placed.name.key.as_str(),
        delimiter: &upload,
    };
    let after = if request.page_token.is_empty() {
        0
    } else {
        let place = token::open(&core.kek, &question, &request.page_token)?;
        let number = <[u8; 2]>::try_from(&place[..]).map_err(|_| TokenError)?;
        u16::from_be_bytes(number)
    };
    let found = match look(core, placed.group, &placed.name, (after, limit)).await? {
        UploadFound::Open(found) if found.row.stream.is_some() => {
            return Err(UploadError::Refused(UploadRefusal::IsStream.into()));
        }
        UploadFound::Open(found) => found,
        UploadFound::Completed(generation) => {
            return Err(UploadError::Refused(
                UploadRefusal::Completed { generation }.into(),
            ));
        }
        UploadFound::Unknown => {
            return Err(UploadError::Refused(UploadRefusal::Unknown.into()));
        }
    };
    let last = found.parts.last().filter(|_| found.more);
    let next_page_token = last
        .map(|last| token::seal(&core.kek, &question, &last.part.to_be_bytes()))
        .unwrap_or_default();
    Ok(v1::ListPartsResponse {
        parts: found.parts.iter().map(convert::part).collect(),
        next_page_token,
        upload: Some(convert::upload(UploadItem {
            key: placed.name.key.as_str().to_owned(),
            upload: placed.name.upload,
            created_ms: found.row.created_ms,
            parts: found.row.totals.parts,
            bytes: found.row.totals.bytes,
            stream: false,
        })),
    })
}

/// Where a page of uploads ended.
type Place = (String, UploadId);

fn seal_place((key, upload): &Place) -> Vec<u8> {
    let mut out = Writer::new();
    out.str(key).u128_be(upload.0);
    out.finish()
}

fn open_place(bytes: &[u8]) -> Result<Place, DecodeError> {
    let mut from = Reader::new(bytes);
    let place = (from.str()?.to_owned(), UploadId(from.u128_be()?));
    from.finish()?;
    Ok(place)
}

/// A page of the uploads of a bucket.
pub(crate) async fn uploads(
    core: &Core,
    request: v1::ListUploadsRequest,
) -> Result<v1::ListUploadsResponse, UploadError> {
    let name = BucketName::new(request.bucket).map_err(InvalidField::from)?;
    validate::short("prefix", &request.prefix, KEY_BYTES_MAX)?;
    let limit = validate::page_size(request.page_size)?;
    let bucket = core.bucket(&name).await?.bucket;
    let question = Question {
        method: "ListUploads",
        bucket: bucket.0,
        prefix: &request.prefix,
        delimiter: "",
    };
    let after = if request.page_token.is_empty() {
        None
    } else {
        let place = token::open(&core.kek, &question, &request.page_token)?;
        Some(open_place(&place).map_err(|_| TokenError)?)
    };
    let groups = core.object_groups()?;
    let share = (limit.div_ceil(u32::from(groups)) * 2).max(SHARE_MIN);
    let pages = (1..=groups).map(GroupId).map(|group| {
        let query = UploadsQuery {
            bucket,
            prefix: request.prefix.clone(),
            after: after.clone(),
            limit: share.min(limit),
        };
        page(core, group, query)
    });
    let (uploads, next) = merge(try_join_all(pages).await?, limit);
    Ok(v1::ListUploadsResponse {
        uploads: uploads.into_iter().map(convert::upload).collect(),
        next_page_token: next
            .map(|place| token::seal(&core.kek, &question, &seal_place(&place)))
            .unwrap_or_default(),
    })
}

async fn page(
    core: &Core,
    group: GroupId,
    query: UploadsQuery,
) -> Result<UploadsAnswer, GroupError> {
    match core.ask(group, &ObjectQuery::Uploads(query), true).await? {
        ObjectAnswer::Uploads(page) => Ok(page),
        _ => Err(GroupError::Kind(group)),
    }
}

/// The uploads of all groups in order, up to where every group was asked, and where to go on.
fn merge(pages: Vec<UploadsAnswer>, limit: u32) -> (Vec<UploadItem>, Option<Place>) {
    let place = |item: &UploadItem| (item.key.clone(), item.upload);
    let cut = pages
        .iter()
        .filter(|page| page.more)
        .filter_map(|page| page.uploads.last().map(place))
        .min();
    let mut all: Vec<UploadItem> = pages.into_iter().flat_map(|page| page.uploads).collect();
    all.sort_by_key(place);
    let mut more = false;
    if let Some(cut) = &cut {
        all.retain(|item| place(item) <= *cut);
        more = true;
    }
    let limit = usize::try_from(limit).expect("a u32 fits a usize");
    more |= all.len() > limit;
    all.truncate(limit);
    let next = all.last().filter(|_| more).map(place);
    (all, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(key: &str) -> UploadItem {
        UploadItem {
            key: key.to_owned(),
            upload: UploadId(1),
            created_ms: 0,
            parts: 0,
            bytes: 0,
            stream: false,
        }
    }

    #[test]
    fn a_page_ends_where_a_group_was_not_asked_further() {
        let page = |keys: &[&str], more| UploadsAnswer {
            uploads: keys.iter().map(|key| item(key)).collect(),
            more,
        };
        let pages = || {
            vec![
                page(&["a", "d"], true),
                page(&["b", "c", "e"], false),
                page(&[], false),
            ]
        };
        let keys = |items: &[UploadItem]| items.iter().map(|i| i.key.clone()).collect::<String>();
        let (items, next) = merge(pages(), 10);
        assert_eq!(
            (keys(&items).as_str(), next),
            ("abcd", Some(("d".to_owned(), UploadId(1))))
        );
        let (items, next) = merge(pages(), 2);
        assert_eq!(
            (keys(&items).as_str(), next),
            ("ab", Some(("b".to_owned(), UploadId(1))))
        );
        let (items, next) = merge(vec![page(&["a"], false), page(&["b"], false)], 2);
        assert_eq!((keys(&items).as_str(), next), ("ab", None));
        let place = ("a\0b".to_owned(), UploadId(7));
        assert_eq!(open_place(&seal_place(&place)), Ok(place));
    }
}
