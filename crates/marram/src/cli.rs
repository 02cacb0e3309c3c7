//! What can be said on the command line. The comments are the help texts.

mod admin;
mod annotate;
mod conditions;
mod identity;
mod keys;
mod lifecycle;
mod liveness;
#[cfg(test)]
mod page;
mod profile;
mod quota;
mod upkeep;
mod versions;
mod watch;
mod wayback;
mod written;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

pub(crate) use admin::{
    AdminCommand, DrainArgs, FenceArgs, LayoutCommand, LayoutPlanArgs, NodeArg, RebalanceAction,
    RebalanceArgs, RemoveArgs,
};
pub(crate) use annotate::{DescribeArgs, TagsCommand};
pub(crate) use conditions::{ConditionArgs, ReadConditionArgs};
pub(crate) use lifecycle::{LifecycleArgs, LifecycleCommand};
pub(crate) use profile::{AllowProfileArgs, BucketCommand, ProfileArgs, SetProfileArgs};
pub(crate) use quota::QuotaArgs;
pub(crate) use upkeep::{
    DriveCommand, DriveDrainArgs, GcCommand, RepairAction, RepairArgs, ScrubAction, ScrubArgs,
};
pub(crate) use versions::{RestoreArgs, VersioningArgs, VersioningState};
pub(crate) use watch::{
    BundleArgs, DoctorArgs, LogLevelArgs, ProfileCommand, ProfileCpuArgs, ProfileMemoryArgs,
    TopArgs,
};
pub(crate) use wayback::{AuditArgs, BackupArgs, BackupCommand, BackupVerifyArgs};
pub(crate) use written::WrittenArgs;

pub(crate) use identity::{
    BootstrapArgs, CaCommand, CaRotateArgs, GatewayCommand, ReloadTlsArgs, TokenCommand,
    TokenCreateArgs, TokenRoleArg,
};
pub(crate) use keys::{KeyCommand, KeyCreateArgs};
pub(crate) use liveness::{MaintenanceArgs, OkToStopArgs, StatusArgs, TransferLeaderArgs};

use crate::filter::FilterArgs;
use crate::units::{parse_duration, parse_size};

/// Transfers at once, at most.
const JOBS_MAX: i64 = 256;
/// Requests of a benchmark at once, at most.
const CONCURRENCY_MAX: i64 = 4096;

