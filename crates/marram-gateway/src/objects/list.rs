//! A page of keys: every group's share, merged (rules.md 29).

use std::collections::BTreeMap;

use futures::future::try_join_all;
use marram_meta::{ListItem, ListMerge, ListPage, ListQuery, ListStart, ObjectAnswer, ObjectQuery};
use marram_proto::v1;
use marram_types::{BucketName, GroupId};

use crate::convert;
use crate::core::{BucketError, Core};
use crate::groups::{GroupError, QUERY_TIME};
use crate::status::{Fault, Reason};
use crate::token::{self, Question, TokenError};
use crate::validate::{self, InvalidField};
use crate::watch::{Revision, seal_revision};

/// Why keys could not be listed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListError {
    #[error(transparent)]
    Invalid(#[from] InvalidField),
    #[error(transparent)]
    Bucket(#[from] BucketError),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Group(#[from] GroupError),
}

impl Fault for ListError {
    fn reason(&self) -> Reason {
        match self {
            Self::Invalid(error) => error.reason(),
            Self::Bucket(error) => error.reason(),
            Self::Token(_) => Reason::InvalidPageToken,
            Self::Group(error) => error.reason(),
        }
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Invalid(error) => error.details(),
            Self::Bucket(error) => error.details(),
            Self::Token(_) => Vec::new(),
            Self::Group(error) => error.details(),
        }
    }
}

/// A page of keys.
pub(crate) async fn list(
    core: &Core,
    request: v1::ListObjectsRequest,
) -> Result<v1::ListObjectsResponse, ListError> {
    let name = BucketName::new(request.bucket.as_str()).map_err(InvalidField::from)?;
    validate::list_texts(&request)?;
    let limit = validate::page_size(request.page_size)?;
    let bucket = core.bucket(&name).await?.bucket;
    let question = Question {
        method: "ListObjects",
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
    let merged = merged(core, &question, query, ObjectQuery::List).await?;
    let revision = merged.revision.filter(|_| begins);
    let mut answer = response(merged.items, merged.next_page_token);
    answer.revision = revision.unwrap_or_default();
    Ok(answer)
}

/// A page of all groups' items.
pub(super) struct Merged {
    pub(super) items: Vec<ListItem>,
    /// The token of the next page; empty where there is none.
    pub(super) next_page_token: String,
    /// How far each group was when it was first asked, as a token: what happened until then is in this
    /// page and in those that follow it.
    pub(super) revision: Option<String>,
}

/// Merges a page of all groups' items. `ask` makes a group's question.
pub(super) async fn merged(
    core: &Core,
    question: &Question<'_>,
    query: ListQuery,
    ask: fn(ListQuery) -> ObjectQuery,
) -> Result<Merged, ListError> {
    let groups = core.object_groups()?;
    let mut merge = ListMerge::new(usize::from(groups), query.limit, &query.start);
    let mut first_asked: BTreeMap<usize, u64> = BTreeMap::new();
    loop {
        let asks = merge.asks();
        if asks.is_empty() {
            break;
        }
        let pages = asks.into_iter().map(|asked| {
            let query = ask(ListQuery {
                start: asked.start,
                limit: asked.limit,
                ..query.clone()
            });
            async move { Ok::<_, GroupError>((asked.group, page(core, asked.group, query).await?)) }
        });
        for (group, (page, applied)) in try_join_all(pages).await? {
            first_asked.entry(group).or_insert(applied);
            merge.feed(group, page);
        }
    }
    let merged = merge.finish();
    let next = merged.next.map(|next| next.encode());
    let token = next.map(|next| token::seal(&core.kek, question, &next));
    // A page of nothing but what its start leaves out asks nobody.
    let all = first_asked.len() == usize::from(groups);
    let revision = all.then(|| Revision::behind(first_asked.into_values()));
    Ok(Merged {
        items: merged.items,
        next_page_token: token.unwrap_or_default(),
        revision: revision.map(|revision| seal_revision(&core.kek, &revision)),
    })
}

/// Where the page begins: the token's place, else after the key asked for.
fn start(
    core: &Core,
    question: &Question<'_>,
    request: &v1::ListObjectsRequest,
) -> Result<ListStart, TokenError> {
    if !request.page_token.is_empty() {
        let place = token::open(&core.kek, question, &request.page_token)?;
        return ListStart::decode(&place).map_err(|_| TokenError);
    }
    Ok(if request.start_after.is_empty() {
        ListStart::Begin
    } else {
        ListStart::AfterKey(request.start_after.clone())
    })
}

/// One group's page, and its applied index. Each is behind a confirmation of its own, so it shows every change that ended
/// before the question.
async fn page(
    core: &Core,
    index: usize,
    query: ObjectQuery,
) -> Result<(ListPage, u64), GroupError> {
    let number = u16::try_from(index).expect("groups are counted by a u16");
    let group = GroupId(number + 1);
    let asked = core
        .groups
        .query(group, query.encode().into(), true, QUERY_TIME);
    let answer = asked.await?;
    match ObjectAnswer::decode(&answer.bytes)? {
        ObjectAnswer::List(page) => Ok((page, answer.applied)),
        _ => Err(GroupError::Kind(group)),
    }
}

fn response(items: Vec<ListItem>, next_page_token: String) -> v1::ListObjectsResponse {
    let mut answer = v1::ListObjectsResponse {
        next_page_token,
        ..v1::ListObjectsResponse::default()
    };
    for item in items {
        match item {
            ListItem::Object(entry) => answer.objects.push(convert::listed(entry)),
            ListItem::Prefix(prefix) => answer.common_prefixes.push(prefix),
            // Only listings of versions have them.
            ListItem::Version(_) => {}
        }
    }
    answer
}
