//! Each solver against closed forms, dense solutions of nalgebra, and each other.

use nalgebra::{DMatrix, DVector};
use proptest::prelude::*;

use crate::matrix_factorization::config::{Config, Feedback};
use crate::matrix_factorization::conjugate_gradient::ConjugateGradient;
use crate::matrix_factorization::factors::Factors;
use crate::matrix_factorization::nonnegative::Nonnegative;
use crate::matrix_factorization::normal_equations::{NormalEquations, gram_of};
use crate::simd::{Kernel as _, widest};

fn numbers(count: usize) -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec(-2.0f32..2.0, count)
}

/// Factors of `count` rows with weights and targets.
fn system(max_rank: usize, max_rows: usize) -> impl Strategy<Value = (usize, Vec<f32>, Vec<f32>, Vec<f32>)> {
    (1..=max_rank, 1..=max_rows)
        .prop_flat_map(|(rank, count)| (Just(rank), numbers(rank * count), prop::collection::vec(0.0f32..3.0, count), numbers(count)))
}

fn dense(rank: usize, values: &[f32], weights: &[f32], targets: &[f32], ridge: f64) -> (DMatrix<f64>, DVector<f64>) {
    let (mut a, mut b) = (DMatrix::identity(rank, rank) * ridge, DVector::zeros(rank));
    for (row, (weight, target)) in values.chunks_exact(rank).zip(weights.iter().zip(targets)) {
        let y = DVector::from_iterator(rank, row.iter().map(|v| f64::from(*v)));
        a += &y * y.transpose() * f64::from(*weight);
        b += y * f64::from(*target);
    }
    (a, b)
}

fn solve_by_cholesky(rank: usize, values: &[f32], weights: &[f32], targets: &[f32], ridge: f64) -> Vec<f64> {
    let factors = Factors::from_dense(rank, values);
    let others: Vec<u32> = (0..factors.len() as u32).collect();
    let mut equations = NormalEquations::new(rank);
    equations.begin(None);
    equations.add_weighted(&factors, &others, weights, targets);
    equations.add_ridge(ridge);
    let mut x = vec![0.0; rank];
    equations.solve(&mut x);
    x
}

