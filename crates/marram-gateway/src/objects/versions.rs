//! Versions that need not be current: one of them, or a page of all.

use marram_meta::{
    HeadAnswer, ListItem, ListQuery, ListStart, ObjectAnswer, ObjectQuery, VersionAnswer,
};
use marram_proto::v1;
use marram_types::caps::KEY_BYTES_MAX;
use marram_types::{BucketName, Generation};

use super::list::merged;
use super::{ListError, LookupError, ObjectName, Seen, placed};
use crate::convert;
use crate::core::Core;
use crate::groups::GroupError;
use crate::token::{self, Question, TokenError};
use crate::validate::{self, InvalidField};

/// A version of an object by its generation, with its bytes where they are inline; without a generation
/// the current one. Linearizable.
pub(crate) async fn lookup_version(
    core: &Core,
    name: &ObjectName,
    asked: Option<Generation>,
) -> Result<HeadAnswer, LookupError> {
    Ok(lookup_version_to_read(core, name, asked).await?.0)
}

/// The same, and as of when, for a read of its bytes (rules.md 28).
pub(crate) async fn lookup_version_to_read(
    core: &Core,
    name: &ObjectName,
    asked: Option<Generation>,
) -> Result<(HeadAnswer, Seen), LookupError> {
    let record = core.bucket(&name.bucket).await?;
    let group = core.group_of(&record, &name.key)?;
    let query = ObjectQuery::Version {
        bucket: record.bucket,
        key: name.key.clone(),
        generation: asked,
    };
    let (ObjectAnswer::Version(found), index) = core.ask_when(group, &query).await? else {
        return Err(GroupError::Kind(group).into());
    };
    let (bucket, key) = (name.bucket.clone(), name.key.clone());
    match (found, asked) {
        (VersionAnswer::Version { head, .. }, _) => Ok((placed(*head), Seen { group, index })),
        (VersionAnswer::Marker { marker, .. }, None) => Err(LookupError::Deleted {
            bucket,
            key,
            generation: marker.generation,
        }),
        (VersionAnswer::Marker { .. }, Some(generation)) => Err(LookupError::IsMarker {
            bucket,
            key,
            generation,
        }),
        (VersionAnswer::Absent, None) => Err(LookupError::NotFound { bucket, key }),
        (VersionAnswer::Absent, Some(generation)) => Err(LookupError::NoVersion {
            bucket,
            key,
            generation,
        }),
    }
}

/// A page of versions and delete markers.
pub(crate) async fn list_versions(
    core: &Core,
    request: v1::ListObjectVersionsRequest,
) -> Result<v1::ListObjectVersionsResponse, ListError> {
    let name = BucketName::new(request.bucket.as_str()).map_err(InvalidField::from)?;
    validate::short("prefix", &request.prefix, KEY_BYTES_MAX)?;
    validate::short("delimiter", &request.delimiter, KEY_BYTES_MAX)?;
    validate::short("key_marker", &request.key_marker, KEY_BYTES_MAX)?;
    let limit = validate::page_size(request.page_size)?;
    let bucket = core.bucket(&name).await?.bucket;
    let question = Question {
        method: "ListObjectVersions",
        bucket: bucket.0,
        prefix: &request.prefix,
        delimiter: &request.delimiter,
    };
    let query = ListQuery {
        bucket,
        prefix: request.prefix.clone(),
        start: start(core, &question, &request)?,
        delimiter: request.delimiter.clone(),
        limit,
    };
    let begins = request.page_token.is_empty();
    let merged = merged(core, &question, query, ObjectQuery::ListVersions).await?;
    let revision = merged.revision.filter(|_| begins);
    let mut answer = v1::ListObjectVersionsResponse {
        next_page_token: merged.next_page_token,
        revision: revision.unwrap_or_default(),
        ..v1::ListObjectVersionsResponse::default()
    };
    for item in merged.items {
        match item {
            ListItem::Version(entry) => answer.versions.push(convert::version(entry)),
            ListItem::Prefix(prefix) => answer.common_prefixes.push(prefix),
            // Only listings of objects have them.
            ListItem::Object(_) => {}
        }
    }
    Ok(answer)
}

/// Where the page begins: the token's place, else after the key or version asked for.
fn start(
    core: &Core,
    question: &Question<'_>,
    request: &v1::ListObjectVersionsRequest,
) -> Result<ListStart, ListError> {
    if !request.page_token.is_empty() {
        let place = token::open(&core.kek, question, &request.page_token)?;
        return Ok(ListStart::decode(&place).map_err(|_| TokenError)?);
    }
    let key = request.key_marker.clone();
    Ok(match (key.is_empty(), request.generation_marker) {
        (true, None) => ListStart::Begin,
        (true, Some(_)) => {
            return Err(InvalidField::Wrong {
                field: "generation_marker",
                rule: "give the key that it belongs to as key_marker",
            }
            .into());
        }
        (false, None) => ListStart::AfterKey(key),
        (false, Some(generation)) => ListStart::AfterVersion(key, Generation(generation)),
    })
}
