//! A model within the tree of a statement once it is settled which version is meant: a text in the place of `MODEL m@alias` and of the first argument of
//! `predict('m@alias', …)`, which the planner, that cannot wait for the registry, reads.

use std::sync::LazyLock;

use super::ModelRecord;
use crate::{Blame, Error, Result};

/// Begins such texts, with a secret of this process behind it: whoever could write one would read files and models without any right.
const MARK: char = '\u{1}';
static SECRET: LazyLock<String> = LazyLock::new(|| uuid::Uuid::new_v4().simple().to_string());

/// The text of a model.
///
/// # Errors
/// A record that JSON cannot hold.
pub(crate) fn to_text(record: &ModelRecord) -> Result<String> {
    let json = serde_json::to_string(record);
    json.map(|json| format!("{MARK}{}{json}", *SECRET))
        .map_err(|e| Error::new(Blame::Bug, format!("the record of {} is no JSON: {e}", record.reference)))
}

/// The model of a text; `None` if the text is none of ours.
pub(crate) fn from_text(text: &str) -> Option<ModelRecord> {
    serde_json::from_str(text.strip_prefix(MARK)?.strip_prefix(SECRET.as_str())?).ok()
}
