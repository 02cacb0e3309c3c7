//! Applies one entry to the root group's state.

use marram_placement::{PgRow, PoolTable};
use marram_types::caps::OBJECT_GROUPS_MAX;
use marram_types::{Crc64Nvme, GroupId, Profile, ReplicaId};

use super::command::RootCommand;
use super::outcome::RootOutcome;
use super::{
    absence, buckets, drain, drives, hold, identity, keys, moves, nodes, quota, removal, versions,
};
use crate::envelope::{COMMAND_VERSION, Envelope, EnvelopeError};
use crate::kinds::access_key::AccessKeyRecord;
use crate::kinds::cluster::{self, ClusterRecord};
use crate::kinds::group::{self, GroupRecord};
use crate::kinds::layout_state;
use crate::kinds::node::NodeDuty;
use crate::kinds::pool;
use crate::kv::{KvError, KvRead, KvWrite, Table};
use crate::refusal::{Malformed, Refusal};
use crate::requests::{Admission, Apply, ApplyError};
use crate::stored::{StateError, Stored, load, store};

/// The replica that makes the root group at the bootstrap, before any id could be committed
/// (rules.md 3). No index equals it: the group's first entries are not commands.
pub const FOUNDER: ReplicaId = ReplicaId(1);

/// Applies the entry at `index`, a sealed [`RootCommand`], and returns its encoded [`RootOutcome`].
/// Every entry must be applied exactly once, in the order of the log, and its writes must become
/// visible together.
///
/// # Errors
/// What must stop this replica; `kv` must be thrown away then.
pub fn apply_root(kv: &mut dyn KvWrite, index: u64, entry: &[u8]) -> Result<Vec<u8>, ApplyError> {
    let envelope = Envelope::decode(entry)?;
    let command = RootCommand::deser_value(envelope.body).map_err(ApplyError::bad_command)?;
    if let RootCommand::FinalizeVersion { version } = command
        && version > COMMAND_VERSION
    {
        return Err(ApplyError::UnknownVersion { found: version });
    }
    let asked = Crc64Nvme::of(envelope.body);
    let mut apply = Apply::begin(kv, index, &envelope, asked)?;
    let answer = match apply.admit(false)? {
        Admission::Repeated(outcome) => outcome,
        Admission::Refused(refusal) => RootOutcome::Refused(refusal).encode(),
        Admission::Run => {
            let outcome = match run(&mut apply, command)? {
                Ok(outcome) => outcome,
                Err(refusal) => RootOutcome::Refused(refusal),
            };
            let answer = outcome.encode();
            if !matches!(&outcome, RootOutcome::Refused(refusal) if refusal.is_retryable()) {
                apply.record(&answer)?;
            }
            answer
        }
    };
    apply.finish()?;
    Ok(answer)
}

/// What came of a command, or why nothing did; the outer error stops the replica.
pub(super) type Ran = Result<Result<RootOutcome, Refusal>, StateError>;

