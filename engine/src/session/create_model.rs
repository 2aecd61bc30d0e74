//! `CREATE MODEL`: the query's rows train a model, which becomes a version in the registry. Whatever goes wrong before that leaves a row in `system.ml.runs`
//! and nothing else.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Instant;

use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::listing::ListingTable;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::LogicalPlan;
use orrery_lakehouse::{TableName, snapshot_of};
use orrery_models::{InputColumn, ModelFile, ModelType, OptionValue, Trained};

use super::{Mode, Outcome, Session, Tracker, planning};
use crate::dialect::{CreateModel, ModelOptions, StatementText};
use crate::models::errors::at_option;
use crate::models::live;
use crate::models::registry::{IfExists, NewVersion, Registered, RunRow, RunStatus, already_exists};
use crate::models::training_spec::TrainingSpec;
use crate::models::{ModelRecord, ModelReference, Selector, SourceTable};
use crate::planner::preparation;
use crate::{Blame, Error, Result};

/// Options that concern the model as an object and not its training.
const OF_THE_OBJECT: [&str; 3] = ["model_type", "description", "labels"];
/// The option that lets training start from the newest version.
const WARM_START: &str = "warm_start";
/// Version of the program, as records have it.
const ENGINE_VERSION: &str = env!("CARGO_PKG_VERSION");

/// A `CREATE MODEL`, planned.
pub(super) struct PlannedModel {
    pub name: TableName,
    pub plan: LogicalPlan,
    pub spec: TrainingSpec,
    /// What `TRANSFORM` learned.
    preparation: Option<serde_json::Value>,
    sources: Vec<SourceTable>,
}

/// When the statement began.
#[derive(Clone, Copy)]
struct Begin {
    instant: Instant,
    micros: i64,
}

impl Session {
    pub(super) async fn create_model(&self, create: &CreateModel, text: &StatementText, mode: Mode, tracker: &Tracker) -> Result<Outcome> {
        let begin = Begin { instant: Instant::now(), micros: chrono::Utc::now().timestamp_micros() };
        let name = self.names.resolve(&create.name);
        // The registry knows models by their full names as texts, which have to tell apart what they name.
        if [&name.catalog, &name.schema, &name.table].iter().any(|part| part.contains('.')) {
            return Err(Error::sql("a model, and the schema and catalog that it lies in, cannot have a '.' in their names")
                .at(create.name.position));
        }
        let model_type = model_type_of(&create.options)?;
        if let Some(outcome) = self.model_exists(create, &name).await.map_err(|e| e.at(create.name.position))? {
            return Ok(outcome);
        }
        let statement = self.statement_text(text)?;
        let run_id = self.model_run_id();
        let token = tracker.cancellation();
        if mode == Mode::Check {
            let planned = Box::pin(self.plan_model(create, model_type, &run_id, mode, tracker)).await?;
            self.outline_model(create, planned, &statement, begin).await.map_err(|e| e.at(create.name.position))?;
            return Ok(Outcome::Done(format!("would train {name}")));
        }
        let trained = async {
            let _announced = live::announce(&run_id, &name.to_string());
            let planned = Box::pin(self.plan_model(create, model_type, &run_id, mode, tracker)).await?;
            let training = Box::pin(self.train(&planned.plan, &planned.spec, tracker));
            let (trained, ()) = futures::join!(training, Box::pin(self.names.registry().read_ahead()));
            let (trained, tasks) = trained.map_err(|e| of_option(e, &create.options))?;
            Ok((planned, trained, tasks))
        };
        let trained = tokio::select! {
            biased;
            () = token.cancelled() => Err(Error::interrupted()),
            trained = trained => trained,
        };
        match trained {
            Ok((planned, trained, tasks)) => {
                let registered = Box::pin(self.register_model(create, planned, trained, tasks, &statement, begin)).await;
                match registered {
                    Ok(outcome) => Ok(outcome),
                    Err(error) => {
                        self.note_failure(&name, model_type, &run_id, &statement, begin, &error).await;
                        Err(error.at(create.name.position))
                    }
                }
            }
            Err(error) => {
                self.note_failure(&name, model_type, &run_id, &statement, begin, &error).await;
                Err(error)
            }
        }
    }

