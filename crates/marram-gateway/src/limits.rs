//! The limits of the API, in one table. `docs/limits.md` is made of it, and the test that each row names reaches
//! the limit; `tests/drift` checks that there is such a test.

use std::time::Duration;

use marram_meta::{RULE_DAYS_MAX, RULE_ID_BYTES_MAX, RULE_KEEPS_MAX};
use marram_types::caps;
use marram_types::config::ApiLimits;

use crate::gateway::{health, transport};
use crate::uploads::stream;
use crate::watch::mailbox::MAILBOX_EVENTS_MAX;
use crate::{auth, core, process, put, validate, watch};

/// A limit of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// Of what.
    pub of: &'static str,
    /// The limit, with its unit.
    pub value: String,
    /// What happens beyond it: a reason of the API in capitals, or a few words.
    pub beyond: &'static str,
    /// The file of a test that reaches it, from the root of the repository.
    pub file: &'static str,
    /// The test's function.
    pub test: &'static str,
}

/// Limits that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitGroup {
    /// What they are about.
    pub title: &'static str,
    /// The limits.
    pub limits: Vec<Limit>,
}

const VALIDATE: &str = "crates/marram-gateway/src/validate/tests.rs";
const LIMITS: &str = "crates/marram-gateway/src/gateway/tests/limits.rs";
const ANNOTATE: &str = "crates/marram-gateway/src/gateway/tests/annotate.rs";
const PROCESS: &str = "crates/marram-gateway/src/gateway/tests/process.rs";
const OWN_PROFILES: &str = "crates/marram-gateway/src/gateway/tests/own_profiles.rs";
const RANGES: &str = "crates/marram-gateway/src/gateway/tests/ranges.rs";
const UPLOADS: &str = "crates/marram-gateway/src/gateway/tests/uploads.rs";
const WRITES: &str = "crates/marram-gateway/src/gateway/tests/writes.rs";
const RUNS: &str = "crates/marram-gateway/src/uploads/stream/source/tests.rs";
const WHOLE: &str = "crates/marram-gateway/src/uploads/whole/tests.rs";
const ROOT: &str = "crates/marram-meta/src/root/tests/limits.rs";
const HEALTH: &str = "crates/marram-gateway/src/gateway/health/tests.rs";
const GRANTS: &str = "crates/marram-gateway/src/gateway/tests/grants.rs";
const LIFECYCLE: &str = "crates/marram-gateway/src/gateway/tests/lifecycle.rs";
const WATCHING: &str = "crates/marram-gateway/src/gateway/tests/watching.rs";
const EVENTS: &str = "crates/marram-meta/src/object/tests/events.rs";
const CONNECTIONS: &str = "crates/marram-gateway/src/gateway/connections/tests.rs";

fn limit(
    of: &'static str,
    value: impl Into<String>,
    beyond: &'static str,
    (file, test): (&'static str, &'static str),
) -> Limit {
    let value = value.into();
    Limit {
        of,
        value,
        beyond,
        file,
        test,
    }
}

/// A number of bytes as people write it.
fn bytes(count: impl TryInto<u64>) -> String {
    let count = count.try_into().unwrap_or(u64::MAX);
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = units
        .iter()
        .find(|(bits, _)| count >> bits > 0 && count % (1 << bits) == 0);
    match unit {
        Some((bits, name)) => format!("{} {name}", count >> bits),
        None => format!("{count} bytes"),
    }
}

/// A time as people write it.
fn time(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{} ms", time.as_millis()),
        s if s % 60 == 0 => format!("{} min", s / 60),
        s => format!("{s} s"),
    }
}

fn count(number: impl TryInto<u64>) -> String {
    number.try_into().unwrap_or(u64::MAX).to_string()
}

