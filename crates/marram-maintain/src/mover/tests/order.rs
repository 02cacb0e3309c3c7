//! What survives fewest losses is repaired first, also where there is more than is looked at at once.

use marram_meta::{RepairTicket, TicketItem, TicketReasons};
use marram_types::Profile;

use super::fake::Fake;
use crate::mover::repairs::{Found, LOST_AT_ONCE_MAX, Lost};

fn lacking(fake: &Fake) -> impl Fn(u64, &str) -> Found + use<> {
    let (group, row, live) = fake.state().live()[0].clone();
    move |missing, profile| {
        let nominal: Profile = profile.parse().unwrap();
        let mut extent = live.clone();
        extent.extent.missing = missing;
        extent.extent.profile = nominal;
        let item = TicketItem {
            ticket: RepairTicket {
                data: live.extent.data,
                pg: live.extent.pg,
                reasons: TicketReasons::of(&extent.extent, nominal),
                nominal,
                since: 1,
                missing_at: 1,
            },
            extent,
            row: row.clone(),
        };
        (group, 1, item)
    }
}

fn missing(found: &Found) -> u64 {
    found.2.extent.extent.missing
}

#[tokio::test]
async fn what_survives_fewest_losses_comes_first() {
    let fake = Fake::new(4, 1);
    fake.state().write(1);
    let lacking = lacking(&fake);
    let mut lost = Lost::default();
    for one in [
        lacking(1, "4+3"),
        lacking(7, "4+3"),
        lacking(2, "4+1"),
        lacking(3, "4+3"),
    ] {
        lost.add(one, |_| false);
    }
    let order: Vec<u64> = lost.ordered().iter().map(missing).collect();
    let (none_left, also_none) = (order[0], order[1]);
    assert!(
        [7, 2].contains(&none_left) && [7, 2].contains(&also_none),
        "{order:?}"
    );
    assert_eq!(order[2..], [3, 1]);
}

/// What lies on a drive that is away cannot be read now, whether or not it is marked missing.
#[tokio::test]
async fn shards_that_are_away_count_as_lost() {
    let fake = Fake::new(4, 1);
    fake.state().write(1);
    let lacking = lacking(&fake);
    let places = fake.state().live()[0].2.places.clone();
    let is_away = |drive| drive != places[0];
    let mut lost = Lost::default();
    // Both lost ones of the first lay on drives that are away; of the second one is lost, and the two others
    // are away.
    for one in [lacking(0b110, "4+4"), lacking(0b001, "4+4")] {
        lost.add(one, is_away);
    }
    let order: Vec<u64> = lost.ordered().iter().map(missing).collect();
    assert_eq!(order, [0b001, 0b110]);
}

#[tokio::test]
async fn too_many_leave_out_the_least_urgent() {
    let fake = Fake::new(4, 1);
    fake.state().write(1);
    let lacking = lacking(&fake);
    let mut lost = Lost::default();
    for _ in 0..LOST_AT_ONCE_MAX {
        lost.add(lacking(1, "4+3"), |_| false);
    }
    for _ in 0..10 {
        lost.add(lacking(7, "4+3"), |_| false);
    }
    let kept = lost.ordered();
    assert_eq!(kept.len(), LOST_AT_ONCE_MAX);
    assert_eq!(kept.iter().filter(|one| missing(one) == 7).count(), 10);
    assert!(kept.iter().take(10).all(|one| missing(one) == 7));
}
