//! What nodes do for their own drives: scrubs, drives that come, go and fail, garbage that is paused.
#![expect(clippy::panic, reason = "a panic is how a test fails")]

mod upkeep {
    mod drives;
    mod garbage;
    mod kit;
    mod scrub;
}
