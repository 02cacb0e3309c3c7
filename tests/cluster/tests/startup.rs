//! Clusters of other sizes, starts that must fail with a clear error, stops that leave nothing.
#![expect(clippy::panic, reason = "a panic is how a test fails")]

mod startup {
    mod growing;
    mod refused;
    mod small;
    mod stopping;
}
