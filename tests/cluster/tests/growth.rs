//! Nodes come and go while the cluster is in use.

mod growth {
    mod one_by_one;
    mod there_and_back;
}