/// Every limit.
#[must_use]
pub fn limits() -> Vec<LimitGroup> {
    let group = |title, limits| LimitGroup { title, limits };
    vec![
        group("Names and texts", texts()),
        group("Objects", objects()),
        group("Multipart uploads", uploads()),
        group("Resumable writes", writes()),
        group("Buckets and access keys", cluster()),
        group("Lifecycle rules", rules()),
        group("Watches", watches()),
        group("Calls and connections", [connections(), calls()].concat()),
        group("Memory", memory()),
        group("Times", times()),
    ]
}

fn texts() -> Vec<Limit> {
    let here = |test| (LIMITS, test);
    let texts = "texts_have_limits_and_the_field_is_named";
    vec![
        limit(
            "key of an object",
            bytes(caps::KEY_BYTES_MAX),
            "INVALID_KEY",
            here(texts),
        ),
        limit(
            "name of a bucket",
            "3 to 63 characters",
            "INVALID_BUCKET_NAME",
            here(texts),
        ),
        limit(
            "user metadata of an object, names and values",
            bytes(caps::USER_METADATA_BYTES_MAX),
            "INVALID_ARGUMENT",
            here(texts),
        ),
        limit(
            "content type",
            bytes(caps::CONTENT_TYPE_BYTES_MAX),
            "INVALID_ARGUMENT",
            here(texts),
        ),
        limit(
            "tags of an object",
            format!(
                "{}, keys of {} and values of {} characters",
                caps::OBJECT_TAGS_MAX,
                caps::TAG_KEY_CHARS_MAX,
                caps::TAG_VALUE_CHARS_MAX
            ),
            "INVALID_ARGUMENT",
            (ANNOTATE, "what_is_wrong_with_tags_and_metadata_is_named"),
        ),
        limit(
            "entity tag of a condition",
            bytes(validate::ETAG_BYTES_MAX),
            "INVALID_ARGUMENT",
            here(texts),
        ),
        limit(
            "prefix, delimiter, start of a listing",
            bytes(caps::KEY_BYTES_MAX),
            "INVALID_ARGUMENT",
            here(texts),
        ),
        limit(
            "token",
            bytes(auth::TOKEN_BYTES_MAX),
            "TOKEN_INVALID",
            here("headers_have_limits"),
        ),
        limit(
            "headers of a call together",
            bytes(transport::HEADER_BYTES_MAX),
            "the call fails, the connection stays",
            here("headers_have_limits"),
        ),
    ]
}

fn objects() -> Vec<Limit> {
    vec![
        limit(
            "object",
            bytes(caps::OBJECT_BYTES_MAX),
            "OBJECT_TOO_LARGE",
            (VALIDATE, "every_field_of_the_header_is_checked"),
        ),
        limit(
            "object bytes in one message",
            bytes(caps::API_DATA_BYTES_MAX),
            "INVALID_ARGUMENT",
            (VALIDATE, "chunks_are_verified"),
        ),
        limit(
            "message",
            bytes(caps::API_MESSAGE_BYTES_MAX),
            "INVALID_ARGUMENT, or OUT_OF_RANGE by the transport",
            (
                "tests/cluster/tests/limits/strange.rs",
                "strange_messages_are_refused_with_what_is_wrong",
            ),
        ),
        limit(
            "ranges that one call reads",
            count(caps::RANGES_PER_CALL_MAX),
            "INVALID_ARGUMENT",
            (RANGES, "a_bad_range_is_named_and_nothing_is_sent"),
        ),
        limit(
            "bytes of the ranges that one call reads",
            bytes(caps::RANGES_BYTES_MAX),
            "INVALID_ARGUMENT",
            (
                "crates/marram-gateway/src/get/ranges.rs",
                "too_much_is_refused",
            ),
        ),
        limit(
            "objects that one call deletes",
            count(caps::DELETES_PER_CALL_MAX),
            "INVALID_ARGUMENT",
            (
                "crates/marram-gateway/src/gateway/tests/batch.rs",
                "a_thousand_objects_go_with_one_call_and_no_more",
            ),
        ),
        limit(
            "entries of one page of a listing",
            count(caps::LIST_PAGE_MAX),
            "the page is shorter than asked for",
            (VALIDATE, "pages_have_1_to_1000_entries"),
        ),
    ]
}