/// Marram: a distributed object store.
///
/// Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 denied, 130 interrupted.
#[derive(Debug, Parser)]
#[command(name = "marram", version, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every client command understands.
#[derive(Debug, Args)]
pub(crate) struct Globals {
    /// Servers of the cluster as host:port or https://host:port, several separated by commas
    #[arg(
        long,
        global = true,
        env = "MARRAM_ENDPOINT",
        value_name = "HOST:PORT,..."
    )]
    #[arg(help_heading = "Connection")]
    pub(crate) endpoint: Option<String>,
    /// The access key
    #[arg(long, global = true, env = "MARRAM_ACCESS_KEY", value_name = "KEY")]
    #[arg(help_heading = "Connection")]
    pub(crate) access_key: Option<String>,
    /// The access key's secret; better given in the environment, where `ps` does not show it
    #[arg(long, global = true, env = "MARRAM_SECRET_KEY", value_name = "SECRET")]
    #[arg(help_heading = "Connection", hide_env_values = true)]
    pub(crate) secret_key: Option<String>,
    /// File with the access key and its secret, `id secret`, goes before both
    #[arg(long, global = true, env = "MARRAM_KEY_FILE", value_name = "FILE")]
    #[arg(help_heading = "Connection")]
    pub(crate) key_file: Option<PathBuf>,
    /// PEM file with the CAs whose servers are trusted; those of the system where it is not given
    #[arg(long, global = true, env = "MARRAM_CA_FILE", value_name = "FILE")]
    #[arg(help_heading = "Connection")]
    pub(crate) ca_file: Option<PathBuf>,
    /// The name that the servers' certificates bear, where it is not the one in the endpoint
    #[arg(
        long,
        global = true,
        env = "MARRAM_TLS_SERVER_NAME",
        value_name = "NAME"
    )]
    #[arg(help_heading = "Connection")]
    pub(crate) tls_server_name: Option<String>,
    /// Read large objects through the endpoints too, not from the nodes that have their shards
    #[arg(long, global = true, help_heading = "Connection")]
    pub(crate) no_direct: bool,
    /// Make the command's first change under this request id: one that an error told because its outcome was
    /// unknown. The same command again then says what came of it and does nothing twice, for five minutes
    #[arg(long, global = true, value_name = "ID", help_heading = "Connection")]
    pub(crate) request_id: Option<marram_client::RequestId>,
    /// Have servers that export traces record this command, and print the trace's id on standard error;
    /// without it the trace of TRACEPARENT, if there is one, is passed on
    #[arg(long, global = true, help_heading = "Connection")]
    pub(crate) trace: bool,
    /// Print JSON: one object, or one a line for lists
    #[arg(long, global = true, help_heading = "Output")]
    pub(crate) json: bool,
    /// Print nothing but results that were asked for, and errors
    #[arg(short, long, global = true, help_heading = "Output")]
    pub(crate) quiet: bool,
    /// Say more on standard error; twice for even more
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Output")]
    pub(crate) verbose: u8,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a whole cluster on this machine, to try Marram out
    Dev(crate::dev::Args),
    /// Start a server: drives, metadata and the API
    Server(Box<crate::server::ServerArgs>),
    /// Start a gateway: the API without drives
    Gateway(Box<crate::server::GatewayArgs>),
    /// Make a bucket
    Mb(MbArgs),
    /// Remove an empty bucket
    Rb(RbArgs),
    /// List buckets, or the objects of one
    Ls(LsArgs),
    /// Copy files to, from and between buckets
    Cp(CpArgs),
    /// Write an object to standard output
    Cat(CatArgs),
    /// Delete objects
    Rm(RmArgs),
    /// Bring a deleted object, or an old version of one, back
    Restore(RestoreArgs),
    /// Say what a bucket or an object is
    Stat(StatArgs),
    /// Tags of objects: list, set, remove them
    #[command(subcommand)]
    Tags(TagsCommand),
    /// Give an object another media type or other metadata; its bytes stay where they are
    Describe(DescribeArgs),
    /// Say or change whether a bucket keeps the versions that others replace
    Versioning(VersioningArgs),
    /// Say or set by which rules what a bucket holds goes by itself
    Lifecycle(LifecycleArgs),
    /// Say or set what a bucket may hold
    Quota(QuotaArgs),
    /// Move files to, from and between buckets
    Mv(CpArgs),
    /// Make a folder or prefix equal to another one, copying only what differs
    Sync(SyncArgs),
    /// Find objects by name, size and age
    Find(FindArgs),
    /// Say how many objects and bytes there are, in all and by folder
    Du(DuArgs),
    /// Print what happens to the objects of a bucket, as it happens
    Watch(WatchArgs),
    /// Multipart uploads that are under way: list them, end them
    #[command(subcommand)]
    Uploads(UploadsCommand),
    /// Operate the cluster
    #[command(subcommand)]
    Admin(AdminCommand),
    /// Try a cluster out as an application would, and say how each step went; the exit code is not 0
    /// when one failed
    #[command(subcommand)]
    Check(CheckCommand),
    /// Measure a cluster; every byte is verified
    Bench(BenchArgs),
    /// Look at the settings that `marram server` would have, by the same flags, environment and file
    #[command(subcommand)]
    Config(crate::server::ConfigCommand),
    /// Print the completions of a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// What is tried.
#[derive(Debug, Subcommand)]
pub(crate) enum CheckCommand {
    /// Write an object, read it back and compare, list it, delete it
    PutGet(PutGetArgs),
}

/// Arguments of `check put-get`.
#[derive(Debug, Args)]
pub(crate) struct PutGetArgs {
    /// The bucket to work in; made if it is not there, and left
    #[arg(long, default_value = "marram-check")]
    pub(crate) bucket: String,
    /// Bytes of the object, such as 100, 4KiB or 16MiB
    #[arg(long, value_parser = parse_size, default_value = "256KiB")]
    pub(crate) size: u64,
    /// Remove the bucket at the end, unless something else is in it
    #[arg(long)]
    pub(crate) remove_bucket: bool,
    /// How long all of it may take
    #[arg(long, value_parser = parse_duration, default_value = "60s", value_name = "TIME")]
    pub(crate) timeout: Duration,
}

/// Arguments of `mb`.
#[derive(Debug, Args)]
pub(crate) struct MbArgs {
    /// The bucket, as m://bucket
    pub(crate) bucket: String,
    /// The erasure profile, for example 4+2; the cluster's default if not given
    #[arg(long, value_name = "K+M")]
    pub(crate) profile: Option<String>,
}

