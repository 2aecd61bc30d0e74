//! Whole trainings against a plain implementation over dense matrices, and closed forms.

use std::collections::BTreeMap;

use nalgebra::{DMatrix, DVector};

use super::{model, rows, some_ratings, text, train};
use crate::OptionValue::{Bool, Int};
use crate::matrix_factorization::factors::Factors;
use crate::matrix_factorization::ids::Dictionary;
use crate::{ModelFile, OptionValue};

/// What the plain implementation is asked for.
#[derive(Clone, Copy)]
struct Plain {
    rank: usize,
    iterations: usize,
    reg: f64,
    by_ratings: bool,
    alpha: Option<f64>,
}

/// Factors of users and items as dense matrices, with the loss of each iteration.
fn plain(file: &ModelFile, triples: &[(i64, i64, f64)], seed: u64, plain: Plain) -> (DMatrix<f64>, DMatrix<f64>, Vec<f64>) {
    let dictionary = |name: &str| Dictionary::from_ipc(file.u8s(name).unwrap()).unwrap();
    let (users, items) = (dictionary("user_ids"), dictionary("item_ids"));
    let start = |ids: &Dictionary| {
        let dense = Factors::initial(ids, plain.rank, seed).unwrap().to_dense();
        DMatrix::from_row_iterator(ids.len(), plain.rank, dense.into_iter().map(f64::from))
    };
    let (mut x, mut y) = (start(&users), start(&items));
    let distinct = |get: fn(&(i64, i64, f64)) -> i64| {
        let ids: std::collections::BTreeSet<i64> = triples.iter().map(get).collect();
        ids.into_iter().enumerate().map(|(place, id)| (id, place)).collect::<BTreeMap<i64, usize>>()
    };
    let (user_places, item_places) = (distinct(|t| t.0), distinct(|t| t.1));
    let mut ratings = DMatrix::from_element(users.len(), items.len(), f64::NAN);
    for (user, item, rating) in triples {
        ratings[(user_places[user], item_places[item])] = f64::from(*rating as f32);
    }
    let mut losses = Vec::new();
    for _ in 0..plain.iterations {
        y = solve(&x, &ratings.transpose(), plain);
        x = solve(&y, &ratings, plain);
        losses.push(loss(&x, &y, &ratings, plain));
    }
    (x, y, losses)
}

/// The equations of a pair: its weight, and what it should be.
fn pair(rating: f64, alpha: Option<f64>) -> (f64, f64) {
    match alpha {
        None if rating.is_nan() => (0.0, 0.0),
        None => (1.0, rating),
        Some(_) if rating.is_nan() => (1.0, 0.0),
        Some(alpha) => (1.0 + alpha * rating.abs(), f64::from(u8::from(rating > 0.0))),
    }
}

fn solve(others: &DMatrix<f64>, ratings: &DMatrix<f64>, plain: Plain) -> DMatrix<f64> {
    let mut solved = DMatrix::zeros(ratings.nrows(), plain.rank);
    for row in 0..ratings.nrows() {
        let (mut a, mut b, mut count) = (DMatrix::zeros(plain.rank, plain.rank), DVector::zeros(plain.rank), 0.0);
        for column in 0..ratings.ncols() {
            let rating = ratings[(row, column)];
            let (weight, wanted) = pair(rating, plain.alpha);
            let y = others.row(column).transpose();
            a += &y * y.transpose() * weight;
            b += y * weight * wanted;
            count += f64::from(u8::from(if plain.alpha.is_some() { rating > 0.0 } else { !rating.is_nan() }));
        }
        a += DMatrix::identity(plain.rank, plain.rank) * (plain.reg * if plain.by_ratings { count } else { 1.0 });
        solved.set_row(row, &a.lu().solve(&b).unwrap().transpose());
    }
    solved
}

fn loss(x: &DMatrix<f64>, y: &DMatrix<f64>, ratings: &DMatrix<f64>, plain: Plain) -> f64 {
    let (mut sum, mut weights) = (0.0, 0.0);
    for row in 0..ratings.nrows() {
        for column in 0..ratings.ncols() {
            let (weight, wanted) = pair(ratings[(row, column)], plain.alpha);
            sum += weight * (wanted - x.row(row).dot(&y.row(column))).powi(2);
            weights += weight;
        }
    }
    sum / weights
}

fn compare(given: &[(&str, OptionValue)], reference: Plain, tolerance: f64) {
    let triples = some_ratings(30, 23, 0.4);
    let mut all = vec![
        ("num_factors", Int(reference.rank as i64)),
        ("max_iterations", Int(reference.iterations as i64)),
        ("l2_reg", OptionValue::Float(reference.reg)),
        ("seed", Int(3)),
    ];
    all.extend(given.iter().cloned());
    let trained = train(&rows(&triples), &all).unwrap();
    let (x, y, losses) = plain(&trained.file, &triples, 3, reference);
    for (name, expected) in [("user_factors", x), ("item_factors", y)] {
        let (shape, found) = trained.file.f32s(name).unwrap();
        assert_eq!(shape, [expected.nrows(), reference.rank]);
        for (place, value) in found.iter().enumerate() {
            let expected = expected[(place / reference.rank, place % reference.rank)];
            assert!((f64::from(*value) - expected).abs() <= tolerance * (1.0 + expected.abs()), "{name} {place}: {value} {expected}");
        }
    }
    assert_eq!(trained.iterations.len(), reference.iterations);
    for (iteration, expected) in trained.iterations.iter().zip(losses) {
        let found = iteration.loss.unwrap();
        assert!((found - expected).abs() <= tolerance * (1.0 + expected), "{found} {expected}");
    }
}

