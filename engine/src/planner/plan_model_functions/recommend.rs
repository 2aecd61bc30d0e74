//! `ML.RECOMMEND`: the best items for users, or the best users for items; for those of the rows, or for all that the model knows.
//!
//! Of all ids only numbers of ranges are in the plan. They are dealt out to branches of a union, so that as many tasks as the session has work on them.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::common::{Column, NullHandling, Result, UnnestOptions};
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Union, lit};
use orrery_models::matrix_factorization::MatrixFactorizationModel;

use super::about::{ROWS, unnested};
use super::call::Call;
use super::features::Features;
use crate::Error;
use crate::models::scoring::inputs;
use crate::models::scoring::recommend::{self, Recommend};

const TOP_K: i64 = 10;
/// Ranges that one branch works on at most: their recommendations are in memory together.
const BLOCKS_PER_BRANCH: usize = 16;
/// Branches there are at most.
const BRANCHES_MAX: usize = 1024;
const ID: &str = "__id";

pub(super) fn plan(call: &Call, context: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
    let Some(model) = recommend::factorization(&call.scorer)? else { return Err(call.lacking("matrix_factorization").into()) };
    let what = Recommend {
        for_items: call.options.bool("for_items").unwrap_or(false),
        top_k: usize::try_from(call.options.int("top_k").unwrap_or(TOP_K)).unwrap_or(usize::MAX),
        exclude_seen: call.options.bool("exclude_seen").unwrap_or(false),
    };
    match call.rows(context)? {
        Some(rows) => for_rows(call, model, what, &rows),
        None => for_all(call, model, &what, context.context_provider().options().execution.target_partitions),
    }
}

fn for_rows(call: &Call, model: &MatrixFactorizationModel, what: Recommend, rows: &LogicalPlan) -> Result<LogicalPlan> {
    let own = usize::from(what.for_items);
    let features = Features::of(call, rows)?;
    let input = &call.scorer.model()?.inputs()[own..=own];
    let (kind, hint) = if what.for_items {
        ("items", "FALSE AS for_items recommends items for users")
    } else {
        ("users", "TRUE AS for_items recommends users for items")
    };
    let place = inputs::places(input, &features.fields, &call.record.reference, "the rows of ML.RECOMMEND have").map_err(|e| {
        let hint = e.hint.as_deref().map_or_else(|| hint.to_string(), |its| format!("{its}, the {kind}; {hint}"));
        Error { hint: Some(hint), ..e }.at(call.place)
    })?;
    let id = place.into_iter().next().map(|place| features.as_type(place, &input[0].data_type));
    let Some(id) = id else { return Err(call.error("ML.RECOMMEND has no column of ids").into()) };
    let id_column = Expr::Column(Column::from_name(ID));
    let best = recommend::of_ids(&call.scorer, model, what, id_column.clone()).alias(ROWS);
    let keep_no_empty = UnnestOptions { null_handling: NullHandling::Drop, ..UnnestOptions::default() };
    let lists = LogicalPlanBuilder::from(rows.clone()).project([id.alias(ID)])?.project([id_column.clone(), best])?;
    let pair = Expr::Column(Column::from_name(ROWS));
    let columns = recommend::fields(model).into_iter().enumerate().map(|(place, field)| {
        let value = if place == own { id_column.clone() } else { get_field(pair.clone(), field.name().as_str()) };
        value.alias(field.name())
    });
    lists.unnest_column_with_options(ROWS, keep_no_empty)?.project(columns)?.build()
}

fn for_all(call: &Call, model: &MatrixFactorizationModel, what: &Recommend, tasks: usize) -> Result<LogicalPlan> {
    let blocks = recommend::blocks(model, what).max(1);
    let branches = tasks.max(blocks.div_ceil(BLOCKS_PER_BRANCH)).min(blocks).clamp(1, BRANCHES_MAX);
    let branch = |branch: usize| {
        // Dealt out in turn, because ids that are alike may be alike in how much there is to do.
        let starts = (branch..blocks).step_by(branches).map(|block| vec![lit(i64::try_from(block).unwrap_or(i64::MAX))]).collect();
        let leaf = LogicalPlanBuilder::values(starts)?;
        let block = Expr::Column(leaf.schema().columns().remove(0));
        let best = recommend::of_blocks(&call.scorer, model, what.clone(), block);
        leaf.project([best.alias(ROWS)])?.build().map(Arc::new)
    };
    let mut branches = (0..branches).map(branch).collect::<Result<Vec<_>>>()?;
    let lists = match branches.len() {
        1 => branches.remove(0),
        _ => Arc::new(LogicalPlan::Union(Union::try_new(branches)?)),
    };
    let schema = Schema::new(recommend::fields(model));
    unnested(LogicalPlanBuilder::from(Arc::unwrap_or_clone(lists)), &schema)
}
