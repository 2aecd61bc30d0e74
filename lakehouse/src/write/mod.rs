//! Writing: a query's batches become Parquet files, and their list becomes one Delta transaction.

mod pending;
mod request;

pub use pending::PendingWrite;
pub use request::{WriteMode, WriteOutcome, WriteRequest};
