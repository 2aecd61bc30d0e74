//! That calls get their keys, once, and that columns keep their names; with a window function that only counts its arguments.

use std::sync::Arc;

use arrow::array::{ArrayRef, UInt64Array};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::Result;
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{PartitionEvaluator, Signature, Volatility, WindowUDF, WindowUDFImpl};
use datafusion::prelude::SessionContext;

use crate::planner::testing::{ours, rows_of};

#[derive(Debug, PartialEq, Eq, Hash)]
struct CountArguments {
    signature: Signature,
}

impl WindowUDFImpl for CountArguments {
    fn name(&self) -> &str {
        "session_id"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn partition_evaluator(&self, args: PartitionEvaluatorArgs<'_>) -> Result<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(Count(args.input_exprs().len() as u64)))
    }

    fn field(&self, args: WindowUDFFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(args.name(), DataType::UInt64, false)))
    }
}

#[derive(Debug)]
struct Count(u64);

impl PartitionEvaluator for Count {
    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        assert_eq!(values.len() as u64, self.0);
        Ok(Arc::new(UInt64Array::from(vec![self.0; rows])))
    }
}

async fn context() -> Result<SessionContext> {
    let context = ours().await?;
    context.register_udwf(WindowUDF::from(CountArguments { signature: Signature::variadic_any(Volatility::Immutable) }));
    Ok(context)
}

async fn analyzed(sql: &str) -> Result<String> {
    let context = context().await?;
    let plan = context.state().create_logical_plan(sql).await?;
    let state = context.state();
    let once = state.optimize(&plan)?;
    // What has its keys does not get them again.
    let twice = state.optimize(&once)?;
    assert_eq!(once.display_indent().to_string(), twice.display_indent().to_string());
    Ok(once.display_indent().to_string())
}

#[tokio::test]
async fn the_keys_of_the_partition_become_arguments() -> Result<()> {
    let plan = analyzed("SELECT session_id(at, INTERVAL '30 minutes') OVER (PARTITION BY user_id, kind ORDER BY at) FROM events").await?;
    assert!(plan.contains("NULL, events.user_id, events.kind) PARTITION BY [events.user_id, events.kind]"), "{plan}");
    Ok(())
}

#[tokio::test]
async fn a_greatest_length_stays_where_it_is() -> Result<()> {
    let over = "OVER (PARTITION BY user_id % 2 ORDER BY at)";
    let sql = format!("SELECT DISTINCT session_id(at, INTERVAL '30 minutes', INTERVAL '1 day') {over} AS n FROM events");
    assert_eq!(rows_of(&context().await?, &sql).await?, ["4"]);
    let sql = format!("SELECT DISTINCT session_id(at, INTERVAL '30 minutes') {over} AS n FROM events");
    assert_eq!(rows_of(&context().await?, &sql).await?, ["4"]);
    Ok(())
}

#[tokio::test]
async fn without_a_partition_there_are_no_keys() -> Result<()> {
    let sql = "SELECT DISTINCT session_id(at, INTERVAL '30 minutes') OVER (ORDER BY at) AS n FROM events";
    assert_eq!(rows_of(&context().await?, sql).await?, ["2"]);
    Ok(())
}

#[tokio::test]
async fn columns_keep_their_names_and_subqueries_are_reached() -> Result<()> {
    let call = "session_id(at, INTERVAL '30 minutes') OVER (PARTITION BY user_id ORDER BY at)";
    let context = context().await?;
    let frame = context.sql(&format!("SELECT id, {call} FROM events")).await?;
    let before = frame.schema().field(1).name().clone();
    let batches = frame.collect().await?;
    assert_eq!(batches[0].schema().field(1).name(), &before);
    let sql = format!("SELECT count(*) FROM events WHERE id < 10 AND 4 IN (SELECT DISTINCT {call} AS n FROM events)");
    assert_eq!(rows_of(&context, &sql).await?, ["10"]);
    Ok(())
}

#[tokio::test]
async fn beside_other_functions_keys_may_be_computed() -> Result<()> {
    let over = "OVER (PARTITION BY user_id % 50 ORDER BY at)";
    let calls = format!("session_id(at, INTERVAL '30 minutes') {over} AS n, count(*) {over} AS events, sum(id % 2) {over} AS odd");
    let context = context().await?;
    let sql = format!("SELECT n, count(*), sum(events), sum(odd) FROM (SELECT {calls} FROM events) GROUP BY n");
    let counts = sql.replace(&format!("session_id(at, INTERVAL '30 minutes') {over}"), "4");
    assert_eq!(rows_of(&context, &sql).await?, rows_of(&context, &counts).await?);
    Ok(())
}
