//! Writing: a query's batches become Parquet files, and their list becomes one Delta transaction.
//!
//! * [`begin`]: a [`WriteRequest`] is checked against the table; the result says what the query has to produce.
//! * [`operator`]: tasks write files and emit one row per file. Nothing is visible yet.
//! * [`commit`]: the rows become one commit of the table's log, or the files go away.

mod actions;
mod begin;
pub mod codec;
mod commit;
mod dictionary;
mod faults;
mod file_stats;
mod live;
mod operator;
mod parquet_file;
mod partitions;
mod pending;
mod progress;
mod properties;
mod request;
mod spec;
mod task;
mod upload;

pub use pending::PendingWrite;
pub use request::{WriteMode, WriteOutcome, WriteRequest};
