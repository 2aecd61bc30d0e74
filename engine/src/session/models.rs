//! Statements about models that exist: `ALTER`, `DROP`, `EXPORT`, `SHOW` and `DESCRIBE`.

use chrono::{DateTime, SecondsFormat};
use orrery_lakehouse::TableName;
use orrery_models::OptionValue;

use super::create_model::{description_of, labels_of, rounded};
use super::rows::{Cells, table};
use super::show::matches;
use super::{Mode, Outcome, Session, sql_type_name};
use crate::access::Securable;
use crate::dialect::{AlterModel, DropModel, ExportModel, ModelChange, ModelName, ModelOptions, Name};
use crate::models::registry::ModelListing;
use crate::models::{ModelRecord, Selector};
use crate::{Blame, Error, Position, Result};

/// Options of a model that may change.
const CHANGEABLE: [&str; 2] = ["description", "labels"];
/// The statement that changes them.
const SET_OPTIONS: &str = "ALTER MODEL … SET OPTIONS";

impl Session {
    pub(super) async fn alter_model(&self, alter: &AlterModel, mode: Mode) -> Result<Outcome> {
        let name = self.names.resolve(&alter.name);
        let registry = self.names.registry();
        if alter.if_exists && !self.names.model_exists(&name).await? {
            return Ok(Outcome::Done(format!("model {name} does not exist")));
        }
        let place = |position: &Option<Position>| position.or(alter.name.position);
        if mode == Mode::Check {
            match &alter.change {
                ModelChange::SetAlias { alias, version, position } => {
                    self.names.plan_alias(&name, alias, *version).await.map_err(|e| e.at(place(position)))?;
                }
                ModelChange::DropAlias { alias, position } => {
                    self.names.plan_drop_alias(&name, alias).await.map_err(|e| e.at(place(position)))?;
                }
                ModelChange::SetOptions(options) => {
                    check_options(options, &CHANGEABLE, SET_OPTIONS)?;
                    description_of(options)?;
                    labels_of(options)?;
                    self.names.model(&name, &Selector::Latest).await.map_err(|e| e.at(alter.name.position))?;
                }
            }
            return Ok(Outcome::Done(format!("would change model {name}")));
        }
        let done = match &alter.change {
            ModelChange::SetAlias { alias, version, position } => {
                let before = registry.set_alias(&name, alias, *version).await.map_err(|e| e.at(place(position)))?;
                let moved = before.filter(|before| before != version).map(|before| format!(", before {before}")).unwrap_or_default();
                format!("{name}@{alias} is version {version}{moved}")
            }
            ModelChange::DropAlias { alias, position } => {
                registry.drop_alias(&name, alias).await.map_err(|e| e.at(place(position)))?;
                format!("{name} has no alias '{alias}' any more")
            }
            ModelChange::SetOptions(options) => {
                check_options(options, &CHANGEABLE, SET_OPTIONS)?;
                let (description, labels) = (description_of(options)?, labels_of(options)?);
                let changed = registry.describe(&name, description.as_deref(), labels.as_ref()).await;
                changed.map_err(|e| e.at(alter.name.position))?;
                format!("model {name} is changed")
            }
        };
        Ok(Outcome::Done(done))
    }

    pub(super) async fn drop_model(&self, drop: &DropModel, mode: Mode) -> Result<Outcome> {
        let name = self.names.resolve(&drop.name);
        let registry = self.names.registry();
        let at = |e: Error| e.at(drop.name.position);
        if drop.if_exists {
            let versions = self.names.model_versions(&name).await.map_err(at)?;
            let found = versions.iter().any(|record| drop.version.is_none_or(|version| record.reference.version == version));
            if !found {
                let what = drop.version.map(|version| format!(" version {version}")).unwrap_or_default();
                return Ok(Outcome::Done(format!("model {name}{what} does not exist")));
            }
        }
        if mode == Mode::Check {
            self.names.plan_drop_model(&name, drop.version).await.map_err(at)?;
            return Ok(Outcome::Done(format!("would drop model {name}")));
        }
        match drop.version {
            Some(version) => {
                registry.drop_version(&name, version).await.map_err(at)?;
                Ok(Outcome::Done(format!("version {version} of {name} is dropped")))
            }
            None => {
                registry.drop_model(&name).await.map_err(at)?;
                Ok(Outcome::Done(format!("model {name} is dropped")))
            }
        }
    }

    /// The version that a statement names.
    pub(super) async fn resolve_model(&self, model: &ModelName) -> Result<std::sync::Arc<ModelRecord>> {
        let name = self.names.resolve(&model.name);
        self.names.model(&name, &model.selector).await.map_err(|e| e.at(model.name.position))
    }

