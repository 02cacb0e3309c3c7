//! Nodes come and go while the cluster is in use.
#![expect(clippy::panic, reason = "a panic is how a test fails")]

mod growth {
    mod one_by_one;
    mod there_and_back;
}
