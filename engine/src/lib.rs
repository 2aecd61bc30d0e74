//! The engine: SQL text in, Delta tables and result streams out. The way of a statement is the order of the modules:
//! `dialect` parses it, `planner` rewrites its plan, `operators` run in it, `session` executes it and `script` runs files of them.

pub mod access;
pub mod dialect;
pub mod error;
pub mod models;
pub mod operators;
pub mod planner;
pub mod script;
pub mod session;
mod stored_table;
mod task_pool;

pub use orrery_lakehouse::{NOT_NULL, RelationEntry, RelationKind, Stores, TableName, Warehouse};

pub use error::{Blame, Error, Position, Result, WireError};
pub use task_pool::TaskPool;
