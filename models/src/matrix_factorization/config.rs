//! The options of a matrix factorization, read and checked against the training columns.

use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

use super::ids::canonical_type;
use crate::type_names::sql_type_name;
use crate::{InputColumn, ModelError, OptionKind, OptionSpec, Options, Result};

const MAX_FACTORS: i64 = 1024;
/// Up to this many factors `solver = 'auto'` solves implicit feedback exactly; above, three steps of conjugate gradients are faster (see the module).
const AUTO_CHOLESKY_FACTORS: usize = 16;

/// The options, in the order of the reference.
pub const OPTIONS: &[OptionSpec] = &[
    spec(
        "feedback_type",
        OptionKind::Choice(&["explicit", "implicit"]),
        Some("'explicit'"),
        "Whether ratings are opinions, to be predicted, or counts of what users did: how sure it is that they like an item.",
    ),
    spec("user_col", OptionKind::Text, Some("'user'"), "The column of user ids."),
    spec("item_col", OptionKind::Text, Some("'item'"), "The column of item ids."),
    spec("rating_col", OptionKind::Text, Some("'rating'"), "The column of ratings."),
    spec(
        "num_factors",
        OptionKind::IntOrRange(1, MAX_FACTORS),
        Some("10"),
        "How many factors describe a user and an item. With HPARAM_RANGE(4, 12) or HPARAM_CANDIDATES([…]) for this, l2_reg or wals_alpha one statement tries all combinations, 100 at most, on nine tenths of the pairs, and keeps the one that predicts the other tenth best: with the lowest mean squared error or, of implicit feedback, the highest mean average precision (of 512 users at most); of equal ones the first. The model is then trained on all rows. ML.TRIAL_INFO lists them.",
    ),
    spec("rank", OptionKind::IntOrRange(1, MAX_FACTORS), None, "The same as num_factors."),
    spec("max_iterations", OptionKind::Int(1, 1_000_000), Some("10"), "How often items and then users are solved."),
    spec(
        "l2_reg",
        OptionKind::FloatOrRange(0.0, 1e30),
        Some("0.1"),
        "Weight of the squared factors in what is minimised. HPARAM_RANGE(low, high) tries five values in equal ratios, or in equal steps from 0.",
    ),
    spec(
        "reg_scaling",
        OptionKind::Choice(&["ratings", "flat"]),
        Some("'ratings'"),
        "'ratings': l2_reg counts once for each rating of the user or item (implicit: each positive one), as in Spark; 'flat': once.",
    ),
    spec(
        "wals_alpha",
        OptionKind::FloatOrRange(0.0, 1e30),
        Some("1.0"),
        "Implicit feedback: a rating r gives its pair the weight 1 + wals_alpha * |r|.",
    ),
    spec("alpha", OptionKind::FloatOrRange(0.0, 1e30), None, "The same as wals_alpha."),
    spec("nonnegative", OptionKind::Bool, Some("FALSE"), "Keeps all factors at 0 or above."),
    spec(
        "solver",
        OptionKind::Choice(&["auto", "cholesky", "cg"]),
        Some("'auto'"),
        "How the factors of a row are found: exactly by Cholesky, or by three steps of conjugate gradients from those before. 'auto': 'cg' for implicit feedback with more than 16 factors, else 'cholesky'.",
    ),
    spec(
        "cold_start",
        OptionKind::Choice(&["drop", "nan", "mean"]),
        Some("'drop'"),
        "What is predicted for a user or item that was not trained on: 'drop': NULL (left out of evaluation), 'nan': NaN, 'mean': the mean rating.",
    ),
    spec(
        "duplicates",
        OptionKind::Choice(&["sum", "mean", "error"]),
        None,
        "What several ratings of one item by one user are: added, averaged, or an error. By default 'mean' for explicit and 'sum' for implicit feedback.",
    ),
    spec(
        "tol",
        OptionKind::Float(0.0, 1.0),
        Some("0.0"),
        "Ends training when an iteration changes the loss by at most this share of it; 0: never before max_iterations.",
    ),
    spec("seed", OptionKind::Int(i64::MIN, i64::MAX), Some("0"), "Seed of the factors to begin with."),
];

const fn spec(name: &'static str, kind: OptionKind, default: Option<&'static str>, about: &'static str) -> OptionSpec {
    OptionSpec { name, kind, default, about }
}

/// What ratings are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Feedback {
    /// Opinions, to be predicted.
    Explicit,
    /// Evidence, of weight `1 + alpha * |rating|`.
    Implicit {
        /// Weight of a rating of 1.
        alpha: f64,
    },
}

/// How a row is solved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Solver {
    /// Normal equations in 64 bits, by Cholesky.
    Cholesky,
    /// Normal equations in 64 bits, no factor below 0.
    Nonnegative,
    /// Three steps of conjugate gradients in 32 bits, from the factors before.
    ConjugateGradient,
}

/// What is predicted for ids that were not trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColdStart {
    /// NULL.
    Drop,
    /// NaN.
    Nan,
    /// The mean of what was trained on.
    Mean,
}

/// What several ratings of one pair are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duplicates {
    /// Their sum.
    Sum,
    /// Their mean.
    Mean,
    /// An error.
    Error,
}

