//! The rules by which what a bucket holds goes by itself: set, told, and tried without removing anything.

mod rules;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt, stream};
use marram_meta::{
    BucketRecord, DueAnswer, DueItem, DuePlace, DueQuery, DueWhat, LIFECYCLE_SINCE, Lifecycle,
    LifecycleError, ObjectAnswer, ObjectQuery, RootCommand,
};
use marram_proto::v1;
use marram_types::{BucketName, GroupId};
use tonic::Status;
use tonic::codegen::BoxStream;

use crate::core::{BucketError, Core};
use crate::decision::{DecisionError, decide};
use crate::groups::GroupError;
use crate::status::{self, Fault, Reason};
use crate::validate::{self, InvalidField};

/// Rows of a group that are looked at for one message: all of them may be due, with keys of the largest
/// size.
const ROWS_PER_MESSAGE: u32 = 500;

/// Why rules were not set, told or tried.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LifecycleFault {
    #[error(transparent)]
    Decision(#[from] DecisionError),
    #[error(transparent)]
    Rules(#[from] LifecycleError),
    #[error("rule `{rule}`: {field}: {problem}")]
    Contradiction {
        rule: String,
        field: &'static str,
        problem: &'static str,
    },
}

impl From<InvalidField> for LifecycleFault {
    fn from(error: InvalidField) -> Self {
        Self::Decision(error.into())
    }
}

impl From<BucketError> for LifecycleFault {
    fn from(error: BucketError) -> Self {
        Self::Decision(error.into())
    }
}

impl From<GroupError> for LifecycleFault {
    fn from(error: GroupError) -> Self {
        Self::Decision(error.into())
    }
}

impl Fault for LifecycleFault {
    fn reason(&self) -> Reason {
        match self {
            Self::Decision(error) => error.reason(),
            Self::Rules(_) | Self::Contradiction { .. } => Reason::InvalidLifecycle,
        }
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Decision(error) => error.details(),
            Self::Rules(LifecycleError::Rule { rule, field, .. })
            | Self::Contradiction { rule, field, .. } => {
                vec![("rule", rule.clone()), ("field", (*field).to_owned())]
            }
            Self::Rules(LifecycleError::Twice { id }) => {
                vec![("rule", id.clone()), ("field", "id".to_owned())]
            }
            Self::Rules(_) => vec![("field", "rules".to_owned())],
        }
    }
}

/// Gives a bucket these rules; answers when every object group knows them (rules.md 11).
pub(crate) async fn set(
    core: &Core,
    request: v1::SetLifecycleRequest,
) -> Result<v1::SetLifecycleResponse, LifecycleFault> {
    let name = BucketName::new(request.bucket).map_err(InvalidField::from)?;
    let id = validate::request_id(request.request_id.as_ref())?;
    let lifecycle = rules::read(request.lifecycle.unwrap_or_default())?;
    let what = format!("lifecycle of {} rules", lifecycle.rules.len());
    let command = RootCommand::SetLifecycle {
        name: name.clone(),
        lifecycle,
    };
    decide(core, (name, id), LIFECYCLE_SINCE, &command, &what).await?;
    Ok(v1::SetLifecycleResponse {})
}

/// A bucket's rules as the root has them.
pub(crate) async fn get(
    core: &Core,
    request: v1::GetLifecycleRequest,
) -> Result<v1::GetLifecycleResponse, LifecycleFault> {
    let name = BucketName::new(request.bucket).map_err(InvalidField::from)?;
    let view = core.fresh_view().await?;
    let record = view.buckets.get(&name);
    let record = record.ok_or_else(|| BucketError::NotFound(name.clone()))?;
    let lifecycle = record.lifecycle.as_deref().cloned().unwrap_or_default();
    Ok(v1::GetLifecycleResponse {
        lifecycle: Some(rules::write(lifecycle)),
    })
}

/// A walk through all groups.
struct Preview {
    core: Arc<Core>,
    record: BucketRecord,
    rules: Lifecycle,
    now_ms: u64,
    groups: u16,
    group: u16,
    place: DuePlace,
    /// Count and bytes by rule and action.
    totals: BTreeMap<(u32, i32), (u64, u64)>,
    ended: bool,
}

