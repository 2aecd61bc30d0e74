//! Which expressions are rewritten, and that dates and their parts stay what they were, before 1970 too.

use datafusion::common::Result;

use crate::planner::testing::{assert_same_rows, ours, plan_of};

#[tokio::test]
async fn dates_and_parts_are_taken_plainly() -> Result<()> {
    let plan = plan_of("SELECT CAST(at AS DATE), date_part('hour', at) FROM events").await?;
    assert!(plan.contains("CAST(at@0 AS Timestamp(µs)) as"), "{plan}");
    Ok(())
}

#[tokio::test]
async fn values_stay_the_same() -> Result<()> {
    let instant = "arrow_cast(id * 7919123456 - 200000000000000, 'Timestamp(Microsecond, Some(\"UTC\"))')";
    let parts = ["year", "month", "day", "hour", "minute", "second", "dow", "doy", "week", "quarter"];
    let parts: Vec<_> = parts.iter().map(|part| format!("date_part('{part}', t)")).collect();
    let parts = parts.join(", ");
    assert_same_rows(&format!("SELECT t, CAST(t AS DATE) AS d, {parts} FROM (SELECT {instant} AS t FROM events)")).await
}

#[tokio::test]
async fn names_and_other_zones_stay() -> Result<()> {
    let frame = ours().await?.sql("SELECT CAST(at AS DATE), date_part('hour', at) FROM events").await?;
    let names: Vec<_> = frame.into_optimized_plan()?.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["events.at", "date_part(Utf8(\"hour\"),events.at)"]);
    let elsewhere = "arrow_cast(at, 'Timestamp(Microsecond, Some(\"America/New_York\"))')";
    assert_same_rows(&format!("SELECT id, CAST({elsewhere} AS DATE), date_part('hour', {elsewhere}) FROM events")).await
}

#[tokio::test]
async fn groups_by_day_agree() -> Result<()> {
    assert_same_rows("SELECT CAST(at AS DATE), date_part('hour', at), count(*) FROM events GROUP BY 1, 2").await
}