/// The options, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Names of the columns of users, items and ratings.
    pub names: [String; 3],
    /// Their places among the training columns.
    pub columns: [usize; 3],
    /// Types in which ids of users and items are kept.
    pub id_types: [DataType; 2],
    /// What ratings are.
    pub feedback: Feedback,
    /// Number of factors.
    pub rank: usize,
    /// How many iterations at most.
    pub iterations: u32,
    /// Weight of squared factors.
    pub l2_reg: f64,
    /// Whether that counts once per rating.
    pub reg_by_ratings: bool,
    /// How rows are solved.
    pub solver: Solver,
    /// What is predicted for unknown ids.
    pub cold_start: ColdStart,
    /// What several ratings of one pair are.
    pub duplicates: Duplicates,
    /// Share of the loss by which an iteration has to change it.
    pub tol: f64,
    /// Seed of the factors to begin with.
    pub seed: u64,
}

impl Config {
    /// Reads options that fit [`OPTIONS`] and finds the columns.
    ///
    /// # Errors
    /// Options that contradict each other, columns that are missing or of unsuitable types.
    pub fn new(options: &Options, training: &[InputColumn]) -> Result<Self> {
        options.check(OPTIONS)?;
        for (alias, name) in [("rank", "num_factors"), ("alpha", "wals_alpha")] {
            if options.0.contains_key(alias) && options.0.contains_key(name) {
                return Err(ModelError::option(alias, format!("'{name}' is given too"))
                    .hint(format!("'{alias}' is another name of '{name}'; give one")));
            }
        }
        let choice = |name: &str, default: &str| options.choice(name).unwrap_or_else(|| default.to_string());
        let implicit = choice("feedback_type", "explicit") == "implicit";
        let alpha = options.float("wals_alpha").or_else(|| options.float("alpha"));
        if !implicit && alpha.is_some() {
            let given = if options.0.contains_key("alpha") { "alpha" } else { "wals_alpha" };
            return Err(ModelError::option(given, "it has no meaning for explicit feedback")
                .hint("leave it out, or set feedback_type = 'implicit'"));
        }
        let rank = options.int("num_factors").or_else(|| options.int("rank")).unwrap_or(10) as usize;
        let (names, columns) = find_columns(options, training)?;
        let id_type = |side: usize| canonical_type(&names[side], &training[columns[side]].data_type);
        let id_types = [id_type(0)?, id_type(1)?];
        rating_type(&names[2], &training[columns[2]].data_type)?;
        Ok(Self {
            id_types,
            columns,
            names,
            feedback: if implicit { Feedback::Implicit { alpha: alpha.unwrap_or(1.0) } } else { Feedback::Explicit },
            rank,
            iterations: options.int("max_iterations").unwrap_or(10) as u32,
            l2_reg: options.float("l2_reg").unwrap_or(0.1),
            reg_by_ratings: choice("reg_scaling", "ratings") == "ratings",
            solver: solver(&choice("solver", "auto"), options.bool("nonnegative") == Some(true), implicit, rank)?,
            cold_start: match choice("cold_start", "drop").as_str() {
                "nan" => ColdStart::Nan,
                "mean" => ColdStart::Mean,
                _ => ColdStart::Drop,
            },
            duplicates: match choice("duplicates", if implicit { "sum" } else { "mean" }).as_str() {
                "sum" => Duplicates::Sum,
                "error" => Duplicates::Error,
                _ => Duplicates::Mean,
            },
            tol: options.float("tol").unwrap_or(0.0),
            seed: options.int("seed").unwrap_or(0) as u64,
        })
    }

    /// Whether ratings are evidence.
    pub fn is_implicit(&self) -> bool {
        matches!(self.feedback, Feedback::Implicit { .. })
    }
}

fn solver(written: &str, nonnegative: bool, implicit: bool, rank: usize) -> Result<Solver> {
    match (written, nonnegative) {
        ("cg", true) => {
            Err(ModelError::option("solver", "'cg' cannot keep factors at 0 or above")
                .hint("with nonnegative = TRUE use 'auto' or 'cholesky'"))
        }
        (_, true) => Ok(Solver::Nonnegative),
        ("cg", false) => Ok(Solver::ConjugateGradient),
        ("auto", false) if implicit && rank > AUTO_CHOLESKY_FACTORS => Ok(Solver::ConjugateGradient),
        _ => Ok(Solver::Cholesky),
    }
}

fn find_columns(options: &Options, training: &[InputColumn]) -> Result<([String; 3], [usize; 3])> {
    let roles = [("user_col", "user"), ("item_col", "item"), ("rating_col", "rating")];
    let names = roles.map(|(option, default)| options.text(option).unwrap_or(default).to_string());
    let mut columns = [0; 3];
    for (role, (option, _)) in roles.iter().enumerate() {
        columns[role] = training.iter().position(|column| column.name == names[role]).ok_or_else(|| {
            let found: Vec<&str> = training.iter().map(|column| column.name.as_str()).collect();
            let hint = format!("the training query has: {}; name the column with {option} = '…'", found.join(", "));
            ModelError::column(&names[role], "the training query has no such column").hint(hint)
        })?;
        if let Some(other) = columns[..role].iter().position(|column| *column == columns[role]) {
            let message = format!("'{}' is named by {} already", names[role], roles[other].0);
            return Err(ModelError::option(*option, message).hint("users, items and ratings are three columns"));
        }
    }
    Ok((names, columns))
}

/// Checks that a column can hold ratings.
///
/// # Errors
/// It cannot.
pub fn rating_type(column: &str, data_type: &DataType) -> Result<()> {
    if data_type.is_numeric() {
        return Ok(());
    }
    Err(ModelError::column(column, format!("ratings have to be numbers and not {}", sql_type_name(data_type)))
        .hint(format!("CAST({column} AS DOUBLE) makes numbers of texts")))
}
