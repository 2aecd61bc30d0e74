//! Measures of rankings and evaluation against cases worked out by hand.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Float64Type;
use proptest::prelude::*;

use super::{columns_of, measured, model, rows, some_ratings, text};
use crate::Model as _;
use crate::OptionValue::Int;
use crate::matrix_factorization::RankingEvaluation;
use crate::matrix_factorization::ranking::{RankedHits, counted, positions, searched};

fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-12, "{found} {expected}");
}

#[test]
fn measures_of_a_ranking_by_hand() {
    // Predicted 1 6 2 7 8 3 9 10 4 5, wanted 1 to 5: Spark's own example. Hits at 0, 2, 5, 8, 9.
    let hits = RankedHits::of(&[1, 6, 2, 7, 8, 3, 9, 10, 4, 5], &[1, 2, 3, 4, 5]);
    close(hits.precision_at(1), 1.0);
    close(hits.precision_at(5), 0.4);
    close(hits.precision_at(15), 5.0 / 15.0);
    close(hits.recall_at(5), 0.4);
    close(hits.recall_at(10), 1.0);
    close(hits.average_precision(), (1.0 + 2.0 / 3.0 + 3.0 / 6.0 + 4.0 / 9.0 + 5.0 / 10.0) / 5.0);
    close(hits.average_precision_at(2), 1.0 / 2.0);
    let gain = |position: f64| 1.0 / (position + 2.0).ln();
    close(hits.ndcg_at(3), (gain(0.0) + gain(2.0)) / (gain(0.0) + gain(1.0) + gain(2.0)));
    let ideal = gain(0.0) + gain(1.0) + gain(2.0) + gain(3.0) + gain(4.0);
    close(hits.ndcg(), (gain(0.0) + gain(2.0) + gain(5.0) + gain(8.0) + gain(9.0)) / ideal);
}

#[test]
fn rankings_without_hits_or_wants_are_zero() {
    for hits in [RankedHits::of(&[1, 2, 3], &[]), RankedHits::of(&[1, 2, 3], &[4]), RankedHits::of(&[], &[4])] {
        for measure in
            [hits.precision_at(2), hits.recall_at(2), hits.average_precision(), hits.ndcg(), hits.ndcg_at(0), hits.precision_at(0)]
        {
            assert_eq!(measure, 0.0);
        }
    }
}

proptest! {
    #[test]
    fn positions_are_those_of_a_sorted_list(
        scores in prop::collection::vec((-3i8..3).prop_map(f32::from), 1..40), flags in prop::collection::vec(0u8..3, 40),
    ) {
        let with = |flag: u8| (0..scores.len() as u32).filter(|p| flags[*p as usize] == flag).collect::<Vec<u32>>();
        let (candidates, skipped) = (with(1), with(2));
        let mut order: Vec<u32> = (0..scores.len() as u32).filter(|p| !skipped.contains(p)).collect();
        order.sort_by(|a, b| scores[*b as usize].total_cmp(&scores[*a as usize]).then(a.cmp(b)));
        let expected: Vec<usize> = candidates.iter().map(|c| order.iter().position(|p| p == c).unwrap()).collect();
        prop_assert_eq!(&positions(&scores, &candidates, &skipped), &expected);
        prop_assert_eq!(&counted(&scores, &candidates, &skipped), &expected);
        prop_assert_eq!(&searched(&scores, &candidates, &skipped), &expected);
    }
}

fn value(row: &RecordBatch, name: &str) -> Option<f64> {
    let column = row.column_by_name(name).unwrap().as_primitive::<Float64Type>();
    column.is_valid(0).then(|| column.value(0))
}

#[test]
fn errors_of_rows_held_out() {
    let table = rows(&some_ratings(30, 20, 0.5));
    let model = model(&table, &[("num_factors", Int(3))]);
    let held_out = rows(&[(-20, 0, 2.0), (-13, 3, 1.0), (1, 6, 4.0), (12345, 0, 5.0), (1, 12345, 5.0)]);
    let evaluation = model.clone().evaluation(&columns_of(&held_out), &crate::Options::default()).unwrap();
    let row = measured(evaluation.as_ref(), &[held_out.slice(0, 2), held_out.slice(2, 3)]);
    assert_eq!(row, measured(evaluation.as_ref(), &[held_out.slice(3, 2), held_out.slice(0, 1), held_out.slice(1, 2)]));
    let predicted = model.predict_pairs(held_out.column(0), held_out.column(1)).unwrap();
    let targets = [2.0, 1.0, 4.0];
    let errors: Vec<f64> = (0..3).map(|i| targets[i] - predicted.value(i)).collect();
    let mean = |values: Vec<f64>| values.iter().sum::<f64>() / 3.0;
    let mse = mean(errors.iter().map(|e| e * e).collect());
    let spread = mean(targets.iter().map(|t| (t - 7.0f64 / 3.0).powi(2)).collect());
    let error = mean(errors.clone());
    let found = |name| value(&row, name).unwrap();
    close(found("mean_absolute_error"), mean(errors.iter().map(|e| e.abs()).collect()));
    close(found("mean_squared_error"), mse);
    close(found("root_mean_squared_error"), mse.sqrt());
    close(found("mean_squared_log_error"), mean((0..3).map(|i| (targets[i].ln_1p() - predicted.value(i).ln_1p()).powi(2)).collect()));
    close(found("r2_score"), 1.0 - mse / spread);
    close(found("explained_variance"), 1.0 - mean(errors.iter().map(|e| (e - error).powi(2)).collect()) / spread);
}