/// Arguments of `rb`.
#[derive(Debug, Args)]
pub(crate) struct RbArgs {
    /// The bucket, as m://bucket
    pub(crate) bucket: String,
    /// Delete all of its objects first, with all of their versions
    #[arg(long)]
    pub(crate) force: bool,
}

/// Arguments of `ls`.
#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    /// m://bucket or m://bucket/prefix; all buckets if not given
    pub(crate) location: Option<String>,
    /// List everything below, not only the next level
    #[arg(short, long)]
    pub(crate) recursive: bool,
    /// List all versions and delete markers with their generations, the newest of each key first
    #[arg(long)]
    pub(crate) versions: bool,
}

/// Arguments of `watch`.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// m://bucket or m://bucket/prefix
    pub(crate) location: String,
    /// Go on behind this revision, which a watch said; from now on if not given
    #[arg(long, value_name = "REVISION")]
    pub(crate) from: Option<String>,
    /// End after so many events
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// How often a revision comes where nothing happens (with --json), 1s to 10m [default: 30s]
    #[arg(long, value_parser = parse_duration, value_name = "TIME")]
    pub(crate) bookmarks: Option<Duration>,
}

/// Arguments of `cp` and `mv`.
#[derive(Debug, Args)]
pub(crate) struct CpArgs {
    /// Sources, then the target: files, folders, m://bucket/key, or - for the standard streams
    #[arg(required = true, num_args = 2.., value_name = "SOURCE... TARGET")]
    pub(crate) paths: Vec<String>,
    /// Take folders and prefixes with everything below
    #[arg(short, long)]
    pub(crate) recursive: bool,
    /// Transfers at once
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=JOBS_MAX))]
    pub(crate) jobs: u16,
    /// Go on with uploads of large files that broke off: what is there already is not sent again
    #[arg(long)]
    pub(crate) resume: bool,
    /// Copy this version of the source, by its generation as `ls --versions` shows it
    #[arg(long = "version", value_name = "GENERATION")]
    pub(crate) generation: Option<u64>,
    #[command(flatten)]
    pub(crate) written: WrittenArgs,
    /// What must hold of the object that is written, or, where the target is a file, of the one that is read.
    #[command(flatten)]
    pub(crate) conditions: ConditionArgs,
}

/// What is done with multipart uploads.
#[derive(Debug, Subcommand)]
pub(crate) enum UploadsCommand {
    /// List uploads that are under way
    Ls {
        /// m://bucket or m://bucket/prefix
        location: String,
    },
    /// End the uploads under way of a prefix; their parts are deleted
    Abort {
        /// m://bucket/prefix; a whole bucket with --all
        location: String,
        /// End only this upload
        #[arg(long, value_name = "ID")]
        upload: Option<String>,
        /// End all uploads of the bucket
        #[arg(long)]
        all: bool,
    },
}

/// What an operator does with multipart uploads.
#[derive(Debug, Subcommand)]
pub(crate) enum AdminUploadsCommand {
    /// End uploads that were begun long ago; their parts are deleted
    Expire {
        /// m://bucket or m://bucket/prefix
        location: String,
        /// Only uploads begun longer ago than this, for example 7d
        #[arg(long, value_parser = parse_duration, value_name = "TIME")]
        older_than: Duration,
        /// Only say which
        #[arg(long)]
        dry_run: bool,
    },
}

/// Arguments of `cat`.
#[derive(Debug, Args)]
pub(crate) struct CatArgs {
    /// The object, as m://bucket/key
    pub(crate) object: String,
    /// Only some bytes, the last one included: 0-99, 100- (from there on), -100 (the last ones). Given
    /// several times, the ranges are written one after the other, all of one version
    #[arg(long, value_name = "A-B", allow_hyphen_values = true)]
    pub(crate) range: Vec<String>,
    /// This version, by its generation as `ls --versions` shows it
    #[arg(long = "version", value_name = "GENERATION")]
    pub(crate) generation: Option<u64>,
    #[command(flatten)]
    pub(crate) conditions: ReadConditionArgs,
}

/// Arguments of `rm`.
#[derive(Debug, Args)]
pub(crate) struct RmArgs {
    /// Objects, or with -r prefixes, as m://bucket/key
    #[arg(required = true, value_name = "OBJECT")]
    pub(crate) locations: Vec<String>,
    /// Delete everything below
    #[arg(short, long)]
    pub(crate) recursive: bool,
    /// Delete this version or delete marker for good, by its generation as `ls --versions` shows it.
    /// Without it, an object of a bucket that keeps versions is hidden by a delete marker
    #[arg(
        long = "version",
        value_name = "GENERATION",
        conflicts_with = "recursive"
    )]
    pub(crate) generation: Option<u64>,
    /// With -r: delete all versions and delete markers below for good
    #[arg(long, requires = "recursive")]
    pub(crate) all_versions: bool,
    /// What is not there is no error
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Calls at once with -r, each of hundreds of objects
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=JOBS_MAX))]
    pub(crate) jobs: u16,
    #[command(flatten)]
    pub(crate) conditions: ConditionArgs,
}

