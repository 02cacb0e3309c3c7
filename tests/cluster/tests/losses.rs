//! What was acknowledged survives: any two nodes lost, all of them killed in mid-write, shards
//! damaged, a node that stands still.
#![expect(clippy::panic, reason = "a panic is how a test fails")]

mod losses {
    mod crash;
    mod every_pair;
    mod flipped_bits;
    mod leader;
    mod paused;
}
