//! Trained models: files, predictions, recommendations, tables.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Decimal128Array, DictionaryArray, Int8Array, Int64Array, LargeStringArray, RecordBatch,
    StringArray, StringViewArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type};
use proptest::prelude::*;

use super::{model, rows, rows_of, some_ratings, text, train};
use crate::OptionValue::{Float, Int};
use crate::error::Cause;
use crate::matrix_factorization::factors::Factors;
use crate::matrix_factorization::scores::{Best, Panels, score, scores_with};
use crate::matrix_factorization::{MatrixFactorization, MatrixFactorizationModel, Side};
use crate::{Model as _, ModelFile, ModelTable, ModelType as _};

#[test]
fn reads_what_it_writes_and_refuses_what_is_damaged() {
    let trained = train(&rows(&some_ratings(12, 9, 0.5)), &[("num_factors", Int(3))]).unwrap();
    let bytes = trained.file.to_bytes().unwrap();
    let model = MatrixFactorization.read(&ModelFile::from_bytes(&bytes).unwrap()).unwrap();
    assert_eq!(model.inputs().iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["user", "item"]);
    assert_eq!(MatrixFactorization.inputs(&trained.file).unwrap(), model.inputs());
    assert!(model.bytes() > 12 * 3 * 4 && model.as_any().is::<MatrixFactorizationModel>());
    for name in trained.file.tensors.keys() {
        let mut without = trained.file.clone();
        without.tensors.remove(name);
        assert_eq!(MatrixFactorization.read(&without).err().unwrap().cause, Cause::File, "{name}");
        let mut short = trained.file.clone();
        let tensor = short.tensors.get_mut(name).unwrap();
        tensor.bytes.truncate(tensor.bytes.len() / 2);
        assert_eq!(MatrixFactorization.read(&short).err().unwrap().cause, Cause::File, "{name}");
    }
    for name in trained.file.metadata.keys() {
        let mut without = trained.file.clone();
        without.metadata.remove(name);
        if name == "rating_statistics" {
            // Models of earlier versions do not tell it.
            assert!(MatrixFactorization.read(&without).is_ok());
            without.metadata.insert(name.clone(), serde_json::Value::Bool(true));
        }
        assert_eq!(MatrixFactorization.read(&without).err().unwrap().cause, Cause::File, "{name}");
    }
    assert_eq!(MatrixFactorization.read(&ModelFile::new("kmeans")).err().unwrap().cause, Cause::File);
}

fn columns_of_all_types() -> Vec<ArrayRef> {
    let numbers: Vec<i64> = vec![5, 3, 9, 3, 5, 7];
    let texts: Vec<String> = numbers.iter().map(|n| format!("id {n}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    vec![
        Arc::new(Int64Array::from(numbers.clone())),
        Arc::new(Int8Array::from_iter_values(numbers.iter().map(|n| *n as i8 - 6))),
        Arc::new(UInt64Array::from_iter_values(numbers.iter().map(|n| u64::MAX - 10 + *n as u64))),
        Arc::new(Date32Array::from_iter_values(numbers.iter().map(|n| *n as i32 - 6))),
        Arc::new(TimestampMicrosecondArray::from_iter_values(numbers.iter().copied())),
        Arc::new(Decimal128Array::from_iter_values(numbers.iter().map(|n| i128::from(*n) - 6)).with_precision_and_scale(20, 2).unwrap()),
        Arc::new(arrow::array::Float64Array::from_iter_values(numbers.iter().map(|n| *n as f64 - 5.0))),
        Arc::new(StringArray::from(texts.clone())),
        Arc::new(LargeStringArray::from(texts.clone())),
        Arc::new(StringViewArray::from(texts.clone())),
        Arc::new(texts.into_iter().collect::<DictionaryArray<Int32Type>>()),
        Arc::new(arrow::array::BooleanArray::from_iter(numbers.iter().map(|n| Some(*n > 4)))),
    ]
}

#[test]
fn ids_of_many_types() {
    let items: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 1, 3, 4, 2]));
    let ratings: ArrayRef = Arc::new(arrow::array::Float64Array::from(vec![1.0, 2.0, 3.0, 4.0, 5.0, 1.5]));
    for users in columns_of_all_types() {
        let model = model(&rows_of(users.clone(), items.clone(), ratings.clone()), &[("num_factors", Int(2))]);
        let ids = model.ids(Side::Users);
        let sorted = arrow::compute::sort(ids, None).unwrap();
        assert_eq!(ids.as_ref(), sorted.as_ref(), "{}", users.data_type());
        assert_eq!(ids.len(), if users.data_type() == &DataType::Boolean { 2 } else { 4 });
        let predicted = model.predict_pairs(&users, &items).unwrap();
        assert_eq!(predicted.null_count(), 0, "{}", users.data_type());
        let lists = model.recommend(Side::Users, &users, 2, false).unwrap();
        assert_eq!((lists.len(), lists.null_count(), lists.value(0).len()), (6, 0, 2));
        let for_items = model.recommend(Side::Items, &items, 9, false).unwrap();
        assert_eq!(for_items.data_type(), &model.recommended_type(Side::Items));
        assert_eq!(for_items.value(0).as_struct().column(0).data_type(), ids.data_type());
    }
}

