//! The settings of a session that are Orrery's own: `SET orrery.name = value`.

use std::any::Any;

use datafusion::common::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions};
use datafusion::common::{Result, config_err};

use super::salt_skewed_joins::SkewOptions;

/// See the module documentation.
#[derive(Debug, Clone, Default)]
pub struct OrreryOptions {
    /// `orrery.approximate_distinct`: whether `count(DISTINCT x)` may be answered approximately.
    pub approximate_distinct: bool,
    /// `orrery.skewed_join_min_bytes`: from how many bytes on a join is sampled for skew unasked; and what is known of the joins of a statement.
    pub skewed_joins: SkewOptions,
    /// `orrery.training`: where models are trained.
    pub training: TrainingPlace,
}

/// Where the rows of a training are while it runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TrainingPlace {
    /// In one task where they fit its memory, else in many.
    #[default]
    Auto,
    /// In the memory of one task; it is an error if they do not fit.
    OneTask,
    /// In the memory of many tasks, as far as they fit.
    Distributed,
}

impl OrreryOptions {
    /// Those of a session.
    pub fn of(config: &ConfigOptions) -> Option<&Self> {
        config.extensions.get::<Self>()
    }
}

impl ConfigExtension for OrreryOptions {
    const PREFIX: &'static str = "orrery";
}

impl ExtensionOptions for OrreryOptions {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, value: &str) -> Result<()> {
        match key {
            "approximate_distinct" => match value.parse() {
                Ok(approximate) => self.approximate_distinct = approximate,
                Err(_) => return config_err!("orrery.approximate_distinct is true or false, not '{value}'"),
            },
            "skewed_join_min_bytes" => match value.parse() {
                Ok(bytes) => self.skewed_joins.skewed_join_min_bytes = bytes,
                Err(_) => return config_err!("orrery.skewed_join_min_bytes is a number of bytes, not '{value}'"),
            },
            "training" => {
                self.training = match value.to_ascii_lowercase().as_str() {
                    "auto" => TrainingPlace::Auto,
                    "one_task" => TrainingPlace::OneTask,
                    "distributed" => TrainingPlace::Distributed,
                    _ => return config_err!("orrery.training is 'auto', 'one_task' or 'distributed', not '{value}'"),
                }
            }
            _ => return config_err!("the setting 'orrery.{key}' is not known"),
        }
        Ok(())
    }

    /// None, as entries are sent to executors: these only run what was planned.
    fn entries(&self) -> Vec<ConfigEntry> {
        Vec::new()
    }
}