fn uploads() -> Vec<Limit> {
    vec![
        limit(
            "parts of an upload",
            format!("1 to {}", caps::UPLOAD_PARTS_MAX),
            "INVALID_PART_NUMBER",
            (UPLOADS, "bad_parts_are_refused_and_leave_nothing"),
        ),
        limit(
            "part but the last one, at least",
            bytes(caps::PART_BYTES_MIN),
            "PART_TOO_SMALL",
            (WHOLE, "what_is_wrong_with_parts_is_told"),
        ),
        limit(
            "part",
            bytes(caps::PART_BYTES_MAX),
            "PART_TOO_LARGE",
            (UPLOADS, "bad_parts_are_refused_and_leave_nothing"),
        ),
        limit(
            "object made of parts",
            bytes(caps::OBJECT_BYTES_MAX),
            "OBJECT_TOO_LARGE",
            (
                WHOLE,
                "five_tebibytes_are_an_object_and_one_byte_more_is_none",
            ),
        ),
    ]
}

fn writes() -> Vec<Limit> {
    let seconds = |nth: usize| stream::RECORD_AFTER[nth].as_secs();
    vec![
        limit(
            "object that is written in one resumable stream",
            bytes(caps::WRITE_BYTES_MAX),
            "OBJECT_TOO_LARGE",
            (RUNS, "a_write_has_a_tebibyte_and_no_more"),
        ),
        limit(
            "bytes after which a write is recorded",
            bytes(caps::WRITE_RUN_BYTES_MAX),
            "the next ones are recorded by themselves",
            (RUNS, "a_run_has_sixteen_mebibytes_whatever_the_chunks"),
        ),
        limit(
            "bytes of a write that a server has taken and that are not recorded",
            bytes(caps::WRITE_UNRECORDED_BYTES_MAX),
            "the caller waits until they are",
            (
                WRITES,
                "a_server_takes_no_more_than_two_runs_before_it_records_them",
            ),
        ),
        limit(
            "time after which a write is recorded, however little came",
            format!(
                "{} s; {} s from {} pieces on, {} s from {} on",
                seconds(0),
                seconds(1),
                stream::LATER_FROM,
                seconds(2),
                stream::LATEST_FROM
            ),
            "what came is recorded",
            (
                RUNS,
                "a_slow_stream_is_recorded_less_often_once_it_has_many_extents",
            ),
        ),
    ]
}

fn cluster() -> Vec<Limit> {
    let here = |test| (ROOT, test);
    vec![
        limit(
            "buckets of a cluster",
            count(caps::BUCKETS_MAX),
            "TOO_MANY_BUCKETS",
            here("a_cluster_has_so_many_buckets"),
        ),
        limit(
            "profiles that writes to a bucket may ask for",
            count(caps::ALLOWED_PROFILES_MAX),
            "INVALID_PROFILE",
            (
                OWN_PROFILES,
                "a_profile_that_the_cluster_cannot_hold_is_not_allowed",
            ),
        ),
        limit(
            "access keys of a cluster",
            count(caps::ACCESS_KEYS_MAX),
            "TOO_MANY_ACCESS_KEYS",
            here("a_cluster_has_so_many_access_keys"),
        ),
        limit(
            "grants of an access key",
            count(caps::GRANTS_PER_KEY_MAX),
            "INVALID_ARGUMENT",
            here("a_key_has_so_many_grants"),
        ),
        limit(
            "buckets and prefixes in the grants of an access key",
            bytes(caps::GRANT_BYTES_PER_KEY_MAX),
            "INVALID_ARGUMENT",
            here("a_key_has_so_many_grants"),
        ),
        limit(
            "note of an access key",
            bytes(caps::KEY_NOTE_BYTES_MAX),
            "INVALID_ARGUMENT",
            (GRANTS, "what_makes_no_sense_is_refused_by_name"),
        ),
        limit(
            "time for which a replaced secret holds",
            format!("{} days", caps::SECRET_OVERLAP_MS_MAX / 86_400_000),
            "INVALID_ARGUMENT",
            (GRANTS, "what_makes_no_sense_is_refused_by_name"),
        ),
        limit(
            "replaced secrets of an access key that still hold",
            count(caps::OLD_SECRETS_MAX),
            "TOO_MANY_ACCESS_KEYS",
            (
                "crates/marram-meta/src/root/tests/keys.rs",
                "rotations_keep_every_secret_for_its_overlap",
            ),
        ),
        limit(
            "answers that a metadata group keeps for retries",
            count(caps::REQUEST_RECORDS_MAX),
            "OVERLOADED",
            (
                "crates/marram-meta/src/requests/tests.rs",
                "a_group_with_all_its_records_refuses_new_requests_and_answers_old_ones",
            ),
        ),
    ]
}

