//! The actions of a commit, from what the write did.

use std::collections::HashMap;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::UInt64Type;
use chrono::Utc;
use deltalake_core::kernel::{Action, Add, CommitInfo};
use serde_json::{Value, json};

use super::pending::Change;
use super::{PendingWrite, WriteMode};
use crate::error::{Error, Result};
use crate::log::Protocol;
use crate::schema::{contains_timestamp_ntz, schema_json};

/// Features that a legacy protocol of writer version 2 implies, and that have to be spelled out beside a newer feature.
const LEGACY_WRITER_FEATURES: [&str; 2] = ["appendOnly", "invariants"];
const TIMESTAMP_NTZ: &str = "timestampNtz";

/// The files of a write and their sums.
#[derive(Debug, Default)]
pub(super) struct WrittenFiles {
    pub adds: Vec<Add>,
    pub rows: u64,
    pub bytes: u64,
}

impl WrittenFiles {
    /// Reads the rows that the write plan emitted.
    pub fn parse(batches: &[RecordBatch], write_id: &str) -> Result<Self> {
        let malformed = |what: String| Error::Invalid(format!("the rows of the write plan cannot be committed: {what}"));
        let mut written = Self::default();
        for batch in batches {
            let column = |name: &str| batch.column_by_name(name).ok_or_else(|| malformed(format!("they have no column {name:?}")));
            let adds = column("add")?.as_string_opt::<i32>().ok_or_else(|| malformed("\"add\" is not text".into()))?;
            for text in adds.iter().flatten() {
                let add: Add = serde_json::from_str(text).map_err(|error| malformed(error.to_string()))?;
                if !add.path.contains(write_id) {
                    return Err(malformed(format!("{} is a file of another write", add.path)));
                }
                written.adds.push(add);
            }
            let sum = |name: &str| -> Result<u64> {
                let values =
                    column(name)?.as_primitive_opt::<UInt64Type>().ok_or_else(|| malformed(format!("{name:?} is not a number")))?;
                Ok(values.values().iter().sum())
            };
            written.rows += sum("rows")?;
            written.bytes += sum("bytes")?;
        }
        Ok(written)
    }
}

impl PendingWrite {
    /// All actions of the commit, `commitInfo` first.
    pub(super) fn actions(&self, written: &WrittenFiles) -> Result<Vec<Action>> {
        let mut actions = Vec::with_capacity(written.adds.len() + 4);
        let mut removed = 0;
        match &self.change {
            Change::Create => {
                actions.push(self.protocol_action(None)?);
                actions.push(self.metadata_action(uuid::Uuid::new_v4().to_string())?);
            }
            Change::Replace(table) => {
                if contains_timestamp_ntz(&self.table_schema)
                    && !table.protocol().writer_features.iter().any(|feature| feature == TIMESTAMP_NTZ)
                {
                    actions.push(self.protocol_action(Some(table.protocol()))?);
                }
                let id = table.metadata().get("id").and_then(Value::as_str).unwrap_or_default();
                actions.push(self.metadata_action(id.to_string())?);
            }
            Change::Append(_) | Change::Overwrite(_) | Change::Nothing(_) => {}
        }
        if let Change::Replace(table) | Change::Overwrite(table) = &self.change {
            let files = table.snapshot().try_log_data().map_err(|error| Error::Conflict(error.to_string()))?;
            actions.extend(files.iter().map(|file| Action::Remove(file.remove_action(true))));
            removed = files.num_files();
        }
        actions.extend(written.adds.iter().cloned().map(Action::Add));
        actions.insert(0, Action::CommitInfo(self.commit_info(written, removed)));
        Ok(actions)
    }

    fn commit_info(&self, written: &WrittenFiles, removed: usize) -> CommitInfo {
        let mut parameters = HashMap::from([
            ("partitionBy".to_string(), Value::String(json!(self.partition_by).to_string())),
            ("statement".to_string(), Value::String(self.request.statement.clone())),
        ]);
        let mode = match self.request.mode {
            WriteMode::Append => Some("Append"),
            WriteMode::Overwrite => Some("Overwrite"),
            _ => None,
        };
        parameters.extend(mode.map(|mode| ("mode".to_string(), Value::String(mode.into()))));
        let mut metrics = json!({
            "numFiles": written.adds.len().to_string(),
            "numOutputRows": written.rows.to_string(),
            "numOutputBytes": written.bytes.to_string(),
        });
        if removed > 0 {
            metrics["numRemovedFiles"] = Value::String(removed.to_string());
        }
        CommitInfo {
            timestamp: Some(Utc::now().timestamp_millis()),
            operation: Some(self.operation().to_string()),
            operation_parameters: Some(parameters),
            read_version: self.change.base().map(|table| table.version()),
            is_blind_append: Some(matches!(self.change, Change::Append(_))),
            engine_info: Some(format!("orrery/{}", env!("CARGO_PKG_VERSION"))),
            info: HashMap::from([("operationMetrics".to_string(), metrics)]),
            ..CommitInfo::default()
        }
    }

    fn operation(&self) -> &'static str {
        match (self.request.mode, self.request.has_query) {
            (WriteMode::Create | WriteMode::CreateIfNotExists, true) => "CREATE TABLE AS SELECT",
            (WriteMode::Create | WriteMode::CreateIfNotExists, false) => "CREATE TABLE",
            (WriteMode::CreateOrReplace, true) => "CREATE OR REPLACE TABLE AS SELECT",
            (WriteMode::CreateOrReplace, false) => "CREATE OR REPLACE TABLE",
            (WriteMode::Append | WriteMode::Overwrite, _) => "WRITE",
        }
    }

    /// The oldest protocol that the table can have; a table that is replaced keeps what it has and gains what it needs.
    fn protocol_action(&self, existing: Option<&Protocol>) -> Result<Action> {
        let action = match (contains_timestamp_ntz(&self.table_schema), existing) {
            (false, _) => json!({ "minReaderVersion": 1, "minWriterVersion": 2 }),
            (true, existing) => {
                let old = existing.cloned().unwrap_or_default();
                let mut readers = old.reader_features;
                let mut writers = old.writer_features;
                if old.writer_version < 7 && (existing.is_some() || super::properties::append_only(&self.request.properties)) {
                    writers.extend(LEGACY_WRITER_FEATURES.map(str::to_string));
                }
                readers.push(TIMESTAMP_NTZ.into());
                writers.push(TIMESTAMP_NTZ.into());
                json!({ "minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": readers, "writerFeatures": writers })
            }
        };
        parse_action("protocol", action)
    }

    fn metadata_action(&self, id: String) -> Result<Action> {
        let comment_of = |name: &String| {
            self.request.column_comments.iter().find(|(column, _)| column.eq_ignore_ascii_case(name)).map(|(_, text)| text.clone())
        };
        let names = self.table_schema.fields().iter().map(|field| field.name());
        let comments = names.filter_map(|name| Some((name.clone(), comment_of(name)?))).collect();
        let action = json!({
            "id": id,
            "name": self.request.name.table,
            "description": self.request.comment,
            "format": { "provider": "parquet", "options": {} },
            "schemaString": schema_json(&self.table_schema, &comments)?.to_string(),
            "partitionColumns": self.partition_by,
            "createdTime": Utc::now().timestamp_millis(),
            "configuration": self.request.properties,
        });
        parse_action("metaData", action)
    }
}

fn parse_action(kind: &str, content: Value) -> Result<Action> {
    serde_json::from_value(json!({ kind: content })).map_err(|error| Error::Invalid(format!("the table's {kind} is not valid: {error}")))
}
