//! Access keys: what changes them, and that the last admin stays.

use marram_types::Grant;

use super::*;
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
