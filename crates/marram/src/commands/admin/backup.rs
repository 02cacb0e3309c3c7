//! `marram admin backup` and `finalize-version`.

use std::io;
use std::path::{Path, PathBuf};

use marram_client::{Backup, BackupNote, Client, ClientError, ErrorKind, PutBody, PutOptions};
use marram_meta::{BackupGroup, BackupHeader, BackupKind, Table};
use marram_types::{ClusterId, GroupId};
use serde::Serialize;

use crate::backup_file::{self, BackupWriter, Checked};
use crate::cli::{BackupArgs, BackupCommand, BackupVerifyArgs};
use crate::commands::Context;
use crate::failure::Failure;
use crate::location::{Location, Remote};
use crate::output::printable;
use crate::units::{date, size};

/// How often a backup is begun anew when buckets or layout changed meanwhile, or a copy broke off.
const ATTEMPTS: u32 = 5;

/// Runs a command about backups.
pub(super) async fn run(context: &Context<'_>, command: BackupCommand) -> Result<(), Failure> {
    match command {
        BackupCommand::Metadata(args) => metadata(context, args).await,
        BackupCommand::Verify(args) => verify(context, &args),
        BackupCommand::Release => release(context).await,
    }
}

/// What a backup is, for people and programs.
#[derive(Debug, Serialize)]
struct Told {
    cluster_id: String,
    cluster_name: String,
    made_ms: u64,
    kept_until_ms: u64,
    bytes: u64,
    groups: usize,
    objects: u64,
    buckets: u64,
    kind: &'static str,
}

/// What was made, and whether the cluster remembers it.
#[derive(Debug, Serialize)]
struct Made {
    #[serde(flatten)]
    backup: Told,
    /// Why it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_recorded: Option<String>,
}

impl Told {
    fn of(checked: &Checked) -> Self {
        let header = &checked.summary.header;
        let rows = |table| checked.rows.get(&table).copied().unwrap_or(0);
        Self {
            cluster_id: header.cluster.to_string(),
            cluster_name: header.name.clone(),
            made_ms: header.made_ms,
            kept_until_ms: header.kept_until_ms,
            bytes: checked.bytes,
            groups: checked.summary.groups.len(),
            objects: rows(Table::Objects),
            // Every object group has its own copies of them; names are the root group's alone.
            buckets: rows(Table::BucketNames),
            kind: match header.kind {
                BackupKind::Cluster => "cluster",
                BackupKind::Replica => "replica",
            },
        }
    }

    fn line(&self) -> String {
        let at = |ms| date(i64::try_from(ms).unwrap_or(i64::MAX));
        format!(
            "{} of {} ({}): {} objects in {} buckets, {} groups, {}, made {}{}",
            match self.kind {
                "cluster" => "backup",
                _ => "state of one replica",
            },
            printable(&self.cluster_name),
            self.cluster_id,
            self.objects,
            self.buckets,
            self.groups,
            size(self.bytes),
            at(self.made_ms),
            match self.kept_until_ms {
                0 => String::new(),
                until => format!(", what it names is kept until {}", at(until)),
            }
        )
    }
}

async fn metadata(context: &Context<'_>, args: BackupArgs) -> Result<(), Failure> {
    let keep_ms = u64::try_from(args.keep.as_millis()).unwrap_or(u64::MAX);
    let client = context.client()?;
    let checked = match Location::parse(&args.target)? {
        Location::Local(path) => write(&client, &path, keep_ms).await?,
        Location::Pipe => return Err(Failure::Usage("a backup is a file or m://bucket/key")),
        Location::Remote(remote) => send(&client, &remote, keep_ms).await?,
    };
    let not_recorded = record(&client, &checked).await;
    let told = Made {
        backup: Told::of(&checked),
        not_recorded,
    };
    context.output.done(&told, || {
        let unknown = match &told.not_recorded {
            None => String::new(),
            Some(why) => format!("\nthe cluster does not know of it: {}", printable(why)),
        };
        format!(
            "{}: {}{unknown}",
            printable(&args.target),
            told.backup.line()
        )
    })
}

/// Tells the cluster of a backup. One that is whole is none the worse for a cluster that cannot be told: gives why
/// it was not.
async fn record(client: &Client, checked: &Checked) -> Option<String> {
    let header = &checked.summary.header;
    let mut groups = checked.summary.groups.iter();
    let root = groups.find(|(group, _)| group.group == GroupId::ROOT);
    let backup = BackupNote {
        made_ms: header.made_ms,
        kept_until_ms: header.kept_until_ms,
        bytes: checked.bytes,
        root_index: root.map_or(0, |(group, _)| group.index),
    };
    let cluster = header.cluster.to_string();
    match client.record_backup(&cluster, backup).await {
        Ok(Some(known)) if known.root_index != backup.root_index => {
            Some("it knows of a newer one: do the clocks of the servers agree?".to_owned())
        }
        Ok(_) => None,
        Err(error) => Some(error.to_string()),
    }
}

