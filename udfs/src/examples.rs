//! The examples in the documentation of functions are run, and give what is written there.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::util::pretty::pretty_format_batches;
use datafusion::logical_expr::Documentation;

use crate::aggregate::tests::{Run, session};

fn documented() -> Vec<Documentation> {
    let scalars = crate::scalar_functions().into_iter().map(|function| function.documentation().cloned());
    let aggregates = crate::aggregate_functions().into_iter().map(|function| function.documentation().cloned());
    let windows = crate::window_functions().into_iter().map(|function| function.documentation().cloned());
    scalars.chain(aggregates).chain(windows).map(|found| found.expect("every function is documented")).collect()
}

#[tokio::test]
async fn examples_give_what_is_written() {
    let column: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let table = RecordBatch::try_from_iter([("x", column)]).unwrap();
    let context = session(&table, &Run { partitions: 1, ..Run::default() }, true).unwrap();
    let mut wrong = Vec::new();
    for documentation in documented() {
        let example = documentation.sql_example.unwrap_or_default();
        // DataFusion's own examples are over tables that are not there.
        let Some((sql, written)) = example.strip_prefix("```sql\n> SELECT ").and_then(|rest| rest.split_once(";\n")) else { continue };
        if !sql.contains(" FROM ") || sql.contains("VALUES") {
            // What the engine's dialect and planner do with them is not here.
            if sql.contains("OVER ()") {
                continue;
            }
            let batches = context.sql(&format!("SELECT {}", sql.replace("ML.", "ml_"))).await.unwrap().collect().await.unwrap();
            let found = pretty_format_batches(&batches).unwrap().to_string();
            if written.trim_end_matches("```").trim_end() != found {
                wrong.push(format!("SELECT {sql};\n{found}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
