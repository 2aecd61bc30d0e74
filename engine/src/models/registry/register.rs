//! A trained model becomes a version.

use std::collections::HashSet;

use bytes::Bytes;
use chrono::{Duration, Utc};
use orrery_lakehouse::TableName;
use orrery_models::model_file::checksum;

use super::tables::{ModelRow, model_rows, version_entries, version_row};
use super::{ModelRecord, Registry, RunRow};
use crate::stored_table::columns::to_batch;
use crate::stored_table::{ATTEMPTS, Change, pause};
use crate::{Error, Result};

/// Hours after which a file without a version is nobody's.
const ABANDONED_AFTER_HOURS: i64 = 24;

/// What happens when there is a model of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfExists {
    /// `CREATE MODEL`: an error.
    Refuse,
    /// `CREATE MODEL IF NOT EXISTS`: it stays as it is.
    Keep,
    /// `CREATE OR REPLACE MODEL`: it gets another version.
    AddVersion,
}

/// A trained model on its way into the registry.
#[derive(Debug, Clone)]
pub struct NewVersion {
    /// Its name.
    pub name: TableName,
    /// What happens when it exists.
    pub if_exists: IfExists,
    /// The model file.
    pub file: Bytes,
    /// All that is known of it; the reference and the size are filled in.
    pub record: ModelRecord,
    /// A description for the model as a whole; `None` keeps what it has.
    pub description: Option<String>,
    /// Labels for the model as a whole; `None` keeps what it has.
    pub labels: Option<std::collections::BTreeMap<String, String>>,
}

/// What registering led to.
#[derive(Debug, Clone, PartialEq)]
pub enum Registered {
    /// A new version.
    Version(Box<ModelRecord>),
    /// The model existed and was to stay as it is.
    Existed,
}

impl Registry {
    /// Stores the file and registers the version, and notes the run that led to it. Either there is a version afterwards, or nothing.
    ///
    /// # Errors
    /// The model exists and must not, or the warehouse cannot be written.
    pub async fn register(&self, new: NewVersion, run: impl FnOnce(&ModelRecord) -> RunRow) -> Result<Registered> {
        let NewVersion { name, if_exists, file, mut record, description, labels } = new;
        record.keep_finite();
        record.reference.name = name.to_string();
        record.reference.checksum = checksum(&file);
        record.bytes = file.len() as u64;
        let unique = format!("{}.safetensors", uuid::Uuid::new_v4());
        record.reference.url = self.warehouse.put_model_file(&name, &unique, file).await?;
        let committed = Box::pin(self.commit_version(&name, if_exists, &mut record)).await;
        if !matches!(committed, Ok(true)) {
            self.remove_file(&record.reference.url).await;
        }
        if !committed? {
            return Ok(Registered::Existed);
        }
        let noted = async {
            if let Err(error) = self.note_model(&record, description, labels).await {
                tracing::warn!(model = %name, error = %error.message, "system.ml.models could not be brought up to date");
            }
        };
        let run = run(&record);
        let noted_run = async {
            if let Err(error) = self.note_run(run).await {
                tracing::warn!(model = %name, error = %error.message, "a training could not be noted in system.ml.runs");
            }
        };
        futures::join!(Box::pin(noted), Box::pin(noted_run), Box::pin(self.remove_abandoned(&name)));
        Ok(Registered::Version(Box::new(record)))
    }

