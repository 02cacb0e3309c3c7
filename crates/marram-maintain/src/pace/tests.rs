//! Buckets, the share as the foreground's latency goes up and down, and both with a clock.

use super::throttle::{Seen, Throttle};
use super::*;

const MS: Duration = Duration::from_millis(1);

fn drive(id: u64) -> Lane {
    Lane::Drive(DriveId(id))
}

#[test]
fn a_bucket_lets_its_rate_through_whatever_the_sizes() {
    for size in [1_000, 40_000, 3_000_000] {
        let mut bucket = Bucket::default();
        let (mut now, mut passed) = (Duration::ZERO, 0_u64);
        while now < Duration::from_secs(60) {
            match bucket.take(now, 1e6, size) {
                Ok(()) => passed += size,
                Err(wait) => now += wait,
            }
        }
        let (least, most) = (56_000_000, 60_000_000 + size + 100_000);
        assert!(
            (least..=most).contains(&passed),
            "{passed} in units of {size}"
        );
    }
}

#[test]
fn after_a_pause_only_a_burst_passes_at_once() {
    let mut bucket = Bucket::default();
    let now = Duration::from_secs(1000);
    let passed = (0..1000).take_while(|_| bucket.take(now, 1e6, 10_000).is_ok());
    assert_eq!(passed.count(), 11, "a tenth of a second, and one on top");
    assert!(bucket.take(now + 20 * MS, 1e6, 1).is_ok());
}

#[test]
fn another_rate_holds_for_what_is_owed_already() {
    let mut bucket = Bucket::default();
    bucket.take(Duration::ZERO, 1e6, 1_000_000).expect("free");
    let slow = bucket.take(Duration::ZERO, 1e5, 1).expect_err("owed");
    let fast = bucket.take(Duration::ZERO, 1e7, 1).expect_err("owed");
    assert_eq!((slow.as_millis(), fast.as_millis()), (10_001, 101));
}

fn seen(kind: Foreground, bytes: u64, took: Duration) -> Seen {
    let mut seen = Seen::default();
    for _ in 0..10 {
        seen.note(kind, bytes, took);
    }
    seen
}

fn after(mut throttle: Throttle, seen: &Seen, ticks: usize) -> Throttle {
    for _ in 0..ticks {
        throttle = throttle.next(seen, &PaceSettings::default());
    }
    throttle
}

#[test]
fn the_share_falls_while_latency_is_up_and_rises_when_it_is_down_again() {
    let settings = PaceSettings::default();
    let fresh = Throttle::new(&settings);
    assert!((fresh.share() - 1.0).abs() < 1e-9, "nobody is there");
    let usual = seen(Foreground::Read, 1 << 20, 20 * MS);
    let slow = seen(Foreground::Read, 1 << 20, 50 * MS);
    let between = seen(Foreground::Read, 1 << 20, 35 * MS);
    let busy = after(fresh, &usual, 4);
    assert!((busy.share() - settings.share).abs() < 1e-9);
    let pressed = after(busy, &slow, 2);
    assert!(pressed.share() < 0.5 * settings.share);
    assert!((after(pressed, &between, 50).share() - pressed.share()).abs() < 1e-9);
    let most = after(pressed, &slow, 20);
    assert!(
        (most.share() - settings.share_min).abs() < 1e-9,
        "never none"
    );
    let eased = after(most, &usual, 5);
    assert!(eased.share() > most.share() && eased.share() < settings.share);
    assert!((after(eased, &usual, 50).share() - settings.share).abs() < 1e-9);
    let gone = after(most, &Seen::default(), 8);
    assert!(
        (gone.share() - 1.0).abs() < 1e-9,
        "the foreground went away"
    );
    let back = after(gone, &usual, 1).share();
    assert!(
        back < 2.0 * settings.share_min,
        "it goes on from where it was"
    );
}

#[test]
fn each_kind_has_its_own_usual() {
    let settings = PaceSettings::default();
    let quick = seen(Foreground::Read, 1 << 20, 20 * MS);
    let slow_kind = seen(Foreground::Write, 1 << 20, 200 * MS);
    let throttle = after(Throttle::new(&settings), &quick, 4);
    let throttle = after(throttle, &slow_kind, 4);
    assert!((throttle.share() - settings.share).abs() < 1e-9);
}

