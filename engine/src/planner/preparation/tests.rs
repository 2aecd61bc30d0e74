//! Preparation learned and applied, against naive computations: what a query gives, `TRANSFORM` gives in the same bits.

use datafusion::arrow::array::{Array as _, AsArray as _, RecordBatch};
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::Float64Type;
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::dataframe::DataFrame;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::SetExpr;
use futures::TryStreamExt as _;
use serde_json::Value;

use super::{apply, expressions, inputs};
use crate::dialect::{Statement, parse, split};
use crate::session::{Mode, Outcome, Session, SessionOptions, Tracker};
use crate::{Error, Result};

/// 997 rows: a number that is often NULL, one that never is, a category, a constant.
const ROWS: &str = "SELECT value AS id, CASE WHEN value % 7 = 0 THEN NULL ELSE (value * 7919 % 1009) * 0.37 - 50 END AS x, \
                    CAST(value * 31 % 101 AS INT) AS y, CASE WHEN value % 5 = 0 THEN NULL ELSE 'c' || (value * value % 11) END AS s, 4.5 AS c \
                    FROM generate_series(1, 997)";

/// Every function that learns.
const LIST: &str = "id, ML.STANDARD_SCALER(x) OVER () AS standard, ML.MIN_MAX_SCALER(y) OVER () AS min_max, ML.MAX_ABS_SCALER(x) OVER () AS max_abs, \
                    ML.ROBUST_SCALER(x, [10, 90]) OVER () AS robust, ML.ROBUST_SCALER(x, [25, 75], FALSE, FALSE) OVER () AS same, \
                    ML.IMPUTER(x, 'mean') OVER () AS mean, ML.IMPUTER(x, 'median') OVER () AS median, ML.IMPUTER(s, 'most_frequent') OVER () AS most, \
                    ML.QUANTILE_BUCKETIZE(x, 4) OVER () AS bucket, ML.ONE_HOT_ENCODER(s, 'most_frequent') OVER () AS hot, ML.LABEL_ENCODER(s, 3) OVER () AS label, \
                    winsorize(x, 0.05, 0.95) OVER () AS capped, ML.STANDARD_SCALER(c) OVER () AS flat, ML.MIN_MAX_SCALER(c) OVER () AS flat_too, \
                    ML.STANDARD_SCALER(x + y) OVER () * 2 + 1 AS of_sum, ML.FEATURE_CROSS(STRUCT(s, y)) AS crossed";

struct Bench {
    session: Session,
    _dir: tempfile::TempDir,
}

impl Bench {
    async fn new(threads: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = SessionOptions { warehouse: dir.path().display().to_string(), threads: Some(threads), ..SessionOptions::default() };
        Self { session: Session::open(options).await.unwrap(), _dir: dir }
    }

    async fn query(&self, sql: &str) -> Result<RecordBatch> {
        let statement = split(sql)?.remove(0);
        let Outcome::Rows(rows) = self.session.execute(&statement, Mode::Run, &Tracker::default()).await? else { panic!("no rows") };
        let schema = rows.schema();
        let batches: Vec<RecordBatch> = rows.try_collect().await.map_err(Error::from)?;
        Ok(concat_batches(&schema, &batches)?)
    }

    async fn plan(&self, sql: &str) -> LogicalPlan {
        self.session.context().sql(sql).await.unwrap().logical_plan().clone()
    }

    async fn run(&self, plan: LogicalPlan) -> RecordBatch {
        let frame = DataFrame::new(self.session.context().state(), plan);
        let schema = std::sync::Arc::new(frame.schema().as_arrow().clone());
        concat_batches(&schema, &frame.collect().await.unwrap()).unwrap()
    }

    async fn learn(&self, list: &str, rows: &str) -> Result<(Value, LogicalPlan)> {
        let statement = split(&format!("SELECT {list}"))?.remove(0);
        let Statement::Query(query) = parse(&statement.tokens)? else { panic!("no query") };
        let SetExpr::Select(select) = *query.body else { panic!("no select") };
        let plan = self.plan(rows).await;
        self.session.learn_preparation(&select.projection, list, plan, &Tracker::default()).await
    }
}