#[test]
fn opinions_with_regularisation_by_ratings() {
    compare(&[], Plain { rank: 4, iterations: 3, reg: 0.1, by_ratings: true, alpha: None }, 1e-4);
}

#[test]
fn opinions_with_flat_regularisation() {
    compare(&[("reg_scaling", text("flat"))], Plain { rank: 9, iterations: 2, reg: 0.5, by_ratings: false, alpha: None }, 1e-4);
}

#[test]
fn evidence_solved_exactly() {
    let given = [("feedback_type", text("implicit")), ("alpha", OptionValue::Float(3.0)), ("solver", text("cholesky"))];
    compare(&given, Plain { rank: 5, iterations: 3, reg: 0.1, by_ratings: true, alpha: Some(3.0) }, 1e-4);
}

#[test]
fn evidence_by_conjugate_gradients_is_exact_where_three_steps_are_enough() {
    let given = [("feedback_type", text("implicit")), ("wals_alpha", OptionValue::Float(2.0)), ("solver", text("cg"))];
    compare(&given, Plain { rank: 3, iterations: 3, reg: 0.2, by_ratings: true, alpha: Some(2.0) }, 2e-3);
}

#[test]
fn opinions_by_conjugate_gradients_are_exact_where_three_steps_are_enough() {
    compare(&[("solver", text("cg"))], Plain { rank: 3, iterations: 2, reg: 0.3, by_ratings: true, alpha: None }, 2e-3);
}

#[test]
fn negative_evidence_counts_against_an_item() {
    let mut triples = some_ratings(20, 15, 0.5);
    for triple in triples.iter_mut().step_by(3) {
        triple.2 = -triple.2;
    }
    let given = [
        ("feedback_type", text("implicit")),
        ("num_factors", Int(3)),
        ("max_iterations", Int(2)),
        ("seed", Int(3)),
        ("l2_reg", OptionValue::Float(0.1)),
    ];
    let trained = train(&rows(&triples), &given).unwrap();
    let reference = Plain { rank: 3, iterations: 2, reg: 0.1, by_ratings: true, alpha: Some(1.0) };
    let (x, _, _) = plain(&trained.file, &triples, 3, reference);
    let (_, found) = trained.file.f32s("user_factors").unwrap();
    for (place, value) in found.iter().enumerate() {
        assert!((f64::from(*value) - x[(place / 3, place % 3)]).abs() < 1e-4);
    }
}

#[test]
fn finds_a_matrix_of_rank_one() {
    let (users, items) = ([1.0, 2.0, 0.5, 3.0], [2.0, 1.0, 4.0]);
    let mut triples = Vec::new();
    for (user, a) in users.iter().enumerate() {
        for (item, b) in items.iter().enumerate() {
            if (user, item) != (3, 2) {
                triples.push((user as i64, item as i64, a * b));
            }
        }
    }
    let given = [("num_factors", Int(1)), ("max_iterations", Int(30)), ("l2_reg", OptionValue::Float(0.0))];
    let model = model(&rows(&triples), &given);
    let pair = rows(&[(3, 2, 0.0), (0, 0, 0.0)]);
    let predicted = model.predict_pairs(pair.column(0), pair.column(1)).unwrap();
    assert!((predicted.value(0) - 12.0).abs() < 1e-4 && (predicted.value(1) - 2.0).abs() < 1e-5, "{predicted:?}");
}

#[test]
fn nonnegative_factors_are_and_lose_little() {
    let triples = some_ratings(40, 30, 0.5);
    let given = [("num_factors", Int(4)), ("seed", Int(1))];
    let free = train(&rows(&triples), &given).unwrap();
    let bound = train(&rows(&triples), &[given[0].clone(), given[1].clone(), ("nonnegative", Bool(true))]).unwrap();
    for name in ["user_factors", "item_factors"] {
        assert!(bound.file.f32s(name).unwrap().1.iter().all(|v| *v >= 0.0));
    }
    let loss = |trained: &crate::Trained| trained.iterations.last().unwrap().loss.unwrap();
    assert!(loss(&bound) < 1.5 * loss(&free) + 0.1, "{} {}", loss(&bound), loss(&free));
}

#[test]
fn the_loss_of_opinions_is_their_mean_squared_error() {
    let trained = train(&rows(&some_ratings(40, 30, 0.5)), &[("num_factors", Int(4))]).unwrap();
    let loss = trained.iterations.last().unwrap().loss.unwrap();
    assert!((loss - trained.metrics["mean_squared_error"]).abs() < 1e-5);
    assert!((loss.sqrt() - trained.metrics["root_mean_squared_error"]).abs() < 1e-5);
    assert!(trained.metrics["r2_score"] > 0.5 && trained.metrics["r2_score"] <= trained.metrics["explained_variance"] + 1e-9);
}

#[test]
fn ends_early_when_the_loss_settles() {
    let table = rows(&some_ratings(40, 30, 0.5));
    let given = [("num_factors", Int(2)), ("max_iterations", Int(500)), ("tol", OptionValue::Float(0.01))];
    let iterations = train(&table, &given).unwrap().iterations;
    let loss = |back: usize| iterations[iterations.len() - back].loss.unwrap();
    assert!(iterations.len() < 100, "{}", iterations.len());
    assert!((loss(2) - loss(1)).abs() <= 0.01 * loss(2) && (loss(3) - loss(2)).abs() > 0.01 * loss(3));
}
