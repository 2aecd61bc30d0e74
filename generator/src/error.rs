//! What can go wrong while generating, by who can put it right.

use std::io;
use std::path::PathBuf;

/// Why a data set was not generated. Whatever the reason, the files written by the failed call are gone.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An option has a value that cannot be meant; the text says which one and what would be right.
    #[error("{0}")]
    Options(String),

    /// The output directory already holds generated files, and overwriting was not asked for.
    #[error(
        "{} already holds {count} generated file(s), for example {example}: choose another directory or ask for them to be overwritten",
        directory.display()
    )]
    AlreadyGenerated {
        /// The output directory.
        directory: PathBuf,
        /// How many generated files it holds.
        count: usize,
        /// The name of one of them.
        example: String,
    },

    /// The file system refused something: no permission, a full disk, a file where a directory should be.
    #[error("cannot {action} {}: {source}", path.display())]
    Storage {
        /// What was tried, as a verb: `create`, `write`, `rename`, `remove`, `read`.
        action: &'static str,
        /// The file or directory it was tried on.
        path: PathBuf,
        /// The file system's answer.
        source: io::Error,
    },

    /// The progress callback asked to stop.
    #[error("generation was cancelled; the files written so far were removed")]
    Cancelled,

    /// The generator contradicts itself: a defect of this crate, not of its input.
    #[error("the generator failed: {0} (this is a defect, please report it)")]
    Internal(String),
}

impl Error {
    /// Wraps a file system error with what was tried and where.
    pub(crate) fn storage(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Error::Storage { action, path: path.into(), source }
    }
}