    pub(super) async fn export_model(&self, export: &ExportModel, mode: Mode) -> Result<Outcome> {
        const FORM: &str = "EXPORT MODEL m OPTIONS (uri = 'path or URL', format = 'safetensors' or 'onnx')";
        check_options(&export.options, &["uri", "format"], "EXPORT MODEL")?;
        let text = |name: &str| match export.options.get(name) {
            None => Ok(None),
            Some(option) => match &option.value {
                OptionValue::Text(text) => Ok(Some(text.clone())),
                other => Err(Error::sql(format!("option '{name}': {other} does not fit")).at(option.position).hint("it takes a text")),
            },
        };
        let Some(uri) = text("uri")? else {
            return Err(Error::sql("EXPORT MODEL is not told where to").at(export.model.name.position).hint(FORM));
        };
        let place = |name: &str| export.options.get(name).and_then(|option| option.position);
        let format = text("format")?.unwrap_or_else(|| if uri.ends_with(".onnx") { "onnx".into() } else { "safetensors".into() });
        let record = self.resolve_model(&export.model).await?;
        let bytes = match format.to_ascii_lowercase().as_str() {
            // What a dry run would have trained has no file.
            "safetensors" if mode == Mode::Check => bytes::Bytes::new(),
            "safetensors" => self.names.registry().file_of(&record.reference).await?,
            "onnx" => {
                let model = self.names.registry().load(&record.reference).await?;
                let none = || {
                    Error::sql(format!("a model of type {} has no ONNX form", record.model_type))
                        .at(place("format"))
                        .hint("format = 'safetensors' exports any model")
                };
                model.to_onnx()?.ok_or_else(none)?.into()
            }
            other => {
                return Err(Error::sql(format!("option 'format': '{other}' does not fit"))
                    .at(place("format"))
                    .hint("it takes 'safetensors' or 'onnx'"));
            }
        };
        if mode == Mode::Check {
            return Ok(Outcome::Done(format!("would export {}", record.reference)));
        }
        let size = bytes.len();
        super::export::put(&self.context, &uri, bytes).await.map_err(|e| e.at(place("uri")))?;
        Ok(Outcome::Done(format!("{} exported to {uri}, {size} bytes", record.reference)))
    }

    pub(super) async fn show_models(&self, schema: Option<&Name>, like: Option<&str>) -> Result<Outcome> {
        let (catalog, schema) = schema.map_or_else(|| self.current(), |name| self.schema_of(name));
        if !self.names.schema_exists(&catalog, &schema).await? {
            let error = Error::sql(format!("the schema '{catalog}.{schema}' does not exist"));
            return Err(error.hint(format!("schemas of {catalog} are: {}", self.names.visible_schemas(&catalog).await?.join(", "))));
        }
        let mut models = self.names.list_models(&catalog, &schema).await?;
        let is_seen = |model: &str| {
            let name = TableName::new(&catalog, &schema, model);
            self.names.is_planned_model(&name) || self.names.guard().sees(&Securable::model(&name))
        };
        models.retain(|model| matches(like, &model.name) && is_seen(&model.name));
        let aliases = |model: &ModelListing| {
            model.aliases.iter().map(|row| format!("{} = {}", row.alias, row.version)).collect::<Vec<_>>().join(", ")
        };
        let changed = |model: &ModelListing| shown_time(model.row.as_ref().map_or(model.newest.created_at_micros, |row| row.changed_at));
        Self::batch(table(vec![
            ("schema", Cells::text(models.iter().map(|_| schema.clone()))),
            ("name", Cells::text(models.iter().map(|model| model.name.clone()))),
            ("model_type", Cells::text(models.iter().map(|model| model.newest.model_type.clone()))),
            ("newest_version", Cells::Whole(models.iter().map(|model| Some(whole(model.newest.reference.version))).collect())),
            ("versions", Cells::Whole(models.iter().map(|model| Some(whole(model.versions.len() as u64))).collect())),
            ("aliases", Cells::text(models.iter().map(aliases))),
            ("description", Cells::Text(models.iter().map(|model| model.row.as_ref()?.description.clone()).collect())),
            ("changed_at", Cells::text(models.iter().map(changed))),
        ])?)
    }

    pub(super) async fn show_model_versions(&self, name: &Name) -> Result<Outcome> {
        let full = self.names.resolve(name);
        self.names.model(&full, &Selector::Latest).await.map_err(|e| e.at(name.position))?;
        let records = self.names.model_versions(&full).await?;
        let aliases = self.names.model_aliases(&full).await?;
        let aliases_of = |record: &ModelRecord| {
            let ours = aliases.iter().filter(|row| row.version == record.reference.version).map(|row| row.alias.as_str());
            ours.collect::<Vec<_>>().join(", ")
        };
        Self::batch(table(vec![
            ("version", Cells::Whole(records.iter().map(|r| Some(whole(r.reference.version))).collect())),
            ("model_type", Cells::text(records.iter().map(|r| r.model_type.clone()))),
            ("aliases", Cells::text(records.iter().map(aliases_of))),
            ("rows", Cells::Whole(records.iter().map(|r| Some(whole(r.rows))).collect())),
            ("iterations", Cells::Whole(records.iter().map(|r| Some(whole(r.iterations.len() as u64))).collect())),
            ("metrics", Cells::text(records.iter().map(metrics))),
            ("bytes", Cells::Whole(records.iter().map(|r| Some(whole(r.bytes))).collect())),
            ("checksum", Cells::text(records.iter().map(|r| r.reference.checksum.clone()))),
            ("created_at", Cells::text(records.iter().map(|r| shown_time(r.created_at_micros)))),
        ])?)
    }

