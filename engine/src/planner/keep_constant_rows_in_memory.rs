//! Rows that come from no table (`SELECT 1`, an aggregate that statistics answer) and empty relations, as rows in memory.
//!
//! A coordinator gives each task of a union the branches that it owns and a source without partitions for the others. In the place of an operator that
//! measures nothing that is one operator more that measures, and it does not accept two tasks of a stage with different numbers of measurements: the
//! statement would never end. A source in memory measures in all of them.

use std::sync::Arc;

use arrow::array::{RecordBatch, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::union::UnionExec;

/// The plan, with sources in memory where it has unions.
///
/// # Errors
/// None but those of building the operators.
pub fn keep_constant_rows_in_memory(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    if !plan.exists(|node| Ok(node.is::<UnionExec>()))? {
        return Ok(plan);
    }
    plan.transform_up(|node| {
        let (schema, partition) = match (node.is::<PlaceholderRowExec>(), node.is::<EmptyExec>()) {
            (true, _) => {
                let schema = with_a_column(node.schema());
                let row = schema.fields().iter().map(|field| new_null_array(field.data_type(), 1)).collect();
                (Arc::clone(&schema), vec![RecordBatch::try_new(schema, row)?])
            }
            (_, true) => (node.schema(), Vec::new()),
            _ => return Ok(Transformed::no(node)),
        };
        Ok(Transformed::yes(MemorySourceConfig::try_new_exec(&[partition], schema, None)? as Arc<dyn ExecutionPlan>))
    })
    .data()
}

/// A row without columns does not survive the wire; nothing above refers to this one.
fn with_a_column(schema: SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| Field::clone(field).with_nullable(true));
    let row = Field::new("row", DataType::Boolean, true);
    Arc::new(Schema::new(if schema.fields().is_empty() { vec![row] } else { fields.collect() }))
}

#[cfg(test)]
mod tests {
    use datafusion::physical_plan::{collect, displayable};

    use super::*;
    use crate::planner::testing::ours;

    #[tokio::test]
    async fn unions_have_sources_that_measure_and_the_same_rows() {
        let context = ours().await.unwrap();
        let sql = "SELECT id, kind FROM events WHERE id < 3 UNION ALL SELECT -1, 'none' UNION ALL SELECT 1, 'x' WHERE false";
        let plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        let kept = keep_constant_rows_in_memory(Arc::clone(&plan)).unwrap();
        let text = displayable(kept.as_ref()).indent(false).to_string();
        assert!(!text.contains("PlaceholderRowExec") && !text.contains("EmptyExec"), "{text}");
        let rows = |batches: Vec<RecordBatch>| batches.iter().map(RecordBatch::num_rows).sum::<usize>();
        assert_eq!(rows(collect(kept, context.task_ctx()).await.unwrap()), 4);
        assert_eq!(rows(collect(plan, context.task_ctx()).await.unwrap()), 4);
    }
}
