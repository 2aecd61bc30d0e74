//! The tables of the registry: `system.ml.models`, `.model_versions`, `.runs` and `.aliases`, their columns, and rows as Rust has them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Fields, Schema};
use serde::Serialize;
use serde_json::{Value, json};

use crate::models::ModelRecord;
use crate::session::sql_type_name;
use crate::stored_table::StoredTable;
use crate::stored_table::columns::{Columns, moment, number, text, whole};
use crate::{Blame, Error, Result};

/// Schema of these tables in catalog `system`, and what it is for.
const PLACE: (&str, &str) = ("ml", "Models");

fn map(name: &str, value: DataType) -> Field {
    let entries = Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", value, true)]);
    Field::new(name, DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(entries), false)), false), true)
}

fn list(name: &str, fields: Vec<Field>) -> Field {
    Field::new(name, DataType::List(Arc::new(Field::new("element", DataType::Struct(fields.into()), true))), true)
}

pub(super) fn models() -> StoredTable {
    let fields = vec![
        text("model"),
        text("model_type"),
        whole("newest_version"),
        whole("last_version"),
        text("description"),
        map("labels", DataType::Utf8),
        moment("created_at"),
        moment("changed_at"),
    ];
    StoredTable::new(PLACE, "models", "Models, one row each", Arc::new(Schema::new(fields)))
}

pub(super) fn model_versions() -> StoredTable {
    let fields = vec![
        text("model"),
        whole("version"),
        text("model_type"),
        text("run_id"),
        moment("created_at"),
        whole("rows"),
        whole("iterations"),
        whole("tasks"),
        number("duration_ms"),
        map("metrics", DataType::Float64),
        map("options", DataType::Utf8),
        whole("seed"),
        list("inputs", vec![text("name"), text("type")]),
        list("sources", vec![text("name"), whole("version")]),
        text("query"),
        whole("bytes"),
        text("checksum"),
        text("url"),
        text("engine_version"),
        text("record"),
    ];
    StoredTable::new(PLACE, "model_versions", "Versions of models; a version exists when its row does", Arc::new(Schema::new(fields)))
}

pub(super) fn runs() -> StoredTable {
    let fields = vec![
        text("run_id"),
        text("model"),
        text("model_type"),
        text("statement"),
        text("status"),
        text("error"),
        whole("version"),
        whole("rows"),
        whole("iterations"),
        whole("tasks"),
        number("duration_ms"),
        moment("started_at"),
        moment("finished_at"),
        text("engine_version"),
    ];
    StoredTable::new(PLACE, "runs", "Attempts to train models", Arc::new(Schema::new(fields)))
}

pub(super) fn aliases() -> StoredTable {
    let fields = vec![text("model"), text("alias"), whole("version"), moment("changed_at")];
    StoredTable::new(PLACE, "aliases", "Names for versions of models", Arc::new(Schema::new(fields)))
}

/// What is known of a model as a whole.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ModelRow {
    /// `catalog.schema.model`.
    pub model: String,
    /// Type of the newest version.
    pub model_type: String,
    /// The newest version that exists.
    pub newest_version: u64,
    /// The highest number that was ever given.
    pub last_version: u64,
    /// What it is for.
    pub description: Option<String>,
    /// By key.
    pub labels: BTreeMap<String, String>,
    /// When its first version was registered, microseconds since 1970 UTC.
    pub created_at: i64,
    /// When it was last changed.
    pub changed_at: i64,
}

/// An alias of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AliasRow {
    /// `catalog.schema.model`.
    pub model: String,
    /// Lower-case unless it was quoted.
    pub alias: String,
    /// What it stands for.
    pub version: u64,
    /// When it was set, microseconds since 1970 UTC.
    pub changed_at: i64,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RunStatus {
    /// There is a version.
    Succeeded,
    /// There is an error.
    Failed,
    /// Somebody stopped it.
    Cancelled,
}

/// An attempt to train a model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunRow {
    /// Names the attempt.
    pub run_id: String,
    /// `catalog.schema.model`.
    pub model: String,
    /// Lower-case type.
    pub model_type: String,
    /// As written, variables replaced.
    pub statement: String,
    /// How it ended.
    pub status: RunStatus,
    /// Why it failed.
    pub error: Option<String>,
    /// What came of it.
    pub version: Option<u64>,
    /// Training rows.
    pub rows: Option<u64>,
    /// Of all trials.
    pub iterations: Option<u64>,
    /// One, or distributed over how many.
    pub tasks: Option<u32>,
    /// From the statement's begin.
    pub duration_ms: f64,
    /// Microseconds since 1970 UTC.
    pub started_at: i64,
    /// Microseconds since 1970 UTC.
    pub finished_at: i64,
    /// Version of the program.
    pub engine_version: &'static str,
}