/// As text, sorted by the first column, a number.
fn lines(batch: &RecordBatch) -> Vec<String> {
    let text = pretty_format_batches(std::slice::from_ref(batch)).unwrap().to_string();
    let mut lines: Vec<String> =
        text.lines().skip(3).filter(|line| line.starts_with('|')).map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    lines.sort();
    lines
}

fn column(batch: &RecordBatch, name: &str) -> Vec<Option<f64>> {
    let column =
        datafusion::arrow::compute::cast(batch.column_by_name(name).unwrap(), &datafusion::arrow::datatypes::DataType::Float64).unwrap();
    column.as_primitive::<Float64Type>().iter().collect()
}

#[tokio::test]
async fn queries_and_models_agree_for_any_number_of_partitions() {
    let bench = Bench::new(1).await;
    let list = LIST.replace(", ML.FEATURE_CROSS(STRUCT(s, y)) AS crossed", "");
    let expected = lines(&bench.query(&format!("SELECT {list} FROM ({ROWS}) AS t")).await.unwrap());
    let (first, _) = bench.learn(LIST, ROWS).await.unwrap();
    assert_eq!(expected.len(), 997);
    for threads in [2, 7] {
        let bench = Bench::new(threads).await;
        // Dealt out over partitions, which a series is not.
        let rows = format!("SELECT * FROM ({ROWS}) AS r WHERE id % 3 = 0 UNION ALL SELECT * FROM ({ROWS}) AS r WHERE id % 3 <> 0");
        assert_eq!(lines(&bench.query(&format!("SELECT {list} FROM ({rows}) AS t")).await.unwrap()), expected);
        let (preparation, prepared) = bench.learn(&list, &rows).await.unwrap();
        assert_eq!(lines(&bench.run(prepared).await), expected);
        let (with_cross, _) = bench.learn(LIST, &rows).await.unwrap();
        assert_eq!(with_cross["rounds"], first["rounds"]);
        // Stored, read, and applied to the same rows.
        let preparation: Value = serde_json::from_str(&preparation.to_string()).unwrap();
        let state = bench.session.context().state();
        let applied = apply(&preparation, bench.plan(&rows).await, &state).unwrap();
        let applied = bench.run(applied).await;
        let prepared: Vec<usize> = (0..16).collect();
        assert_eq!(lines(&applied.project(&prepared).unwrap()), expected);
        // `id` is prepared, the others are there beside.
        let own: Vec<String> = applied.schema().fields().iter().skip(16).map(|f| f.name().clone()).collect();
        assert_eq!(own, ["x", "y", "s", "c"]);
    }
}

#[tokio::test]
async fn values_are_those_of_naive_computations() {
    let bench = Bench::new(2).await;
    let found = bench.query(&format!("SELECT x, y, s, {LIST} FROM ({ROWS}) AS t")).await.unwrap();
    let (x, y) = (column(&found, "x"), column(&found, "y"));
    let mut known: Vec<f64> = x.iter().copied().flatten().collect();
    known.sort_by(f64::total_cmp);
    let n = known.len() as f64;
    let mean = known.iter().sum::<f64>() / n;
    let deviation = (known.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / (n - 1.0)).sqrt();
    let quantile = |p: f64| {
        let at = p * (n - 1.0);
        let (low, high) = (known[at.floor() as usize], known[at.ceil() as usize]);
        low + (high - low) * at.fract()
    };
    let most_abs = known.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let (least_y, most_y) = y.iter().flatten().fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(*v), h.max(*v)));
    let close = |name: &str, expected: &dyn Fn(usize) -> Option<f64>| {
        for (row, found) in column(&found, name).into_iter().enumerate() {
            match (found, expected(row)) {
                (Some(found), Some(expected)) => assert!((found - expected).abs() < 1e-9, "{name}, row {row}: {found} {expected}"),
                (found, expected) => assert_eq!(found, expected, "{name}, row {row}"),
            }
        }
    };
    close("standard", &|row| x[row].map(|v| (v - mean) / deviation));
    close("min_max", &|row| y[row].map(|v| (v - least_y) / (most_y - least_y)));
    close("max_abs", &|row| x[row].map(|v| v / most_abs));
    close("robust", &|row| x[row].map(|v| (v - quantile(0.5)) / (quantile(0.9) - quantile(0.1))));
    close("same", &|row| x[row]);
    close("mean", &|row| x[row].or(Some(mean)));
    close("median", &|row| x[row].or(Some(quantile(0.5))));
    close("capped", &|row| x[row].map(|v| v.clamp(quantile(0.05), quantile(0.95))));
    close("flat", &|_| Some(0.0));
    close("flat_too", &|_| Some(0.0));
    let buckets = found.column_by_name("bucket").unwrap();
    let buckets = buckets.as_string::<i32>();
    for (row, value) in x.iter().enumerate() {
        let expected = value.map(|v| format!("bin_{}", 1 + [0.25, 0.5, 0.75].iter().filter(|p| quantile(**p) <= v).count()));
        assert_eq!((!buckets.is_null(row)).then(|| buckets.value(row).to_string()), expected);
    }
}

