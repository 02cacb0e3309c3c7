//! What the machine itself can do, measured in the same run: synced writes and the loopback.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use marram_types::caps::{KIB, MIB};
use serde::Serialize;

/// Bytes of the sequential write.
const SEQUENTIAL_BYTES: usize = 512 * MIB;
/// How long small writes and the loopback are measured.
const TIME: Duration = Duration::from_secs(2);
/// Bytes of one write to the loopback.
const LOOPBACK_WRITE: usize = 256 * KIB;

/// What the machine can do.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Machine {
    /// One file written in pieces of 1 MiB, then synced, MiB/s.
    pub(super) synced_write_mib_s: f64,
    /// Pieces of 4 KiB appended, each synced, per second.
    pub(super) synced_4kib_per_s: f64,
    /// One TCP stream from this process to itself, MiB/s.
    pub(super) loopback_mib_s: f64,
}

/// Measures; takes about five seconds, and 512 MiB of `folder` for so long.
pub(super) fn measure(folder: &Path) -> io::Result<Machine> {
    let name = format!(".marram-{:016x}.bench", rand::random::<u64>());
    let path = folder.join(name);
    let written = File::create_new(&path).and_then(|mut file| {
        let sequential = sequential(&mut file)?;
        Ok((sequential, small(&mut file)?))
    });
    let removed = fs::remove_file(&path);
    let (synced_write_mib_s, synced_4kib_per_s) = written?;
    removed?;
    Ok(Machine {
        synced_write_mib_s,
        synced_4kib_per_s,
        loopback_mib_s: loopback()?,
    })
}

fn sequential(file: &mut File) -> io::Result<f64> {
    let piece: Vec<u8> = (0..MIB).map(|_| rand::random()).collect();
    let began = Instant::now();
    for _ in 0..SEQUENTIAL_BYTES / MIB {
        file.write_all(&piece)?;
    }
    file.sync_data()?;
    Ok(mib_per_second(SEQUENTIAL_BYTES as u64, began.elapsed()))
}

fn small(file: &mut File) -> io::Result<f64> {
    let piece = [7; 4 * KIB];
    let (began, mut count) = (Instant::now(), 0_u32);
    while began.elapsed() < TIME {
        file.write_all(&piece)?;
        file.sync_data()?;
        count += 1;
    }
    Ok(f64::from(count) / began.elapsed().as_secs_f64())
}

fn loopback() -> io::Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut to = TcpStream::connect(listener.local_addr()?)?;
    let (mut from, _) = listener.accept()?;
    let reader = thread::spawn(move || {
        let mut buffer = vec![0; LOOPBACK_WRITE];
        let mut bytes = 0_u64;
        loop {
            match from.read(&mut buffer) {
                Ok(0) | Err(_) => return bytes,
                Ok(read) => bytes += read as u64,
            }
        }
    });
    let piece = vec![7; LOOPBACK_WRITE];
    let began = Instant::now();
    while began.elapsed() < TIME {
        to.write_all(&piece)?;
    }
    drop(to);
    let bytes = reader.join().unwrap_or(0);
    Ok(mib_per_second(bytes, began.elapsed()))
}

/// A rate. Precision is lost beyond 2^53 bytes, which no run reaches.
#[allow(clippy::cast_precision_loss)]
pub(super) fn mib_per_second(bytes: u64, time: Duration) -> f64 {
    bytes as f64 / MIB as f64 / time.as_secs_f64().max(f64::EPSILON)
}
