//! Where the next extent of a put goes.

use marram_object::{ExtentPlan, NoPlace, WriteSession, choose_row};
use marram_placement::{PoolTable, pool_of};
use marram_types::{DriveId, Profile};

use super::PutError;
use crate::begin::Begin;
use crate::core::Core;
use crate::places::Places;

/// Answers the session's wish for an extent: a row of the bucket's pool, chosen at random among
/// those whose drives live, and a fresh data id.
pub(super) fn extent(
    core: &Core,
    session: &mut WriteSession,
    bucket_profile: Profile,
    begin: Begin,
) -> Result<(), PutError> {
    let places = core.places();
    let width = bucket_profile.width();
    let table = places
        .pool(pool_of(width))
        .ok_or(PutError::NoPool { width })?;
    let answers = |drive| answers(core, &places, drive);
    // Drives that failed a moment ago are used only where the write could not go on without them.
    let good = |drive| {
        answers(drive) && !core.conditions.is_full(drive) && !core.conditions.is_suspect(drive)
    };
    if offer(session, table, begin, good).is_ok() {
        return Ok(());
    }
    let any = |drive| answers(drive) && !core.conditions.is_full(drive);
    let Err(no_place) = offer(session, table, begin, any) else {
        return Ok(());
    };
    let NoPlace { living, need, .. } = no_place;
    let avoided = session.avoided().clone();
    let with_full = choose_row(table, 0, |drive| {
        answers(drive) && (core.conditions.is_full(drive) || !avoided.contains(&drive))
    });
    let with_full = with_full.map_or(0, |row| row.living.iter().filter(|l| **l).count());
    if with_full >= need {
        Err(PutError::DrivesFull { living, need })
    } else {
        Err(PutError::NotEnoughNodes { living, need })
    }
}

fn answers(core: &Core, places: &Places, drive: DriveId) -> bool {
    places
        .place(drive)
        .is_some_and(|place| core.drives.is_up(place.node))
}

/// Offers the session a row of drives that `lives` admits.
fn offer(
    session: &mut WriteSession,
    table: &PoolTable,
    begin: Begin,
    lives: impl Fn(DriveId) -> bool,
) -> Result<(), NoPlace> {
    let avoided = session.avoided();
    let choice = choose_row(table, rand::random(), |drive| {
        lives(drive) && !avoided.contains(&drive)
    });
    let choice = choice.expect("a pool's table has rows");
    session.extent_planned(ExtentPlan {
        data: begin.data_id(),
        pg: choice.pg,
        row: choice.row,
        living: choice.living,
    })
}