    pub(super) async fn describe_model(&self, model: &ModelName) -> Result<Outcome> {
        let record = self.resolve_model(model).await?;
        let name = self.names.resolve(&model.name);
        let known = self.names.registry().model_rows().await?.into_iter().find(|row| row.model == record.reference.name);
        let aliases = self.names.model_aliases(&name).await?;
        let versions = self.names.model_versions(&name).await?;
        let mut rows: Vec<(String, String)> = Vec::new();
        let mut put = |property: &str, value: String| rows.push((property.to_string(), value));
        put("name", record.reference.name.clone());
        put("type", record.model_type.clone());
        put("version", record.reference.version.to_string());
        put("versions", versions.iter().map(|r| r.reference.version.to_string()).collect::<Vec<_>>().join(", "));
        put("aliases", aliases.iter().map(|row| format!("{} = {}", row.alias, row.version)).collect::<Vec<_>>().join(", "));
        if let Some(known) = &known {
            known.description.iter().for_each(|description| put("description", description.clone()));
            known.labels.iter().for_each(|(key, value)| put(&format!("label {key}"), value.clone()));
        }
        record.options.0.iter().for_each(|(option, value)| put(&format!("option {option}"), value.to_string()));
        record.inputs.iter().for_each(|input| put(&format!("input {}", input.name), sql_type_name(&input.data_type)));
        put("rows", record.rows.to_string());
        put("iterations", record.iterations.len().to_string());
        if let Some(loss) = record.iterations.last().and_then(|iteration| iteration.loss) {
            put("loss", rounded(loss));
        }
        record.metrics.iter().for_each(|(metric, value)| put(&format!("metric {metric}"), rounded(*value)));
        if !record.trials.is_empty() {
            put("trials", record.trials.len().to_string());
        }
        if self.shows_definition(&Securable::model(&name)) {
            for source in &record.sources {
                put("source", source.version.map_or_else(|| source.name.clone(), |version| format!("{} version {version}", source.name)));
            }
            put("training query", record.query.clone());
        }
        put("tasks", record.tasks.to_string());
        put("duration in ms", record.duration_ms.to_string());
        put("created at", shown_time(record.created_at_micros));
        put("run", record.run_id.clone());
        put("file", record.reference.url.clone());
        put("size in bytes", record.bytes.to_string());
        put("checksum", record.reference.checksum.clone());
        put("engine version", record.engine_version.clone());
        let (properties, values): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        Self::batch(table(vec![("property", Cells::text(properties)), ("value", Cells::text(values))])?)
    }

    /// Attempts to train a model, newest first.
    pub(super) async fn describe_model_history(&self, name: &Name, limit: Option<usize>) -> Result<Outcome> {
        let full = self.names.resolve(name);
        self.names.model(&full, &Selector::Latest).await.map_err(|e| e.at(name.position))?;
        let limit = limit.map(|limit| format!(" LIMIT {limit}")).unwrap_or_default();
        let sql = format!(
            "SELECT run_id, status, version, \"rows\", iterations, duration_ms, error, started_at, finished_at FROM system.ml.runs \
             WHERE model = '{}' ORDER BY started_at DESC{limit}",
            full.to_string().replace('\'', "''")
        );
        let statement = crate::dialect::split(&sql)?.into_iter().next().map(|text| crate::dialect::parse(&text.tokens)).transpose()?;
        let Some(crate::dialect::Statement::Query(query)) = statement else {
            return Err(Error::new(Blame::Bug, "the history of a model is no query"));
        };
        let plan = super::planning::plan_query(&self.context.state(), &self.names, query).await?;
        let batches = super::planning::collect(&self.context.state(), &plan).await?;
        let schema = std::sync::Arc::new(plan.schema().as_arrow().clone());
        Self::batch(arrow::compute::concat_batches(&batches.first().map_or(schema, |batch| batch.schema()), &batches)?)
    }
}

fn check_options(options: &ModelOptions, known: &[&str], statement: &str) -> Result<()> {
    match options.0.iter().find(|option| !known.contains(&option.name.as_str())) {
        None => Ok(()),
        Some(option) => Err(Error::sql(format!("{statement} has no option '{}'", option.name))
            .at(option.position)
            .hint(format!("options are: {}", known.join(", ")))),
    }
}

fn whole(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// `davies_bouldin_index 0.81, mean_squared_distance 1.2`.
fn metrics(record: &ModelRecord) -> String {
    record.metrics.iter().map(|(name, value)| format!("{name} {}", rounded(*value))).collect::<Vec<_>>().join(", ")
}

fn shown_time(micros: i64) -> String {
    DateTime::from_timestamp_micros(micros).map_or_else(String::new, |time| time.to_rfc3339_opts(SecondsFormat::Millis, true))
}
