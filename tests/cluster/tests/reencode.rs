//! Objects are encoded anew: widened, narrowed, given another profile.
#![expect(clippy::panic, reason = "a panic is how a test fails")]

mod reencode {
    mod fewer_nodes;
    mod profile;
    mod settle;
    mod widen;
}
