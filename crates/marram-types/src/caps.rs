//! The limits that several crates share, by name; those of one crate stand where they are used. A
//! queue, retry, fan-out or page without a named limit is a bug.
//!
//! Sizes are in bytes, times in milliseconds, as the names say.

/// One kibibyte.
pub const KIB: usize = 1024;
/// One mebibyte.
pub const MIB: usize = 1024 * KIB;
/// One gibibyte.
pub const GIB: u64 = 1024 * MIB as u64;

/// Largest object key, as in S3.
pub const KEY_BYTES_MAX: usize = 1024;
/// Largest object: 5 TiB, as in S3.
pub const OBJECT_BYTES_MAX: u64 = 5 * 1024 * GIB;
/// Largest user metadata of an object (all names and values together), as in S3.
pub const USER_METADATA_BYTES_MAX: usize = 2 * KIB;
/// Tags of an object, as in S3.
pub const OBJECT_TAGS_MAX: usize = 10;
/// Characters of a tag's key, as in S3.
pub const TAG_KEY_CHARS_MAX: usize = 128;
/// Characters of a tag's value, as in S3.
pub const TAG_VALUE_CHARS_MAX: usize = 256;
/// Largest content type.
pub const CONTENT_TYPE_BYTES_MAX: usize = 256;

/// Objects up to this size live inside their metadata row.
pub const INLINE_BYTES_MAX: usize = 4 * KIB;
/// Objects up to this size are kept as m+1 whole copies instead of k+m shards.
pub const COPIES_BYTES_MAX: usize = 128 * KIB;

/// Bytes under one CRC32C on a drive and the unit in which shards are verified.
pub const BLOCK_BYTES: usize = 64 * KIB;
/// Largest cell: the bytes of one stripe that one shard holds.
pub const CELL_BYTES_MAX: usize = MIB;
/// Windows of one write that may be on their way to the drives at once.
pub const WINDOWS_IN_FLIGHT_MAX: usize = 2;
/// Largest run of one shard in one record on a drive (rules.md 20).
pub const SHARD_RUN_BYTES_MAX: usize = 16 * MIB;
/// Largest extent: a run of an object's stripes in one placement group (rules.md 16).
pub const EXTENT_BYTES_MAX: u64 = GIB;
/// Most extents kept in an object row itself; more go to rows of their own (rules.md 16).
pub const ROW_EXTENTS_MAX: usize = 16;
/// Most extents of one object: 5 TiB of 1 GiB extents, twice, because failures split extents.
pub const OBJECT_EXTENTS_MAX: usize = 10_240;

/// Parts of one multipart upload, numbered from 1, as in S3.
pub const UPLOAD_PARTS_MAX: u16 = 10_000;
/// Smallest part but the last one, as in S3.
pub const PART_BYTES_MIN: u64 = 5 * MIB as u64;
/// Largest part, as in S3.
pub const PART_BYTES_MAX: u64 = 5 * GIB;
/// Most extents of one part: 5 of 1 GiB, and many more where failures split them. They lie in one row.
pub const PART_EXTENTS_MAX: usize = 128;
/// Bytes of a resumable write after which they are recorded, and so most of one record (rules.md 33).
pub const WRITE_RUN_BYTES_MAX: u64 = 16 * MIB as u64;
/// Bytes of a resumable write that a client may have sent and that are not recorded: what it keeps in memory,
/// and most that a broken connection has it send twice (rules.md 33).
pub const WRITE_UNRECORDED_BYTES_MAX: u64 = 2 * WRITE_RUN_BYTES_MAX;
/// Largest resumable write: as many runs as an upload may have extents.
pub const WRITE_BYTES_MAX: u64 = UPLOAD_EXTENTS_MAX as u64 * WRITE_RUN_BYTES_MAX;
/// Extents of a resumable write that lie in one row: about 1 GiB, and the row stays small, since each record
/// writes it anew.
pub const WRITE_PART_EXTENTS: usize = 64;

/// Most extents of an upload, and so of the object that it becomes: 5 TiB in 10,000 parts are some
/// 15,000 without failures. All of them fit into one answer of a group to a read.
pub const UPLOAD_EXTENTS_MAX: u32 = 65_536;
/// Parts of given-up uploads and objects whose data one entry takes out of use, so that no apply is
/// long.
pub const DROPPED_PARTS_PER_ENTRY: usize = 128;

/// Rules by which what a bucket holds goes by itself, as in S3.
pub const LIFECYCLE_RULES_MAX: usize = 1000;
/// Bytes of them together, as they are kept: every gateway and group holds those of all buckets.
pub const LIFECYCLE_BYTES_MAX: usize = 64 * KIB;
/// Versions and uploads that one entry removes because their time has come, so that no apply is long.
pub const EXPIRED_PER_ENTRY: usize = 100;

/// Most data shards of a profile.
pub const PROFILE_K_MAX: u8 = 32;
/// Most parity shards of a profile.
pub const PROFILE_M_MAX: u8 = 8;

/// Object groups of a new cluster unless told otherwise.
pub const OBJECT_GROUPS_DEFAULT: u16 = 8;
/// Most object groups.
pub const OBJECT_GROUPS_MAX: u16 = 256;
/// Placement groups in a pool.
pub const POOL_PGS: u16 = 512;