#[test]
fn what_is_fast_anyway_is_never_called_slow() {
    let settings = PaceSettings::default();
    let throttle = after(
        Throttle::new(&settings),
        &seen(Foreground::Write, 1, MS / 10),
        4,
    );
    let throttle = after(throttle, &seen(Foreground::Write, 1, 9 * MS), 50);
    assert!((throttle.share() - settings.share).abs() < 1e-9);
    let throttle = after(throttle, &seen(Foreground::Write, 1, 11 * MS), 1);
    assert!(throttle.share() < settings.share);
}

#[test]
fn a_lasting_change_becomes_usual_in_the_end() {
    let settings = PaceSettings::default();
    let throttle = after(
        Throttle::new(&settings),
        &seen(Foreground::Read, 1, 20 * MS),
        4,
    );
    let slower = seen(Foreground::Read, 1, 50 * MS);
    assert!(after(throttle, &slower, 500).share() < settings.share);
    assert!((after(throttle, &slower, 20_000).share() - settings.share).abs() < 1e-9);
}

/// What is taken at no less than its time; how much later is the machine's affair.
async fn takes_at_least(seconds: f64, taking: impl Future<Output = ()>) {
    let began = Instant::now();
    taking.await;
    let took = began.elapsed().as_secs_f64();
    assert!(took >= seconds, "{took} s, not {seconds}");
}

#[tokio::test]
async fn a_lane_keeps_its_rate_whoever_uses_it_and_others_do_not_wait_for_it() {
    let pace = Arc::new(Pace::new(PaceSettings {
        drive_bytes_per_s: 64 << 20,
        ..PaceSettings::default()
    }));
    let users = (0..4).map(|_| {
        let pace = Arc::clone(&pace);
        tokio::spawn(async move {
            for _ in 0..8 {
                pace.take(drive(1), 1 << 20).await;
            }
        })
    });
    let users: Vec<_> = users.collect();
    takes_at_least(0.45, async {
        for user in users {
            user.await.expect("ends");
        }
    })
    .await;
    assert!(pace.try_take(drive(2), 1).is_ok(), "another lane is free");
}

#[tokio::test]
async fn who_waits_goes_on_at_the_new_rate_when_the_foreground_comes() {
    let settings = PaceSettings {
        drive_bytes_per_s: 400 << 20,
        ..PaceSettings::default()
    };
    let pace = Pace::new(settings);
    pace.take(drive(1), 400 << 20).await;
    let foreground = async {
        loop {
            pace.served(Foreground::Read, 1, MS);
            tokio::time::sleep(10 * MS).await;
        }
    };
    // A second at the whole rate; most of it is waited for at half.
    takes_at_least(1.4, async {
        tokio::select! {
            () = foreground => {}
            () = pace.take(drive(1), 1) => {}
        }
    })
    .await;
    assert!((pace.share() - settings.share).abs() < 1e-9);
}

#[tokio::test]
async fn no_lane_ever_stands() {
    let pace = Pace::new(PaceSettings {
        drive_bytes_per_s: 1,
        ..PaceSettings::default()
    });
    pace.take(drive(1), 1 << 20).await;
    let wait = pace.try_take(drive(1), 1).expect_err("owed");
    assert!(
        wait <= Duration::from_millis(70),
        "{wait:?} at 16 MiB a second"
    );
    pace.take(drive(1), 1).await;
}

#[tokio::test]
async fn of_several_lanes_all_are_taken_or_none() {
    let pace = Pace::new(PaceSettings::default());
    let gib = 1 << 30;
    pace.take(Lane::Sent, gib).await;
    for _ in 0..1000 {
        let refused = pace.try_take_all([drive(1), Lane::Sent], gib);
        assert!(refused.is_err(), "the link is in use");
    }
    // What was refused is not owed by the drive.
    assert!(pace.try_take_all([drive(1), Lane::Received], gib).is_ok());
    assert!(pace.try_take(drive(1), 1).is_err());
    assert!(pace.try_take(Lane::Received, 1).is_err());
}
