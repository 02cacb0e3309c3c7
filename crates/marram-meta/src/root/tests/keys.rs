//! Access keys: what changes them, and that the last admin stays.

use marram_types::Grant;

use super::*;
use crate::testing::request;
use crate::{KeyCommand, KeyRefusal};

fn create(id: &str, grant: &str) -> KeyCommand {
    KeyCommand::Create {
        id: id.to_owned(),
        wrapped_secret: vec![7],
        note: "tests".to_owned(),
        grants: vec![grant.parse().unwrap()],
        expires_ms: None,
    }
}

/// A change of a key, nothing as yet.
#[derive(Clone)]
struct Change {
    id: &'static str,
    disabled: Option<bool>,
    expires: Option<Option<u64>>,
    add: Vec<Grant>,
    remove: Vec<Grant>,
}

fn change(id: &'static str) -> Change {
    Change {
        id,
        disabled: None,
        expires: None,
        add: Vec::new(),
        remove: Vec::new(),
    }
}

impl Change {
    fn sent(self) -> KeyCommand {
        KeyCommand::Update {
            id: self.id.to_owned(),
            disabled: self.disabled,
            expires: self.expires,
            add: self.add,
            remove: self.remove,
        }
    }
}

fn refused(root: &mut Root, command: KeyCommand) -> KeyRefusal {
    match root.run(&RootCommand::Keys(command)) {
        RootOutcome::Refused(Refusal::Key(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

fn done(root: &mut Root, command: KeyCommand) {
    assert_eq!(root.run(&RootCommand::Keys(command)), RootOutcome::Done);
}

#[test]
fn the_last_lasting_admin_cannot_go_in_any_way() {
    let mut root = Root::ready(3, 3);
    done(&mut root, create("SOME", "admin:photos"));
    let mut off = change("MARRAM");
    off.disabled = Some(true);
    let mut ends = change("MARRAM");
    ends.expires = Some(Some(1));
    let mut less = change("MARRAM");
    less.remove = vec![Grant::everything()];
    let id = "MARRAM".to_owned();
    let ways = [
        off.sent(),
        ends.sent(),
        less.sent(),
        KeyCommand::Delete { id },
    ];
    for way in ways.clone() {
        assert_eq!(refused(&mut root, way), KeyRefusal::LastAdmin);
    }
    done(&mut root, create("OTHER", "admin:*"));
    for way in ways {
        done(&mut root, way);
    }
    let other = "OTHER".to_owned();
    let last = refused(&mut root, KeyCommand::Delete { id: other });
    assert_eq!(last, KeyRefusal::LastAdmin);
}

#[test]
fn rotations_keep_every_secret_for_its_overlap() {
    let mut root = Root::ready(3, 3);
    let rotate = |secret: u8, overlap_ms| KeyCommand::Rotate {
        id: "MARRAM".to_owned(),
        wrapped_secret: vec![secret],
        overlap_ms,
    };
    for secret in 1..=4 {
        done(&mut root, rotate(secret, u64::MAX));
        let key = root.view().access_keys["MARRAM"].clone();
        // Delivered again, at once or late, it changes nothing.
        done(&mut root, rotate(secret, u64::MAX));
        done(&mut root, rotate(1, 0));
        assert_eq!(root.view().access_keys["MARRAM"], key);
    }
    assert_eq!(
        refused(&mut root, rotate(5, u64::MAX)),
        KeyRefusal::TooManySecrets
    );
    let key = root.view().access_keys["MARRAM"].clone();
    assert_eq!((key.wrapped_secret, key.old_secrets.len()), (vec![4], 4));
    assert_eq!(key.old_secrets[0].wrapped, [1, 2, 3]);
    done(&mut root, rotate(6, 0));
    let key = root.view().access_keys["MARRAM"].clone();
    assert_eq!((key.wrapped_secret, key.old_secrets.len()), (vec![6], 0));
}

#[test]
fn grants_come_and_go_and_void_what_was_derived_from_them() {
    let mut root = Root::ready(3, 3);
    done(&mut root, create("SOME", "read:photos"));
    let made = root.view().access_keys["SOME"].clone();
    done(&mut root, create("SOME", "read:photos"));
    assert_eq!(root.view().access_keys["SOME"], made, "delivered again");
    let mut another = create("SOME", "read:photos");
    if let KeyCommand::Create { wrapped_secret, .. } = &mut another {
        *wrapped_secret = vec![8];
    }
    assert_eq!(refused(&mut root, another), KeyRefusal::Exists);
    let before = made.revision;
    let mut other = change("SOME");
    other.add = vec!["write:photos/a".parse().unwrap()];
    other.remove = vec!["read:photos".parse().unwrap()];
    done(&mut root, other.clone().sent());
    let key = root.view().access_keys["SOME"].clone();
    assert_eq!(key.grants, other.add);
    assert!(key.revision > before);
    // Made again it changes nothing, and voids nothing.
    done(&mut root, other.sent());
    assert_eq!(root.view().access_keys["SOME"], key);
    assert_eq!(
        refused(&mut root, change("NONE").sent()),
        KeyRefusal::Unknown
    );
    let none = "NONE".to_owned();
    done(&mut root, KeyCommand::Delete { id: none });
}

#[test]
fn a_removal_says_on_every_attempt_whether_there_was_a_key() {
    let mut root = Root::ready(3, 3);
    done(&mut root, create("SOME", "read:photos"));
    let remove = |id: &str| KeyCommand::Remove { id: id.to_owned() };
    let command = RootCommand::Keys(remove("SOME"));
    for _ in 0..2 {
        let outcome = root.run_as(request(1), (2_000, 9_000), &command);
        assert_eq!(outcome, RootOutcome::Done);
    }
    assert_eq!(refused(&mut root, remove("SOME")), KeyRefusal::Unknown);
    assert_eq!(refused(&mut root, remove("MARRAM")), KeyRefusal::LastAdmin);
}

#[test]
fn an_older_change_that_comes_again_does_not_undo_a_newer_one() {
    let mut root = Root::ready(3, 3);
    done(&mut root, create("SOME", "read:photos"));
    let switch = |off| {
        let mut change = change("SOME");
        change.disabled = Some(off);
        RootCommand::Keys(change.sent())
    };
    let disabled = |root: &Root| root.view().access_keys["SOME"].disabled;
    root.run_as(request(1), (2_000, 9_000), &switch(true));
    assert!(disabled(&root));
    root.run_as(request(2), (3_000, 9_000), &switch(false));
    let again = root.run_as(request(1), (4_000, 9_000), &switch(true));
    assert_eq!(again, RootOutcome::Done, "what the first attempt was told");
    assert!(!disabled(&root), "the newer change stands");
    // An attempt that nobody carried out in time, and that still comes.
    let late = root.run_as(request(3), (9_001, 9_000), &switch(true));
    assert_eq!(late, RootOutcome::Refused(Refusal::DeadlinePassed));
    assert!(!disabled(&root));
}
