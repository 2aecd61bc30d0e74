//! A write between its plan and its commit.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::physical_plan::ExecutionPlan;

use super::live::LiveTasks;
use super::operator::DeltaWriteExec;
use super::properties::{self, target_file_size};
use super::spec::{WriteSpec, stats_columns};
use super::{WriteOutcome, WriteRequest};
use crate::error::{Error, Result};
use crate::log::TableLog;
use crate::schema::same_storage;
use crate::table::Table;
use crate::warehouse::Warehouse;

/// What a write will do to the table.
#[derive(Debug)]
pub(super) enum Change {
    /// Nothing: the table exists already, or the run was committed before.
    Nothing(WriteOutcome),
    /// A table that does not exist yet.
    Create,
    /// New content and a new schema for an existing table.
    Replace(Arc<Table>),
    /// More rows.
    Append(Arc<Table>),
    /// Other rows, same schema.
    Overwrite(Arc<Table>),
}

impl Change {
    pub fn base(&self) -> Option<&Arc<Table>> {
        match self {
            Self::Replace(table) | Self::Append(table) | Self::Overwrite(table) => Some(table),
            Self::Nothing(_) | Self::Create => None,
        }
    }
}

/// A write that has been planned and not yet committed. Nothing of it is visible in the table.
#[derive(Debug)]
pub struct PendingWrite {
    pub(super) warehouse: Warehouse,
    pub(super) request: WriteRequest,
    pub(super) log: TableLog,
    pub(super) change: Change,
    /// Part of the name of every file of this write.
    pub(super) write_id: String,
    /// What the query has to produce, by position.
    pub(super) target: SchemaRef,
    /// The table's columns once the write is committed.
    pub(super) table_schema: SchemaRef,
    /// For each of the table's columns, the query's column that fills it.
    pub(super) sources: Vec<usize>,
    pub(super) partition_by: Vec<String>,
    pub(super) live: LiveTasks,
}

impl PendingWrite {
    /// True when there is nothing to run: `CreateIfNotExists` met an existing table, or this `run_id` was committed before. `commit` without files then
    /// reports the outcome.
    pub fn already_exists(&self) -> bool {
        matches!(self.change, Change::Nothing(_))
    }

    /// The schema that the input of [`write_plan`](Self::write_plan) must have: the caller casts the query's result to it, column by column in the query's
    /// order. Strings and binaries stay in the encoding that the query has.
    pub fn target_schema(&self) -> SchemaRef {
        Arc::clone(&self.target)
    }

    /// Places of the partition columns in [`target_schema`](Self::target_schema), in the table's order; empty for a table without partitions.
    pub fn partition_columns(&self) -> Vec<usize> {
        let place = |name: &String| self.table_schema.index_of(name).ok().and_then(|at| self.sources.get(at)).copied();
        self.partition_by.iter().filter_map(place).collect()
    }

    /// Whether the table wants rows to be brought together by partition before they are written (`delta.autoOptimize.optimizeWrite`); `None` if it leaves
    /// that to the engine.
    pub fn gathers_partitions(&self) -> Option<bool> {
        properties::optimize_write(self.properties())
    }

    pub(super) fn properties(&self) -> &HashMap<String, String> {
        match &self.change {
            Change::Append(table) | Change::Overwrite(table) => table.properties(),
            _ => &self.request.properties,
        }
    }

    /// The operator that writes `child`'s partitions, each on its own, and emits one row per file. Its metrics `rows_written`, `bytes_written` and
    /// `files_written` can be read while it runs. The runtime that executes it has to know the store, see [`Warehouse::register_with`].
    pub fn write_plan(&self, child: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        let spec = self.spec(&child.schema())?;
        Ok(Arc::new(DeltaWriteExec::new(child, Arc::new(spec), self.live.clone())))
    }

    fn spec(&self, given: &Schema) -> Result<WriteSpec> {
        let expected = self.target.fields();
        if given.fields().len() != expected.len() {
            let message =
                format!("writing {} needs {} columns, and the query gives {}", self.request.name, expected.len(), given.fields().len());
            return Err(Error::Invalid(message));
        }
        for (given, expected) in given.fields().iter().zip(expected) {
            if !same_storage(given.data_type(), expected.data_type()) {
                return Err(Error::Invalid(format!(
                    "writing {} needs column {:?} to be {}, and the query gives {}",
                    self.request.name,
                    expected.name(),
                    expected.data_type(),
                    given.data_type()
                )));
            }
        }
        let fields = self.table_schema.fields().iter().zip(&self.sources).map(|(field, &source)| {
            let given = given.field(source).data_type();
            // Other encodings of strings are written as they come; nested types as the table has them.
            let data_type = if given.is_nested() { field.data_type() } else { given };
            Field::new(field.name(), data_type.clone(), field.is_nullable())
        });
        let columns = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let properties = self.properties();
        let partition_columns: Vec<usize> = self.partition_by.iter().filter_map(|name| columns.index_of(name).ok()).collect();
        let mut spec = WriteSpec {
            store_url: self.warehouse.store_url().as_str().to_string(),
            table_path: self.log.table_path().to_string(),
            table_name: self.request.name.to_string(),
            write_id: self.write_id.clone(),
            sources: self.sources.clone(),
            columns,
            partition_columns,
            target_file_size: target_file_size(self.request.target_file_size, properties)?,
            stats_columns: Vec::new(),
        };
        let property = |key: &str| properties.get(key).map(String::as_str);
        spec.stats_columns =
            stats_columns(&spec.file_schema(), property("delta.dataSkippingStatsColumns"), property("delta.dataSkippingNumIndexedCols"));
        Ok(spec)
    }
}