#[tokio::test]
async fn calls_nest_in_transform() {
    let bench = Bench::new(2).await;
    let list = "ML.STANDARD_SCALER(winsorize(ML.IMPUTER(x, 'median') OVER (), 0.0, 0.9) OVER ()) OVER () AS x";
    let (preparation, prepared) = bench.learn(list, ROWS).await.unwrap();
    assert_eq!(preparation["rounds"].as_array().unwrap().len(), 3);
    let scaled: Vec<f64> = column(&bench.run(prepared).await, "x").into_iter().flatten().collect();
    assert_eq!(scaled.len(), 997);
    assert!(scaled.iter().sum::<f64>().abs() < 1e-9);
    let deviation = (scaled.iter().map(|v| v * v).sum::<f64>() / 996.0).sqrt();
    assert!((deviation - 1.0).abs() < 1e-12);
    // A tenth lies at the cap.
    let most = scaled.iter().fold(f64::MIN, |m, v| m.max(*v));
    assert!((95..=105).contains(&scaled.iter().filter(|v| **v == most).count()));
}

#[tokio::test]
async fn other_rows_are_prepared_by_what_was_learned() {
    let bench = Bench::new(2).await;
    let list = "* EXCEPT (s, c), ML.MIN_MAX_SCALER(x) OVER () AS scaled, ML.LABEL_ENCODER(s) OVER () AS label";
    let (preparation, _) = bench.learn(list, "SELECT * FROM (VALUES (1, 0.0, 'b', 1), (2, 4.0, 'a', 1)) AS t(id, x, s, c)").await.unwrap();
    let needed: Vec<String> = inputs(&preparation).unwrap().into_iter().map(|input| input.name).collect();
    assert_eq!(needed, ["id", "x", "s"]);
    // Another order, other types, a column of other case, a column more.
    let rows = "SELECT * FROM (VALUES ('z', 5, CAST(1 AS SMALLINT), 7), ('b', 1, CAST(2 AS SMALLINT), 8)) AS t(s, \"X\", id, more)";
    let state = bench.session.context().state();
    let applied = bench.run(apply(&preparation, bench.plan(rows).await, &state).unwrap()).await;
    assert_eq!(column(&applied, "scaled"), [Some(1.0), Some(0.25)]);
    assert_eq!(column(&applied, "label"), [Some(0.0), Some(2.0)]);
    assert_eq!(column(&applied, "more"), [Some(7.0), Some(8.0)]);
    let plan = bench.plan("SELECT 1 AS id, 2 AS x").await;
    let error = expressions(&preparation, plan.schema(), &state).unwrap_err();
    assert!(error.message.contains("'s'") && error.hint.as_deref() == Some("it reads: id, x, s"), "{error}");
}

#[tokio::test]
async fn structs_become_columns() {
    let bench = Bench::new(1).await;
    let (_, prepared) = bench.learn("ML.POLYNOMIAL_EXPAND(STRUCT(a, b), 2) AS p, a", "SELECT 2 AS a, 3 AS b").await.unwrap();
    let names: Vec<String> = prepared.schema().fields().iter().map(|f| f.name().clone()).collect();
    assert_eq!(names, ["p_a", "p_a_a", "p_a_b", "p_b", "p_b_b", "a"]);
    assert_eq!(column(&bench.run(prepared).await, "p_a_b"), [Some(6.0)]);
}

