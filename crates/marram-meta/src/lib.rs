//! The metadata state machines: `apply(command) -> outcome` over an ordered key-value trait.
//!
//! Pure: no I/O, no clock, no randomness, no async. A replica's state is a function of the entries
//! it applied, byte for byte; time comes stamped in the entries, settings come as fences. What a
//! user did wrong is an outcome ([`Refusal`]); only what must stop a replica is an [`ApplyError`].
//!
//! ```text
//! kv         the tables and the store trait under them
//! stored     what every stored encoding has in common
//! kinds      one file per kind of key: records, rows, their layouts
//! envelope   the frame of a command in a Raft entry: version, time, request id, deadline
//! refusal    why a command changed nothing
//! requests   exactly-once: outcomes remembered by request id, and the common part of apply
//! root       commands, outcomes and apply of the root group
//! object     commands, outcomes and apply of the object groups
//! query      reads of an object group, and their messages
//! layout     where shards are, by a group's own copies of the layout's rows
//! live       the row that holds an extent's data, by its back reference
//! merge      group pages of a listing into one
//! view       what a gateway needs of the root's state
//! backup     the file of a backup
//! refound    a new beginning from an old state
//! ```

mod backup;
mod envelope;
mod kinds;
mod kv;
mod layout;
mod live;
mod merge;
mod object;
mod query;
mod refound;
mod refusal;
mod requests;
mod root;
mod stored;
#[cfg(test)]
mod testing;
mod view;

pub use backup::{
    BACKUP_PIECE_BYTES_MAX, BackupCheck, BackupError, BackupFrame, BackupGroup, BackupHeader,
    BackupKind, BackupSummary, FrameReader,
};
pub use envelope::{
    AWAY_DRAINING_SINCE, BACKUP_NOTES_SINCE, BUCKET_ENDINGS_SINCE, COMMAND_VERSION,
    COMMAND_VERSION_OLDEST, COPIES_SINCE, Command, DRAIN_NARROWER_SINCE, DRAINS_SINCE,
    EVENTS_SINCE, Envelope, EnvelopeError, KEY_REMOVALS_SINCE, LIFECYCLE_SINCE, LONG_READS_SINCE,
    NARROW_SINCE, OWN_PROFILES_SINCE, QUOTA_SINCE, RETURNS_SINCE, TAGS_SINCE, VERSIONING_SINCE,
    WORK_PAUSES_SINCE, WRITES_SINCE, stamp,
};
pub use kinds::absence::{Absence, Lost, Pause};
pub use kinds::access_key::{AccessKeyRecord, OldSecret};
pub use kinds::authority::AuthorityRecord;
pub use kinds::bucket::{BucketRecord, BucketState};
pub use kinds::cluster::ClusterRecord;
pub use kinds::drive::{DriveDuty, DriveRecord};
pub use kinds::event::{Event, EventKind, EventPlace};
pub use kinds::extent::Extent;
pub use kinds::garbage::GarbageEntry;
pub use kinds::group::GroupRecord;
pub use kinds::identity::{IdentityRecord, IdentityRole};
pub use kinds::layout_state::LayoutState;
pub use kinds::lifecycle::{
    DAY_MS, Expiry, Lifecycle, LifecycleError, LifecycleRule, NoncurrentExpiry, RULE_DAYS_MAX,
    RULE_ID_BYTES_MAX, RULE_KEEPS_MAX, RuleFilter, days_after,
};
pub use kinds::node::{NodeDuty, NodeRecord, NodeState};
pub use kinds::noncurrent::DeleteMarker;
pub use kinds::object::{Body, VersionRow};
pub use kinds::part::{PartRanges, PartRow, PartSums, PartTally, PartTotals, PartsBody};
pub use kinds::quota::{Amount, Lease, Quota, QuotaLeases};
pub use kinds::ticket::{RepairTicket, TicketReason, TicketReasons, TicketWork};
pub use kinds::token::{
    TOKEN_TEXT_BYTES_MAX, TOKEN_TTL_MS, TOKENS_MAX, TokenRecord, TokenRole, TokenUse,
};
pub use kinds::tombstone::Tombstone;
pub use kinds::upkeep::{BackupNote, Pausable, UpkeepRecord};
pub use kinds::upload::{StreamState, UploadRow};
pub use kinds::usage::Usage;
pub use kinds::versioning::Versioning;
pub use kv::{KvError, KvRead, KvWrite, MemKv, Table};
pub use merge::{GroupAsk, ListMerge, MergedPage};
pub use object::annotate_command::AnnotateCommand;
pub use object::apply::{adds_data, apply_object, check_object};
pub use object::command::{CollectedEntry, NewBody, NewVersion, ObjectCommand, Precondition};
pub use object::copied::CopiedVersion;
pub use object::expire_command::{Due, DueWhat, ExpireCommand};
pub use object::floors::HOLD_MS_MAX;
pub use object::lease_command::LeaseCommand;
pub use object::new_extent::NewExtent;
pub use object::new_run::NewRun;
pub use object::outcome::{CompletedUpload, Expired, ObjectOutcome};
pub use object::put_ref::etag_matches;
pub use object::upload_command::{Completion, NewPart, UploadCommand, UploadName};
pub use object::version_command::VersionCommand;
pub use query::answer::{
    BeginAnswer, GroupCounters, HeadAnswer, ListEntry, ListItem, ListPage, LiveExtent,
    ObjectAnswer, Reference, RequestAnswer, RowsAnswer, TICKETS_COUNTED_MAX, TicketItem,
    TicketsAnswer,
};
pub use query::due::{DUE_ROWS_MAX, DueAnswer, DueItem, DuePlace, DueQuery, PastPlace};
pub use query::events::{EventsAnswer, EventsFound, EventsQuery};
pub use query::lost::{LOST_COUNTED_MAX, Lacking, LostTotals};
pub use query::messages::{ListQuery, ListStart, ObjectQuery};
pub use query::named::{NamedAnswer, NamedCursor};
pub use query::run::{QueryError, answer, answer_object};
pub use query::upkeep::{GARBAGE_COUNTED_MAX, GarbageTotals, OnDrive, OnDriveAnswer};
pub use query::uploads::{
    PartItem, UploadAnswer, UploadFound, UploadItem, UploadQuery, UploadsAnswer, UploadsQuery,
};
pub use query::usages::{USAGES_PAGE_MAX, UsagesAnswer};
pub use query::versions::{VersionAnswer, VersionEntry};
pub use refound::{Jump, RefoundError, Refounded, refound_object, refound_root};
pub use refusal::{
    DriveRefusal, IdentityRefusal, KeyRefusal, Malformed, Measure, OverLease, QuotaRefusal,
    Refusal, UploadRefusal, VersionRefusal,
};
pub use requests::{ApplyError, REQUEST_AHEAD_MS_MAX};
pub use root::apply::{FOUNDER, apply_root, check_root};
pub use root::command::{DriveJoin, NodeJoin, RootCommand};
pub use root::drain::{DrainCommand, leaving};
pub use root::drive_command::DriveCommand;
pub use root::ending_command::EndingCommand;
pub use root::identity::command::{IdentityCommand, NewToken, Newcomer};
pub use root::identity::members::{Said, not_said};
pub use root::key_command::KeyCommand;
pub use root::outcome::{AdmittedNode, RootOutcome};
pub use root::profile_command::ProfileCommand;
pub use root::query::{RootQuery, answer_root};
pub use root::quota_command::QuotaCommand;
pub use stored::StateError;
pub use view::{ClusterView, view};
