//! Everything that is proved from outside: SQL tests as data, the program's behaviour as a user sees it, injected faults, readers of other
//! makers. One binary, so that there is one link.

// Clippy lets test functions unwrap, but not the functions they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access;
mod certificates;
mod cluster;
mod cluster_faults;
mod cluster_network;
mod cluster_runs;
mod cluster_s3;
mod cluster_tls;
mod cluster_training;
mod command_line;
mod containers;
mod data;
mod explain_analyze;
mod faults;
mod flight;
mod function_reference;
mod garbled_sql;
mod model_pipelines;
mod model_reference;
mod orrery;
mod pipeline;
mod python;
mod sql_files;
