//! What an executor knows of plans: every function and every operator that a session of the scheduler can plan with, from the engine's own lists.

use std::sync::Arc;

use ballista_core::registry::BallistaFunctionRegistry;
use ballista_core::serde::BallistaPhysicalExtensionCodec;
use datafusion_proto::physical_plan::PhysicalExtensionCodec;
use orrery_engine::operators::codec::OperatorCodec;
use orrery_engine::planner;

/// Functions by name.
pub(crate) fn functions() -> BallistaFunctionRegistry {
    BallistaFunctionRegistry::from(&planner::functions())
}

/// How plans are read that the scheduler wrote.
pub(crate) fn codec() -> Arc<dyn PhysicalExtensionCodec> {
    Arc::new(OperatorCodec::over(Arc::new(BallistaPhysicalExtensionCodec::default())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::datatypes::{DataType, Field, Schema};
    use datafusion::arrow::util::pretty::pretty_format_batches;
    use datafusion::config::ConfigOptions;
    use datafusion::execution::TaskContext;
    use datafusion::execution::runtime_env::RuntimeEnv;
    use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
    use datafusion::physical_plan::collect;
    use datafusion::prelude::{SessionConfig, SessionContext};
    use datafusion_proto::physical_plan::AsExecutionPlan as _;
    use datafusion_proto::physical_plan::from_proto::parse_physical_expr;
    use datafusion_proto::physical_plan::to_proto::serialize_physical_expr;
    use datafusion_proto::protobuf::PhysicalPlanNode;
    use futures::TryStreamExt as _;
    use orrery_engine::dialect::split;
    use orrery_engine::session::{Mode, Outcome, Session, SessionOptions, Tracker};

    /// The context of a task, made of the registry alone.
    fn task_context() -> TaskContext {
        let known = functions();
        TaskContext::new(
            None,
            "test".to_string(),
            SessionConfig::new(),
            known.scalar_functions,
            known.higher_order_functions,
            known.aggregate_functions,
            known.window_functions,
            Arc::new(RuntimeEnv::default()),
        )
    }

    async fn functions_of_a_session() -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let options = SessionOptions { warehouse: dir.path().display().to_string(), ..SessionOptions::default() };
        let session = Session::open(options).await.unwrap();
        let show = split("SHOW FUNCTIONS").unwrap().remove(0);
        let Outcome::Rows(rows) = session.execute(&show, Mode::Run, &Tracker::default()).await.unwrap() else { panic!("SHOW has rows") };
        let batches: Vec<_> = rows.try_collect().await.unwrap();
        let names = batches.iter().flat_map(|batch| {
            let names = datafusion::arrow::array::AsArray::as_string::<i32>(batch.column(0).as_ref());
            names.iter().flatten().map(str::to_string).collect::<Vec<_>>()
        });
        names.collect()
    }

    #[tokio::test]
    async fn knows_every_function_that_a_session_shows() {
        let (shown, known) = (functions_of_a_session().await, functions());
        assert!(shown.len() > 250, "{}", shown.len());
        let missing: Vec<&String> = shown
            .iter()
            .filter(|name| {
                let name = name.as_str();
                // Table functions are scans by the time that plans are sent.
                !(name.starts_with("read_")
                    || known.scalar_functions.contains_key(name)
                    || known.aggregate_functions.contains_key(name)
                    || known.window_functions.contains_key(name)
                    || known.higher_order_functions.contains_key(name))
            })
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
        for ours in ["try_to_timestamp", "xxhash64", "min_by", "pack_row", "array_distinct", "regexp_match", "sha256"] {
            assert!(shown.iter().any(|name| name == ours), "{ours}");
        }
    }

    #[test]
    fn reads_every_scalar_function_from_the_wire() {
        let (context, codec) = (task_context(), codec());
        let field = Arc::new(Field::new("r", DataType::Int64, true));
        for (name, function) in planner::functions().scalar_functions() {
            let expr: Arc<dyn PhysicalExpr> = Arc::new(ScalarFunctionExpr::new(
                function.name(),
                Arc::clone(function),
                Vec::new(),
                Arc::clone(&field),
                Arc::new(ConfigOptions::default()),
            ));
            // Calls nest: the function within itself.
            let nested: Arc<dyn PhysicalExpr> = Arc::new(ScalarFunctionExpr::new(
                function.name(),
                Arc::clone(function),
                vec![expr],
                Arc::clone(&field),
                Arc::new(ConfigOptions::default()),
            ));
            let sent = serialize_physical_expr(&nested, codec.as_ref()).unwrap();
            let read =
                parse_physical_expr(&sent, &context, &Schema::empty(), codec.as_ref()).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(read.to_string(), nested.to_string());
            let inner = read.children()[0].downcast_ref::<ScalarFunctionExpr>().unwrap().fun();
            assert_eq!(inner, function.as_ref(), "{name}");
        }
    }

    /// Plans with functions of every kind inside each other come out of the wire as they went in, and give the same rows.
    #[tokio::test]
    async fn plans_with_nested_functions_survive_the_wire() {
        let queries = [
            "SELECT array_sort(array_distinct(make_array(v % 3, 7, xxhash64(v, 'a') % 2))) AS a, try_to_timestamp('2020-01-0' || v) AS t FROM nums",
            "SELECT v % 2 AS k, min_by(upper(concat('x', v)), -v) AS m, count(DISTINCT v % 4) AS d, first_value(v ORDER BY v DESC) AS f,
                    approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY v) AS p
             FROM nums GROUP BY v % 2 ORDER BY k",
            "SELECT v, sum(abs(v - 4)) OVER (PARTITION BY v % 2 ORDER BY v ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS s,
                    lag(date_trunc('hour', arrow_cast(v * 3600, 'Timestamp(Second, None)'))) OVER (ORDER BY v) AS l
             FROM nums ORDER BY v",
            "SELECT named_struct('a', make_array(v), 'b', map(['k'], [v]))['a'][1] AS x, regexp_replace('a' || v, '[0-9]', substr(encode(sha256('z'), 'hex'), 1, 3)) AS r FROM nums",
        ];
        let session = SessionContext::new_with_state(planner::functions());
        session.sql("CREATE TABLE nums AS SELECT value AS v FROM generate_series(1, 9)").await.unwrap().collect().await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nums.parquet").display().to_string();
        session.sql(&format!("COPY nums TO '{path}'")).await.unwrap().collect().await.unwrap();
        session.sql("DROP TABLE nums").await.unwrap().collect().await.unwrap();
        session.register_parquet("nums", path, datafusion::prelude::ParquetReadOptions::default()).await.unwrap();
        let context = Arc::new(task_context());
        for query in queries {
            let plan = session.sql(query).await.unwrap().create_physical_plan().await.unwrap();
            let bytes = {
                let mut bytes = Vec::new();
                PhysicalPlanNode::try_from_physical_plan(Arc::clone(&plan), codec().as_ref()).unwrap().try_encode(&mut bytes).unwrap();
                bytes
            };
            let read = PhysicalPlanNode::try_decode(&bytes).unwrap().try_into_physical_plan(&context, codec().as_ref()).unwrap();
            let text = |batches: &[_]| {
                let mut lines: Vec<String> = pretty_format_batches(batches).unwrap().to_string().lines().map(str::to_string).collect();
                lines.sort();
                lines
            };
            let expected = text(&collect(plan, session.task_ctx()).await.unwrap());
            assert_eq!(text(&collect(read, Arc::clone(&context)).await.unwrap()), expected, "{query}");
            assert!(expected.len() > 5, "{expected:?}");
        }
    }
}