/// Makes the file and reads it through.
async fn write(client: &Client, path: &Path, keep_ms: u64) -> Result<Checked, Failure> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let made = attempt_at(client, path, keep_ms).await;
        match made {
            Ok(true) => break,
            Ok(false) if attempt < ATTEMPTS => {}
            Err(Failure::Client { error, .. }) if attempt < ATTEMPTS && begins_anew(&error) => {}
            Ok(false) => return Err(Failure::BackupChanged(ATTEMPTS)),
            Err(failure) => return Err(failure),
        }
    }
    read_through(path)
}

fn begins_anew(error: &ClientError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Precondition | ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Corrupt
    )
}

/// Writes a file, which gets its name only if it is a backup.
async fn attempt_at(client: &Client, path: &Path, keep_ms: u64) -> Result<bool, Failure> {
    let backup = client
        .begin_backup(keep_ms)
        .await
        .map_err(Failure::at("cluster"))?;
    let written = groups(client, &backup, path).await;
    let unchanged = client.end_backup(&backup).await;
    let writer = written?;
    if !unchanged.map_err(Failure::at("cluster"))? {
        return Ok(false);
    }
    writer.finish().map_err(Failure::local("write", path))?;
    Ok(true)
}

async fn groups(client: &Client, backup: &Backup, path: &Path) -> Result<BackupWriter, Failure> {
    let cluster = u128::from_str_radix(&backup.cluster_id, 16)
        .map_err(|_| Failure::WrongBytes(format!("cluster id {:?}", backup.cluster_id)))?;
    let header = BackupHeader {
        kind: BackupKind::Cluster,
        cluster: ClusterId(cluster),
        name: backup.cluster_name.clone(),
        made_ms: backup.made_ms,
        kept_until_ms: backup.kept_until_ms,
        object_groups: backup.object_groups,
        replica: None,
    };
    let mut writer = BackupWriter::create(path, header).map_err(Failure::local("write", path))?;
    for place in &backup.groups {
        let number = u16::try_from(place.group)
            .map_err(|_| Failure::WrongBytes(format!("group {}", place.group)))?;
        let (mut place, mut offset) = (place.clone(), 0);
        loop {
            let piece = client.read_backup(&place, offset).await;
            let piece = piece.map_err(Failure::at("cluster"))?;
            if offset == 0 {
                let group = BackupGroup {
                    group: GroupId(number),
                    term: piece.term,
                    index: piece.index,
                    applied: piece.index,
                    voters: Vec::new(),
                };
                writer.group(group).map_err(Failure::local("write", path))?;
            }
            if piece.bytes.is_empty() {
                break;
            }
            writer
                .piece(&piece.bytes)
                .map_err(Failure::local("write", path))?;
            offset += piece.bytes.len() as u64;
            place = piece.place;
            if offset >= piece.total_bytes {
                break;
            }
        }
        writer.group_end().map_err(Failure::local("write", path))?;
    }
    Ok(writer)
}

/// Makes a file on this machine and puts it, so that only a whole backup is ever an object.
async fn send(client: &Client, remote: &Remote, keep_ms: u64) -> Result<Checked, Failure> {
    let name = format!("marram-backup-{:016x}", rand::random::<u64>());
    let file = Temporary(std::env::temp_dir().join(name));
    let checked = write(client, &file.0, keep_ms).await?;
    let options = PutOptions::default();
    let body = PutBody::file(&file.0);
    let put = client.put(&remote.bucket, &remote.key, body, options).await;
    put.map_err(Failure::at(format!("m://{}/{}", remote.bucket, remote.key)))?;
    Ok(checked)
}

/// A file that goes away with its owner.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _not_there = std::fs::remove_file(&self.0);
    }
}

fn read_through(path: &Path) -> Result<Checked, Failure> {
    let checked = if path == Path::new("-") {
        backup_file::read(path, &mut io::stdin().lock(), &mut |_| Ok(()))
    } else {
        backup_file::read_file(path, &mut |_| Ok(()))
    };
    checked.map_err(|error| Failure::BadBackup(error.to_string()))
}

fn verify(context: &Context<'_>, args: &BackupVerifyArgs) -> Result<(), Failure> {
    let told = Told::of(&read_through(&args.file)?);
    context
        .output
        .done(&told, || format!("whole: {}", told.line()))
}

async fn release(context: &Context<'_>) -> Result<(), Failure> {
    let released = context.client()?.release_backups().await;
    released.map_err(Failure::at("cluster"))?;
    context
        .output
        .done(&serde_json::json!({"released": true}), || {
            "nothing is kept for backups any more".to_owned()
        })
}

/// Raises the version of commands that the cluster uses.
pub(super) async fn finalize(context: &Context<'_>) -> Result<(), Failure> {
    let done = context.client()?.finalize_version().await;
    let done = done.map_err(Failure::at("cluster"))?;
    context.output.done(&done, || {
        let version = done.version;
        if done.before == version {
            format!("the cluster is at version {version} already")
        } else {
            format!(
                "the cluster is at version {version} now; it was {}",
                done.before
            )
        }
    })
}