#[test]
fn the_width_of_whole_numbers_makes_no_difference() {
    let table = rows(&some_ratings(10, 8, 0.6));
    let narrow = rows_of(
        cast(table.column(0), &DataType::Int32).unwrap(),
        cast(table.column(1), &DataType::Int16).unwrap(),
        table.column(2).clone(),
    );
    let factors = |table| train(table, &[]).unwrap().file.f32s("user_factors").unwrap();
    assert_eq!(factors(&table), factors(&narrow));
    let model = model(&narrow, &[]);
    assert_eq!(model.predict_pairs(table.column(0), table.column(1)).unwrap().null_count(), 0);
    let wide = Arc::new(Int64Array::from(vec![i64::MAX])) as ArrayRef;
    assert_eq!(model.predict_pairs(&wide, &wide).unwrap().null_count(), 1);
}

#[test]
fn zero_and_minus_zero_are_one_id() {
    let ids = |values: Vec<f64>| Arc::new(arrow::array::Float64Array::from(values)) as ArrayRef;
    let table = rows_of(ids(vec![0.0, -0.0, 1.0]), ids(vec![1.0, 2.0, 1.0]), ids(vec![1.0, 2.0, 3.0]));
    let model = model(&table, &[]);
    assert_eq!(model.ids(Side::Users).len(), 2);
    assert_eq!(model.predict_pairs(&ids(vec![-0.0]), &ids(vec![1.0])).unwrap().null_count(), 0);
}

#[test]
fn predictions_of_unknown_ids_follow_the_rule() {
    let table = rows(&[(1, 1, 2.0), (1, 2, 4.0), (2, 1, 3.0)]);
    let ids = |values: Vec<Option<i64>>| Arc::new(Int64Array::from(values)) as ArrayRef;
    let (users, items) = (ids(vec![Some(1), Some(9), Some(1), None]), ids(vec![Some(1), Some(1), Some(9), Some(1)]));
    let predicted = |rule: &str, feedback: &str| {
        let model = model(&table, &[("cold_start", text(rule)), ("feedback_type", text(feedback)), ("num_factors", Int(2))]);
        let columns = model.predict(&[users.clone(), items.clone()]).unwrap();
        assert_eq!(columns[0].data_type(), model.predicted()[0].data_type());
        (columns[0].as_primitive::<Float64Type>().clone(), model.drops_unknown(), model.predicted_name())
    };
    let (drop, drops, name) = predicted("drop", "explicit");
    assert!(drops && name == "predicted_rating" && drop.is_valid(0) && (1..4).all(|row| drop.is_null(row)));
    let (nan, drops, _) = predicted("nan", "explicit");
    assert!(!drops && (1..4).all(|row| nan.value(row).is_nan()) && !nan.value(0).is_nan());
    let (mean, _, _) = predicted("mean", "explicit");
    assert!((1..4).all(|row| (mean.value(row) - 3.0).abs() < 1e-12), "{mean:?}");
    let (mean, _, name) = predicted("mean", "implicit");
    assert!(name == "predicted_rating_confidence" && (1..4).all(|row| (mean.value(row) - 0.75).abs() < 1e-12), "{mean:?}");
}

/// Recommendations as pairs of id and score.
fn pairs(lists: &arrow::array::ListArray, row: usize) -> Vec<(i64, f64)> {
    let list = lists.value(row);
    let [ids, scores] = list.as_struct().columns() else { panic!("two columns") };
    let (ids, scores) = (ids.as_primitive::<Int64Type>(), scores.as_primitive::<Float64Type>());
    (0..ids.len()).map(|i| (ids.value(i), scores.value(i))).collect()
}

fn check_recommendations(model: &MatrixFactorizationModel, triples: &[(i64, i64, f64)], side: Side, k: usize, exclude_seen: bool) {
    let other = if side == Side::Users { Side::Items } else { Side::Users };
    let all = model.recommend_range(side, 0, usize::MAX, k, exclude_seen).unwrap();
    assert_eq!(&all.ids, model.ids(side));
    let others = model.ids(other).as_primitive::<Int64Type>().values().to_vec();
    for (row, id) in model.ids(side).as_primitive::<Int64Type>().values().iter().enumerate() {
        let repeated = Arc::new(Int64Array::from(vec![*id; others.len()])) as ArrayRef;
        let candidates = model.ids(other);
        let scores =
            if side == Side::Users { model.predict_pairs(&repeated, candidates) } else { model.predict_pairs(candidates, &repeated) }
                .unwrap();
        let seen = |o: i64| triples.iter().any(|t| if side == Side::Users { (t.0, t.1) == (*id, o) } else { (t.1, t.0) == (*id, o) });
        let mut expected: Vec<(i64, f64)> =
            others.iter().copied().zip(scores.values().iter().copied()).filter(|(o, _)| !(exclude_seen && seen(*o))).collect();
        expected.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        expected.truncate(k);
        assert_eq!(pairs(&all.best, row), expected);
    }
}

