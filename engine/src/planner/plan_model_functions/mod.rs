//! Plans `ML.X(MODEL m, …)` in `FROM`: ordinary plans over [functions that carry a reference to the model](crate::models::scoring).
//!
//! ```text
//! ML.PREDICT(MODEL m, (query))      Projection: ml_predict(m)(inputs) per predicted column, all columns of the query
//! ML.EVALUATE(MODEL m, (query))     Aggregate: ml_evaluate(m, stage 1)(columns)   beside the rows again for stage 2
//! ML.CENTROIDS(MODEL m)             Unnest: ml_table(m)
//! ML.TRAINING_INFO(MODEL m)         Values, from the model's record
//! ```
//!
//! Which version of the model is meant has been settled before, and the record of it put in the place of the argument.

mod about;
mod anomalies;
mod call;
mod evaluate;
mod features;
mod predict;
mod recommend;
mod transform;
mod values;

use datafusion::common::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::sql::sqlparser::ast::{Spanned as _, TableFactor};
use orrery_models::{OptionKind, OptionSpec};

use self::call::Call;
use crate::dialect::model_names;
use crate::{Error, Position};

/// How different a name may be to be offered as "did you mean".
const SIMILAR_ENOUGH: f64 = 0.7;

/// Whether a function takes rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rows {
    No,
    Optional,
    Needed,
}

/// One function of `ML`.
struct Function {
    /// Lower-case name behind `ML.`.
    name: &'static str,
    /// How it is called.
    form: &'static str,
    rows: Rows,
    /// Fields of its `STRUCT`.
    options: &'static [OptionSpec],
    plan: fn(&Call, &mut dyn RelationPlannerContext) -> Result<LogicalPlan>,
}

/// A function that takes nothing but a model.
const fn about(
    name: &'static str,
    form: &'static str,
    plan: fn(&Call, &mut dyn RelationPlannerContext) -> Result<LogicalPlan>,
) -> Function {
    Function { name, form, rows: Rows::No, options: &[], plan }
}

const STANDARDIZE: &[OptionSpec] = &[OptionSpec {
    name: "standardize",
    kind: OptionKind::Bool,
    default: Some("FALSE"),
    about: "Centroids in standardised units instead of those of the data.",
}];

const CONTAMINATION: &[OptionSpec] = &[OptionSpec {
    name: "contamination",
    kind: OptionKind::Float(0.0, 0.5),
    default: None,
    about: "The share of the training rows that counts as anomalous.",
}];

const KEEP_COLUMNS: &[OptionSpec] = &[OptionSpec {
    name: "keep_original_columns",
    kind: OptionKind::Bool,
    default: Some("TRUE"),
    about: "Whether the columns of the rows are kept beside those that are predicted.",
}];

const RANKINGS: &[OptionSpec] = &[
    OptionSpec { name: "top_k", kind: OptionKind::Int(1, 1_000_000), default: Some("10"), about: "How many recommendations are judged." },
    OptionSpec {
        name: "wanted_above",
        kind: OptionKind::Float(-1e30, 1e30),
        default: Some("0"),
        about: "The rating above which an item is what its user wanted; with it explicit feedback is judged by rankings too.",
    },
];

const RECOMMENDATIONS: &[OptionSpec] = &[
    OptionSpec { name: "top_k", kind: OptionKind::Int(1, 1_000_000), default: Some("10"), about: "How many are recommended at most." },
    OptionSpec {
        name: "exclude_seen",
        kind: OptionKind::Bool,
        default: Some("FALSE"),
        about: "Whether pairs that the model was trained on are left out.",
    },
    OptionSpec { name: "for_items", kind: OptionKind::Bool, default: Some("FALSE"), about: "Users for items instead of items for users." },
];

/// Every function, in the order of the documentation.
const FUNCTIONS: &[Function] = &[
    Function {
        name: "predict",
        form: "ML.PREDICT(MODEL m, {TABLE t | (query)} [, STRUCT(TRUE AS keep_original_columns)])",
        rows: Rows::Needed,
        options: KEEP_COLUMNS,
        plan: predict::plan,
    },
    Function {
        name: "evaluate",
        form: "ML.EVALUATE(MODEL m [, {TABLE t | (query)} [, STRUCT(10 AS top_k, 3.5 AS wanted_above)]])",
        rows: Rows::Optional,
        options: RANKINGS,
        plan: evaluate::plan,
    },
    Function {
        name: "detect_anomalies",
        form: "ML.DETECT_ANOMALIES(MODEL m, STRUCT(0.02 AS contamination), {TABLE t | (query)})",
        rows: Rows::Needed,
        options: CONTAMINATION,
        plan: anomalies::plan,
    },
    Function {
        name: "recommend",
        form: "ML.RECOMMEND(MODEL m [, {TABLE t | (query)}] [, STRUCT(10 AS top_k, FALSE AS exclude_seen, FALSE AS for_items)])",
        rows: Rows::Optional,
        options: RECOMMENDATIONS,
        plan: recommend::plan,
    },
    Function {
        name: "transform",
        form: "ML.TRANSFORM(MODEL m, {TABLE t | (query)})",
        rows: Rows::Needed,
        options: &[],
        plan: transform::plan,
    },
    Function {
        name: "centroids",
        form: "ML.CENTROIDS(MODEL m [, STRUCT(FALSE AS standardize)])",
        rows: Rows::No,
        options: STANDARDIZE,
        plan: about::centroids,
    },
    about("weights", "ML.WEIGHTS(MODEL m)", about::weights),
    about("principal_components", "ML.PRINCIPAL_COMPONENTS(MODEL m)", about::principal_components),
    about("principal_components_info", "ML.PRINCIPAL_COMPONENTS_INFO(MODEL m)", about::principal_components_info),
    about("training_info", "ML.TRAINING_INFO(MODEL m)", about::training_info),
    about("trial_info", "ML.TRIAL_INFO(MODEL m)", about::trial_info),
    about("feature_info", "ML.FEATURE_INFO(MODEL m)", about::feature_info),
];

/// See the module documentation.
#[derive(Debug, Default)]
pub struct PlanModelFunctions {}

impl RelationPlanner for PlanModelFunctions {
    fn plan_relation(&self, relation: TableFactor, context: &mut dyn RelationPlannerContext) -> Result<RelationPlanning> {
        let TableFactor::Table { name, args: Some(args), alias, .. } = &relation else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let Some(named) = model_names::ml_function(name) else { return Ok(RelationPlanning::Original(Box::new(relation))) };
        let place = Position::of_span(name.span());
        // As BigQuery ML writes it.
        let named = if named == "principal_component_info" { "principal_components_info".to_string() } else { named };
        let Some(function) = FUNCTIONS.iter().find(|function| function.name == named) else { return Err(unknown(&named).at(place).into()) };
        let call = Call::of(function, place, args)?;
        let plan = (function.plan)(&call, context)?;
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias.clone()))))
    }
}

fn unknown(name: &str) -> Error {
    let error = Error::sql(format!("there is no function ML.{}", name.to_uppercase()));
    let scored = FUNCTIONS.iter().map(|function| (strsim::jaro_winkler(name, function.name), function));
    match scored.max_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((score, nearest)) if score >= SIMILAR_ENOUGH => error.hint(format!("did you mean {}?", nearest.form)),
        _ => error.hint(format!("functions of FROM are: {}", FUNCTIONS.iter().map(shown).collect::<Vec<_>>().join(", "))),
    }
}

fn shown(function: &Function) -> String {
    format!("ML.{}", function.name.to_uppercase())
}
