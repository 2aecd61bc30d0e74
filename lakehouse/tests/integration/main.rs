//! Integration tests of the lakehouse through its public interface, in one binary.

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
mod writes;
