//! What can be wrong with options, data or a file, told apart by who has to act.

use std::fmt;

/// Who has to act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// An option of the statement, by name.
    Option(String),
    /// A column of the training or scoring rows, by name: it is missing or has an unsuitable type.
    Column(String),
    /// Values of the rows.
    Data,
    /// A model file that is damaged or of a newer version.
    File,
    /// The memory that was granted does not hold the rows.
    Memory,
    /// Somebody cancelled.
    Cancelled,
    /// Us.
    Bug,
}

/// An error of this crate: whose, what was found, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ModelError {
    /// Who has to act.
    pub cause: Cause,
    /// What was found.
    pub message: String,
    /// What would be right.
    pub hint: Option<String>,
}

/// The result of this crate's functions.
pub type Result<T, E = ModelError> = std::result::Result<T, E>;

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Option(name) => write!(f, "option '{name}': {}", self.message),
            Cause::Column(name) => write!(f, "column '{name}': {}", self.message),
            _ => f.write_str(&self.message),
        }
    }
}

impl ModelError {
    fn new(cause: Cause, message: impl Into<String>) -> Self {
        Self { cause, message: message.into(), hint: None }
    }

    /// An option's value is wrong.
    pub fn option(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Cause::Option(name.into()), message)
    }

    /// A column is missing or of the wrong type.
    pub fn column(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Cause::Column(name.into()), message)
    }

    /// The rows hold something that cannot be trained on or scored.
    pub fn data(message: impl Into<String>) -> Self {
        Self::new(Cause::Data, message)
    }

    /// A model file is damaged.
    pub fn file(message: impl Into<String>) -> Self {
        Self::new(Cause::File, message)
    }

    /// The rows do not fit the memory that was granted.
    pub fn memory(message: impl Into<String>) -> Self {
        Self::new(Cause::Memory, message)
    }

    /// The work was cancelled.
    pub fn cancelled() -> Self {
        Self::new(Cause::Cancelled, "the training was cancelled")
    }

    /// Something that cannot happen has happened.
    pub fn bug(message: impl Into<String>) -> Self {
        Self::new(Cause::Bug, message)
    }

    /// Adds what would be right.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