#[test]
fn what_is_gathered_of_errors_does_not_grow_with_the_rows() {
    let table = rows(&some_ratings(60, 40, 0.9));
    let evaluation = model(&table, &[("num_factors", Int(3))]).evaluation(&columns_of(&table), &crate::Options::default()).unwrap();
    let gathered = |stage: usize, before: Option<&[u8]>, rows: &RecordBatch| {
        let columns: Vec<_> = evaluation.columns().into_iter().map(|at| Arc::clone(rows.column(at))).collect();
        evaluation.accumulate(stage, before, None, &columns).unwrap()
    };
    let (one, all) = (gathered(0, None, &table.slice(0, 1)), gathered(0, None, &table));
    assert!(all.len() < one.len() + 1000, "{} bytes of a row, {} of {}", one.len(), all.len(), table.num_rows());
    assert_eq!(gathered(1, Some(&one), &table.slice(0, 1)).len(), gathered(1, Some(&all), &table).len());
}

#[test]
fn unknown_pairs_count_as_cold_start_says() {
    let table = rows(&some_ratings(30, 20, 0.5));
    let held_out = rows(&[(-20, 0, 2.0), (12345, 0, 5.0)]);
    let row = |rule: &str| {
        let model = model(&table, &[("num_factors", Int(3)), ("cold_start", text(rule))]);
        let mean = model.predict_pairs(held_out.column(0), held_out.column(1)).unwrap();
        (
            measured(
                model.evaluation(&columns_of(&held_out), &crate::Options::default()).unwrap().as_ref(),
                std::slice::from_ref(&held_out),
            ),
            mean,
        )
    };
    let (nan, _) = row("nan");
    assert!(value(&nan, "mean_squared_error").unwrap().is_nan());
    let (mean, predicted) = row("mean");
    close(value(&mean, "mean_absolute_error").unwrap(), ((2.0 - predicted.value(0)).abs() + (5.0 - predicted.value(1)).abs()) / 2.0);
    let (drop, predicted) = row("drop");
    close(value(&drop, "mean_absolute_error").unwrap(), (2.0 - predicted.value(0)).abs());
}

#[test]
fn nothing_to_evaluate_on_gives_null() {
    let table = rows(&some_ratings(10, 8, 0.5));
    for feedback in ["explicit", "implicit"] {
        let model = model(&table, &[("feedback_type", text(feedback))]);
        let evaluation = model.evaluation(&columns_of(&table), &crate::Options::default()).unwrap();
        let row = evaluation.finish(None, None).unwrap();
        assert_eq!(row.schema(), evaluation.schema());
        assert!(row.columns().iter().all(|column| column.is_null(0)), "{row:?}");
    }
}

#[test]
fn rankings_of_evidence_leave_out_what_is_known() {
    let table = rows(&some_ratings(30, 20, 0.4));
    let model = model(&table, &[("num_factors", Int(4)), ("feedback_type", text("implicit"))]);
    // One known user, two items; an unknown user and an unknown item do not count, nor does a row that is not positive.
    let held_out = rows(&[(1, 0, 1.0), (1, 9, 3.0), (1, 12, 0.0), (99999, 0, 1.0), (1, 99999, 1.0)]);
    let evaluation = RankingEvaluation::new(model.clone(), &columns_of(&held_out), 0.0, 10).unwrap();
    let row = measured(&evaluation, &[held_out.slice(2, 3), held_out.slice(0, 2)]);
    let all: Vec<i64> = (0..20).map(|item| item * 3).collect();
    let pairs = rows(&all.iter().map(|item| (1, *item, 0.0)).collect::<Vec<_>>());
    let scores = model.predict_pairs(pairs.column(0), pairs.column(1)).unwrap();
    let seen: Vec<i64> = some_ratings(30, 20, 0.4).into_iter().filter(|t| t.0 == 1).map(|t| t.1).collect();
    let mut ranked: Vec<usize> = (0..20).filter(|place| !seen.contains(&all[*place]) || [0, 9, 12].contains(&all[*place])).collect();
    ranked.sort_by(|a, b| scores.value(*b).total_cmp(&scores.value(*a)).then(a.cmp(b)));
    let order: Vec<i64> = ranked.iter().map(|place| all[*place]).collect();
    let hits = RankedHits::of(&order, &[0, 9]);
    let found = |name| value(&row, name).unwrap();
    close(found("mean_average_precision"), hits.average_precision());
    close(found("normalized_discounted_cumulative_gain"), hits.ndcg());
    close(found("precision_at_10"), hits.precision_at(10));
    close(found("recall_at_10"), hits.recall_at(10));
    let rank = |item: i64| order.iter().position(|found| *found == item).unwrap() as f64 / (order.len() - 1) as f64;
    close(found("average_rank"), (rank(0) + 3.0 * rank(9)) / 4.0);
    let score = |item: i64| scores.value((item / 3) as usize);
    close(found("mean_squared_error"), ((1.0 - score(0)).powi(2) + (1.0 - score(9)).powi(2) + score(12).powi(2)) / 3.0);
}

#[test]
fn ratings_can_be_ranked_too() {
    let table = rows(&some_ratings(30, 20, 0.6));
    let model = model(&table, &[("num_factors", Int(4)), ("max_iterations", Int(15))]);
    let evaluation = RankingEvaluation::new(Arc::clone(&model), &columns_of(&table), 2.5, 5).unwrap();
    let row = measured(&evaluation, &[table]);
    // In no particular order, what was rated well would stand in the middle.
    assert!(value(&row, "average_rank").unwrap() < 0.4, "{row:?}");
    assert!(value(&row, "mean_average_precision").unwrap() > 0.5 && value(&row, "precision_at_5").unwrap() <= 1.0);
}
