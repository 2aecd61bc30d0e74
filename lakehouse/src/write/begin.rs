//! The beginning of a write: the request is checked against the table, before anything is run or written.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::compute::can_cast_types;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::commit::{run_outcome, transaction_id};
use super::live::LiveTasks;
use super::pending::Change;
use super::{PendingWrite, WriteMode, WriteOutcome, WriteRequest, properties};
use crate::error::{Error, Result};
use crate::log::unwritable;
use crate::partition_value::can_partition;
use crate::schema::{delta_schema, new_table_schema, same_storage};
use crate::table::Table;
use crate::warehouse::Warehouse;

/// The schemas and the mapping that a write works with.
struct Columns {
    /// What the query has to produce, in its order.
    target: SchemaRef,
    /// The table's columns, stored types.
    table: SchemaRef,
    sources: Vec<usize>,
    partition_by: Vec<String>,
}

impl Warehouse {
    /// Starts a write: checks the request against the table and fixes what the query has to produce. Nothing is written yet, except that an interrupted drop
    /// of a table of that name is completed first.
    pub async fn begin_write(&self, request: WriteRequest) -> Result<PendingWrite> {
        request.name.check()?;
        let name = &request.name;
        let (has_schema, is_view, is_dropped, existing) = futures::join!(
            self.require_schema(&name.catalog, &name.schema),
            self.view_exists(name),
            self.is_dropped(name),
            Box::pin(self.load_table(name))
        );
        has_schema?;
        if is_view? {
            return Err(Error::AlreadyExists(format!(
                "{} is a view; it cannot be written to, and a table cannot have the same name",
                request.name
            )));
        }
        let existing = if is_dropped? {
            self.finish_drop(name).await?;
            None
        } else {
            existing?
        };
        if let Some(base) = request.base_version
            && existing.as_ref().is_none_or(|table| table.version() != base)
        {
            return Err(Error::Conflict(format!("table {} has changed since its version {base}; run the statement again", request.name)));
        }
        let change = self.change(&request, existing).await?;
        let columns = match &change {
            Change::Nothing(_) => nothing_to_write(&request),
            Change::Create | Change::Replace(_) => new_table_columns(&request)?,
            Change::Append(table) | Change::Overwrite(table) => existing_table_columns(&request, table)?,
        };
        Ok(PendingWrite {
            warehouse: self.clone(),
            log: self.table_log(&request.name)?,
            request,
            change,
            write_id: uuid::Uuid::new_v4().to_string(),
            target: columns.target,
            table_schema: columns.table,
            sources: columns.sources,
            partition_by: columns.partition_by,
            live: LiveTasks::default(),
        })
    }

    async fn change(&self, request: &WriteRequest, existing: Option<Arc<Table>>) -> Result<Change> {
        let name = &request.name;
        if let (Some(table), Some(run_id)) = (&existing, &request.run_id)
            && let Some(outcome) = run_outcome(table, &transaction_id(run_id)).await?
        {
            return Ok(Change::Nothing(outcome));
        }
        Ok(match (request.mode, existing) {
            (WriteMode::Create | WriteMode::CreateIfNotExists | WriteMode::CreateOrReplace, None) => Change::Create,
            (WriteMode::Create, Some(_)) => {
                return Err(Error::AlreadyExists(format!(
                    "table {name} already exists; use CREATE OR REPLACE TABLE to replace it, or INSERT INTO to add rows"
                )));
            }
            (WriteMode::CreateIfNotExists, Some(table)) => {
                Change::Nothing(WriteOutcome { version: table.version(), rows: 0, bytes: 0, files: 0 })
            }
            (WriteMode::Append | WriteMode::Overwrite, None) => return Err(Error::NotFound(format!("table {name} does not exist"))),
            (WriteMode::CreateOrReplace, Some(table)) => Change::Replace(writable(table, true)?),
            (WriteMode::Append, Some(table)) => Change::Append(writable(table, false)?),
            (WriteMode::Overwrite, Some(table)) => Change::Overwrite(writable(table, true)?),
        })
    }
}

/// Refuses tables whose rules this engine would break.
fn writable(table: Arc<Table>, removes: bool) -> Result<Arc<Table>> {
    if let Some(what) = unwritable(&table.table_use()) {
        return Err(Error::Unsupported { what, table: table.name().to_string() });
    }
    if removes && properties::append_only(table.properties()) {
        return Err(Error::Invalid(format!(
            "table {} is append-only (delta.appendOnly): rows can be added but not replaced",
            table.name()
        )));
    }
    Ok(table)
}

fn nothing_to_write(request: &WriteRequest) -> Columns {
    Columns { target: Arc::clone(&request.schema), table: Arc::clone(&request.schema), sources: Vec::new(), partition_by: Vec::new() }
}

