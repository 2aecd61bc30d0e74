//! Integration tests of the lakehouse through its public interface, in one binary.

// Clippy lets test functions unwrap, but not the functions they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod conflicts;
mod evolution;
mod faults;
mod foreign;
mod history;
mod names;
mod partitions;
mod pruning;
mod random;
mod statistics;
mod support;
mod vacuum;
mod writes;
