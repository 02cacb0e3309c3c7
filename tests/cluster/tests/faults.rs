//! Random faults while the cluster is used, grown and shrunk.

mod faults {
    mod in_trouble;
}
