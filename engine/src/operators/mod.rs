//! Physical operators of our own, and how they travel to other processes.

pub(crate) mod barrier;
pub(crate) mod claimed_size;
pub mod codec;
pub mod compressed_files;
pub mod deduplicate;
pub(crate) mod hot_keys;
pub(crate) mod number_rows;
pub(crate) mod one_child;
pub mod one_task;
pub(crate) mod room_for_rows;
pub(crate) mod row_bytes;
pub(crate) mod salt;
pub(crate) mod sessionize;
pub(crate) mod short_batches;
pub(crate) mod stoppable;
pub mod train_model;
pub(crate) mod window_partitions;
