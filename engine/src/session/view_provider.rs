//! Views as DataFusion's planner takes them: it writes a view's plan out wherever the view is named, and views stand on views. What one statement writes out that
//! way is limited, so that a short query of views that read each other twice is refused before it fills the memory.

use std::borrow::Cow;
use std::cell::Cell;
use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::datasource::ViewTable;
use datafusion::logical_expr::{Expr, LogicalPlan, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;

use crate::planner::plan_size::{self, STEPS_MAX};

tokio::task_local! {
    /// How many steps more may be written out for the statement that this task plans.
    static STEPS_LEFT: Cell<usize>;
}

/// Plans one statement.
pub(super) async fn within_one_statement<F: Future>(planning: F) -> F::Output {
    STEPS_LEFT.scope(Cell::new(STEPS_MAX), planning).await
}

/// A view, whose plan is written out as long as the statement is of workable size.
pub(crate) fn of_plan(plan: LogicalPlan) -> Arc<dyn TableProvider> {
    let steps = plan_size::steps(&plan);
    let too_large = plan_size::too_large(&plan);
    Arc::new(View { table: ViewTable::new(plan, None), steps, too_large })
}

#[derive(Debug)]
struct View {
    table: ViewTable,
    steps: usize,
    /// Stands in a plan that is refused, where the view's own would be.
    too_large: LogicalPlan,
}

#[async_trait]
impl TableProvider for View {
    fn get_logical_plan(&self) -> Option<Cow<'_, LogicalPlan>> {
        let left = |left: &Cell<usize>| {
            let rest = left.get().checked_sub(self.steps);
            left.set(rest.unwrap_or(0));
            rest.is_some()
        };
        if STEPS_LEFT.try_with(left).unwrap_or(true) { self.table.get_logical_plan() } else { Some(Cow::Borrowed(&self.too_large)) }
    }

    fn schema(&self) -> SchemaRef {
        self.table.schema()
    }

    fn table_type(&self) -> TableType {
        self.table.table_type()
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        self.table.supports_filters_pushdown(filters)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.table.scan(state, projection, filters, limit).await
    }
}
