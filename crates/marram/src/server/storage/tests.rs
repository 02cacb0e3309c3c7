use std::fs;
use std::path::Path;

use super::*;

const CLUSTER: ClusterId = ClusterId(7);
const NODE: NodeId = NodeId(2);

fn settings(folder: &Path) -> ServerConfig {
    let path = |name: &str| folder.join(name);
    fs::write(path("kek"), "5a".repeat(32)).expect("written");
    let settings = format!(
        "data = [{:?}, {:?}]\nkek_file = {:?}\njoin = [\"127.0.0.1:1\"]\nsegment_mib = 16\n",
        path("d0"),
        path("d1"),
        path("kek"),
    );
    toml::from_str(&settings).expect("settings")
}

/// The folders of a member: the metadata drive 512, and drive 513.
fn member(folder: &Path) -> ServerConfig {
    let config = settings(folder);
    for (ordinal, path) in (0..).zip(&config.data) {
        let root = DriveRoot::open(Arc::new(OsVfs), path, None);
        let identity = Identity {
            cluster: CLUSTER,
            node: Some(NODE),
            drive: Some(DriveId(512 + u64::from(ordinal))),
            ordinal,
            replica: (ordinal == 0).then_some(ReplicaId(9)),
        };
        let written = root.expect("opened").write_identity(identity);
        written.expect("written");
    }
    config
}

fn flip(file: &Path, at: usize) -> Vec<u8> {
    let sound = fs::read(file).expect("read");
    let mut damaged = sound.clone();
    damaged[at] ^= 1;
    fs::write(file, damaged).expect("written");
    sound
}

/// One damaged drive is one drive: whatever byte it is, the node runs without it, says so, and leaves what is
/// on it as it is.
#[test]
fn a_drive_with_a_damaged_identity_is_away() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = member(folder.path());
    let file = config.data[1].join("marram.identity");
    let bytes = fs::read(&file).expect("read").len();
    for at in 0..bytes {
        let sound = flip(&file, at);
        let damaged = fs::read(&file).expect("read");
        let storage = Storage::open(&config).expect("the node runs without it");
        let start = storage.start(&config).expect("a start");
        let (node, replica) = (NODE, ReplicaId(9));
        assert_eq!(start, Start::Resume { node, replica });
        match storage.waiting.as_slice() {
            [Waiting::Away { path, why, .. }] => {
                assert_eq!(*path, config.data[1]);
                assert!(why.contains("damaged"), "byte {at}: {why}");
            }
            other => panic!("byte {at}: {other:?}"),
        }
        drop(storage);
        assert_eq!(fs::read(&file).expect("read"), damaged, "left as it is");
        fs::write(&file, sound).expect("written");
    }
    let storage = Storage::open(&config).expect("opened");
    assert!(storage.waiting.is_empty(), "it is back");
}

#[test]
fn a_damaged_metadata_drive_keeps_the_node_from_starting() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = member(folder.path());
    flip(&config.data[0].join("marram.identity"), 20);
    let error = Storage::open(&config).expect_err("nobody knows who it is");
    assert!(error.to_string().contains("damaged"), "{error:#}");
}