    /// Commits the row of the next version; `false` when the model exists and is to stay as it is.
    async fn commit_version(&self, name: &TableName, if_exists: IfExists, record: &mut ModelRecord) -> Result<bool> {
        let (place, full) = (self.place(), name.to_string());
        let _turn = self.versions.turn().await;
        for attempt in 1..=ATTEMPTS {
            let rows = self.versions.read(place).await?;
            let newest = version_entries(&rows.batch).iter().filter(|entry| entry.model == full).map(|entry| entry.version).max();
            match (newest, if_exists) {
                (Some(_), IfExists::Keep) => return Ok(false),
                (Some(newest), IfExists::Refuse) => return Err(already_exists(name, newest)),
                _ => {}
            }
            // Read after the versions: whoever drops the newest version notes its number before.
            let given = self.model_rows().await?.iter().find(|row| row.model == full).map_or(0, |row| row.last_version);
            record.reference.version = newest.unwrap_or(0).max(given) + 1;
            record.created_at_micros = Self::now();
            let row = to_batch(self.versions.schema(), &[version_row(record)?])?;
            if self.versions.commit(place, &rows, Change::Append(row)).await? {
                return Ok(true);
            }
            pause(attempt).await;
        }
        Err(self.versions.too_busy())
    }

    /// Brings the row of `system.ml.models` up to date.
    async fn note_model(
        &self,
        record: &ModelRecord,
        description: Option<String>,
        labels: Option<std::collections::BTreeMap<String, String>>,
    ) -> Result<()> {
        self.change_model(&record.reference.name, |row| {
            let version = record.reference.version;
            if version >= row.newest_version {
                row.model_type.clone_from(&record.model_type);
                row.newest_version = version;
            }
            row.last_version = row.last_version.max(version);
            row.description = description.clone().or_else(|| row.description.take());
            if let Some(labels) = &labels {
                row.labels.clone_from(labels);
            }
        })
        .await
    }

    /// Changes the row of a model in `system.ml.models`, which is made if there is none.
    pub(super) async fn change_model(&self, model: &str, change: impl Fn(&mut ModelRow)) -> Result<()> {
        let changed = self.models.change(self.place(), |base| {
            let mut rows = model_rows(&base.batch);
            let now = Self::now();
            let at = match rows.iter().position(|row| row.model == model) {
                Some(at) => at,
                None => {
                    rows.push(ModelRow { model: model.to_string(), created_at: now, ..ModelRow::default() });
                    rows.len() - 1
                }
            };
            if let Some(row) = rows.get_mut(at) {
                change(row);
                row.changed_at = now;
            }
            Ok(Some(Change::Replace(to_batch(self.models.schema(), &rows)?)))
        });
        changed.await
    }

    /// Removes files that no version has and that are too old to be on their way to one.
    async fn remove_abandoned(&self, name: &TableName) {
        let Ok(files) = self.warehouse.model_files(name).await else { return };
        let before = Utc::now() - Duration::hours(ABANDONED_AFTER_HOURS);
        if !files.iter().any(|file| file.modified < before) {
            return;
        }
        let Ok(rows) = self.versions.read(self.place()).await else { return };
        let known: HashSet<String> = version_entries(&rows.batch).into_iter().map(|entry| entry.url).collect();
        for file in files.iter().filter(|file| file.modified < before && !known.contains(&file.url)) {
            self.remove_file(&file.url).await;
        }
    }

    pub(super) async fn remove_file(&self, url: &str) {
        if let Err(error) = self.warehouse.delete_model_file(url).await {
            tracing::warn!(url, %error, "a model's file that nobody needs could not be removed");
        }
    }

    /// The version that a run has led to, if it has.
    ///
    /// # Errors
    /// The registry cannot be read.
    pub async fn version_of_run(&self, name: &TableName, run_id: &str) -> Result<Option<u64>> {
        let (rows, full) = (self.versions.read(self.place()).await?, name.to_string());
        let entries = version_entries(&rows.batch);
        Ok(entries.iter().find(|entry| entry.model == full && entry.run_id.as_deref() == Some(run_id)).map(|entry| entry.version))
    }
}

/// The error of `CREATE MODEL` when there is one.
pub(crate) fn already_exists(name: &TableName, newest: u64) -> Error {
    Error::sql(format!("the model {name} exists already, at version {newest}"))
        .hint("CREATE OR REPLACE MODEL adds a version to it; CREATE MODEL IF NOT EXISTS leaves it as it is")
}
