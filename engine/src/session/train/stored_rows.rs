//! A training's rows in files of scratch storage, as a layout wants them: in any order, or those of equal keys in one partition of the scan.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::DFSchema;
use datafusion::datasource::physical_plan::FileGroup;
use datafusion::logical_expr::{Expr, cast, lit};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{CastExpr, Column};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::prelude::col;
use orrery_lakehouse::Relation;

use super::super::Session;
use super::super::scratch::ScratchTable;
use super::super::types::same_values;
use super::Training;
use crate::operators::train_model::one_partition::{by_value, files_of, merged, with_groups};
use crate::{Blame, Error, Result};

/// The column of a table by which rows of equal keys lie together.
const BUCKET: &str = "bucket";

/// Rows in files, and the plan that reads them again.
pub(super) struct StoredRows {
    pub plan: Arc<dyn ExecutionPlan>,
    pub table: ScratchTable,
}

/// Keys whose equal values lie in one of so many buckets.
pub(super) struct Buckets<'a> {
    pub keys: &'a [usize],
    pub count: usize,
}

impl Session {
    /// Runs a plan into a table.
    pub(super) async fn store_rows(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        training: &Training<'_>,
        buckets: Option<Buckets<'_>>,
    ) -> Result<StoredRows> {
        let schema = stored_schema(training, buckets.is_some());
        let partition_by = buckets.iter().map(|_| BUCKET.to_string()).collect();
        let write = self.begin_partitioned_scratch_table(schema, partition_by, "rows of a training").await?;
        let mut table = ScratchTable::new(write);
        match Box::pin(self.fill(plan, training, buckets.as_ref(), &mut table)).await {
            Ok(plan) => Ok(StoredRows { plan, table }),
            Err(error) => {
                table.remove().await;
                Err(error)
            }
        }
    }

    async fn fill(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        training: &Training<'_>,
        buckets: Option<&Buckets<'_>>,
        table: &mut ScratchTable,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let lost = || Error::new(Blame::Bug, "the rows of a training are not where they were written");
        // It may have run before, and a scan that is run again goes on where it was.
        let plan = reset_plan_states(Arc::clone(plan))?;
        let physical = {
            let pending = table.pending()?.as_ref().ok_or_else(lost)?;
            let rows = self.as_stored(&plan, training, pending.target_schema().as_ref(), buckets)?;
            self.write_plan(pending, rows)?
        };
        training.tracker.start(&physical);
        let files = self.backend.run(physical, &self.context, training.tracker).await?;
        let (warehouse, name) = table.place().ok_or_else(lost)?;
        table.pending()?.take().ok_or_else(lost)?.commit(files).await?;
        let Some(Relation::Table(stored)) = warehouse.relation(&name).await? else { return Err(lost()) };
        self.scan_stored(self.names.scan(&stored), training, buckets.is_some()).await
    }

    /// The columns as the table has them.
    fn as_stored(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        training: &Training<'_>,
        target: &Schema,
        buckets: Option<&Buckets<'_>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let given = plan.schema();
        if given.fields().len() != training.spec.columns.len() {
            return Err(Error::new(Blame::Bug, "the rows of a training have other columns than it was told"));
        }
        let columns = given.fields().iter().zip(target.fields()).enumerate().map(|(at, (field, to))| {
            let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(field.name(), at));
            let is_same = same_values(field.data_type(), to.data_type());
            let expr = if is_same { column } else { Arc::new(CastExpr::new(column, to.data_type().clone(), None)) as _ };
            (expr, to.name().clone())
        });
        let columns: Vec<(Arc<dyn PhysicalExpr>, String)> = columns.collect();
        let renamed: Arc<dyn ExecutionPlan> = Arc::new(ProjectionExec::try_new(columns, Arc::clone(plan))?);
        let Some(buckets) = buckets else { return Ok(renamed) };
        let schema = renamed.schema();
        let columns = schema.fields().iter().enumerate().map(|(at, field)| {
            let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(field.name(), at));
            (column, field.name().clone())
        });
        let bucket = (self.bucket(&schema, buckets)?, BUCKET.to_string());
        Ok(Arc::new(ProjectionExec::try_new(columns.chain([bucket]).collect::<Vec<_>>(), renamed)?))
    }

    /// Which bucket a row belongs to.
    fn bucket(&self, columns: &SchemaRef, buckets: &Buckets<'_>) -> Result<Arc<dyn PhysicalExpr>> {
        let state = self.context.state();
        let hash = state.scalar_functions().get("xxhash64").ok_or_else(|| Error::new(Blame::Bug, "there is no function xxhash64"))?;
        let count = i64::try_from(buckets.count.max(1)).unwrap_or(i64::MAX);
        let hash = hash.call(buckets.keys.iter().map(|at| col(columns.field(*at).name())).collect());
        let bucket: Expr = cast((hash % lit(count) + lit(count)) % lit(count), DataType::Int32);
        Ok(state.create_physical_expr(bucket, &DFSchema::try_from(columns.as_ref().clone())?)?)
    }

    async fn scan_stored(&self, table: Arc<dyn TableProvider>, training: &Training<'_>, is_keyed: bool) -> Result<Arc<dyn ExecutionPlan>> {
        let at_once = self.training_threads();
        let mut state = self.context.state();
        state.config_mut().options_mut().execution.target_partitions = at_once;
        let columns: Vec<usize> = (0..training.spec.columns.len()).collect();
        let plan = table.scan(&state, Some(&columns), &[], None).await?;
        match files_of(&plan) {
            Some(files) if is_keyed => {
                let buckets = by_value(files.file_groups.iter().flat_map(FileGroup::iter));
                Ok(with_groups(&plan, merged(buckets, at_once))?)
            }
            _ => Ok(plan),
        }
    }
}

/// Names of their own, because those of the plan may be none that a table can have.
fn stored_schema(training: &Training<'_>, has_bucket: bool) -> SchemaRef {
    let columns = training.spec.columns.iter().enumerate();
    let mut fields: Vec<Field> = columns.map(|(at, column)| Field::new(format!("c{at}"), column.data_type.clone(), true)).collect();
    if has_bucket {
        fields.push(Field::new(BUCKET, DataType::Int32, true));
    }
    Arc::new(Schema::new(fields))
}
