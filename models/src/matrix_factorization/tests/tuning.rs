//! Several values of options, tried on ratings that are held out; and what is known before training.

use arrow::array::AsArray as _;
use arrow::datatypes::Float64Type;

use super::{columns_of, measured, model, rows, some_ratings, text, train, trainer};
use crate::OptionValue::{Bool, Candidates, Float, Int, Range};
use crate::{Model as _, OptionValue, Trained};

fn names(trained: &Trained) -> Vec<String> {
    trained.metrics.keys().cloned().collect()
}

#[test]
fn the_values_that_predict_best_are_kept_and_trained_on_all_ratings() {
    let table = rows(&some_ratings(60, 40, 0.5));
    let given = [
        ("num_factors", Candidates(vec![Int(1), Int(6)])),
        ("l2_reg", Candidates(vec![Float(0.05), Int(100)])),
        ("max_iterations", Int(4)),
    ];
    let tuned = train(&table, &given).unwrap();
    let errors: Vec<f64> = tuned.trials.iter().map(|trial| trial.metrics["mean_squared_error"]).collect();
    let best = errors.iter().copied().fold(f64::INFINITY, f64::min);
    let kept: Vec<&crate::Trial> = tuned.trials.iter().filter(|trial| trial.is_optimal).collect();
    assert_eq!((tuned.trials.len(), kept.len()), (4, 1));
    assert_eq!(kept[0].metrics["mean_squared_error"], best);
    assert!(errors[1] > 2.0 * best && errors[3] > 2.0 * best, "so much regularization predicts nothing: {errors:?}");
    // Five runs of four iterations; the last one is of the model.
    assert_eq!(tuned.iterations.iter().map(|i| (i.training_run, i.iteration)).collect::<Vec<_>>().last(), Some(&(4, 3)));
    assert_eq!(tuned.iterations.len(), 20);
    let [rank, l2_reg] = ["num_factors", "l2_reg"].map(|name| kept[0].hyperparameters[name]);
    let alone = train(&table, &[("num_factors", Int(rank as i64)), ("l2_reg", Float(l2_reg)), ("max_iterations", Int(4))]).unwrap();
    assert!(alone.file.to_bytes().unwrap() == tuned.file.to_bytes().unwrap());
    assert_eq!(alone.metrics, tuned.metrics);
}

#[test]
fn implicit_feedback_is_tuned_by_rankings() {
    let table = rows(&some_ratings(60, 40, 0.5));
    let given = [("feedback_type", text("implicit")), ("alpha", Range(1.0, 16.0)), ("num_factors", Int(4)), ("max_iterations", Int(3))];
    let tuned = train(&table, &given).unwrap();
    let alphas: Vec<f64> = tuned.trials.iter().map(|trial| trial.hyperparameters["wals_alpha"]).collect();
    assert_eq!(alphas, [1.0, 2.0, 4.0, 8.0, 16.0]);
    let precisions: Vec<f64> = tuned.trials.iter().map(|trial| trial.metrics["mean_average_precision"]).collect();
    let best = precisions.iter().copied().fold(0.0, f64::max);
    assert_eq!(tuned.trials.iter().position(|trial| trial.is_optimal), precisions.iter().position(|p| *p == best));
    assert!(best > 0.0 && best <= 1.0);
}

#[test]
fn ids_that_were_trained_on_count_whatever_their_factors_are() {
    // Factors from 0 on have no product below 0: all of them become 0.
    let triples: Vec<(i64, i64, f64)> = some_ratings(30, 20, 0.5).into_iter().map(|(user, item, rating)| (user, item, -rating)).collect();
    let given = [("nonnegative", Bool(true)), ("num_factors", Candidates(vec![Int(1), Int(2)])), ("max_iterations", Int(2))];
    let tuned = train(&rows(&triples), &given).unwrap();
    let squares: Vec<f64> = triples.iter().map(|(_, _, rating)| rating * rating).collect();
    let (least, most) = squares.iter().fold((f64::INFINITY, 0.0f64), |(least, most), square| (least.min(*square), most.max(*square)));
    for trial in &tuned.trials {
        let error = trial.metrics["mean_squared_error"];
        assert!((least..=most).contains(&error), "{error} of ratings whose squares are from {least} to {most}");
    }
}

#[test]
fn values_that_cannot_be_tried() {
    let table = rows(&[(1, 1, 1.0), (2, 2, 2.0)]);
    let refused = |given: &[(&str, OptionValue)]| train(&table, given).unwrap_err();
    assert!(refused(&[("num_factors", Range(1.0, 101.0))]).message.contains("101 combinations"));
    assert!(refused(&[("alpha", Range(1.0, 2.0))]).message.contains("no meaning for explicit"));
    assert!(refused(&[("l2_reg", Range(2.0, 1.0))]).hint.unwrap().contains("HPARAM_RANGE"));
    assert!(refused(&[("l2_reg", Range(0.1, 1.0))]).message.contains("too few ratings"));
}

#[test]
fn measures_of_training_are_those_of_an_evaluation_on_its_rows() {
    let table = rows(&some_ratings(30, 20, 0.5));
    for feedback in ["explicit", "implicit"] {
        let given = [("feedback_type", text(feedback)), ("num_factors", Int(4)), ("max_iterations", Int(3))];
        let trained = train(&table, &given).unwrap();
        let evaluation = model(&table, &given).evaluation(&columns_of(&table), &crate::Options::default()).unwrap();
        let row = measured(evaluation.as_ref(), &[table.slice(0, 100), table.slice(100, table.num_rows() - 100)]);
        for (name, value) in &trained.metrics {
            let found = row.column_by_name(name).unwrap_or_else(|| panic!("{name}")).as_primitive::<Float64Type>().value(0);
            assert!((found - value).abs() <= 1e-9 * value.abs(), "{name}: {found} {value}");
        }
        assert!(trained.metrics.len() >= 6, "{:?}", trained.metrics);
    }
}

#[test]
fn an_outline_has_the_shape_of_what_is_trained() {
    let table = rows(&some_ratings(60, 40, 0.5));
    let tried = Candidates(vec![Int(2), Int(3)]);
    for feedback in ["explicit", "implicit"] {
        for rank in [Int(3), tried.clone()] {
            let given = [("feedback_type", text(feedback)), ("num_factors", rank), ("max_iterations", Int(2))];
            let (outline, trained) = (trainer(&table, &given).unwrap().outline().unwrap(), train(&table, &given).unwrap());
            assert_eq!(names(&outline), names(&trained));
            let trials = |of: &Trained| {
                let trial = |t: &crate::Trial| (t.hyperparameters.clone(), t.metrics.keys().cloned().collect::<Vec<_>>());
                of.trials.iter().map(trial).collect::<Vec<_>>()
            };
            assert_eq!(trials(&outline), trials(&trained));
            let read = |of: &Trained| super::MatrixFactorizationModel::read(&of.file).unwrap();
            let (outline, trained) = (read(&outline), read(&trained));
            assert_eq!((outline.inputs(), outline.predicted()), (trained.inputs(), trained.predicted()));
            let weights = crate::ModelTable::Weights;
            assert_eq!(outline.table(weights).unwrap().unwrap().schema(), trained.table(weights).unwrap().unwrap().schema());
        }
    }
}