fn rules() -> Vec<Limit> {
    let rules = |of, value, beyond| limit(of, value, beyond, (LIFECYCLE, "rules_have_limits"));
    let wrong = "INVALID_LIFECYCLE";
    vec![
        rules("rules of a bucket", count(caps::LIFECYCLE_RULES_MAX), wrong),
        rules(
            "rules of a bucket together",
            bytes(caps::LIFECYCLE_BYTES_MAX),
            wrong,
        ),
        rules("id of a rule", bytes(RULE_ID_BYTES_MAX), wrong),
        rules("days of a rule", format!("1 to {RULE_DAYS_MAX}"), wrong),
        rules(
            "noncurrent versions that a rule keeps",
            count(RULE_KEEPS_MAX),
            wrong,
        ),
        limit(
            "versions or uploads that one entry of a group removes by rules",
            count(caps::EXPIRED_PER_ENTRY),
            "the next entry goes on",
            (
                "crates/marram-maintain/src/lifecycle/tests.rs",
                "what_is_due_goes_and_the_rest_stays",
            ),
        ),
    ]
}

fn watches() -> Vec<Limit> {
    let seconds = |ms: u32| u64::from(ms) / 1000;
    vec![
        limit(
            "watchers of a server",
            count(watch::WATCHERS_MAX),
            "OVERLOADED",
            (WATCHING, "a_server_has_so_many_watchers_and_no_more"),
        ),
        limit(
            "events that wait for a watcher in a server's memory",
            count(MAILBOX_EVENTS_MAX),
            "the watcher reads from the groups' tables, later",
            (
                "crates/marram-gateway/src/watch/mailbox.rs",
                "what_does_not_fit_is_named_and_nothing_overtakes_it",
            ),
        ),
        limit(
            "time between two bookmarks",
            format!(
                "{} to {} s",
                seconds(caps::WATCH_BOOKMARK_MS_MIN),
                seconds(caps::WATCH_BOOKMARK_MS_MAX)
            ),
            "INVALID_ARGUMENT",
            (WATCHING, "what_makes_no_sense_is_refused_by_name"),
        ),
        limit(
            "time for which events are kept",
            format!(
                "{} (setting `watch.events_kept_s`)",
                time(Duration::from_millis(caps::EVENTS_KEPT_MS))
            ),
            "REVISION_COMPACTED",
            (EVENTS, "old_events_go_by_the_time_in_the_entries"),
        ),
        limit(
            "events that a cluster keeps",
            format!(
                "{} (setting `watch.events_kept_mib`)",
                bytes(caps::EVENTS_KEPT_BYTES)
            ),
            "REVISION_COMPACTED",
            (EVENTS, "no_more_bytes_are_kept_than_was_said"),
        ),
    ]
}