/// Says what would go, page by page, and how much in all. Nothing is read ahead of the caller.
pub(crate) async fn preview(
    core: Arc<Core>,
    request: v1::PreviewLifecycleRequest,
) -> Result<BoxStream<v1::PreviewLifecycleResponse>, LifecycleFault> {
    let name = BucketName::new(request.bucket).map_err(InvalidField::from)?;
    let given = request.lifecycle.map(rules::read).transpose()?;
    let at_ms = u64::try_from(request.at_ms).map_err(|_| InvalidField::Wrong {
        field: "at_ms",
        rule: "write milliseconds since 1970, or 0 for now",
    })?;
    let record = core.bucket(&name).await?;
    let rules = match given {
        Some(rules) => rules,
        None => record.lifecycle.as_deref().cloned().unwrap_or_default(),
    };
    let preview = Preview {
        now_ms: if at_ms == 0 { (core.now_ms)() } else { at_ms },
        groups: core.object_groups()?,
        core,
        record,
        rules,
        group: 1,
        place: DuePlace::Objects(None),
        totals: BTreeMap::new(),
        ended: false,
    };
    Ok(stream::unfold(preview, step).boxed())
}

async fn step(
    mut preview: Preview,
) -> Option<(Result<v1::PreviewLifecycleResponse, Status>, Preview)> {
    if preview.ended {
        return None;
    }
    let told = preview.next().await;
    preview.ended |= told.is_err();
    Some((told.map_err(|error| status::of(&error)), preview))
}

impl Preview {
    async fn next(&mut self) -> Result<v1::PreviewLifecycleResponse, LifecycleFault> {
        let mut told = v1::PreviewLifecycleResponse::default();
        // Pages without anything are no message; a server that stops ends the walk.
        while self.group <= self.groups && told.items.is_empty() {
            if self.core.stopping.is_cancelled() {
                return Err(GroupError::Unavailable(GroupId(self.group)).into());
            }
            let found = self.page().await?;
            match found.next {
                Some(next) => self.place = next,
                None => {
                    self.group += 1;
                    self.place = DuePlace::Objects(None);
                }
            }
            told.items = found
                .items
                .into_iter()
                .map(|item| self.note(&item))
                .collect();
        }
        if self.group > self.groups {
            self.ended = true;
            told.totals = self.sums();
        }
        Ok(told)
    }

    async fn page(&self) -> Result<DueAnswer, GroupError> {
        let query = ObjectQuery::Due(DueQuery {
            bucket: self.record.bucket,
            now_ms: self.now_ms,
            rules: Some(self.rules.clone()),
            from: self.place.clone(),
            rows: ROWS_PER_MESSAGE,
        });
        let group = GroupId(self.group);
        match self.core.ask(group, &query, true).await? {
            ObjectAnswer::Due(found) => Ok(found),
            _ => Err(GroupError::Kind(group)),
        }
    }

    fn id_of(&self, rule: u32) -> String {
        let rule = usize::try_from(rule).ok();
        let rule = rule.and_then(|at| self.rules.rules.get(at));
        rule.map_or_else(String::new, |rule| rule.id.clone())
    }

    fn note(&mut self, item: &DueItem) -> v1::LifecycleItem {
        let (action, generation, upload) = match item.due.what {
            DueWhat::Current(generation) => (v1::LifecycleAction::Expire, generation.0, None),
            DueWhat::Noncurrent { generation, .. } => {
                (v1::LifecycleAction::ExpireNoncurrent, generation.0, None)
            }
            DueWhat::Marker(generation) => (v1::LifecycleAction::RemoveMarker, generation.0, None),
            DueWhat::Upload(upload) => (v1::LifecycleAction::AbortUpload, 0, Some(upload)),
        };
        let total = self.totals.entry((item.rule, action.into())).or_default();
        total.0 += 1;
        total.1 = total.1.saturating_add(item.bytes);
        v1::LifecycleItem {
            key: item.due.key.as_str().to_owned(),
            action: action.into(),
            generation,
            upload_id: upload.map_or_else(String::new, |upload| upload.to_string()),
            rule: self.id_of(item.rule),
            bytes: item.bytes,
        }
    }

    fn sums(&self) -> Vec<v1::LifecycleTotal> {
        let each = self.totals.iter();
        each.map(|((rule, action), (count, bytes))| v1::LifecycleTotal {
            rule: self.id_of(*rule),
            action: *action,
            count: *count,
            bytes: *bytes,
        })
        .collect()
    }
}