fn new_table_columns(request: &WriteRequest) -> Result<Columns> {
    properties::check(&request.properties)?;
    let table = Arc::new(new_table_schema(delta_schema(&request.schema)?.as_ref()));
    let find = |name: &str| table.fields().iter().find(|field| field.name().eq_ignore_ascii_case(name));
    let unknown = |what: &str, name: &str| {
        Error::Invalid(format!("{what} {name:?} is not a column of {}; its columns are {}", request.name, names(&table)))
    };
    let mut partition_by = Vec::with_capacity(request.partition_by.len());
    for name in &request.partition_by {
        let field = find(name).ok_or_else(|| unknown("the partition column", name))?;
        if !can_partition(field.data_type()) {
            return Err(Error::Invalid(format!("{name:?} cannot be a partition column: its type is {}", field.data_type())));
        }
        if partition_by.contains(field.name()) {
            return Err(Error::Invalid(format!("the partition column {name:?} is named twice")));
        }
        partition_by.push(field.name().clone());
    }
    if partition_by.len() == table.fields().len() {
        return Err(Error::Invalid(format!("table {} needs a column besides its partition columns", request.name)));
    }
    if let Some(name) = request.column_comments.keys().find(|name| find(name).is_none()) {
        return Err(unknown("the commented column", name));
    }
    if let Some(listed) = request.properties.get("delta.dataSkippingStatsColumns") {
        let first = |name: &str| name.trim().replace('`', "").split('.').next().unwrap_or_default().to_string();
        if let Some(name) = listed.split(',').map(first).find(|name| find(name).is_none()) {
            return Err(unknown("the column of delta.dataSkippingStatsColumns", &name));
        }
    }
    let sources: Vec<usize> = (0..table.fields().len()).collect();
    Ok(Columns { target: target(&request.schema, &table, &sources), table, sources, partition_by })
}

fn existing_table_columns(request: &WriteRequest, existing: &Table) -> Result<Columns> {
    let table = existing.schema();
    let partition_by = existing.partition_columns().to_vec();
    let same = |a: &[String], b: &[String]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.eq_ignore_ascii_case(b));
    if !request.partition_by.is_empty() && !same(&request.partition_by, &partition_by) {
        let now = if partition_by.is_empty() { "not partitioned".into() } else { format!("partitioned by {}", partition_by.join(", ")) };
        return Err(Error::Invalid(format!("table {} is {now}; only CREATE OR REPLACE TABLE can change that", request.name)));
    }
    let sources = match_columns(request, &table)?;
    for (field, &source) in table.fields().iter().zip(&sources) {
        let given = request.schema.field(source).data_type();
        if !can_cast_types(given, field.data_type()) {
            return Err(Error::Invalid(format!(
                "column {:?} of table {} is {}, to which the query's {given} cannot be cast",
                field.name(),
                request.name,
                field.data_type()
            )));
        }
    }
    Ok(Columns { target: target(&request.schema, &table, &sources), table, sources, partition_by })
}

/// For each of the table's columns, the query's column of that name; both have to have the same set of names.
fn match_columns(request: &WriteRequest, table: &Schema) -> Result<Vec<usize>> {
    let query = request.schema.fields();
    let position =
        |name: &str| query.iter().position(|f| f.name() == name).or_else(|| query.iter().position(|f| f.name().eq_ignore_ascii_case(name)));
    let found: Vec<Option<usize>> = table.fields().iter().map(|field| position(field.name())).collect();
    let missing: Vec<&str> =
        table.fields().iter().zip(&found).filter(|(_, place)| place.is_none()).map(|(field, _)| field.name().as_str()).collect();
    let used: HashSet<usize> = found.iter().flatten().copied().collect();
    let extra: Vec<&str> =
        query.iter().enumerate().filter(|(index, _)| !used.contains(index)).map(|(_, field)| field.name().as_str()).collect();
    if missing.is_empty() && extra.is_empty() {
        return Ok(found.into_iter().flatten().collect());
    }
    let mut message = format!("the query's columns are not those of table {} ({})", request.name, names(table));
    if !missing.is_empty() {
        message.push_str(&format!("; it does not give {}", missing.join(", ")));
    }
    if !extra.is_empty() {
        message.push_str(&format!("; the table does not have {}", extra.join(", ")));
    }
    Err(Error::Invalid(message))
}

fn names(schema: &Schema) -> String {
    schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ")
}

/// The query's schema in the table's types; strings and binaries stay as the query encodes them, because the writer takes any encoding.
fn target(query: &Schema, table: &Schema, sources: &[usize]) -> SchemaRef {
    let mut fields: Vec<Option<Field>> = vec![None; query.fields().len()];
    for (stored, &source) in table.fields().iter().zip(sources) {
        let given = query.field(source);
        let encoding = matches!(given.data_type(), DataType::Utf8View | DataType::LargeUtf8 | DataType::BinaryView | DataType::LargeBinary);
        let keep = encoding && same_storage(given.data_type(), stored.data_type());
        let data_type = if keep { given.data_type() } else { stored.data_type() };
        fields[source] = Some(Field::new(given.name(), data_type.clone(), stored.is_nullable()));
    }
    Arc::new(Schema::new(fields.into_iter().flatten().collect::<Vec<_>>()))
}
