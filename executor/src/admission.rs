//! Which tasks are run when nodes talk encrypted. Ballista's server of tasks takes them from everybody who can reach it, and every user of this machine can.
//! So a task is only run if it carries a word that no one outside this process knows: it is put in by our port, which has seen the caller's certificate.

use std::sync::Arc;

use ballista_core::serde::protobuf::KeyValuePair;
use datafusion::common::config::ConfigExtension;
use datafusion::common::{DataFusionError, Result, extensions_options};
use datafusion::prelude::SessionConfig;

/// Key of the word among a task's settings.
const KEY: &str = "orrery_admission.word";

extensions_options! {
    /// Settings of a task that our port adds.
    struct Carried {
        /// The word.
        pub word: String, default = String::new()
    }
}

impl ConfigExtension for Carried {
    const PREFIX: &'static str = "orrery_admission";
}

/// The word of this process, for as long as it lives. Not to be shown anywhere.
#[derive(Clone)]
pub(crate) struct Word(Arc<str>);

impl Word {
    /// One that cannot be guessed.
    pub fn new() -> Self {
        Self(format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple()).into())
    }

    /// Lets a task through: replaces what it may have brought itself.
    pub fn admit(&self, settings: &mut Vec<KeyValuePair>) {
        settings.retain(|setting| setting.key != KEY);
        settings.push(KeyValuePair { key: KEY.to_string(), value: Some(self.0.to_string()) });
    }

    /// Settings that can carry the word.
    pub fn carried_by(settings: SessionConfig) -> SessionConfig {
        settings.with_option_extension(Carried::default())
    }

    /// Proves that a task came through our port.
    ///
    /// # Errors
    /// It did not.
    pub fn check(&self, task: &SessionConfig) -> Result<()> {
        match task.options().extensions.get::<Carried>() {
            Some(carried) if carried.word.as_bytes() == self.0.as_bytes() => Ok(()),
            _ => {
                tracing::warn!("refused a task that did not come through the encrypted port");
                Err(DataFusionError::Execution("this executor takes tasks through its encrypted port only".to_string()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ballista_core::extension::{SessionConfigExt as _, SessionConfigHelperExt as _};

    fn task(settings: &[KeyValuePair]) -> SessionConfig {
        Word::carried_by(SessionConfig::new_with_ballista()).update_from_key_value_pair(settings)
    }

    #[test]
    fn only_tasks_that_were_let_in_are_run() {
        let (ours, other) = (Word::new(), Word::new());
        let mut settings = vec![KeyValuePair { key: "datafusion.execution.batch_size".to_string(), value: Some("77".to_string()) }];
        assert!(ours.check(&task(&settings)).is_err());
        other.admit(&mut settings);
        assert!(ours.check(&task(&settings)).is_err());
        ours.admit(&mut settings);
        assert_eq!(settings.len(), 2);
        let admitted = task(&settings);
        assert!(ours.check(&admitted).is_ok());
        assert_eq!(admitted.batch_size(), 77);
        assert!(ours.check(&SessionConfig::new()).is_err());
    }
}
