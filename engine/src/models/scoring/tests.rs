//! Functions of models as plans use them: over the wire, over columns, over constants.

use arrow::array::{AsArray as _, Int64Array, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type, Schema};
use datafusion::config::ConfigOptions;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::AggregateUDF;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr, expressions};
use datafusion::prelude::{SessionContext, col};
use datafusion_proto::physical_plan::from_proto::parse_physical_expr;
use datafusion_proto::physical_plan::to_proto::serialize_physical_expr;
use datafusion_proto::physical_plan::{DefaultPhysicalExtensionCodec, PhysicalExtensionCodec as _};
use orrery_models::InputColumn;

use super::*;
use crate::operators::codec::OperatorCodec;

fn codec() -> OperatorCodec {
    OperatorCodec::over(Arc::new(DefaultPhysicalExtensionCodec {}))
}

fn scorer(folder: &std::path::Path) -> Scorer {
    let reference = testing::stored(folder, 0.0);
    Scorer::of(reference, testing::model(0.0))
}

fn inputs() -> Vec<Expr> {
    vec![col("a"), col("b")]
}

/// A function that came out of the wire, which has to find its model itself.
fn sent(function: &ScalarUDF) -> ScalarUDF {
    let mut bytes = Vec::new();
    codec().try_encode_udf(function, &mut bytes).unwrap();
    let read = codec().try_decode_udf(function.name(), &bytes).unwrap();
    assert_eq!(read.as_ref(), function);
    ScalarUDF::clone(&read)
}

fn evaluated(call: &Expr, rows: &RecordBatch) -> ArrayRef {
    let Expr::ScalarFunction(call) = call else { panic!("{call} is a call") };
    let function = sent(&call.func);
    let columns = rows.columns().iter().map(|column| ColumnarValue::Array(Arc::clone(column))).collect();
    let returned = function.return_type(&[]).unwrap();
    let args = ScalarFunctionArgs {
        args: columns,
        arg_fields: rows.schema().fields().iter().cloned().collect(),
        number_rows: rows.num_rows(),
        return_field: Arc::new(arrow::datatypes::Field::new("r", returned, true)),
        config_options: Arc::new(ConfigOptions::default()),
    };
    function.invoke_with_args(args).unwrap().to_array(rows.num_rows()).unwrap()
}

#[test]
fn predicts_after_the_wire_what_the_model_predicts() {
    let dir = tempfile::tempdir().unwrap();
    let (scorer, rows) = (scorer(dir.path()), testing::points(0.0));
    let expected = testing::model(0.0).predict(rows.columns()).unwrap();
    let ids = evaluated(&predict::call(&scorer, vec![0], inputs()).unwrap(), &rows);
    assert_eq!(&ids, &expected[0]);
    let ids = ids.as_primitive::<Int64Type>();
    assert_eq!(ids.value(0), ids.value(3));
    assert_ne!(ids.value(0), ids.value(4));
    let both = evaluated(&predict::call(&scorer, vec![0, 1], inputs()).unwrap(), &rows);
    assert_eq!(both.as_struct().column(0), &expected[0]);
    assert_eq!(both.as_struct().column(1), &expected[1]);
    let names: Vec<&str> = both.as_struct().fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["centroid_id", "nearest_centroids_distance"]);
    assert_eq!(&evaluated(&predict::value_call(&scorer, inputs()).unwrap(), &rows), &expected[0]);
}

#[test]
fn anomalies_and_tables_survive_the_wire() {
    let dir = tempfile::tempdir().unwrap();
    let (scorer, rows) = (scorer(dir.path()), testing::points(0.0));
    let expected = testing::model(0.0).anomalies(rows.columns()).unwrap();
    assert_eq!(&evaluated(&anomalies::call(&scorer, 0, inputs()).unwrap(), &rows), &expected[0]);
    let table = ModelTable::Centroids { standardize: false };
    let schema = tables::schema(&scorer, table).unwrap().unwrap();
    let block = RecordBatch::try_from_iter([("block", Arc::new(Int64Array::from(vec![0])) as ArrayRef)]).unwrap();
    let told = evaluated(&tables::call(&scorer, table, &schema, col("block")), &block);
    let told = told.as_list::<i64>().value(0);
    assert_eq!(RecordBatch::from(told.as_struct()), testing::model(0.0).table(table).unwrap().unwrap());
    assert!(tables::schema(&scorer, ModelTable::Weights).unwrap().is_none());
}

