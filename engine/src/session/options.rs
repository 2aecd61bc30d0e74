//! What a session is opened with.

use std::collections::HashMap;
use std::path::PathBuf;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::common::config::ConfigOptions;

use super::runtime::SharedRuntime;
use crate::access::Principal;
use crate::dialect::Variable;
use crate::{Error, Result};

/// Settings of a session; [`Default`] is what `orrery run` uses when told nothing.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// Path or object-store URL of the warehouse's root.
    pub warehouse: String,
    /// Options for the object store, such as `aws_region`; credentials come from the environment as well.
    pub storage_options: HashMap<String, String>,
    /// The catalog that two-level names resolve in.
    pub catalog: String,
    /// Variables that win over a script's `SET`.
    pub variables: Vec<(String, Variable)>,
    /// Worker threads, and so partitions of a plan; all cores when absent.
    pub threads: Option<usize>,
    /// Bytes that operators may hold before they spill; three fifths of the machine's (or container's) memory when absent.
    pub memory_limit_bytes: Option<usize>,
    /// Where operators spill to and `CACHE TABLE` keeps its rows; the system's temporary directory when absent.
    pub scratch_dir: Option<PathBuf>,
    /// URL of a folder that every process that runs tasks can write to, where `CACHE TABLE` keeps its rows; a local folder when absent.
    pub scratch_url: Option<String>,
    /// Whom the session acts for. Without one it is the embedded engine's, which may do everything and owns what nobody else does.
    pub principal: Option<Principal>,
    /// Whether it acts for whoever is on a server's machine, which ends once there are users.
    pub until_users: bool,
    /// What the server calls the session, for the audit.
    pub session_name: Option<String>,
    /// Memory and spill files that the session shares with others; its own when absent, within the limit above.
    pub runtime: Option<SharedRuntime>,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            warehouse: "./warehouse".to_string(),
            storage_options: HashMap::new(),
            catalog: "dev".to_string(),
            variables: Vec::new(),
            threads: None,
            memory_limit_bytes: None,
            scratch_dir: None,
            scratch_url: None,
            principal: None,
            until_users: false,
            session_name: None,
            runtime: None,
        }
    }
}

/// Engine settings that `SET key = value` may change; each is safe on every backend.
pub(super) const SETTABLE: &[&str] = &[
    "datafusion.execution.batch_size",
    "datafusion.execution.target_partitions",
    "datafusion.optimizer.prefer_hash_join",
    "datafusion.sql_parser.parse_float_as_decimal",
    "datafusion.explain.format",
    "orrery.skewed_join_min_bytes",
    "orrery.approximate_distinct",
    "orrery.training",
];

/// Those of them by which a statement could take more of the machine than is its due; users other than administrators keep what the server has set.
pub(super) const RESTRICTED: &[&str] = &[
    "datafusion.execution.batch_size",
    "datafusion.execution.target_partitions",
    "orrery.skewed_join_min_bytes",
    "orrery.training",
    COMMON_SUBPLAN_BYTES,
];

/// The setting of ours: how many bytes a subplan that occurs several times has to read at least to be computed once.
pub(super) const COMMON_SUBPLAN_BYTES: &str = "orrery.common_subplan_bytes";

/// Gives the settings by which the same SQL means something else their defaults, for what is planned on behalf of somebody who has not set them.
pub(super) fn restore_meaning(options: &mut ConfigOptions) {
    options.sql_parser.parse_float_as_decimal = ConfigOptions::default().sql_parser.parse_float_as_decimal;
}

/// All settings that `SET` may change.
pub(super) fn settable() -> Vec<&'static str> {
    SETTABLE.iter().copied().chain([COMMON_SUBPLAN_BYTES]).collect()
}

impl TryFrom<&ScalarValue> for Variable {
    type Error = Error;

    /// Numbers, text, booleans, dates and timestamps keep their type; anything else cannot be a variable.
    fn try_from(value: &ScalarValue) -> Result<Self> {
        if value.is_null() {
            return Ok(Variable::Null);
        }
        let text = || value.cast_to(&DataType::Utf8).map(|v| v.to_string()).map_err(Error::from);
        match value.data_type() {
            DataType::Boolean => Ok(Variable::Boolean(matches!(value, ScalarValue::Boolean(Some(true))))),
            t if t.is_numeric() => Ok(Variable::Number(text()?)),
            DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => Ok(Variable::String(text()?)),
            DataType::Date32 | DataType::Date64 => Ok(Variable::Date(text()?)),
            DataType::Timestamp(_, _) => Ok(Variable::Timestamp(text()?)),
            other => Err(Error::sql(format!("a variable cannot hold a value of type {other}"))
                .hint("numbers, text, booleans, dates and timestamps can")),
        }
    }
}

/// Some value of a type, for planning statements with a variable whose value a dry run does not compute.
pub(super) fn sample_value(data_type: &DataType) -> Variable {
    match data_type {
        DataType::Boolean => Variable::Boolean(true),
        t if t.is_numeric() => Variable::Number("1".to_string()),
        DataType::Date32 | DataType::Date64 => Variable::Date("2020-01-01".to_string()),
        DataType::Timestamp(_, _) => Variable::Timestamp("2020-01-01T00:00:00".to_string()),
        _ => Variable::String(String::new()),
    }
}
