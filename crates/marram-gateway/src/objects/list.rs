//! A page of keys: every group's share, merged (rules.md 29).

use futures::future::try_join_all;
use marram_meta::{ListItem, ListMerge, ListPage, ListQuery, ListStart, ObjectAnswer, ObjectQuery};
use marram_proto::v1;
use marram_types::{BucketName, GroupId};

use crate::convert;
use crate::core::{BucketError, Core};
use crate::groups::GroupError;
use crate::status::{Fault, Reason};
use crate::token::{self, Question, TokenError};
use crate::validate::{self, InvalidField};

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
    let (items, next_page_token) = merged(core, &question, query, ObjectQuery::List).await?;
    Ok(response(items, next_page_token))
}

/// A page of all groups' items, and the token of the next one. `ask` makes a group's question.
pub(super) async fn merged(
    core: &Core,
    question: &Question<'_>,
    query: ListQuery,
    ask: fn(ListQuery) -> ObjectQuery,
) -> Result<(Vec<ListItem>, String), ListError> {
    let groups = core.object_groups()?;
    let mut merge = ListMerge::new(usize::from(groups), query.limit, &query.start);
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
        for (group, page) in try_join_all(pages).await? {
            merge.feed(group, page);
        }
    }
    let merged = merge.finish();
    let next = merged.next.map(|next| next.encode());
    let token = next.map(|next| token::seal(&core.kek, question, &next));
    Ok((merged.items, token.unwrap_or_default()))
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

/// One group's page. Each is behind a confirmation of its own, so it shows every change that ended
/// before the question.
async fn page(core: &Core, index: usize, query: ObjectQuery) -> Result<ListPage, GroupError> {
    let number = u16::try_from(index).expect("groups are counted by a u16");
    let group = GroupId(number + 1);
    match core.ask(group, &query, true).await? {
        ObjectAnswer::List(page) => Ok(page),
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
