//! Which calls are combined, and that their values stay what they were.

use datafusion::common::Result;

use crate::planner::testing::{assert_same_rows, plan_of};

#[tokio::test]
async fn calls_with_one_ordering_become_one() -> Result<()> {
    let sql = "SELECT user_id, first_value(brand ORDER BY id), first_value(price ORDER BY id), count(*),
            last_value(kind ORDER BY id), last_value(at ORDER BY id) FROM events GROUP BY user_id";
    let plan = plan_of(sql).await?;
    assert!(plan.contains("first_value of row 1") && plan.contains("last_value of row 2"), "{plan}");
    assert!(!plan.contains("aggr=[first_value("), "{plan}");
    assert_same_rows(sql).await
}

#[tokio::test]
async fn calls_with_one_filter_become_one() -> Result<()> {
    // The filter leaves some groups without a row: all of their values are null.
    let sql =
        "SELECT brand, first_value(id ORDER BY id) FILTER (WHERE price < 10), first_value(price ORDER BY id) FILTER (WHERE price < 10)
        FROM events WHERE user_id % 3 = 0 GROUP BY brand";
    assert!(plan_of(sql).await?.contains("first_value of row 1"));
    assert_same_rows(sql).await?;
    let none = "SELECT brand, first_value(id ORDER BY id) FILTER (WHERE price < 0), first_value(price ORDER BY id) FILTER (WHERE price < 0)
        FROM events GROUP BY brand";
    assert_same_rows(none).await
}

#[tokio::test]
async fn calls_that_differ_stay_apart() -> Result<()> {
    for calls in [
        "first_value(brand ORDER BY id), first_value(price ORDER BY id DESC)",
        "first_value(brand ORDER BY id), last_value(price ORDER BY id)",
        "first_value(brand ORDER BY id) FILTER (WHERE price > 5), first_value(price ORDER BY id)",
        "first_value(brand IGNORE NULLS ORDER BY id), first_value(kind IGNORE NULLS ORDER BY id)",
    ] {
        let sql = format!("SELECT user_id, {calls} FROM events GROUP BY user_id");
        let plan = plan_of(&sql).await?;
        assert!(!plan.contains("of row 1"), "{calls}:\n{plan}");
        assert_same_rows(&sql).await?;
    }
    Ok(())
}
