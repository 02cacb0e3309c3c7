//! How much there may be of what all servers hold.

use marram_types::Grant;
use marram_types::caps::{
    ACCESS_KEYS_MAX, BUCKETS_MAX, GRANT_BYTES_PER_KEY_MAX, GRANTS_PER_KEY_MAX, KEY_BYTES_MAX,
};

use super::*;
use crate::{KeyCommand, KeyRefusal};

fn create(id: usize, grants: Vec<Grant>) -> RootCommand {
    RootCommand::Keys(KeyCommand::Create {
        id: format!("MK{id}"),
        wrapped_secret: vec![7],
        note: String::new(),
        grants,
        expires_ms: None,
    })
}

fn key_refused(root: &mut Root, command: &RootCommand) -> KeyRefusal {
    match root.refused(command) {
        Refusal::Key(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_cluster_has_so_many_buckets() {
    let mut root = Root::ready(3, 3);
    root.run(&RootCommand::SetDefaultProfile(profile("1+2")));
    let make = |number: usize| super::create(&format!("bucket-{number}"), None);
    for number in 0..BUCKETS_MAX {
        root.bucket(&make(number));
    }
    assert_eq!(root.refused(&make(BUCKETS_MAX)), Refusal::TooManyBuckets);
}

#[test]
fn a_cluster_has_so_many_access_keys() {
    let mut root = Root::ready(3, 3);
    let first = root.view().access_keys.len();
    for number in first..ACCESS_KEYS_MAX {
        assert_eq!(root.run(&create(number, Vec::new())), RootOutcome::Done);
    }
    let more = create(ACCESS_KEYS_MAX, Vec::new());
    assert_eq!(key_refused(&mut root, &more), KeyRefusal::TooMany);
}

#[test]
fn a_key_has_so_many_grants() {
    let mut root = Root::ready(3, 3);
    let grants = |count: usize| -> Vec<Grant> {
        let one = |number| format!("read:bucket-{number}").parse().unwrap();
        (0..count).map(one).collect()
    };
    let most = create(1, grants(GRANTS_PER_KEY_MAX));
    assert_eq!(root.run(&most), RootOutcome::Done);
    let more = create(2, grants(GRANTS_PER_KEY_MAX + 1));
    assert_eq!(key_refused(&mut root, &more), KeyRefusal::TooManyGrants);
    let long = |number: usize| {
        let prefix = format!("{number}").repeat(KEY_BYTES_MAX);
        format!("read:bucket/{prefix}").parse().unwrap()
    };
    let fit = GRANT_BYTES_PER_KEY_MAX / KEY_BYTES_MAX - 1;
    let most = create(3, (0..fit).map(long).collect());
    assert_eq!(root.run(&most), RootOutcome::Done);
    let more = create(4, (0..=fit).map(long).collect());
    assert_eq!(key_refused(&mut root, &more), KeyRefusal::TooManyGrants);
}
