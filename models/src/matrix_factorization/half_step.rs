//! Half an iteration: the factors of one side's rows from those of the other side.

use rayon::prelude::*;

use super::config::{Config, Feedback, Solver};
use super::conjugate_gradient::{ConjugateGradient, STEPS};
use super::factors::Factors;
use super::nonnegative::Nonnegative;
use super::normal_equations::{Gram, NormalEquations, gram_of};
use super::ratings::Rows;
use crate::simd::widest;
use crate::{ModelError, Observer, Result};

/// Rows whose Gram matrices are added one after another; the sums of such ranges are added in their order, on however many threads they were made.
const GRAM_ROWS: usize = 512;
/// Ranges of rows for each thread, so that none waits long for the others.
const SHARES: usize = 16;

/// `Σ y yᵀ` over all rows, where the feedback needs it.
pub fn gram(config: &Config, factors: &Factors) -> Option<Gram> {
    if !config.is_implicit() {
        return None;
    }
    let ranges: Vec<_> = (0..factors.len()).step_by(GRAM_ROWS).map(|from| from..(from + GRAM_ROWS).min(factors.len())).collect();
    let parts: Vec<Gram> = ranges.into_par_iter().map(|range| gram_of(factors, range)).collect();
    parts.into_iter().reduce(|mut sum, part| {
        for (sum, part) in sum.upper.iter_mut().zip(part.upper) {
            *sum += part;
        }
        sum
    })
}

/// One side's rows and what they are solved from.
pub struct HalfStep<'a> {
    /// The options.
    pub config: &'a Config,
    /// Ratings by this side's rows; others are places in `factors`.
    pub ratings: &'a Rows,
    /// The other side.
    pub factors: &'a Factors,
    /// [`gram`] of all of the other side.
    pub gram: Option<&'a Gram>,
    /// This side before; conjugate gradients begin there.
    pub before: Option<&'a Factors>,
}

impl HalfStep<'_> {
    /// The factors of all rows, and what each contributes to the loss: `Σ w (p - x y)²`, of explicit feedback over its ratings, of implicit over all of the
    /// other side.
    ///
    /// # Errors
    /// It was cancelled.
    pub fn solve(&self, observer: &dyn Observer) -> Result<(Factors, Vec<f64>)> {
        let rows = self.ratings.len();
        let mut solved = Factors::zeros(rows, self.config.rank);
        let mut losses = vec![0.0; rows];
        let stride = solved.stride();
        let mut tasks = Vec::new();
        let (mut factors_left, mut losses_left) = (solved.values_mut(), losses.as_mut_slice());
        for range in self.ratings.shares(SHARES * rayon::current_num_threads()) {
            let (factors, after) = std::mem::take(&mut factors_left).split_at_mut(range.len() * stride);
            let (share, losses_after) = std::mem::take(&mut losses_left).split_at_mut(range.len());
            tasks.push((range, factors, share));
            (factors_left, losses_left) = (after, losses_after);
        }
        let whole_gram = self.gram.map(|gram| self.in_32_bits(gram)).unwrap_or_default();
        tasks.into_par_iter().with_max_len(1).try_for_each(|(range, factors, losses)| {
            if observer.is_cancelled() {
                return Err(ModelError::cancelled());
            }
            let mut scratch = Scratch::new(self.config);
            for ((row, x), loss) in range.zip(factors.chunks_exact_mut(stride)).zip(losses) {
                *loss = self.solve_row(row, x, &whole_gram, &mut scratch);
            }
            Ok(())
        })?;
        Ok((solved, losses))
    }

    /// The whole Gram matrix with rows as those of factors.
    fn in_32_bits(&self, gram: &Gram) -> Vec<f32> {
        if self.config.solver != Solver::ConjugateGradient {
            return Vec::new();
        }
        let (rank, stride) = (self.config.rank, self.factors.stride());
        let from = NormalEquations::new(rank).stride();
        let mut whole = vec![0.0; rank * stride];
        for row in 0..rank {
            for column in 0..rank {
                whole[row * stride + column] = gram.upper[row.min(column) * from + row.max(column)] as f32;
            }
        }
        whole
    }

    fn solve_row(&self, row: usize, x: &mut [f32], whole_gram: &[f32], scratch: &mut Scratch) -> f64 {
        let (others, ratings) = self.ratings.row(row);
        let equation = Weighted::new(self.config, ratings, &mut scratch.weights, &mut scratch.targets);
        if equation.positive == 0 {
            return equation.constant; // 0 is the solution
        }
        let ridge = self.config.l2_reg * if self.config.reg_by_ratings { equation.positive as f64 } else { 1.0 };
        let Scratch { exact, weights, targets, room } = scratch;
        let value = if let Some(exact) = exact {
            self.solve_exactly(others, (ratings, weights.as_slice(), targets.as_slice()), ridge, x, exact)
        } else {
            if let Some(before) = self.before {
                x.copy_from_slice(before.row(row));
            }
            let equations = ConjugateGradient {
                factors: self.factors,
                others,
                weights,
                targets,
                gram: whole_gram,
                ridge: ridge as f32,
                steps: STEPS,
                x,
                room,
            };
            widest(equations)
        };
        let length: f64 = x.iter().map(|v| f64::from(*v) * f64::from(*v)).sum();
        equation.constant + value - ridge * length
    }

    /// Builds and solves the normal equations; returns `xᵀ A x - 2 bᵀ x`, which is `-bᵀ x` at the solution.
    fn solve_exactly(
        &self,
        others: &[u32],
        (ratings, weights, targets): (&[f32], &[f32], &[f32]),
        ridge: f64,
        x: &mut [f32],
        exact: &mut Exact,
    ) -> f64 {
        let Exact { equations, nonnegative, solution } = exact;
        equations.begin(self.gram);
        match self.config.feedback {
            Feedback::Explicit => equations.add(self.factors, others, ratings),
            Feedback::Implicit { .. } => equations.add_weighted(self.factors, others, weights, targets),
        }
        equations.add_ridge(ridge);
        if let Some(nonnegative) = nonnegative {
            equations.fill_lower();
            nonnegative.solve(&equations.a, equations.stride(), &equations.b, solution);
        } else {
            equations.solve(solution);
        }
        for (x, solution) in x.iter_mut().zip(solution.iter()) {
            *x = *solution as f32;
        }
        -equations.b.iter().zip(solution.iter()).map(|(b, x)| b * x).sum::<f64>()
    }
}

