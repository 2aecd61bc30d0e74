//! Messages and services of Orrery's network interfaces.
//!
//! The `.proto` files in `proto/` are the interface; the code in `src/generated` is made from them by `cargo test -p orrery-proto` with
//! `ORRERY_REGENERATE=1` and committed, so that building needs no generator. The same test without the variable fails if the two differ.

/// Version 1 of the interfaces.
#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::unwrap_used)]
#[rustfmt::skip]
pub mod v1 {
    include!("generated/orrery.v1.rs");
}

impl v1::RunState {
    /// The state in a lower-case word, as tables and pages show it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unspecified => "unknown",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
        }
    }
}

impl v1::Statement {
    /// What became of the statement, in a word as of [`v1::RunState::word`]; `run` is the state of its run.
    pub fn state_word(&self, run: v1::RunState) -> &'static str {
        match &self.finished {
            Some(finished) if finished.error.is_none() => v1::RunState::Succeeded.word(),
            // The statement that failed ended its run: in what state, the run says as soon as it has ended itself.
            Some(_) if run == v1::RunState::Running => v1::RunState::Failed.word(),
            Some(_) => run.word(),
            None if run == v1::RunState::Running => run.word(),
            None => v1::RunState::Interrupted.word(),
        }
    }
}