/// Largest message on the public API: 1 MiB of data and room for its frame.
pub const API_MESSAGE_BYTES_MAX: usize = MIB + 64 * KIB;
/// Object bytes in one message of the public API.
pub const API_DATA_BYTES_MAX: usize = MIB;
/// Pieces of first messages of calls that a server keeps until the rest is there, all together.
pub const FIRST_MESSAGES_BYTES_MAX: usize = 32 * MIB;
/// Objects that one call deletes.
pub const DELETES_PER_CALL_MAX: usize = 1000;
/// Events in one answer of a group.
pub const EVENTS_PAGE_MAX: u32 = 1000;
/// Bytes of events after which an answer of a group ends.
pub const EVENTS_PAGE_BYTES_MAX: usize = 512 * KIB;
/// Events that a group looks through for one answer.
pub const EVENTS_SCANNED_MAX: usize = 16_384;
/// Watchers of one server at once.
pub const WATCHERS_MAX: usize = 16_384;
/// Events in one message to a watcher.
pub const WATCH_MESSAGE_EVENTS_MAX: usize = 200;
/// How often a watcher hears something where nothing happens, in milliseconds, unless it asks otherwise.
pub const WATCH_BOOKMARK_MS: u32 = 60_000;
/// As often as it may ask for.
pub const WATCH_BOOKMARK_MS_MIN: u32 = 1000;
/// As rarely as it may ask for.
pub const WATCH_BOOKMARK_MS_MAX: u32 = 600_000;
/// After about so long a watch ends, to be taken up again, in milliseconds: 15 minutes.
pub const WATCH_AGE_MS: u64 = 15 * 60 * 1000;
/// How long groups keep events for those who watch, in milliseconds (rules.md 30).
pub const EVENTS_KEPT_MS: u64 = 3_600_000;
/// Bytes of events that all groups of a cluster keep together at most (rules.md 30).
pub const EVENTS_KEPT_BYTES: u64 = GIB;
/// Ranges that one call reads.
pub const RANGES_PER_CALL_MAX: usize = 256;
/// Bytes of all ranges of one call together.
pub const RANGES_BYTES_MAX: u64 = 64 * GIB;
/// Largest page of a listing.
pub const LIST_PAGE_MAX: u32 = 1000;
/// Access keys of one cluster: every gateway holds all of them.
pub const ACCESS_KEYS_MAX: usize = 1000;
/// Grants of one access key.
pub const GRANTS_PER_KEY_MAX: usize = 64;
/// Bytes of buckets and prefixes in all grants of one access key: all keys together go to every server
/// in one message of [`MESH_FRAME_BYTES_MAX`].
pub const GRANT_BYTES_PER_KEY_MAX: usize = 4 * KIB;
/// Bytes of a message about access keys: a list of all of them.
pub const KEYS_MESSAGE_BYTES_MAX: usize = 8 * MIB;
/// Bytes of the note of an access key.
pub const KEY_NOTE_BYTES_MAX: usize = 128;
/// Replaced secrets of one access key that still hold.
pub const OLD_SECRETS_MAX: usize = 4;
/// Longest time that a replaced secret holds, in milliseconds: 30 days.
pub const SECRET_OVERLAP_MS_MAX: u64 = 30 * 24 * 3_600_000;
/// Buckets of one cluster.
pub const BUCKETS_MAX: usize = 10_000;
/// Profiles that writes to one bucket may ask for, beside its own.
pub const ALLOWED_PROFILES_MAX: usize = 4;

/// Largest frame between peers: one shard run, its header and some room.
pub const MESH_FRAME_BYTES_MAX: usize = SHARD_RUN_BYTES_MAX + MIB;
/// Requests in flight on one mesh connection.
pub const MESH_IN_FLIGHT_MAX: usize = 1024;

/// Largest command in a Raft entry.
pub const COMMAND_BYTES_MAX: usize = MIB;
/// Proposals waiting at one group's leader.
pub const PROPOSALS_WAITING_MAX: usize = 4096;
/// Request records that a group keeps for exactly-once retries (rules.md 14).
pub const REQUEST_RECORDS_MAX: u64 = 1_000_000;
/// How long a request record outlives its deadline (rules.md 14).
pub const REQUEST_RECORD_GRACE_MS: u64 = 5 * 60 * 1000;
/// Request records removed by one apply, so that no apply is long.
pub const REQUEST_RECORDS_SWEPT_PER_APPLY: usize = 16;

/// Bytes of the metadata drive that new objects leave free for log, metadata and what gives space
/// back (rules.md 21); on a small drive the share below.
pub const METADATA_FREE_BYTES_MIN: u64 = GIB / 2;
/// A small metadata drive keeps one byte in so many free.
pub const METADATA_FREE_SHARE: u64 = 20;
/// Longest time for which a read keeps what it may still need of a version that was replaced or deleted
/// meanwhile (rules.md 28): a day, as long as a write may take.
pub const READ_MS_MAX: u64 = 24 * 3600 * 1000;
/// Largest segment of the Raft log.
pub const WAL_SEGMENT_BYTES_MAX: u64 = 64 * MIB as u64;
/// Smallest segment of the Raft log: a few of the largest commands.
pub const WAL_SEGMENT_BYTES_MIN: u64 = 4 * MIB as u64;

/// Longest time for which an operator may excuse a node in one go: a week.
pub const PAUSE_MS_MAX: u64 = 7 * 24 * 3600 * 1000;

/// Percentage of a drive above which shard writes stop (rules.md 21).
pub const DRIVE_FULL_PERCENT: u64 = 90;
/// Free bytes of a drive below which shard writes stop (rules.md 21).
pub const DRIVE_FREE_BYTES_MIN: u64 = 2 * GIB;
