//! That a narrowed plan gives the same values and reads less.

use arrow::util::pretty::pretty_format_batches;
use datafusion::common::Result;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::{collect, displayable};

use super::*;
use crate::planner::testing::ours;

#[tokio::test]
async fn projections_and_filters_are_narrowed_down_to_the_scan() -> Result<()> {
    let context = ours().await?;
    let wide = "SELECT id, upper(brand) AS b, kind, price * 2 AS twice, at FROM events WHERE user_id < 40 AND kind <> 'cart'";
    let wide = context.sql(wide).await?.create_physical_plan().await?;
    let column = |name: &str, at| -> (Arc<dyn PhysicalExpr>, String) { (Arc::new(Column::new(name, at)), format!("my {name}")) };
    let narrow = project_narrowly([column("twice", 3), column("id", 0)], wide)?;

    let text = displayable(narrow.as_ref()).indent(false).to_string();
    assert!(!text.contains("upper") && !text.contains("brand"), "{text}");
    let expected = context.sql("SELECT price * 2 AS \"my twice\", id AS \"my id\" FROM events WHERE user_id < 40 AND kind <> 'cart'");
    let expected =
        pretty_format_batches(&expected.await?.sort_by(vec![datafusion::prelude::col("\"my id\"")])?.collect().await?)?.to_string();
    let given = collect(narrow, context.task_ctx()).await?;
    let given = context.read_batches(given)?.sort_by(vec![datafusion::prelude::col("\"my id\"")])?.collect().await?;
    assert_eq!(pretty_format_batches(&given)?.to_string(), expected);
    Ok(())
}