#[test]
fn recommends_the_best_of_all() {
    let triples = some_ratings(75, 70, 0.3);
    for feedback in ["explicit", "implicit"] {
        let model = model(&rows(&triples), &[("num_factors", Int(5)), ("max_iterations", Int(2)), ("feedback_type", text(feedback))]);
        for (k, exclude_seen) in [(1, false), (10, true), (10, false), (1000, true), (0, true)] {
            check_recommendations(&model, &triples, Side::Users, k, exclude_seen);
            check_recommendations(&model, &triples, Side::Items, k, exclude_seen);
        }
    }
}

#[test]
fn recommends_for_some_and_knows_whom_it_does_not_know() {
    let model = model(&rows(&some_ratings(75, 30, 0.5)), &[("num_factors", Int(3))]);
    let all = model.recommend_range(Side::Users, 0, usize::MAX, 3, true).unwrap();
    let ids = Arc::new(Int64Array::from(vec![Some(1), Some(123_456), None, Some(-20)])) as ArrayRef;
    let lists = model.recommend(Side::Users, &ids, 3, true).unwrap();
    assert!(lists.is_valid(0) && lists.is_null(1) && lists.is_null(2) && lists.is_valid(3));
    assert_eq!(pairs(&lists, 0), pairs(&all.best, 3));
    assert_eq!(pairs(&lists, 3), pairs(&all.best, 0));
    let part = model.recommend_range(Side::Users, 70, 50, 3, true).unwrap();
    assert_eq!(part.ids.len(), 5);
    assert_eq!(pairs(&part.best, 4), pairs(&all.best, 74));
    assert_eq!(model.recommend_range(Side::Users, 500, 5, 3, true).unwrap().ids.len(), 0);
}

proptest! {
    #[test]
    fn the_best_of_equal_scores_are_the_first(
        rank in 1usize..5, candidates in prop::collection::vec(-2i8..3, 0..200), k in 0usize..30, users in 1usize..7, excluded in prop::collection::btree_set(0u32..50, 0..9),
    ) {
        let len = candidates.len() / rank;
        prop_assume!(len > 0);
        let dense: Vec<f32> = candidates[..len * rank].iter().map(|v| f32::from(*v)).collect();
        let items = Factors::from_dense(rank, &dense);
        let rows: Vec<Vec<f32>> = (0..users).map(|user| (0..rank).map(|f| ((user + f) % 3) as f32 - 1.0).collect()).collect();
        let slices: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
        let excluded: Vec<u32> = excluded.into_iter().collect();
        let mut best: Vec<Best<'_>> = rows.iter().map(|_| Best::new(k, &excluded)).collect();
        let panels = Panels::new(&items);
        panels.best(&slices, &mut best);
        for (row, best) in rows.iter().zip(best) {
            let mut expected: Vec<(f32, u32)> =
                (0..len as u32).filter(|p| !excluded.contains(p)).map(|p| (score(row, items.row(p as usize), rank), p)).collect();
            expected.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            expected.truncate(k);
            prop_assert_eq!(best.finish(), expected);
            let mut scores = Vec::new();
            panels.scores(row, &mut scores);
            prop_assert_eq!(&scores, &(0..len).map(|p| score(row, items.row(p), rank)).collect::<Vec<f32>>());
            let places: Vec<u32> = (0..len as u32).rev().collect();
            scores.reverse();
            prop_assert_eq!(scores_with(row, &items, &places), scores);
        }
    }
}

#[test]
fn weights_are_the_factors() {
    let trained = train(&rows(&[(7, 1, 2.0), (7, 2, 4.0), (8, 1, 3.0)]), &[("num_factors", Int(2)), ("l2_reg", Float(0.05))]).unwrap();
    let model = MatrixFactorization.read(&trained.file).unwrap();
    let table: RecordBatch = model.table(ModelTable::Weights).unwrap().unwrap();
    assert!(model.table(ModelTable::PrincipalComponents).unwrap().is_none());
    let column = |name: &str| table.column_by_name(name).unwrap().clone();
    assert_eq!(
        column("processed_input").as_string::<i32>().iter().flatten().collect::<Vec<_>>(),
        ["user", "user", "item", "item", "global__intercept__"]
    );
    assert_eq!(column("feature").as_string::<i32>().iter().collect::<Vec<_>>(), [Some("7"), Some("8"), Some("1"), Some("2"), None]);
    let first = column("factor_weights").as_list::<i32>().value(2);
    let factors = first.as_struct().column(0).as_primitive::<Int64Type>().values().to_vec();
    let weights = first.as_struct().column(1).as_primitive::<Float64Type>().values().to_vec();
    assert_eq!(factors, [1, 2]);
    let items = trained.file.f32s("item_factors").unwrap().1;
    assert_eq!(weights, [f64::from(items[0]), f64::from(items[1])]);
}
