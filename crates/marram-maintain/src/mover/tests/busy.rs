//! A node that answers and has too much to do.

use super::*;

/// However long it takes, the moves to it wait: they are not taken back, and its drives are as good as before.
#[tokio::test]
async fn moves_to_a_busy_node_wait_for_it() {
    let fake = Fake::new(5, 6);
    fake.state().write(120);
    let node = fake.state().add_node(9);
    let drive = fake.state().view().nodes[&node].drives[0].drive;
    fake.state().busy.insert(node);
    fake.publish();
    let patient = fake.work();
    let patience = Patience {
        away: Duration::ZERO,
        unfit: Duration::from_secs(60),
        ..patient.patience
    };
    let (consensus, shards) = (Arc::clone(&fake), Arc::clone(&fake));
    let work = Work::new(consensus, shards, patient.view.clone(), patience);
    let work = Arc::new(work);
    let mut rounds = Rounds::new(Arc::clone(&work));
    let to_it = || {
        let table = fake.state().table();
        let moving = table.rows.iter().filter_map(|row| row.moving);
        moving
            .filter(|m| m.to == drive && m.phase == Phase::Dual)
            .count()
    };
    for _ in 0..60 {
        rounds.round().await;
        fake.state().fence_all();
    }
    assert!(to_it() > 0, "moves were taken back");
    assert!(fake.state().turned_away > 0, "it was asked");
    assert!(work.unfit().is_empty(), "a busy drive is as good as before");
    fake.state().busy.clear();
    settle(&fake).await;
    let mut state = fake.state();
    check_whole(&mut state, false);
    assert!(slots_of(&state, node) > 0);
}