#[test]
fn physical_expressions_survive_the_wire() {
    let dir = tempfile::tempdir().unwrap();
    let Expr::ScalarFunction(call) = predict::call(&scorer(dir.path()), vec![0], inputs()).unwrap() else { panic!("a call") };
    let schema: Schema = testing::points(0.0).schema().as_ref().clone();
    let args = vec![expressions::col("a", &schema).unwrap(), expressions::col("b", &schema).unwrap()];
    let field = Arc::new(arrow::datatypes::Field::new("centroid_id", DataType::Int64, true));
    let expr: Arc<dyn PhysicalExpr> =
        Arc::new(ScalarFunctionExpr::new("ml_predict", Arc::clone(&call.func), args, field, Arc::new(ConfigOptions::default())));
    let bytes = serialize_physical_expr(&expr, &codec()).unwrap();
    let read = parse_physical_expr(&bytes, &TaskContext::default(), &schema, &codec()).unwrap();
    assert_eq!(read.downcast_ref::<ScalarFunctionExpr>().unwrap().fun(), call.func.as_ref());
    let rows = testing::points(0.0);
    let ids = read.evaluate(&rows).unwrap().to_array(rows.num_rows()).unwrap();
    assert_eq!(&ids, &testing::model(0.0).predict(rows.columns()).unwrap()[0]);
}

/// Two stages over rows in several partitions give the measures of rows in one.
#[tokio::test]
async fn evaluations_merge() {
    let dir = tempfile::tempdir().unwrap();
    let scorer = scorer(dir.path());
    let columns = ["a", "b"].map(|name| InputColumn { name: name.to_string(), data_type: DataType::Float64 });
    let planned = evaluate::plan(&scorer, &columns, &orrery_models::Options::default()).unwrap();
    assert_eq!((planned.columns.as_slice(), planned.stages.len()), ([0, 1].as_slice(), 2));
    let stages: Vec<AggregateUDF> = planned.stages.iter().map(sent_aggregate).collect();
    let rows = testing::points(0.0);
    let mut results = Vec::new();
    for partitions in
        [vec![vec![rows.clone()]], vec![vec![rows.slice(0, 3)], vec![rows.slice(3, 1), rows.slice(4, 4)], vec![rows.slice(0, 0)]]]
    {
        let context = SessionContext::new();
        let table = datafusion::datasource::MemTable::try_new(rows.schema(), partitions).unwrap();
        let rows = context.read_table(Arc::new(table)).unwrap();
        let first = rows.clone().aggregate(vec![], vec![evaluate::call(&stages[0], None, inputs()).alias("before")]).unwrap();
        let both = first.join_on(rows, datafusion::common::JoinType::Inner, []).unwrap();
        let measured = evaluate::call(&stages[1], Some(col("before")), inputs()).alias("measures");
        results.push(both.aggregate(vec![], vec![measured]).unwrap().collect().await.unwrap());
    }
    assert_eq!(results[0], results[1]);
    let measures = results[0][0].column(0).as_struct();
    let silhouette = measures.column_by_name("silhouette").unwrap().as_primitive::<Float64Type>().value(0);
    assert!(silhouette > 0.99, "{measures:?}");
}

fn sent_aggregate(function: &AggregateUDF) -> AggregateUDF {
    let mut bytes = Vec::new();
    codec().try_encode_udaf(function, &mut bytes).unwrap();
    let read = codec().try_decode_udaf(function.name(), &bytes).unwrap();
    assert_eq!(read.as_ref(), function);
    AggregateUDF::clone(&read)
}
