//! Limits that must hold: full drives, space that comes back, memory for one large object.

mod limits {
    mod full;
    mod memory;
}