    /// Looks whether the name is free; an outcome when there is nothing to do.
    async fn model_exists(&self, create: &CreateModel, name: &TableName) -> Result<Option<Outcome>> {
        self.require_schema(name).await?;
        if self.names.planned(name).is_some() || self.warehouse.relation(name).await?.is_some() {
            return Err(Error::sql(format!("{name} is a table or view; a model cannot have the same name")).hint("choose another name"));
        }
        if !self.names.model_exists(name).await? {
            return Ok(None);
        }
        // A statement that was carried out under this name before is not carried out twice.
        if let Some(key) = self.statement_key()
            && let Some(version) = self.names.registry().version_of_run(name, &key).await?
        {
            return Ok(Some(Outcome::Done(format!("{name} version {version} was trained before"))));
        }
        if create.if_not_exists {
            return Ok(Some(Outcome::Done(format!("{name} exists already"))));
        }
        if !create.or_replace {
            let newest = self.names.model(name, &Selector::Latest).await?;
            return Err(already_exists(name, newest.reference.version));
        }
        Ok(None)
    }

    /// Plans the rows, learns how they are prepared, and checks options and columns, without training. A dry run learns nothing, so that it reads no rows.
    pub(super) async fn plan_model(
        &self,
        create: &CreateModel,
        model_type: &'static dyn ModelType,
        run_id: &str,
        mode: Mode,
        tracker: &Tracker,
    ) -> Result<PlannedModel> {
        let name = self.names.resolve(&create.name);
        let positions = create.options.positions();
        description_of(&create.options)?;
        labels_of(&create.options)?;
        let options = create.options.values(&OF_THE_OBJECT);
        options.check(model_type.options()).map_err(|e| at_option(e, &positions))?;
        if create.transform.is_none() && model_type.needs_transform() {
            return Err(Error::sql(format!("a {} model is created without TRANSFORM", model_type.name()))
                .at(create.name.position)
                .hint(format!("CREATE MODEL m TRANSFORM (…) OPTIONS (model_type = '{}') AS SELECT …", model_type.name())));
        }
        let mut plan = planning::plan_query(&self.context.state(), &self.names, create.query.clone()).await?;
        input_columns(&plan)?;
        if mode == Mode::Check {
            self.physical(&plan).await?;
        }
        let sources = self.source_tables(&plan)?;
        let mut preparation = None;
        if let Some(transform) = &create.transform {
            let learned = match mode {
                Mode::Check => self.outline_preparation(&transform.items, &transform.text, plan),
                Mode::Run => self.learn_preparation(&transform.items, &transform.text, plan, tracker).await,
            };
            let (values, prepared) = learned.map_err(|e| e.at(transform.position))?;
            (preparation, plan) = (Some(values), prepared);
        }
        let warm_start = self.warm_start(create, &name).await?;
        let spec = TrainingSpec {
            model_type: model_type.name().to_string(),
            options,
            columns: input_columns(&plan)?,
            warm_start: warm_start.as_ref().map(|(reference, _)| reference.clone()),
            run_id: run_id.to_string(),
        };
        // Finds what is wrong with options and columns before anything runs.
        let before = warm_start.map(|(_, model)| model);
        model_type.trainer(&spec.options, &spec.columns, before.as_deref()).map_err(|e| at_option(e, &positions))?;
        Ok(PlannedModel { name, plan, spec, preparation, sources })
    }

