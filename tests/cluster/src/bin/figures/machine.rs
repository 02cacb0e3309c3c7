//! What the machine itself can do: the disk under the cluster, and the loopback.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::MIB;

/// Bytes that are written and read.
const FILE_BYTES: usize = 1 << 30;
/// Bytes of one write or read.
const PIECE: usize = 4 << 20;
/// Pages that direct reads are aligned to.
const PAGE: usize = 4096;
/// How long the loopback is measured.
const LOOPBACK_FOR: Duration = Duration::from_secs(2);
#[cfg(target_os = "linux")]
const O_DIRECT: i32 = 0o40000;

/// Measures and prints it.
pub(crate) fn print(folder: &Path) {
    let path = folder.join("machine.bin");
    let written = synced_write(&path);
    let read = direct_read(&path);
    fs::remove_file(&path).expect("our own file");
    println!(
        "machine: {} cores; one file written in pieces of 4 MiB and synced {written:.0} MiB/s, read \
         with O_DIRECT {read:.0} MiB/s; one stream over the loopback {:.0} MiB/s",
        thread::available_parallelism().map_or(0, usize::from),
        loopback()
    );
}

fn rate(bytes: usize, time: Duration) -> f64 {
    bytes as f64 / MIB / time.as_secs_f64()
}

fn synced_write(path: &Path) -> f64 {
    let mut piece = vec![0; PIECE];
    rand::fill(&mut piece[..]);
    let mut file = File::create(path).expect("the folder can be written");
    let began = Instant::now();
    for _ in 0..FILE_BYTES / PIECE {
        file.write_all(&piece).expect("there is room");
    }
    file.sync_data().expect("synced");
    rate(FILE_BYTES, began.elapsed())
}

/// Reads past the page cache, or with it where the file system has no such reads.
fn direct_read(path: &Path) -> f64 {
    let direct = File::options().read(true).custom_flags(O_DIRECT).open(path);
    let mut file = match direct {
        Ok(file) => file,
        Err(_) => File::open(path).expect("our own file"),
    };
    let mut room = vec![0_u8; PIECE + PAGE];
    let start = room.as_ptr().align_offset(PAGE);
    let buffer = &mut room[start..start + PIECE];
    let (began, mut read) = (Instant::now(), 0);
    while read < FILE_BYTES {
        match file.read(buffer).expect("our own file") {
            0 => break,
            more => read += more,
        }
    }
    rate(read, began.elapsed())
}

fn loopback() -> f64 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let mut to = TcpStream::connect(address).expect("connected");
    let (mut from, _) = listener.accept().expect("accepted");
    let reader = thread::spawn(move || {
        let mut buffer = vec![0; PIECE];
        let mut bytes = 0;
        while let Ok(more @ 1..) = from.read(&mut buffer) {
            bytes += more;
        }
        bytes
    });
    let piece = vec![7; PIECE];
    let began = Instant::now();
    while began.elapsed() < LOOPBACK_FOR {
        to.write_all(&piece).expect("read at the other end");
    }
    drop(to);
    rate(reader.join().expect("read to the end"), began.elapsed())
}
