//! Single drives: they come, change what they are there for, and go; and what work is paused.

use std::ops::{Bound, ControlFlow};

use marram_placement::PoolTable;
use marram_types::config::DRIVES_PER_NODE_MAX;
use marram_types::{DriveId, NodeId};

use super::apply::Ran;
use super::drive_command::DriveCommand;
use super::nodes::{all_nodes, member};
use super::outcome::RootOutcome;
use crate::kinds::drive::{DriveDuty, DriveRecord};
use crate::kinds::node::{self, NodeRecord, NodeState};
use crate::kinds::upkeep::{self, BackupNote, UpkeepRecord};
use crate::kv::{KvRead, Table};
use crate::refusal::{DriveRefusal, Malformed};
use crate::requests::Apply;
use crate::stored::{StateError, Stored, load, store};

pub(super) fn run(apply: &mut Apply<'_>, command: &DriveCommand) -> Ran {
    match *command {
        DriveCommand::Add {
            node,
            label,
            capacity,
        } => add(apply, node, label, capacity),
        DriveCommand::SetDuty { drive, duty } => set_duty(apply, drive, duty),
        DriveCommand::Remove { drive } => remove(apply, drive),
        DriveCommand::SetCapacity { drive, capacity } => change(apply, drive, |held| {
            held.capacity = capacity;
            Ok(())
        }),
        DriveCommand::SetPaused { work, paused } => {
            edit_upkeep(apply, |record, now_ms| record.set(work, paused, now_ms))
        }
    }
}

/// Remembers that there is a backup of the metadata.
pub(super) fn note_backup(apply: &mut Apply<'_>, backup: BackupNote) -> Ran {
    edit_upkeep(apply, |record, now_ms| record.note_backup(backup, now_ms))
}

fn edit_upkeep(apply: &mut Apply<'_>, edit: impl FnOnce(&mut UpkeepRecord, u64)) -> Ran {
    let held: Option<UpkeepRecord> = load(apply.kv, Table::Meta, upkeep::KEY)?;
    let mut record = held.unwrap_or_default();
    edit(&mut record, apply.now_ms());
    store(apply.kv, Table::Meta, upkeep::KEY, &record)?;
    Ok(Ok(RootOutcome::Done))
}

fn add(apply: &mut Apply<'_>, node: NodeId, label: u128, capacity: u64) -> Ran {
    if label == 0 {
        return Ok(Err(Malformed::Drives.into()));
    }
    let mut record = match member(apply.kv, node)? {
        Ok(record) => record,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if let Some(known) = record.drives.iter().find(|held| held.label == label) {
        return Ok(Ok(RootOutcome::DriveAdded { drive: known.drive }));
    }
    let present = record.present_drives();
    let taken: Vec<u8> = present.map(|held| held.ordinal).collect();
    let free = (1..=u8::MAX).find(|ordinal| !taken.contains(ordinal));
    let Some(ordinal) = free.filter(|_| taken.len() < DRIVES_PER_NODE_MAX) else {
        return Ok(Err(DriveRefusal::TooMany { node }.into()));
    };
    // The entry admits one drive, so index and ordinal are as unique as those of a joining node.
    let drive = DriveId(apply.index << 8 | u64::from(ordinal));
    record.drives.push(DriveRecord {
        label,
        ..DriveRecord::new(drive, ordinal, capacity)
    });
    store(apply.kv, Table::Nodes, &node::ser_key(node), &record)?;
    Ok(Ok(RootOutcome::DriveAdded { drive }))
}

/// The member that has a drive, removed drives left out.
fn owner(kv: &dyn KvRead, drive: DriveId) -> Result<Option<NodeRecord>, StateError> {
    let nodes = all_nodes(kv)?.into_iter();
    let mut members = nodes.filter(|record| record.state == NodeState::Active);
    Ok(members.find(|record| record.present_drives().any(|held| held.drive == drive)))
}

/// Changes the record of a drive that is there.
fn change(
    apply: &mut Apply<'_>,
    drive: DriveId,
    edit: impl FnOnce(&mut DriveRecord) -> Result<(), DriveRefusal>,
) -> Ran {
    let Some(mut record) = owner(apply.kv, drive)? else {
        return Ok(Err(DriveRefusal::Unknown { drive }.into()));
    };
    let held = record.drives.iter_mut().find(|held| held.drive == drive);
    let held = held.expect("its owner has it");
    if let Err(refusal) = edit(held) {
        return Ok(Err(refusal.into()));
    }
    store(apply.kv, Table::Nodes, &node::ser_key(record.node), &record)?;
    Ok(Ok(RootOutcome::Done))
}

/// Has a drive give up what it has.
pub(super) fn drain(apply: &mut Apply<'_>, drive: DriveId) -> Ran {
    set_duty(apply, drive, DriveDuty::Draining)
}

fn set_duty(apply: &mut Apply<'_>, drive: DriveId, duty: DriveDuty) -> Ran {
    change(apply, drive, |held| {
        if !held.duty.may_become(duty) {
            return Err(DriveRefusal::DutyChange {
                drive,
                from: held.duty,
                to: duty,
            });
        }
        held.duty = duty;
        Ok(())
    })
}

/// Removes a drive for ever. One that is removed already is removed again.
fn remove(apply: &mut Apply<'_>, drive: DriveId) -> Ran {
    let removed = |record: &NodeRecord| {
        let mut drives = record.drives.iter();
        drives.any(|held| held.drive == drive && held.duty == DriveDuty::Removed)
    };
    if all_nodes(apply.kv)?.iter().any(removed) {
        return Ok(Ok(RootOutcome::Done));
    }
    if let Some(refusal) = in_layout(apply.kv, drive)? {
        return Ok(Err(refusal.into()));
    }
    change(apply, drive, |held| {
        if held.ordinal == 0 {
            return Err(DriveRefusal::Metadata { drive });
        }
        if held.duty == DriveDuty::Serving {
            return Err(DriveRefusal::Serves { drive });
        }
        held.duty = DriveDuty::Removed;
        Ok(())
    })
}

/// The first placement group that the drive is in, or moves into or out of.
fn in_layout(kv: &dyn KvRead, drive: DriveId) -> Result<Option<DriveRefusal>, StateError> {
    let mut found = Ok(None);
    let all = (Bound::Unbounded, Bound::Unbounded);
    kv.scan(Table::Pools, all.0, all.1, &mut |_, bytes| {
        found = PoolTable::deser_value(bytes).map(|table| {
            let mut rows = (0..=u16::MAX).zip(&table.rows);
            let named = rows.find(|(_, row)| row.names(drive));
            named.map(|(index, _)| DriveRefusal::InLayout {
                drive,
                pg: table.pg(index),
            })
        });
        match found {
            Ok(None) => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    })?;
    found.map_err(StateError::corrupt(Table::Pools))
}