    /// The newest version, where training is to start from it.
    async fn warm_start(
        &self,
        create: &CreateModel,
        name: &TableName,
    ) -> Result<Option<(ModelReference, std::sync::Arc<dyn orrery_models::Model>)>> {
        let wanted = create.options.get(WARM_START).filter(|option| option.value == OptionValue::Bool(true));
        let Some(option) = wanted else { return Ok(None) };
        if !self.names.model_exists(name).await? {
            return Err(Error::sql(format!("option 'warm_start': there is no version of {name} yet to start from"))
                .at(option.position)
                .hint("leave it out for the first version"));
        }
        let record = self.names.model(name, &Selector::Latest).await?;
        let model = self.names.registry().load(&record.reference).await?;
        Ok(Some((record.reference.clone(), model)))
    }

    /// The statement's own name where it has one, so that a run that is resumed finds what it has done.
    fn model_run_id(&self) -> String {
        self.statement_key().unwrap_or_else(|| uuid::Uuid::new_v4().to_string())
    }

    /// The statement with its variables replaced.
    fn statement_text(&self, text: &StatementText) -> Result<String> {
        Ok(crate::dialect::render(&self.variables().substitute(text)?))
    }

    /// Tables and files that a plan reads.
    fn source_tables(&self, plan: &LogicalPlan) -> Result<Vec<SourceTable>> {
        let mut sources: Vec<SourceTable> = Vec::new();
        plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node
                && let Ok(provider) = source_as_provider(&scan.source)
            {
                sources.extend(self.sources_of(provider.as_ref()));
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        sources.sort_by(|a, b| (&a.name, a.version).cmp(&(&b.name, b.version)));
        sources.dedup();
        Ok(sources)
    }

    fn sources_of(&self, provider: &dyn TableProvider) -> Vec<SourceTable> {
        if let Some(table) = snapshot_of(provider) {
            // What lies elsewhere is scratch: rows of a cache.
            let is_ours = table.location().as_str().starts_with(self.warehouse.root().as_str());
            return is_ours.then(|| SourceTable { name: table.name().to_string(), version: Some(table.version()) }).into_iter().collect();
        }
        let paths = provider.downcast_ref::<ListingTable>().map(ListingTable::table_paths);
        paths.into_iter().flatten().map(|url| SourceTable { name: url.as_str().to_string(), version: None }).collect()
    }

    /// Remembers what would be trained, so that later statements of a dry run plan.
    async fn outline_model(&self, create: &CreateModel, planned: PlannedModel, statement: &str, begin: Begin) -> Result<()> {
        let positions = create.options.positions();
        let before = match &planned.spec.warm_start {
            Some(reference) => Some(self.names.registry().load(reference).await?),
            None => None,
        };
        let model_type = orrery_models::model_type(&planned.spec.model_type)?;
        let trainer = model_type.trainer(&planned.spec.options, &planned.spec.columns, before.as_deref())?;
        let outline = trainer.outline().map_err(|e| at_option(e, &positions))?;
        let model = model_type.read(&outline.file)?;
        let name = planned.name.clone();
        let (record, _) = record_of(create, planned, outline, 0, statement, begin)?;
        self.names.plan_model(&name, record, model).await
    }

    async fn register_model(
        &self,
        create: &CreateModel,
        planned: PlannedModel,
        trained: Trained,
        tasks: u32,
        statement: &str,
        begin: Begin,
    ) -> Result<Outcome> {
        let name = planned.name.clone();
        let iterations = trained.iterations.len();
        let (record, file) = record_of(create, planned, trained, tasks, statement, begin)?;
        let file = file.to_bytes()?;
        let if_exists = match (create.or_replace, create.if_not_exists) {
            (true, _) => IfExists::AddVersion,
            (_, true) => IfExists::Keep,
            _ => IfExists::Refuse,
        };
        let (description, labels) = (description_of(&create.options)?, labels_of(&create.options)?);
        let new = NewVersion { name: name.clone(), if_exists, file: file.into(), record, description, labels };
        let run = |record: &ModelRecord| RunRow {
            run_id: record.run_id.clone(),
            model: name.to_string(),
            model_type: record.model_type.clone(),
            statement: statement.to_string(),
            status: RunStatus::Succeeded,
            error: None,
            version: Some(record.reference.version),
            rows: Some(record.rows),
            iterations: Some(iterations as u64),
            tasks: Some(tasks),
            duration_ms: milliseconds(begin),
            started_at: begin.micros,
            finished_at: chrono::Utc::now().timestamp_micros(),
            engine_version: ENGINE_VERSION,
        };
        match self.names.registry().register(new, run).await? {
            Registered::Existed => Ok(Outcome::Done(format!("{name} exists already"))),
            Registered::Version(record) => Ok(Outcome::Done(summary(&record, milliseconds(begin)))),
        }
    }

    /// Notes an attempt that came to nothing. That this fails too must not hide why.
    async fn note_failure(&self, name: &TableName, model_type: &dyn ModelType, run_id: &str, statement: &str, begin: Begin, error: &Error) {
        let status = if error.blame == Blame::Interrupted { RunStatus::Cancelled } else { RunStatus::Failed };
        let run = RunRow {
            run_id: run_id.to_string(),
            model: name.to_string(),
            model_type: model_type.name().to_string(),
            statement: statement.to_string(),
            status,
            error: Some(error.message.clone()),
            version: None,
            rows: None,
            iterations: None,
            tasks: None,
            duration_ms: milliseconds(begin),
            started_at: begin.micros,
            finished_at: chrono::Utc::now().timestamp_micros(),
            engine_version: ENGINE_VERSION,
        };
        if let Err(lost) = self.names.registry().note_run(run).await {
            tracing::warn!(model = %name, error = %lost.message, "a failed training could not be noted in system.ml.runs");
        }
    }

    /// Models and relations of a schema share their names.
    pub(super) async fn refuse_model_name(&self, name: &TableName) -> Result<()> {
        if !self.names.model_exists(name).await? {
            return Ok(());
        }
        Err(Error::sql(format!("{name} is a model; a table or view cannot have the same name")).hint("choose another name, or DROP MODEL"))
    }
}

/// All that is known of a trained model, and its file.
fn record_of(
    create: &CreateModel,
    planned: PlannedModel,
    trained: Trained,
    tasks: u32,
    statement: &str,
    begin: Begin,
) -> Result<(ModelRecord, ModelFile)> {
    let PlannedModel { name, spec, preparation, sources, .. } = planned;
    let inputs = match &preparation {
        Some(preparation) => preparation::inputs(preparation)?,
        // Columns of which training alone makes use, such as weights, are not needed again.
        None => orrery_models::model_type(&spec.model_type)?.inputs(&trained.file)?,
    };
    let record = ModelRecord {
        reference: ModelReference { name: name.to_string(), version: 0, url: String::new(), checksum: String::new() },
        run_id: spec.run_id,
        model_type: spec.model_type,
        statement: statement.to_string(),
        query: create.query_text.clone(),
        seed: spec.options.int("seed"),
        options: spec.options,
        inputs,
        preparation,
        sources,
        metrics: trained.metrics,
        iterations: trained.iterations,
        trials: trained.trials,
        rows: trained.rows,
        bytes: 0,
        duration_ms: milliseconds(begin),
        tasks,
        created_at_micros: 0,
        engine_version: ENGINE_VERSION.to_string(),
    };
    Ok((record, trained.file))
}

/// `dev.default.m version 3: kmeans of 5891 rows, 12 iterations, loss 4655, 31 ms`.
fn summary(record: &ModelRecord, duration_ms: f64) -> String {
    let plural = |count: u64, what: &str| if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") };
    let mut parts = vec![format!("{} of {}", record.model_type, plural(record.rows, "row"))];
    if !record.iterations.is_empty() {
        parts.push(plural(record.iterations.len() as u64, "iteration"));
    }
    if let Some(loss) = record.iterations.last().and_then(|iteration| iteration.loss) {
        parts.push(format!("loss {}", rounded(loss)));
    }
    parts.push(format!("{} ms", duration_ms.round()));
    format!("{}: {}", record.reference, parts.join(", "))
}

/// Six significant digits, without zeros at the end.
pub(super) fn rounded(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let digits = 5 - value.abs().log10().floor() as i32;
    match usize::try_from(digits) {
        Ok(places) if places <= 12 => {
            let text = format!("{value:.places$}");
            if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_string() } else { text }
        }
        Ok(_) => format!("{value:e}"),
        Err(_) => format!("{value:.0}"),
    }
}

