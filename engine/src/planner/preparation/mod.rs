//! Preparation of columns that is learned once: the functions of `ML.STANDARD_SCALER(x) OVER ()`'s kind, and `TRANSFORM`.
//!
//! Each function says which aggregates over all rows it needs, and which plain expression of a row it is given their values ([`call`]). Outside of models
//! the aggregates are window functions over everything ([`expand`]). In `TRANSFORM` they are computed once, over the training rows ([`Learning`]), and their
//! values become literals: what is kept with the model is the select list as written, the columns that it needs, and these values ([`Preparation`]). Both
//! ways end in the same expressions, and so in the same bits.
//!
//! A call may stand among the arguments of another in `TRANSFORM`, `ML.STANDARD_SCALER(winsorize(x, 0.0, 0.95) OVER ()) OVER ()`: values are learned in
//! rounds, from the innermost calls outwards, each over the rows as the rounds before it prepare them.

mod buckets;
mod call;
mod encoders;
mod expand;
mod imputer;
mod learning;
mod scalers;
mod select_list;
mod stored;
mod winsorize;

pub use expand::ExpandLearnedFunctions;
pub use learning::Learning;
pub use stored::{apply, expressions, inputs};

#[cfg(test)]
mod tests;
