//! Reading: a snapshot as a DataFusion table.
//!
//! A scan becomes a plain `DataSourceExec` over Parquet files, so that any executor can run it. What the log knows is spent while planning: files are
//! skipped by partition values and bounds, and row counts, minima and maxima are handed to the optimizer, which answers `count(*)` from them.

mod grouping;
mod pruning;
mod scan;
mod statistics;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Statistics;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;

pub use scan::{FILES_BY_LOG, RuledOut, TABLE_LABEL};

use crate::table::Table;

/// How a table is read.
#[derive(Debug, Clone, Copy)]
pub struct ScanOptions {
    /// Show strings and binaries as Arrow views, which the Parquet reader fills without copying. On by default.
    pub view_types: bool,
}

impl Default for ScanOptions {
    fn default() -> Self {
        Self { view_types: true }
    }
}

/// One snapshot as a DataFusion table.
#[derive(Debug)]
pub(crate) struct DeltaTableProvider {
    table: Arc<Table>,
    /// Columns in the table's order, in the types that scans produce.
    schema: SchemaRef,
}

impl DeltaTableProvider {
    pub fn new(table: Arc<Table>, options: ScanOptions) -> Self {
        let stored = table.schema();
        let fields: Vec<Field> = stored.fields().iter().map(|field| read_field(field, options)).collect();
        Self { schema: Arc::new(Schema::new(fields)), table }
    }
}

/// Whether two providers read the same version of the same table in the same way; false for providers of other kinds.
pub fn is_same_snapshot(a: &dyn TableProvider, b: &dyn TableProvider) -> bool {
    match (a.downcast_ref::<DeltaTableProvider>(), b.downcast_ref::<DeltaTableProvider>()) {
        (Some(a), Some(b)) => a.table.location() == b.table.location() && a.table.version() == b.table.version() && a.schema == b.schema,
        _ => false,
    }
}

/// The snapshot that a provider reads; `None` for providers of other kinds.
pub fn snapshot_of(provider: &dyn TableProvider) -> Option<&Arc<Table>> {
    provider.downcast_ref::<DeltaTableProvider>().map(|provider| &provider.table)
}

/// The field as scans produce it. Only top-level strings and binaries become views: that is what the Parquet reader does.
fn read_field(field: &Field, options: ScanOptions) -> Field {
    let data_type = match field.data_type() {
        DataType::Utf8 if options.view_types => DataType::Utf8View,
        DataType::Binary if options.view_types => DataType::BinaryView,
        other => other.clone(),
    };
    field.clone().with_data_type(data_type)
}

// The futures of these methods are built in plain functions: inside the trait they would be type-checked with every expression type they hold.
#[async_trait]
impl TableProvider for DeltaTableProvider {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DfResult<Vec<TableProviderFilterPushDown>> {
        let exact = |filter: &&Expr| pruning::decided_by_partition(filter, self.table.partition_columns());
        let support = |filter| if exact(filter) { TableProviderFilterPushDown::Exact } else { TableProviderFilterPushDown::Inexact };
        Ok(filters.iter().map(support).collect())
    }

    fn statistics(&self) -> Option<Statistics> {
        statistics::of_table(&self.table, &self.schema)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        scan::plan(&self.table, &self.schema, state, projection, filters, limit)
    }
}