fn milliseconds(begin: Begin) -> f64 {
    // Whole microseconds: more digits would only be noise.
    begin.instant.elapsed().as_micros() as f64 / 1000.0
}

/// The model type of the option `model_type`.
pub(super) fn model_type_of(options: &ModelOptions) -> Result<&'static dyn ModelType> {
    let known = || orrery_models::model_types().iter().map(|t| format!("'{}'", t.name())).collect::<Vec<_>>().join(", ");
    let Some(option) = options.get("model_type") else {
        return Err(Error::sql("OPTIONS has no 'model_type'").hint(format!("OPTIONS (model_type = …), one of {}", known())));
    };
    let OptionValue::Text(name) = &option.value else {
        let problem = format!("option 'model_type': {} does not fit", option.value);
        return Err(Error::sql(problem).at(option.position).hint(format!("it takes one of {}", known())));
    };
    orrery_models::model_type(name).map_err(|e| Error::from(e).at(option.position))
}

/// The description that `OPTIONS` gives a model.
pub(super) fn description_of(options: &ModelOptions) -> Result<Option<String>> {
    match options.get("description") {
        None => Ok(None),
        Some(option) => match &option.value {
            OptionValue::Text(text) => Ok(Some(text.clone())),
            other => Err(Error::sql(format!("option 'description': {other} does not fit")).at(option.position).hint("it takes a text")),
        },
    }
}