fn connections() -> Vec<Limit> {
    vec![
        limit(
            "connections of a server",
            format!(
                "{} (setting `api.connections`)",
                ApiLimits::default().connections
            ),
            "the next one is closed at once",
            (CONNECTIONS, "there_are_so_many_connections_and_no_more"),
        ),
        limit(
            "calls at once on one connection",
            count(transport::STREAMS_MAX),
            "the client waits until one ends",
            (
                LIMITS,
                "transfers_have_a_limit_and_so_have_calls_of_a_connection",
            ),
        ),
        limit(
            "calls that watch the health of a server at once",
            count(health::HEALTH_WATCHERS_MAX),
            "OVERLOADED",
            (HEALTH, "there_are_so_many_who_watch_and_no_more"),
        ),
    ]
}

fn calls() -> Vec<Limit> {
    let here = |test| (LIMITS, test);
    let held = "transfers_have_a_limit_and_so_have_calls_of_a_connection";
    vec![
        limit(
            "transfers of a server at once",
            count(core::TRANSFERS_MAX),
            "OVERLOADED",
            here(held),
        ),
        limit(
            "filter of what a process logs",
            bytes(process::FILTER_BYTES_MAX),
            "INVALID_ARGUMENT",
            (PROCESS, "what_cannot_be_logged_is_refused_with_its_field"),
        ),
        limit(
            "time for which a process logs something else",
            time(Duration::from_millis(process::FOR_MS_MAX)),
            "INVALID_ARGUMENT",
            (PROCESS, "what_cannot_be_logged_is_refused_with_its_field"),
        ),
        limit(
            "time for which a process is profiled",
            time(Duration::from_secs(u64::from(process::PROFILE_S_MAX))),
            "INVALID_ARGUMENT",
            (PROCESS, "a_process_is_profiled_for_so_long_and_no_longer"),
        ),
        limit(
            "watches of the cluster's status on a server",
            count(core::WATCHERS_MAX),
            "OVERLOADED",
            here("watches_of_the_status_have_a_limit"),
        ),
    ]
}

fn memory() -> Vec<Limit> {
    let here = |test| (LIMITS, test);
    vec![
        limit(
            "object bytes of uploads in the memory of a server, beside one window of each",
            bytes(core::UPLOAD_UNITS_MAX * core::MEMORY_UNIT_BYTES),
            "uploads go on window by window",
            here("without_memory_transfers_go_on_one_window_at_a_time"),
        ),
        limit(
            "the same of downloads",
            bytes(core::DOWNLOAD_UNITS_MAX * core::MEMORY_UNIT_BYTES),
            "downloads go on window by window",
            here("without_memory_transfers_go_on_one_window_at_a_time"),
        ),
        limit(
            "memory that one transfer costs a server, however large its object",
            "64 MiB",
            "the caller is slowed down",
            (
                "tests/cluster/tests/limits/memory.rs",
                "a_large_object_costs_little_memory",
            ),
        ),
        limit(
            "pieces of first messages whose rest is not there, in the memory of a server",
            bytes(caps::FIRST_MESSAGES_BYTES_MAX),
            "OVERLOADED",
            (
                "crates/marram-gateway/src/auth/first.rs",
                "pieces_of_first_messages_cost_a_process_so_much_and_no_more",
            ),
        ),
    ]
}

fn times() -> Vec<Limit> {
    vec![
        limit(
            "life of a token",
            time(Duration::from_secs(auth::LIFETIME_S_MAX)),
            "TOKEN_INVALID",
            (
                "crates/marram-gateway/src/auth/tests.rs",
                "audience_and_times_are_checked",
            ),
        ),
        limit(
            "until the first message of a call is there",
            time(auth::FIRST_MESSAGE_WITHIN),
            "UPLOAD_STALLED",
            (
                "crates/marram-gateway/src/auth/first.rs",
                "a_call_without_a_message_is_given_up",
            ),
        ),
        limit(
            "an upload that sends nothing",
            time(put::STALL_MAX),
            "UPLOAD_STALLED",
            (
                "crates/marram-gateway/src/put/upload/tests.rs",
                "silence_ends_an_upload",
            ),
        ),
    ]
}
