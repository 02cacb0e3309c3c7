//! Nodes that die, return, are excused and are stopped in order.
#![expect(clippy::panic, reason = "a panic is how a test fails")]

mod liveness {
    mod dead_node;
    mod planned_stop;
}