proptest! {
    #[test]
    fn cholesky_solves_as_nalgebra((rank, values, weights, targets) in system(40, 90)) {
        let (a, b) = dense(rank, &values, &weights, &targets, 0.5);
        let expected = a.cholesky().unwrap().solve(&b);
        let found = solve_by_cholesky(rank, &values, &weights, &targets, 0.5);
        for (found, expected) in found.iter().zip(expected.iter()) {
            prop_assert!((found - expected).abs() <= 1e-9 * (1.0 + expected.abs()), "{found} {expected}");
        }
    }

    #[test]
    fn unweighted_sums_are_those_of_weight_one((rank, values, _, targets) in system(20, 70)) {
        let factors = Factors::from_dense(rank, &values);
        let others: Vec<u32> = (0..factors.len() as u32).collect();
        let (mut one, mut other) = (NormalEquations::new(rank), NormalEquations::new(rank));
        one.add(&factors, &others, &targets);
        other.add_weighted(&factors, &others, &vec![1.0; others.len()], &targets);
        prop_assert_eq!(&one.a, &other.a);
        prop_assert_eq!(&one.b, &other.b);
        prop_assert_eq!(gram_of(&factors, 0..factors.len()).upper, one.a);
    }

    #[test]
    fn conjugate_gradients_end_where_cholesky_does((rank, values, weights, targets) in system(75, 60), ridge in 0.5f64..4.0) {
        let factors = Factors::from_dense(rank, &values);
        let others: Vec<u32> = (0..factors.len() as u32).collect();
        let expected = solve_by_cholesky(rank, &values, &weights, &targets, ridge);
        let mut x = vec![0.0f32; factors.stride()];
        let mut room = Vec::new();
        let equations = ConjugateGradient { factors: &factors, others: &others, weights: &weights, targets: &targets, gram: &[], ridge: ridge as f32, steps: 4 * rank as u32 + 20, x: &mut x, room: &mut room };
        let value = widest(equations);
        let (_, b) = dense(rank, &values, &weights, &targets, ridge);
        let least = -b.iter().zip(&expected).map(|(b, x)| b * x).sum::<f64>();
        prop_assert!((value - least).abs() <= 2e-3 * (1.0 + least.abs()), "{value} {least}");
        for (found, expected) in x.iter().zip(&expected) {
            prop_assert!((f64::from(*found) - expected).abs() <= 5e-3 * (1.0 + expected.abs()), "{found} {expected}");
        }
        prop_assert!(x[rank..].iter().all(|v| *v == 0.0));
    }

    #[test]
    fn vectors_of_any_width_give_the_same_bits((rank, values, weights, targets) in system(70, 50)) {
        let factors = Factors::from_dense(rank, &values);
        let others: Vec<u32> = (0..factors.len() as u32).collect();
        let run = |wide: bool| {
            let mut x = vec![0.25f32; factors.stride()];
            x[rank..].fill(0.0);
            let mut room = Vec::new();
            let equations = ConjugateGradient { factors: &factors, others: &others, weights: &weights, targets: &targets, gram: &[], ridge: 0.1, steps: 3, x: &mut x, room: &mut room };
            let value = if wide { widest(equations) } else { equations.run() };
            (value.to_bits(), x.iter().map(|v| v.to_bits()).collect::<Vec<u32>>())
        };
        prop_assert_eq!(run(true), run(false));
    }

    #[test]
    fn nonnegative_is_the_best_of_all_active_sets((rank, values, weights, targets) in system(6, 12)) {
        let (a, b) = dense(rank, &values, &weights, &targets, 0.3);
        let value = |x: &DVector<f64>| 0.5 * (x.transpose() * &a * x)[0] - b.dot(x);
        let mut least = 0.0f64;
        for set in 1u32..1 << rank {
            let places: Vec<usize> = (0..rank).filter(|f| set >> f & 1 == 1).collect();
            let part = DMatrix::from_fn(places.len(), places.len(), |i, j| a[(places[i], places[j])]);
            let right = DVector::from_fn(places.len(), |i, _| b[places[i]]);
            let solved = part.cholesky().unwrap().solve(&right);
            if solved.iter().all(|v| *v >= 0.0) {
                let mut x = DVector::zeros(rank);
                for (place, v) in places.iter().zip(solved.iter()) {
                    x[*place] = *v;
                }
                least = least.min(value(&x));
            }
        }
        let flat: Vec<f64> = (0..rank * rank).map(|i| a[(i / rank, i % rank)]).collect();
        let mut x = vec![0.0; rank];
        Nonnegative::new(rank).solve(&flat, rank, b.as_slice(), &mut x);
        prop_assert!(x.iter().all(|v| *v >= 0.0));
        let found = value(&DVector::from_vec(x));
        prop_assert!((found - least).abs() <= 1e-9 * (1.0 + least.abs()), "{found} {least}");
    }
}

#[test]
fn nonnegative_is_cholesky_where_that_is_nonnegative() {
    let values = [1.0f32, 0.0, 0.0, 1.0, 1.0, 1.0];
    let (weights, targets) = ([1.0f32; 3], [2.0f32, 3.0, 5.0]);
    let (a, b) = dense(2, &values, &weights, &targets, 0.0);
    let mut x = vec![0.0; 2];
    Nonnegative::new(2).solve(a.as_slice(), 2, b.as_slice(), &mut x);
    assert!((x[0] - 2.0).abs() < 1e-12 && (x[1] - 3.0).abs() < 1e-12, "{x:?}");
}

#[test]
fn factors_without_information_stay_zero() {
    // The second factor is twice the first in every row, the third is always 0.
    let values = [1.0f32, 2.0, 0.0, 3.0, 6.0, 0.0];
    let x = solve_by_cholesky(3, &values, &[1.0, 1.0], &[5.0, 15.0], 0.0);
    assert!((x[0] - 5.0 * (1.0 + 9.0) / 10.0).abs() < 1e-9 && x[1] == 0.0 && x[2] == 0.0, "{x:?}");
}

#[test]
fn auto_is_exact_for_opinions_and_few_factors() {
    use crate::matrix_factorization::config::Solver;
    let config = |feedback: &str, rank: i64| {
        let given = [("feedback_type", super::text(feedback)), ("num_factors", crate::OptionValue::Int(rank))];
        Config::new(&super::options(&given), &super::columns_of(&super::rows(&[]))).unwrap()
    };
    assert_eq!(config("explicit", 200).solver, Solver::Cholesky);
    assert_eq!(config("implicit", 10).solver, Solver::Cholesky);
    assert_eq!(config("implicit", 64).solver, Solver::ConjugateGradient);
    assert_eq!(config("implicit", 64).feedback, Feedback::Implicit { alpha: 1.0 });
}
