//! Processes that die in the middle of what they do: the work goes on elsewhere, nothing is lost and
//! nothing stays behind.
#![allow(clippy::unwrap_used, clippy::panic)] // a test says what is wrong by panicking

mod crashes {
    mod moves;
}