/// Arguments of `stat`.
#[derive(Debug, Args)]
pub(crate) struct StatArgs {
    /// m://bucket or m://bucket/key
    pub(crate) location: String,
    /// This version of the object, by its generation as `ls --versions` shows it
    #[arg(long = "version", value_name = "GENERATION")]
    pub(crate) generation: Option<u64>,
    #[command(flatten)]
    pub(crate) conditions: ReadConditionArgs,
}

/// Arguments of `sync`.
#[derive(Debug, Args)]
pub(crate) struct SyncArgs {
    /// A folder or m://bucket/prefix
    pub(crate) source: String,
    /// A folder or m://bucket/prefix
    pub(crate) target: String,
    /// Delete from the target what the source does not have
    #[arg(long)]
    pub(crate) delete: bool,
    /// What is not taken is neither copied nor deleted.
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// Compare contents, by size and CRC64/NVME, where otherwise size and time decide; files of equal size are
    /// read
    #[arg(long)]
    pub(crate) checksum: bool,
    /// Only say what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Transfers at once
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=JOBS_MAX))]
    pub(crate) jobs: u16,
}

/// Arguments of `find`.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct FindArgs {
    /// m://bucket or m://bucket/prefix; patterns are about names from its last / on
    pub(crate) location: String,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// Only objects of at least so many bytes, for example 1MiB
    #[arg(long, value_parser = parse_size, value_name = "SIZE")]
    pub(crate) larger: Option<u64>,
    /// Only objects of at most so many bytes
    #[arg(long, value_parser = parse_size, value_name = "SIZE")]
    pub(crate) smaller: Option<u64>,
    /// Only objects written longer ago than this, for example 30d
    #[arg(long, value_parser = parse_duration, value_name = "TIME")]
    pub(crate) older_than: Option<Duration>,
    /// Only objects written since, for example 2h
    #[arg(long, value_parser = parse_duration, value_name = "TIME")]
    pub(crate) newer_than: Option<Duration>,
}

/// Arguments of `du`.
#[derive(Debug, Args)]
pub(crate) struct DuArgs {
    /// m://bucket or m://bucket/prefix
    pub(crate) location: String,
    /// Folders below folders that are told apart; 0: only the whole
    #[arg(short, long, default_value_t = 1, value_name = "N")]
    pub(crate) depth: u8,
}

/// What a benchmark does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchKind {
    /// Write objects
    Put,
    /// Read objects that were written before
    Get,
    /// Seven reads to three writes
    Mixed,
    /// List a page of up to 1000 of the objects that were written before
    List,
}