/// A row of `model_versions`.
pub(super) fn version_row(record: &ModelRecord) -> Result<Value> {
    let text = serde_json::to_string(record).map_err(|e| Error::new(Blame::Bug, format!("a model's record is no JSON: {e}")))?;
    let options: BTreeMap<&String, String> = record.options.0.iter().map(|(name, value)| (name, value.to_string())).collect();
    let inputs: Vec<Value> =
        record.inputs.iter().map(|input| json!({ "name": input.name, "type": sql_type_name(&input.data_type) })).collect();
    Ok(json!({
        "model": record.reference.name,
        "version": record.reference.version,
        "model_type": record.model_type,
        "run_id": record.run_id,
        "created_at": record.created_at_micros,
        "rows": record.rows,
        "iterations": record.iterations.len(),
        "tasks": record.tasks,
        "duration_ms": record.duration_ms,
        "metrics": record.metrics,
        "options": options,
        "seed": record.seed,
        "inputs": inputs,
        "sources": record.sources,
        "query": record.query,
        "bytes": record.bytes,
        "checksum": record.reference.checksum,
        "url": record.reference.url,
        "engine_version": record.engine_version,
        "record": text,
    }))
}

/// The rows of `models`, by name.
pub(super) fn model_rows(batch: &RecordBatch) -> Vec<ModelRow> {
    let columns = Columns(batch);
    let mut rows: Vec<ModelRow> = (0..batch.num_rows())
        .map(|row| ModelRow {
            model: columns.text("model", row).unwrap_or_default().to_string(),
            model_type: columns.text("model_type", row).unwrap_or_default().to_string(),
            newest_version: columns.version("newest_version", row),
            last_version: columns.version("last_version", row),
            description: columns.text("description", row).map(str::to_string),
            labels: columns.texts("labels", row),
            created_at: columns.moment("created_at", row).unwrap_or(0),
            changed_at: columns.moment("changed_at", row).unwrap_or(0),
        })
        .collect();
    rows.sort_by(|a, b| a.model.cmp(&b.model));
    rows
}

/// The rows of `aliases`, by model and alias.
pub(super) fn alias_rows(batch: &RecordBatch) -> Vec<AliasRow> {
    let columns = Columns(batch);
    let mut rows: Vec<AliasRow> = (0..batch.num_rows())
        .map(|row| AliasRow {
            model: columns.text("model", row).unwrap_or_default().to_string(),
            alias: columns.text("alias", row).unwrap_or_default().to_string(),
            version: columns.version("version", row),
            changed_at: columns.moment("changed_at", row).unwrap_or(0),
        })
        .collect();
    rows.sort_by(|a, b| (&a.model, &a.alias).cmp(&(&b.model, &b.alias)));
    rows
}

/// A row of `model_versions`, in part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct VersionEntry {
    /// Place in the batch.
    pub row: usize,
    pub model: String,
    pub version: u64,
    pub run_id: Option<String>,
    pub url: String,
}

/// The rows of `model_versions`, by model and version.
pub(super) fn version_entries(batch: &RecordBatch) -> Vec<VersionEntry> {
    let columns = Columns(batch);
    let mut entries: Vec<VersionEntry> = (0..batch.num_rows())
        .map(|row| VersionEntry {
            row,
            model: columns.text("model", row).unwrap_or_default().to_string(),
            version: columns.version("version", row),
            run_id: columns.text("run_id", row).map(str::to_string),
            url: columns.text("url", row).unwrap_or_default().to_string(),
        })
        .collect();
    entries.sort_by(|a, b| (&a.model, a.version).cmp(&(&b.model, b.version)));
    entries
}

/// The record of a row of `model_versions`.
pub(super) fn record_of(batch: &RecordBatch, entry: &VersionEntry) -> Result<ModelRecord> {
    let columns = Columns(batch);
    let text = columns.text("record", entry.row).unwrap_or_default();
    serde_json::from_str(text).map_err(|error| {
        let problem =
            format!("the record of {} version {} in system.ml.model_versions cannot be read: {error}", entry.model, entry.version);
        Error::new(Blame::Storage, problem).hint("it may have been written by a newer version of Orrery; train the model anew")
    })
}
