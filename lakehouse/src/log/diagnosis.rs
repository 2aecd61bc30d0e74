//! Why a log cannot be read. The log reader's own errors often name neither the file nor the cause in words, so the log is looked through once more.

use arrow::datatypes::DataType;
use deltalake_core::DeltaTableError;
use object_store::ObjectStoreExt;
use parquet::file::metadata::ParquetMetaDataReader;
use serde_json::Value;

use super::features::{Protocol, unknown_reader_feature};
use super::{TableLog, commit_version, leading_version};
use crate::error::{Error, Result, storage_error};
use crate::partition_value;
use crate::schema::parse_schema;

impl TableLog {
    /// The error to report after the log reader failed with `error`.
    pub async fn diagnose(&self, error: DeltaTableError) -> Error {
        if let Some(store) = store_error_within(&error)
            && !matches!(store, object_store::Error::NotFound { .. })
        {
            return storage_error(self.log_path.as_ref(), error);
        }
        match self.find_damage().await {
            Ok(()) => self.damaged(&self.log_path.clone(), error.to_string()),
            Err(found) => found,
        }
    }

    async fn find_damage(&self) -> Result<()> {
        let checkpoints = self.checkpoint_versions().await?;
        let commits = self.commits(0).await?;
        let first_needed = checkpoints.last().map_or(0, |version| version + 1);
        let mut expected = first_needed;
        let mut found = Essentials::default();
        for commit in &commits {
            if commit.version >= first_needed {
                if commit.version != expected {
                    return Err(self.damaged(&self.commit_path(expected), "the commit file is missing, and later ones exist"));
                }
                expected += 1;
            }
            self.check_commit(commit.version, &mut found).await?;
        }
        if let Some(feature) = found.protocol.as_ref().and_then(unknown_reader_feature) {
            return Err(self.unsupported(feature));
        }
        self.check_checkpoints().await?;
        if checkpoints.is_empty() {
            let missing = match (&found.protocol, &found.partition_types) {
                (None, _) => "no commit has a \"protocol\" action",
                (_, None) => "no commit has a \"metaData\" action",
                _ => return Ok(()),
            };
            return Err(self.damaged(&self.commit_path(0), missing));
        }
        Ok(())
    }

    async fn check_commit(&self, version: u64, found: &mut Essentials) -> Result<()> {
        let path = self.commit_path(version);
        let bytes = self.read_commit(version).await?;
        let text = std::str::from_utf8(&bytes).map_err(|error| self.damaged(&path, format!("it is not UTF-8: {error}")))?;
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let action: Value =
                serde_json::from_str(line).map_err(|error| self.damaged(&path, format!("line {} is not JSON: {error}", index + 1)))?;
            if !action.is_object() {
                return Err(self.damaged(&path, format!("line {} is not an action", index + 1)));
            }
            if let Some(metadata) = action.get("metaData").filter(|metadata| metadata.is_object()) {
                found.partition_types = Some(partition_types(metadata));
            }
            if let Some(protocol) = action.get("protocol").filter(|p| p.is_object()) {
                found.protocol = Some(Protocol::from_json(protocol));
            }
            if let Some(add) = action.get("add") {
                let reason =
                    found.partition_types.iter().flatten().find_map(|(column, data_type)| bad_partition_value(add, column, data_type));
                if let Some(reason) = reason {
                    return Err(self.damaged(&path, reason));
                }
            }
        }
        Ok(())
    }

    async fn check_checkpoints(&self) -> Result<()> {
        for object in self.list(0).await? {
            let Some(name) = self.log_file_name(&object) else { continue };
            if leading_version(name).is_none() || commit_version(name).is_some() || !name.ends_with(".parquet") {
                continue;
            }
            let found = self.store.get(&object.location).await.map_err(|error| storage_error(object.location.as_ref(), error))?;
            let bytes = found.bytes().await.map_err(|error| storage_error(object.location.as_ref(), error))?;
            if let Err(error) = ParquetMetaDataReader::new().parse_and_finish(&bytes) {
                return Err(self.damaged(&object.location, format!("it is not a Parquet file: {error}")));
            }
        }
        Ok(())
    }
}

/// What a log must contain before a table exists.
#[derive(Default)]
struct Essentials {
    protocol: Option<Protocol>,
    /// Physical names and types of the partition columns, once a `metaData` action has been seen.
    partition_types: Option<Vec<(String, DataType)>>,
}

fn partition_types(metadata: &Value) -> Vec<(String, DataType)> {
    let Ok(columns) = parse_schema(metadata.get("schemaString").and_then(Value::as_str).unwrap_or_default()) else { return Vec::new() };
    let names = metadata.get("partitionColumns").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let places = names.filter_map(|name| columns.schema.index_of(name).ok());
    places.map(|place| (columns.physical[place].clone(), columns.schema.field(place).data_type().clone())).collect()
}

fn bad_partition_value(add: &Value, column: &str, data_type: &DataType) -> Option<String> {
    let text = add.get("partitionValues")?.get(column)?.as_str();
    let reason = partition_value::parse(text, data_type).err()?;
    let file = add.get("path").and_then(Value::as_str).unwrap_or_default();
    Some(format!("the entry of file {file}: partition column {column}: {reason}"))
}

/// The store's error behind an error, if there is one.
pub(crate) fn store_error_within<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a object_store::Error> {
    let mut current = Some(error);
    while let Some(error) = current {
        if let Some(found) = error.downcast_ref::<object_store::Error>() {
            return Some(found);
        }
        current = error.source();
    }
    None
}
