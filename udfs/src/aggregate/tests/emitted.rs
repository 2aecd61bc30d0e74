//! The accumulators over events by themselves: emitted bit by bit, merged from several, and with their memory counted.

use std::sync::Arc;

use arrow::array::*;
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{col, lit};
use proptest::prelude::*;

const GROUPS: usize = 9;

/// Columns of `rows` rows and, for each call, its arguments: a column's name or a literal.
fn table(rows: usize) -> RecordBatch {
    let mixed = |row: usize, salt: usize| (row * 7919 + salt * 104_729) % 10_007;
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("t", Arc::new(Int64Array::from_iter((0..rows).map(|row| (row % 11 != 0).then_some((mixed(row, 1) % 100) as i64))))),
        (
            "e",
            Arc::new(StringViewArray::from_iter(
                (0..rows).map(|row| (row % 13 != 0).then(|| format!("a rather long event {}", mixed(row, 2) % 5))),
            )),
        ),
        ("gap", Arc::new(Int64Array::from_iter_values((0..rows).map(|row| 1 + (mixed(row, 3) % 6) as i64)))),
        ("first", Arc::new(BooleanArray::from_iter((0..rows).map(|row| Some(mixed(row, 4) % 3 == 0))))),
        ("second", Arc::new(BooleanArray::from_iter((0..rows).map(|row| (row % 7 != 0).then_some(mixed(row, 5) % 2 == 0))))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

fn calls() -> Vec<(&'static str, Vec<Result<&'static str, ScalarValue>>)> {
    let number = |number: i64| Err(ScalarValue::Int64(Some(number)));
    let pattern = Err(ScalarValue::Utf8(Some("(?1)(?t<=9)(?2)".into())));
    vec![
        ("sessionize", vec![Ok("t"), number(2)]),
        ("sessionize", vec![Ok("t"), number(2), number(9)]),
        ("sessionize", vec![Ok("t"), Ok("gap")]),
        ("funnel", vec![Ok("t"), number(9), Ok("first"), Ok("second")]),
        ("path", vec![Ok("t"), Ok("e")]),
        ("path", vec![Ok("t"), Ok("e"), number(3)]),
        ("retention", vec![Ok("first"), Ok("second")]),
        ("sequence_match", vec![pattern.clone(), Ok("t"), Ok("first"), Ok("second")]),
        ("sequence_count", vec![pattern, Ok("t"), Ok("first"), Ok("second")]),
    ]
}

/// Makes accumulators of one call, and its arguments.
struct Call {
    function: Arc<datafusion::logical_expr::AggregateUDF>,
    schema: Schema,
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    fields: Vec<FieldRef>,
}

impl Call {
    fn new(name: &str, arguments: &[Result<&str, ScalarValue>], schema: &Schema) -> Self {
        let exprs: Vec<Arc<dyn PhysicalExpr>> = arguments
            .iter()
            .map(|argument| match argument {
                Ok(column) => col(column, schema).unwrap(),
                Err(value) => lit(value.clone()),
            })
            .collect();
        let fields = exprs.iter().map(|expr| expr.return_field(schema).unwrap()).collect();
        let function = crate::aggregate_functions().into_iter().find(|function| function.name() == name).unwrap();
        Self { function, schema: schema.clone(), exprs, fields }
    }

    fn accumulator(&self) -> Box<dyn GroupsAccumulator> {
        let types: Vec<DataType> = self.fields.iter().map(|field| field.data_type().clone()).collect();
        let args = AccumulatorArgs {
            return_field: Arc::new(Field::new("result", self.function.return_type(&types).unwrap(), true)),
            schema: &self.schema,
            ignore_nulls: false,
            order_bys: &[],
            is_reversed: false,
            name: "call",
            is_distinct: false,
            exprs: &self.exprs,
            expr_fields: &self.fields,
        };
        self.function.create_groups_accumulator(args).unwrap()
    }

    fn values(&self, rows: &RecordBatch) -> Vec<ArrayRef> {
        self.exprs.iter().map(|expr| expr.evaluate(rows).unwrap().into_array(rows.num_rows()).unwrap()).collect()
    }
}

fn all_at_once(call: &Call, rows: &RecordBatch, groups: &[usize]) -> ArrayRef {
    let mut accumulator = call.accumulator();
    accumulator.update_batch(&call.values(rows), groups, None, GROUPS).unwrap();
    accumulator.evaluate(EmitTo::All).unwrap()
}

/// Rows dealt out to `parts` accumulators in batches, whose states are taken in two pieces and merged.
fn in_pieces(call: &Call, rows: &RecordBatch, groups: &[usize], parts: usize, batch: usize, cut: usize) -> ArrayRef {
    let mut whole = call.accumulator();
    for part in 0..parts {
        let mut own = call.accumulator();
        for start in (0..rows.num_rows()).step_by(batch).skip(part).step_by(parts) {
            let length = batch.min(rows.num_rows() - start);
            own.update_batch(&call.values(&rows.slice(start, length)), &groups[start..start + length], None, GROUPS).unwrap();
        }
        // Makes all groups exist, should no row have come.
        own.update_batch(&call.values(&rows.slice(0, 0)), &[], None, GROUPS).unwrap();
        for (first, emit) in [(0, EmitTo::First(cut)), (cut, EmitTo::All)] {
            let state = own.state(emit).unwrap();
            let to: Vec<usize> = (first..first + state[0].len()).collect();
            whole.merge_batch(&state, &to, GROUPS).unwrap();
        }
    }
    let first = whole.evaluate(EmitTo::First(cut)).unwrap();
    let rest = whole.evaluate(EmitTo::All).unwrap();
    concat(&[&first, &rest]).unwrap()
}

/// Rows of the first groups first: these are emitted before the others come.
fn sorted_by_group(call: &Call, rows: &RecordBatch, groups: &[usize], cut: usize) -> ArrayRef {
    let mut accumulator = call.accumulator();
    let (early, late): (Vec<usize>, Vec<usize>) = (0..groups.len()).partition(|row| groups[*row] < cut);
    let mut emitted = Vec::new();
    for (rows_of, first) in [(early, 0), (late, cut)] {
        let places = UInt32Array::from_iter_values(rows_of.iter().map(|row| *row as u32));
        let taken = arrow::compute::take_record_batch(rows, &places).unwrap();
        let own: Vec<usize> = rows_of.iter().map(|row| groups[*row] - first).collect();
        accumulator.update_batch(&call.values(&taken), &own, None, GROUPS - first).unwrap();
        if first == 0 {
            emitted.push(accumulator.evaluate(EmitTo::First(cut)).unwrap());
        }
    }
    emitted.push(accumulator.evaluate(EmitTo::All).unwrap());
    concat(&emitted.iter().map(|part| part.as_ref()).collect::<Vec<_>>()).unwrap()
}

/// Every row turned into a state of its own.
fn converted(call: &Call, rows: &RecordBatch, groups: &[usize]) -> ArrayRef {
    let states = call.accumulator().convert_to_state(&call.values(rows), None).unwrap();
    let mut accumulator = call.accumulator();
    accumulator.merge_batch(&states, groups, GROUPS).unwrap();
    accumulator.evaluate(EmitTo::All).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn pieces_give_what_the_whole_gives(
        groups in prop::collection::vec(0usize..GROUPS, 0..200),
        (parts, batch, cut) in (1usize..4, 1usize..30, 0usize..=GROUPS),
    ) {
        let rows = table(groups.len());
        for (name, arguments) in calls() {
            let call = Call::new(name, &arguments, &rows.schema());
            let expected = all_at_once(&call, &rows, &groups);
            prop_assert_eq!(&in_pieces(&call, &rows, &groups, parts, batch, cut), &expected, "{} in pieces", name);
            prop_assert_eq!(&sorted_by_group(&call, &rows, &groups, cut), &expected, "{} sorted", name);
            prop_assert_eq!(&converted(&call, &rows, &groups), &expected, "{} converted", name);
        }
    }
}

#[test]
fn memory_is_accounted_for() {
    let rows = table(50_000);
    let groups: Vec<usize> = (0..50_000).collect();
    for (name, arguments) in calls() {
        let call = Call::new(name, &arguments, &rows.schema());
        let mut accumulator = call.accumulator();
        let empty = accumulator.size();
        accumulator.update_batch(&call.values(&rows), &groups, None, groups.len()).unwrap();
        // Four bytes for each group that some row is kept of, which for each call are more than half.
        assert!(accumulator.size() > empty + 100_000, "{name}: {} bytes", accumulator.size());
        accumulator.state(EmitTo::First(49_000)).unwrap();
        accumulator.state(EmitTo::All).unwrap();
        assert!(accumulator.size() < empty + 1024, "{name}: {} bytes are still held", accumulator.size());
    }
}