#[tokio::test]
async fn refusals_name_the_place() {
    let bench = Bench::new(1).await;
    // Places are counted in `SELECT list`.
    for (list, message, column) in [
        ("x, sum(y) AS t", "the aggregate sum() in TRANSFORM", 11),
        ("x, rank() OVER (ORDER BY x) AS r", "the analytic function rank in TRANSFORM", 11),
        ("x, (SELECT 1) AS s", "a subquery in TRANSFORM", 12),
        ("x, x + 1", "x + 1 in TRANSFORM has no name", 11),
        ("t.x", "t.x in TRANSFORM is a column of a table", 8),
        ("x, y AS x", "TRANSFORM has two columns named 'x'", 11),
        ("*, x", "TRANSFORM has two columns named 'x'", 11),
        ("* EXCEPT (nothing)", "the training query has no column 'nothing'", 18),
        ("x, ML.STANDARD_SCALER(x) AS z", "ML.STANDARD_SCALER learns of all rows and is written with OVER ()", 11),
        ("x, ML.STANDARD_SCALER(x) OVER (PARTITION BY y) AS z", "ML.STANDARD_SCALER learns of all rows: its OVER () is empty", 11),
    ] {
        let error = bench.learn(list, ROWS).await.err().unwrap_or_else(|| panic!("{list} is taken"));
        assert_eq!((error.message.as_str(), error.position.map(|p| p.column)), (message, Some(column)), "{list}");
    }
    for (list, message) in [
        ("ML.IMPUTER(x, 'often') OVER () AS z", "ML.IMPUTER: argument 2, strategy, is 'often'"),
        ("ML.IMPUTER(s, 'mean') OVER () AS z", "ML.IMPUTER: argument 1, x, must be a number for 'mean'"),
        ("ML.STANDARD_SCALER(s) OVER () AS z", "ML.STANDARD_SCALER: argument 1, x, must be a number"),
        ("ML.QUANTILE_BUCKETIZE(x, 1) OVER () AS z", "ML.QUANTILE_BUCKETIZE: argument 2, n, is 1; it goes from 2"),
        ("ML.QUANTILE_BUCKETIZE(x, y) OVER () AS z", "ML.QUANTILE_BUCKETIZE: argument 2, n, must be a literal"),
        ("winsorize(x, 0.9, 0.1) OVER () AS z", "winsorize: argument 3, high, is 0.1, which is not more than low"),
        ("winsorize(x, 0, 95) OVER () AS z", "winsorize: argument 3, high, is 95; it goes from 0 to 1"),
        ("ML.ROBUST_SCALER(x, [75, 25]) OVER () AS z", "ML.ROBUST_SCALER: argument 2, quantile_range, must be two percentiles"),
        ("ML.ONE_HOT_ENCODER(s, 'all') OVER () AS z", "ML.ONE_HOT_ENCODER: argument 2, drop, is 'all'"),
        ("nothing AS z", "No field named nothing"),
    ] {
        let error = bench.learn(list, ROWS).await.err().unwrap_or_else(|| panic!("{list} is taken"));
        assert!(error.message.contains(message), "{list}: {error}");
        let error = bench.query(&format!("SELECT {list} FROM ({ROWS}) AS t")).await.err().unwrap_or_else(|| panic!("{list} is taken"));
        assert!(error.message.contains(message) && error.position.is_some_and(|p| p.line == 1 && p.column >= 8), "{list}: {error}");
    }
}

#[tokio::test]
async fn numbers_that_are_none_are_refused() {
    let bench = Bench::new(1).await;
    for wrong in ["'NaN'", "'inf'"] {
        for list in ["ML.STANDARD_SCALER(x) OVER () AS z", "winsorize(x, 0.0, 0.9) OVER () AS z"] {
            let rows = format!("SELECT CAST({wrong} AS DOUBLE) AS x UNION ALL SELECT 1");
            let error = bench.learn(list, &rows).await.err().unwrap_or_else(|| panic!("{wrong} is taken"));
            assert!(error.message.contains("argument 1, x, holds"), "{error}");
        }
    }
}