fn run(apply: &mut Apply<'_>, command: RootCommand) -> Ran {
    let Some(cluster) = load::<ClusterRecord>(apply.kv, Table::Meta, cluster::KEY)? else {
        return match command {
            RootCommand::Bootstrap { cluster, keys } => bootstrap(apply, &cluster, &keys),
            _ => Ok(Err(Refusal::NotBootstrapped)),
        };
    };
    match command {
        RootCommand::Bootstrap { .. } => Ok(Err(Refusal::AlreadyBootstrapped {
            cluster: cluster.cluster,
        })),
        RootCommand::AddNode(join) => nodes::add(apply, join),
        RootCommand::AddReplica { node, founder } => nodes::add_replica(apply, node, founder),
        RootCommand::UpdateNode {
            node,
            mesh_addr,
            api_addr,
        } => nodes::update(apply, node, mesh_addr, api_addr),
        RootCommand::CreateGroups(groups) => create_groups(apply, &cluster, &groups),
        RootCommand::UpdateGroup(record) => update_group(apply, &record),
        RootCommand::CreatePool(table) => create_pool(apply, &table),
        RootCommand::SetDefaultProfile(profile) => set_default(apply, cluster, profile),
        RootCommand::CreateBucket { name, profile } => {
            buckets::create(apply, &cluster, name, profile)
        }
        RootCommand::BucketActive { bucket, epoch } => buckets::active(apply, bucket, epoch),
        RootCommand::DeleteBucket { name } => buckets::delete(apply, &name),
        RootCommand::BucketSealed {
            bucket,
            epoch,
            nonempty,
        } => buckets::sealed(apply, bucket, epoch, nonempty),
        RootCommand::PutAccessKey(key) => Ok(Ok(put_access_key(apply, &key)?)),
        RootCommand::FinalizeVersion { version } => versions::finalize(apply, cluster, version),
        RootCommand::ReportVersion { node, version } => versions::report(apply, node, version),
        RootCommand::RenewReplica { node, lost } => nodes::renew_replica(apply, node, lost),
        RootCommand::HoldLayout { until_ms } => hold::set(apply, until_ms),
        RootCommand::NoteBackup(backup) => drives::note_backup(apply, backup),
        command @ (RootCommand::SetDuty { .. }
        | RootCommand::ChangeDuty { .. }
        | RootCommand::DrainNarrower { .. }) => run_duty(apply, &command),
        RootCommand::Rebalance { on, if_epoch } => moves::rebalance(apply, on, if_epoch),
        RootCommand::BuryNode { node, if_epoch } => removal::bury(apply, node, if_epoch),
        RootCommand::RemoveNode { node, tombstone } => removal::remove(apply, node, tombstone),
        RootCommand::Identity(command) => identity::run(apply, command),
        RootCommand::Keys(command) => keys::run(apply, command),
        RootCommand::Quota(command) => quota::run(apply, &cluster, command),
        RootCommand::Ending(command) => buckets::ending(apply, command),
        command @ (RootCommand::SetVersioning { .. } | RootCommand::SetLifecycle { .. }) => {
            buckets::set(apply, command)
        }
        RootCommand::Drives(command) => {
            let ran = drives::run(apply, &command)?;
            if ran.is_ok() {
                layout_state::changed(apply)?;
            }
            Ok(ran)
        }
        RootCommand::Drain(command) => drain::run(apply, &command),
        RootCommand::GiveUp { node, rebuild } => absence::give_up(apply, node, rebuild),
        RootCommand::TakeBack { node } => absence::take_back(apply, node),
        RootCommand::Pause {
            nodes,
            pause,
            ttl_ms,
        } => absence::pause(apply, &nodes, pause, ttl_ms),
        RootCommand::EndPause { node, pause, only } => absence::end_pause(apply, node, pause, only),
        layout => run_layout(apply, layout),
    }
}

/// What a node is there for, with or without the word that narrower stripes are accepted for it.
fn run_duty(apply: &mut Apply<'_>, command: &RootCommand) -> Ran {
    match *command {
        RootCommand::SetDuty { node, duty } => nodes::set_duty(apply, node, duty, false),
        RootCommand::ChangeDuty {
            node,
            from,
            to,
            if_epoch,
        } => nodes::change_duty(apply, node, (from, to), if_epoch, false),
        RootCommand::DrainNarrower {
            node,
            from,
            if_epoch,
        } => nodes::change_duty(apply, node, (from, NodeDuty::Draining), if_epoch, true),
        _ => unreachable!("only commands about duties come here"),
    }
}

/// Steps of moves, none of which is taken while a backup wants the layout to rest.
fn run_layout(apply: &mut Apply<'_>, command: RootCommand) -> Ran {
    if let Some(until_ms) = hold::until(apply)? {
        return Ok(Err(Refusal::LayoutHeld { until_ms }));
    }
    match command {
        RootCommand::StartMoves { pool, moves } => moves::start(apply, pool, &moves),
        RootCommand::NarrowRows { pool, moves } => moves::narrow(apply, pool, &moves),
        RootCommand::CutMoves { pool, pgs } => moves::step(apply, pool, &pgs, PgRow::cut),
        RootCommand::EndMoves { pool, pgs } => moves::step(apply, pool, &pgs, PgRow::end),
        RootCommand::SetBucketProfile { name, profile } => {
            buckets::set_profile(apply, &name, profile)
        }
        RootCommand::Profiles(command) => buckets::allow(apply, &command),
        RootCommand::AcceptNarrower { node } => nodes::accept_narrower(apply, node),
        RootCommand::CancelMoves { pool, pgs } => moves::step(apply, pool, &pgs, PgRow::cancel),
        _ => unreachable!("the other commands are run before"),
    }
}

