//! Physical operators of our own.

pub mod deduplicate;
