use marram_store::OsVfs;
use marram_types::{GroupId, ReplicaId};
use tempfile::TempDir;

use super::*;

fn place(dir: &TempDir) -> Place {
    Place {
        vfs: Arc::new(OsVfs),
        dir: dir.path().to_owned(),
        group: GroupId(3),
        replica: ReplicaId(7),
        cache_bytes: 1 << 20,
        log_kept: 100,
    }
}

const NAME: Name<'static> = Name {
    id: "7-1-7-99",
    total_bytes: 3 * NOTE_EVERY_BYTES,
};

/// Six pieces, of which the last is not noted.
async fn received(dir: &TempDir) -> Incoming {
    let mut incoming = Incoming::begin(&place(dir), NAME).expect("begun");
    for at in 0..6_u8 {
        let piece = Bytes::from(vec![at; 1 << 20]);
        incoming.write(&piece).await.expect("written");
    }
    incoming
}

fn found(dir: &TempDir) -> Option<Incoming> {
    Incoming::left_behind(&place(dir)).expect("readable")
}

#[tokio::test]
async fn it_goes_on_from_its_last_note() {
    let dir = TempDir::new().unwrap();
    assert!(found(&dir).is_none(), "there is nothing yet");
    let whole = received(&dir).await;
    assert_eq!(whole.len(), 6 << 20);
    drop(whole);
    let mut again = found(&dir).expect("what was there");
    assert_eq!(again.len(), NOTE_EVERY_BYTES);
    assert!(
        again.is(NAME)
            && again.is(Name {
                total_bytes: 0,
                ..NAME
            })
    );
    assert!(
        !again.is(Name {
            total_bytes: 1,
            ..NAME
        }) && !again.is(Name {
            id: "other",
            ..NAME
        })
    );
    let rest = Bytes::from(vec![9; usize::try_from(2 * NOTE_EVERY_BYTES).unwrap()]);
    again.write(&rest).await.expect("written");
    assert!(again.is_complete());
    let bytes = std::fs::read(place(&dir).incoming_path()).unwrap();
    assert_eq!(
        again.crc32c(),
        crc32c(&bytes),
        "of all, also what came before"
    );
    assert_eq!(
        bytes[4 << 20..],
        rest[..],
        "what was not noted was written over"
    );
    again.remove().expect("removed");
    assert!(found(&dir).is_none());
}

#[tokio::test]
async fn any_damage_means_that_it_begins_anew() {
    for damage in [
        "note",
        "note cut",
        "note longer",
        "note empty",
        "bytes",
        "bytes cut",
    ] {
        let dir = TempDir::new().unwrap();
        drop(received(&dir).await);
        let path = match damage.split_once(' ').map_or(damage, |(file, _)| file) {
            "note" => note_path(&place(&dir)),
            _ => place(&dir).incoming_path(),
        };
        let mut bytes = std::fs::read(&path).unwrap();
        match damage {
            "note longer" => bytes.push(0),
            "note cut" | "bytes cut" => bytes.truncate(bytes.len() / 2),
            "note empty" => bytes.clear(),
            _ => bytes[9] ^= 0x10,
        }
        std::fs::write(&path, bytes).unwrap();
        assert!(found(&dir).is_none(), "{damage}");
        assert!(!path.exists(), "{damage}: it was not removed");
    }
}

#[tokio::test]
async fn a_note_without_bytes_is_nothing() {
    let dir = TempDir::new().unwrap();
    drop(received(&dir).await);
    std::fs::remove_file(place(&dir).incoming_path()).unwrap();
    assert!(found(&dir).is_none());
}