fn bootstrap(apply: &mut Apply<'_>, cluster: &ClusterRecord, keys: &[AccessKeyRecord]) -> Ran {
    if !(1..=OBJECT_GROUPS_MAX).contains(&cluster.object_groups) {
        return Ok(Err(Malformed::Groups.into()));
    }
    store(apply.kv, Table::Meta, cluster::KEY, cluster)?;
    for key in keys {
        put_access_key(apply, key)?;
    }
    Ok(Ok(RootOutcome::Done))
}

fn put_access_key(apply: &mut Apply<'_>, key: &AccessKeyRecord) -> Result<RootOutcome, KvError> {
    store(apply.kv, Table::AccessKeys, key.id.as_bytes(), key)?;
    Ok(RootOutcome::Done)
}

fn put_group(apply: &mut Apply<'_>, record: &GroupRecord) -> Result<RootOutcome, KvError> {
    store(
        apply.kv,
        Table::Groups,
        &group::ser_key(record.group),
        record,
    )?;
    Ok(RootOutcome::Done)
}

/// A leader's word may arrive long after another leader's: what is older changes nothing.
fn update_group(apply: &mut Apply<'_>, record: &GroupRecord) -> Ran {
    if record.voters.is_empty() {
        return Ok(Err(Malformed::Groups.into()));
    }
    let key = group::ser_key(record.group);
    let held: Option<GroupRecord> = load(apply.kv, Table::Groups, &key)?;
    match held {
        Some(held) if held.at > record.at => Ok(Err(Refusal::StaleEpoch { epoch: held.at })),
        _ => Ok(Ok(put_group(apply, record)?)),
    }
}

/// All object groups at once: a cluster never has some of them (rules.md 7).
fn create_groups(apply: &mut Apply<'_>, cluster: &ClusterRecord, groups: &[GroupRecord]) -> Ran {
    let first = group::ser_key(GroupId(1));
    if apply.kv.get(Table::Groups, &first)?.is_some() {
        return Ok(Err(Refusal::GroupsExist));
    }
    let expected = (1..=cluster.object_groups).map(GroupId);
    let fits = groups.iter().map(|g| g.group).eq(expected);
    if !fits || groups.iter().any(|g| g.voters.is_empty()) {
        return Ok(Err(Malformed::Groups.into()));
    }
    for record in groups {
        put_group(apply, record)?;
    }
    Ok(Ok(RootOutcome::Done))
}

fn create_pool(apply: &mut Apply<'_>, table: &PoolTable) -> Ran {
    let fits = |row: &PgRow| {
        let width = usize::from(table.width);
        row.is_sound() && row.drives.len() == width && row.moving.is_none()
    };
    if table.rows.is_empty() || !table.rows.iter().all(fits) {
        return Ok(Err(Malformed::Pool.into()));
    }
    let pool = table.pool();
    let key = pool::ser_key(pool);
    if let Some(held) = load::<PoolTable>(apply.kv, Table::Pools, &key)? {
        return Ok(Err(Refusal::PoolExists {
            pool,
            epoch: held.epoch,
        }));
    }
    store(apply.kv, Table::Pools, &key, table)?;
    layout_state::changed(apply)?;
    Ok(Ok(RootOutcome::Done))
}

fn set_default(apply: &mut Apply<'_>, mut cluster: ClusterRecord, profile: Profile) -> Ran {
    cluster.default_profile = Some(profile);
    store(apply.kv, Table::Meta, cluster::KEY, &cluster)?;
    Ok(Ok(RootOutcome::Done))
}

/// How many rows a table has, counted up to `most`.
pub(super) fn count(kv: &dyn KvRead, table: Table, most: usize) -> Result<usize, KvError> {
    use std::ops::{Bound, ControlFlow};
    let mut rows = 0;
    kv.scan(table, Bound::Unbounded, Bound::Unbounded, &mut |_, _| {
        rows += 1;
        if rows < most {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    Ok(rows)
}

/// Checks that a sealed command can be applied by this release, before it is proposed: an entry
/// that cannot be would stop every replica of the group.
///
/// # Errors
/// Bytes that are not a sealed [`RootCommand`], or one of a newer release.
pub fn check_root(entry: &[u8]) -> Result<(), EnvelopeError> {
    let envelope = Envelope::decode(entry)?;
    match RootCommand::deser_value(envelope.body)? {
        RootCommand::FinalizeVersion { version } if version > COMMAND_VERSION => {
            Err(EnvelopeError::UnknownVersion { found: version })
        }
        _ => Ok(()),
    }
}