/// Arguments of `bench`.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// What to measure
    pub(crate) kind: BenchKind,
    /// Size of an object, for example 4KiB or 64MiB
    #[arg(long, default_value = "1MiB", value_parser = parse_size)]
    pub(crate) size: u64,
    /// Requests at once
    #[arg(long, default_value_t = 8)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=CONCURRENCY_MAX))]
    pub(crate) concurrency: u16,
    /// How long, for example 10s or 2m
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    pub(crate) duration: Duration,
    /// How long requests are made before they count, for example 2s
    #[arg(long, default_value = "0s", value_parser = parse_duration, value_name = "TIME")]
    pub(crate) warm_up: Duration,
    /// How many requests, instead of a time
    #[arg(long, conflicts_with = "duration")]
    pub(crate) count: Option<u64>,
    /// Distinct objects; writes go round and round over them [default: about 1 GiB, 16 to 4096]
    #[arg(long)]
    pub(crate) objects: Option<u32>,
    /// The bucket; made if it is not there
    #[arg(long, default_value = "marram-bench")]
    pub(crate) bucket: String,
    /// Leave the objects behind
    #[arg(long)]
    pub(crate) keep: bool,
    /// Measure synced writes to this folder and the loopback in the same run
    #[arg(long, value_name = "FOLDER")]
    pub(crate) machine: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    const UNDERSTOOD: &[&str] = &[
        "marram mb m://photos",
        "marram cp -r /tmp/Pictures m://photos/2026/",
        "marram -q cp -r a m://photos/2026/ --jobs 4",
        "marram ls -r --json m://photos/2026/",
        "marram cat m://photos/2026/a.jpg --range 0-99",
        "marram cat m://photos/2026/a.jpg --range -100",
        "marram cat m://photos/2026/a.jpg --range 0-9 --range -100",
        "marram admin status --json",
        "marram admin drain node-3 --watch",
        "marram admin drain node-3 --cancel --json",
        "marram admin cordon 17",
        "marram admin uncordon node-3",
        "marram admin fence node-3 --force",
        "marram admin remove node-3",
        "marram admin remove node-3 --allow-narrower",
        "marram admin drain node-3 --watch --allow-narrower",
        "marram admin bucket set-profile m://photos 8+4 --watch",
        "marram admin bucket profile m://photos --json",
        "marram admin bucket allow-profile m://photos 2+1",
        "marram admin bucket allow-profile m://photos 2+1 --withdraw --watch",
        "marram cp --profile 2+1 a m://photos/a",
        "marram admin layout plan --without node-3 --with 4TiB --with 4TiB --json",
        "marram dev --dir d --add-node",
        "marram bench put --size 64MiB --concurrency 4 --count 10",
        "marram cp a m://b/a --if-generation-match 0 --content-type text/html --metadata a=b --metadata c=",
        "marram cp a m://b/a --tag x=y --checksum sha256 --checksum crc32c=e3069283",
        "marram mv m://b/a m://b/c --if-none-match *",
        "marram cat m://b/a --if-etag-match 25f9e794323b4538 --range 0-9",
        "marram cat m://b/a --if-modified-since 2027-01-31T08:00:00Z",
        "marram stat m://b/a --if-generation-not-match 17 --if-unmodified-since 1795849200000",
        "marram rm m://b/a --if-generation-match 17",
        "marram tags rm m://b/a --if-generation-match 17",
        "marram sync a m://b --checksum",
        "marram bench list --objects 5000 --warm-up 2s --duration 20s --json",
        "marram sync a m://b --delete --dry-run",
        "marram versioning m://photos",
        "marram versioning m://photos on",
        "marram versioning m://photos suspend --json",
        "marram ls --versions -r m://photos/2026/",
        "marram cat m://photos/a --version 17",
        "marram cp --version 17 m://photos/a a.old",
        "marram stat --version 17 m://photos/a",
        "marram rm --version 17 m://photos/a",
        "marram rm -r --all-versions m://photos/2026/",
        "marram tags ls m://photos/a --json",
        "marram tags set m://photos/a album=2026 place=",
        "marram tags rm --version 17 m://photos/a",
        "marram describe m://photos/a --content-type image/png --metadata by=me --metadata at=sea",
        "marram describe m://photos/a --no-metadata --if-generation-match 17",
        "marram restore m://photos/a",
        "marram restore m://photos/a --version 17",
        "marram sync a m://b --include *.jpg --exclude tmp/** --exclude *.part",
        "marram find m://b/logs/ --include *.gz --older-than 30d --larger 1MiB --json",
        "marram du m://b --depth 2",
        "marram config show --origin --data /d --kek-file /k --join a:7071",
        "marram config check --config /etc/marram.toml",
        "marram completions bash",
    ];
    const REFUSED: &[&str] = &[
        "marram",
        "marram cp a",
        "marram cp a m://b --jobs 0",
        "marram stat",
        "marram admin drain",
        "marram admin drain node-3 --watch --cancel",
        "marram admin layout",
        "marram admin bucket set-profile m://photos",
        "marram admin drain node-3 --cancel --allow-narrower",
        "marram dev --add-node --nodes 3",
        "marram tags set m://photos/a",
        "marram tags set m://photos/a album",
        "marram describe m://photos/a",
        "marram describe m://photos/a --metadata a=b --no-metadata",
        "marram cp a m://b/a --if-generation-match x",
        "marram cp a m://b/a --if-generation-match -1",
        "marram cp a m://b/a --metadata =b",
        "marram cp a m://b/a --tag x",
        "marram cp a m://b/a --checksum sha1",
        "marram cat m://b/a --if-modified-since yesterday",
        "marram versioning m://photos off",
        "marram rm -r --version 17 m://photos/a",
        "marram rm --all-versions m://photos/a",
    ];

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_commands_of_the_readme_are_understood() {
        for line in UNDERSTOOD {
            assert!(Cli::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
        for line in REFUSED {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
