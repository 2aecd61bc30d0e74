//! Runs scripts: which files in which order, each statement with events for whoever watches (a terminal now, a stream of messages for a
//! remote client), and the first failure with its file, line, column, statement and hint.

mod event;
mod load;
mod run;

pub use event::{Finished, Observer};
pub use load::{Located, ScriptFile, load, statements};
pub use run::{Failure, Report, RunOptions, check_syntax, run};
