//! The engine: SQL text in, Delta tables and result streams out. The way of a statement is the order of the modules:
//! `dialect` parses it, `planner` rewrites its plan, `operators` run in it, `session` executes it and `script` runs files of them.

pub mod dialect;
pub mod error;
pub mod models;
pub mod operators;
pub mod planner;
pub mod script;
pub mod session;
mod task_pool;

pub use orrery_lakehouse::{Stores, Warehouse};

pub use error::{Blame, Error, Position, Result, WireError};
pub use task_pool::TaskPool;
