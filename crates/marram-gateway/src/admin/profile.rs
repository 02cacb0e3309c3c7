//! A bucket's profile: changed, and how far its objects follow.

use std::time::{Duration, Instant};

use futures::future::try_join_all;
use marram_meta::{
    BucketRecord, ClusterView, OWN_PROFILES_SINCE, ObjectAnswer, ObjectQuery, ProfileCommand,
    Refusal, RootCommand, RootOutcome, Usage, Versioning,
};
use marram_placement::{PlanError, Standing, Topology, plan_pool, pool_of, tolerated_by};
use marram_proto::v1;
use marram_types::caps::ALLOWED_PROFILES_MAX;
use marram_types::{BucketName, GroupId, PgId, PoolId, Profile};

use crate::buckets;
use crate::core::{BucketError, Core, GateClosed};
use crate::groups::GroupError;
use crate::pace;
use crate::status::{Fault, Reason};
use crate::validate::{self, InvalidField};
use crate::versioning;

/// How long a call waits until every metadata group knows of the change.
const SETTLE_TIME: Duration = Duration::from_secs(15);

/// Why a bucket's profile was not changed, or not told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProfileError {
    #[error(transparent)]
    Invalid(#[from] InvalidField),
    #[error("give the profile as k+m, for example 4+2")]
    NoProfile,
    #[error(transparent)]
    Bucket(#[from] BucketError),
    #[error(transparent)]
    Group(#[from] GroupError),
    #[error(transparent)]
    Gate(#[from] GateClosed),
    #[error("{0}")]
    Refused(Refusal),
    #[error("no placement can be made for it: {0}")]
    Plan(#[from] PlanError),
    #[error(
        "the profile of bucket {0} is being made known; give the command again to see how far it is"
    )]
    Slow(BucketName),
}

impl Fault for ProfileError {
    fn reason(&self) -> Reason {
        match self {
            Self::Invalid(error) => error.reason(),
            Self::NoProfile | Self::Plan(_) => Reason::InvalidProfile,
            Self::Bucket(error) => error.reason(),
            Self::Group(error) => error.reason(),
            Self::Gate(closed) => closed.reason(),
            Self::Refused(refusal) => refusal.reason(),
            Self::Slow(_) => Reason::BucketBusy,
        }
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Invalid(error) => error.details(),
            Self::Bucket(error) => error.details(),
            Self::Group(error) => error.details(),
            Self::Gate(closed) => closed.details(),
            Self::Refused(refusal) => refusal.details(),
            Self::Slow(name) => vec![("bucket", name.to_string())],
            Self::NoProfile | Self::Plan(_) => Vec::new(),
        }
    }
}

/// Gives a bucket another profile; answers when every metadata group knows it (rules.md 11).
pub(crate) async fn set(
    core: &Core,
    request: v1::SetBucketProfileRequest,
) -> Result<v1::BucketProfile, ProfileError> {
    let name = BucketName::new(request.bucket).map_err(InvalidField::from)?;
    let profile = validate::profile(&request.profile)?.ok_or(ProfileError::NoProfile)?;
    let id = validate::request_id(request.request_id.as_ref())?;
    let deadline = Instant::now() + SETTLE_TIME;
    let record = core.bucket(&name).await?;
    if record.profile != profile {
        make_pools(core, profile, deadline).await?;
    }
    let command = RootCommand::SetBucketProfile {
        name: name.clone(),
        profile,
    };
    let changed = match core.root_command(id, &command).await? {
        RootOutcome::Bucket(record) => record,
        RootOutcome::Refused(refusal) => return Err(ProfileError::Refused(refusal)),
        _ => return Err(GroupError::Kind(GroupId::ROOT).into()),
    };
    tracing::info!(target: "admin", bucket = %name, %profile, epoch = changed.epoch, "profile set");
    let known = buckets::until_known(core, &name, changed.epoch, deadline).await;
    known.ok_or(ProfileError::Slow(name))?;
    how_far(core, &changed).await
}

/// Lets writes ask for a profile, or not any more; answers when every metadata group knows it.
pub(crate) async fn allow(
    core: &Core,
    request: v1::AllowBucketProfileRequest,
) -> Result<v1::BucketProfile, ProfileError> {
    let name = BucketName::new(request.bucket).map_err(InvalidField::from)?;
    let profile = validate::profile(&request.profile)?.ok_or(ProfileError::NoProfile)?;
    let id = validate::request_id(request.request_id.as_ref())?;
    core.pass_gate(OWN_PROFILES_SINCE)?;
    let deadline = Instant::now() + SETTLE_TIME;
    let record = core.bucket(&name).await?;
    let is_new = !request.withdraw && !record.allowed.contains(&profile);
    if is_new && record.allowed.len() < ALLOWED_PROFILES_MAX {
        make_pools(core, profile, deadline).await?;
    }
    let named = name.clone();
    let command = RootCommand::Profiles(match request.withdraw {
        false => ProfileCommand::Allow {
            name: named,
            profile,
        },
        true => ProfileCommand::Withdraw {
            name: named,
            profile,
        },
    });
    let changed = match core.root_command(id, &command).await? {
        RootOutcome::Bucket(record) => record,
        RootOutcome::Refused(refusal) => return Err(ProfileError::Refused(refusal)),
        _ => return Err(GroupError::Kind(GroupId::ROOT).into()),
    };
    let allowed = !request.withdraw;
    tracing::info!(target: "admin", bucket = %name, %profile, allowed, epoch = changed.epoch, "profiles of writes set");
    let known = buckets::until_known(core, &name, changed.epoch, deadline).await;
    known.ok_or(ProfileError::Slow(name))?;
    how_far(core, &changed).await
}

/// Makes the pools of a profile and waits until every group knows their rows: the profile is written
/// by as soon as it is decided.
async fn make_pools(core: &Core, profile: Profile, deadline: Instant) -> Result<(), ProfileError> {
    let view = core.fresh_view().await?;
    let seats = view.seats().into_iter();
    let stays = Topology {
        drives: seats
            .filter(|seat| seat.standing >= Standing::Kept)
            .map(|seat| seat.info)
            .collect(),
    };
    if !survives(&view, profile) {
        return Ok(());
    }
    for width in [profile.width(), profile.as_copies().width()] {
        let pool = pool_of(width);
        if !view.pools.contains_key(&pool) && fits(&stays, width) {
            let command = RootCommand::CreatePool(plan_pool(&stays, width)?);
            match core.root_decision(&command).await? {
                RootOutcome::Done | RootOutcome::Refused(Refusal::PoolExists { .. }) => {}
                RootOutcome::Refused(refusal) => return Err(ProfileError::Refused(refusal)),
                _ => return Err(GroupError::Kind(GroupId::ROOT).into()),
            }
        }
        if fits(&stays, width) {
            until_fenced(core, &view, pool, deadline).await?;
        }
    }
    Ok(())
}

/// Whether the metadata survive as many losses as a profile promises. If not, the root group says so,
/// and no pool is made in vain.
fn survives(view: &ClusterView, profile: Profile) -> bool {
    let first = view.groups.get(&GroupId(1));
    let voters = first.map_or(0, |group| group.voters.len());
    let default = view.cluster.as_ref().and_then(|c| c.default_profile);
    profile.m() <= tolerated_by(voters).max(default.map_or(0, Profile::m))
}

/// Whether there are places for so many shards. If not, the root group says why.
fn fits(stays: &Topology, width: usize) -> bool {
    let nodes = stays.node_count();
    width <= if nodes > 1 { nodes } else { stays.drives.len() }
}

/// Until every group knows the last row of a pool: its rows come together.
async fn until_fenced(
    core: &Core,
    view: &ClusterView,
    pool: PoolId,
    deadline: Instant,
) -> Result<(), ProfileError> {
    let groups = view.cluster.as_ref().map_or(0, |c| c.object_groups);
    for group in (1..=groups).map(GroupId) {
        loop {
            let known = core.view();
            let rows = known.pools.get(&pool).map_or(0, |table| table.rows.len());
            let last = u16::try_from(rows.saturating_sub(1)).unwrap_or(u16::MAX);
            let query = ObjectQuery::Rows {
                pg: PgId { pool, index: last },
                after: None,
                limit: 1,
            };
            let answer = core.ask(group, &query, true).await?;
            let ObjectAnswer::Rows(page) = answer else {
                return Err(GroupError::Kind(group).into());
            };
            if rows > 0 && page.row.is_some() {
                break;
            }
            if Instant::now() >= deadline {
                return Err(ProfileError::Refused(Refusal::PoolUnknown { pool }));
            }
            pace::bucket_poll().await;
        }
    }
    Ok(())
}

/// Says how far a bucket's objects follow its profile.
pub(crate) async fn get(
    core: &Core,
    request: v1::GetBucketProfileRequest,
) -> Result<v1::BucketProfile, ProfileError> {
    let name = BucketName::new(request.bucket).map_err(InvalidField::from)?;
    let record = core.bucket(&name).await?;
    how_far(core, &record).await
}

async fn how_far(core: &Core, record: &BucketRecord) -> Result<v1::BucketProfile, ProfileError> {
    let groups = core.object_groups()?;
    let asked = (1..=groups).map(|group| of_group(core, GroupId(group), record));
    let all: Vec<(Usage, bool)> = try_join_all(asked).await?;
    let usage = all
        .iter()
        .fold(Usage::default(), |sum, (u, _)| sum.plus(*u));
    let looking = all.iter().filter(|(_, judging)| *judging).count();
    Ok(v1::BucketProfile {
        bucket: record.name.to_string(),
        profile: record.profile.to_string(),
        versions: usage.versions(),
        versions_to_go: usage.off_profile,
        groups_looking: u32::try_from(looking).unwrap_or(u32::MAX),
        allowed_profiles: record.allowed.iter().map(ToString::to_string).collect(),
    })
}

/// What a group counts of a bucket, and whether it has yet to judge versions by the profile.
async fn of_group(
    core: &Core,
    group: GroupId,
    record: &BucketRecord,
) -> Result<(Usage, bool), GroupError> {
    // What is judged between the two answers is counted by the second one.
    let ObjectAnswer::Judging(judging) = core.ask(group, &ObjectQuery::Judging, true).await? else {
        return Err(GroupError::Kind(group));
    };
    let mut judges = judging.iter().any(|(of, _)| *of == record.bucket);
    if record.versioning != Versioning::Off {
        let asked = ObjectQuery::JudgingNoncurrent;
        let ObjectAnswer::JudgingNoncurrent(earlier) = core.ask(group, &asked, true).await? else {
            return Err(GroupError::Kind(group));
        };
        judges |= earlier.iter().any(|(of, _)| *of == record.bucket);
    }
    let usage = versioning::of_group(core, group, record.bucket).await?;
    Ok((usage, judges))
}
