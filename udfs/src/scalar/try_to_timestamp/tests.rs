//! The function as SQL calls it, over every type it takes.

use arrow::array::{LargeStringArray, RecordBatch, StringArray, StringViewArray};
use arrow::util::display::array_value_to_string;
use datafusion::prelude::SessionContext;

use super::*;

async fn run(sql: &str) -> Result<Vec<String>> {
    let context = SessionContext::new();
    crate::scalar_functions().into_iter().for_each(|f| context.register_udf(f.as_ref().clone()));
    let texts = [Some("2019-10-01 00:00:01 UTC"), None, Some("2019-02-30 00:00:00 UTC"), Some(" 2019-10-01T00:00:00.5+01:00"), Some("")];
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("small", Arc::new(StringArray::from(texts.to_vec()))),
        ("large", Arc::new(LargeStringArray::from(texts.to_vec()))),
        ("view", Arc::new(StringViewArray::from(texts.to_vec()))),
        ("format", Arc::new(StringArray::from(vec![Some("%F %T %Z"), None, Some("%F"), Some("%FT%T%.f%z"), Some("%F")]))),
    ];
    context.register_batch("t", RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true)))?)?;
    let batches = context.sql(sql).await?.collect().await?;
    let mut out = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            out.push(array_value_to_string(batch.column(0), row)?);
        }
    }
    Ok(out)
}

#[tokio::test]
async fn every_text_type_gives_the_same_instants() {
    for column in ["small", "large", "view"] {
        let rows = run(&format!("SELECT try_to_timestamp({column}) FROM t")).await.unwrap();
        assert_eq!(rows, ["2019-10-01T00:00:01Z", "", "", "2019-09-30T23:00:00.500Z", ""]);
    }
}

#[tokio::test]
async fn a_format_may_be_constant_or_a_column() {
    let rows = run("SELECT try_to_timestamp(small, 'yyyy-MM-dd HH:mm:ss z') FROM t").await.unwrap();
    assert_eq!(rows, ["2019-10-01T00:00:01Z", "", "", "", ""]);
    let rows = run("SELECT try_to_timestamp(view, format) FROM t").await.unwrap();
    assert_eq!(rows, ["2019-10-01T00:00:01Z", "", "", "2019-09-30T23:00:00.500Z", ""]);
    assert_eq!(run("SELECT try_to_timestamp('01/10/2019', 'dd/MM/yyyy')").await.unwrap(), ["2019-10-01T00:00:00Z"]);
    assert_eq!(run("SELECT try_to_timestamp(small, NULL) FROM t LIMIT 1").await.unwrap(), [""]);
}

#[tokio::test]
async fn dates_and_timestamps_are_converted() {
    assert_eq!(run("SELECT try_to_timestamp(DATE '2019-10-01')").await.unwrap(), ["2019-10-01T00:00:00Z"]);
    assert_eq!(run("SELECT try_to_timestamp(TIMESTAMP '2019-10-01 01:02:03')").await.unwrap(), ["2019-10-01T01:02:03Z"]);
    assert_eq!(run("SELECT try_to_timestamp(NULL)").await.unwrap(), [""]);
    let types = run("SELECT arrow_typeof(try_to_timestamp(small)) FROM t LIMIT 1").await.unwrap();
    assert_eq!(types, ["Timestamp(µs, \"UTC\")"]);
}

#[tokio::test]
async fn wrong_calls_are_errors() {
    for (sql, named) in [
        ("SELECT try_to_timestamp(1)", "argument 1"),
        ("SELECT try_to_timestamp('x', 1)", "argument 2"),
        ("SELECT try_to_timestamp()", "arguments"),
        ("SELECT try_to_timestamp(small, 'QQ') FROM t", "QQ"),
    ] {
        let error = run(sql).await.unwrap_err().to_string();
        assert!(error.contains(named), "{sql}: {error}");
    }
}
