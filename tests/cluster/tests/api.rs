//! The public API on one shared cluster of six nodes and a gateway: what it does, and what it says to
//! bad input.

mod api {
    mod access;
    mod annotate;
    mod auth;
    mod bad_uploads;
    mod buckets;
    mod commands;
    mod conditional_commands;
    mod conditions;
    mod direct;
    mod doctor;
    mod keys;
    mod lifecycle;
    mod listing;
    mod metrics;
    mod object_watch;
    mod process;
    mod quota;
    mod races;
    mod repair;
    mod sizes;
    mod status;
    mod tracing;
    mod uploads;
    mod versions;
    mod watching;
}