/// Room to solve rows in, one after the other.
struct Scratch {
    /// `None` for conjugate gradients, which form no equations.
    exact: Option<Exact>,
    weights: Vec<f32>,
    targets: Vec<f32>,
    room: Vec<f32>,
}

struct Exact {
    equations: NormalEquations,
    nonnegative: Option<Nonnegative>,
    solution: Vec<f64>,
}

impl Scratch {
    fn new(config: &Config) -> Self {
        let exact = || Exact {
            equations: NormalEquations::new(config.rank),
            nonnegative: (config.solver == Solver::Nonnegative).then(|| Nonnegative::new(config.rank)),
            solution: vec![0.0; config.rank],
        };
        let exact = (config.solver != Solver::ConjugateGradient).then(exact);
        Self { exact, weights: Vec::new(), targets: Vec::new(), room: Vec::new() }
    }
}

/// A row's ratings as weights and targets of its equations.
struct Weighted {
    /// How many ratings count for the regularisation: all explicit ones, positive implicit ones.
    positive: usize,
    /// The loss of factors that are all 0.
    constant: f64,
}

impl Weighted {
    fn new(config: &Config, ratings: &[f32], weights: &mut Vec<f32>, targets: &mut Vec<f32>) -> Self {
        weights.clear();
        targets.clear();
        match config.feedback {
            Feedback::Explicit => {
                if config.solver == Solver::ConjugateGradient {
                    weights.resize(ratings.len(), 1.0);
                    targets.extend_from_slice(ratings);
                }
                let constant = ratings.iter().map(|r| f64::from(*r) * f64::from(*r)).sum();
                Self { positive: ratings.len(), constant }
            }
            Feedback::Implicit { alpha } => {
                let alpha = alpha as f32;
                weights.extend(ratings.iter().map(|r| alpha * r.abs()));
                targets.extend(ratings.iter().map(|r| if *r > 0.0 { 1.0 + alpha * r } else { 0.0 }));
                let positive = ratings.iter().filter(|r| **r > 0.0).count();
                Self { positive, constant: targets.iter().map(|c| f64::from(*c)).sum() }
            }
        }
    }
}