/// The labels that `OPTIONS` gives a model: `[('team', 'growth'), ('stage', 'trial')]`.
pub(super) fn labels_of(options: &ModelOptions) -> Result<Option<BTreeMap<String, String>>> {
    let Some(option) = options.get("labels") else { return Ok(None) };
    let pair = |value: &OptionValue| match value {
        OptionValue::List(pair) => match pair.as_slice() {
            [OptionValue::Text(key), OptionValue::Text(value)] => Some((key.clone(), value.clone())),
            _ => None,
        },
        _ => None,
    };
    let labels = match &option.value {
        OptionValue::List(pairs) => pairs.iter().map(pair).collect::<Option<BTreeMap<_, _>>>(),
        _ => None,
    };
    let refuse = || {
        Error::sql(format!("option 'labels': {} does not fit", option.value))
            .at(option.position)
            .hint("it takes a list of pairs, [('team', 'growth')]")
    };
    labels.map(Some).ok_or_else(refuse)
}

/// An error that names an option gets the option's place.
fn of_option(error: Error, options: &ModelOptions) -> Error {
    let named = error.message.strip_prefix("option '").and_then(|rest| rest.split('\'').next());
    let position = named.and_then(|name| options.get(name)).and_then(|option| option.position);
    error.at(position)
}

fn input_columns(plan: &LogicalPlan) -> Result<Vec<InputColumn>> {
    let mut columns: Vec<InputColumn> = Vec::new();
    for field in plan.schema().fields() {
        if columns.iter().any(|column| column.name == *field.name()) {
            return Err(Error::sql(format!("the training query has two columns '{}'", field.name())).hint("give one of them another name"));
        }
        columns.push(InputColumn { name: field.name().clone(), data_type: field.data_type().clone() });
    }
    Ok(columns)
}
