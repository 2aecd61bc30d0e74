//! `model_type = 'matrix_factorization'`: users and items as short vectors of factors whose products are ratings, by alternating least squares.
//!
//! **What is minimised.** Explicit feedback: `Σ (r - x·y)² + λ (Σ n_u |x_u|² + Σ n_i |y_i|²)` over the ratings `r`, `n` being how many ratings a user or item
//! has (Y. Zhou, D. Wilkinson, R. Schreiber, R. Pan, "Large-scale Parallel Collaborative Filtering for the Netflix Prize", 2008), or 1 with
//! `reg_scaling = 'flat'`. Implicit feedback: `Σ c (p - x·y)² + …` over *all* pairs, `p = 1` where a rating is positive and 0 elsewhere, `c = 1 + α|r|`
//! (Y. Hu, Y. Koren, C. Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", 2008). Both as Spark MLlib does it: each iteration solves all items,
//! then all users. The loss that is reported is the first sum divided by that of the weights: the mean squared error, of implicit feedback the weighted one
//! of all pairs; it falls out of the normal equations and costs no pass.
//!
//! **How it is computed.** Ratings lie in compressed rows by user and by item. A row's normal equations are summed in 64 bits in tiles that stay in registers,
//! and solved by Cholesky; or three steps of conjugate gradients in 32 bits, from the factors before, never form them. Every row is solved alone, from
//! ratings ordered by the ids of the other side: the result is the same to the bit for any number of threads and any division of the ratings.
//!
//! ```text
//! one task:      one block has all ratings and keeps the factors     ◄── "iterate" ── trainer
//! distributed:   blocks by user   ◄── ids and factors of items ───── trainer      ── rows of users ──►
//!                blocks by item   ◄── ids and factors of users ───── trainer      ── rows of items ──►
//! ```

mod blocks;
mod config;
mod conjugate_gradient;
mod error_median;
mod errors;
mod evaluation;
mod factors;
mod half_step;
mod held_out;
mod ids;
mod model;
mod nonnegative;
mod normal_equations;
pub mod ranking;
mod ratings;
mod runs;
mod scores;
mod trainer;
mod tuning;
mod user_ranking;
mod wire;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use self::evaluation::RankingEvaluation;
pub use self::model::{MatrixFactorizationModel, Recommended, Side};
use crate::{InputColumn, Model, ModelError, ModelFile, ModelType, OptionSpec, Options, Result, Trainer};

const NAME: &str = "matrix_factorization";

/// See the module documentation.
#[derive(Debug, Clone, Copy)]
pub struct MatrixFactorization;

impl ModelType for MatrixFactorization {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "Predicts how users rate items, or which items they will like, from past ratings: alternating least squares."
    }

    fn options(&self) -> &'static [OptionSpec] {
        config::OPTIONS
    }

    fn trainer(&self, options: &Options, columns: &[InputColumn], warm_start: Option<&dyn Model>) -> Result<Box<dyn Trainer>> {
        if warm_start.is_some() {
            return Err(ModelError::option("warm_start", "a matrix factorization always begins anew").hint("leave it out"));
        }
        Ok(Box::new(trainer::AlsTrainer::new(options, columns)?))
    }

    fn read(&self, file: &ModelFile) -> Result<Arc<dyn Model>> {
        Ok(Arc::new(MatrixFactorizationModel::read(file)?))
    }

    fn inputs(&self, file: &ModelFile) -> Result<Vec<InputColumn>> {
        MatrixFactorizationModel::inputs_of(file)
    }
}
