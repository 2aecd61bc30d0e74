//! Gives columns that are computed anew under a name that is computed below already a name of their own below:
//!
//! ```text
//! Projection: x + 1 AS x                    Projection: __x_1 + 1 AS x
//!   Projection: x + 1 AS x       becomes      Projection: x + 1 AS __x_1
//! ```
//!
//! DataFusion's `optimize_projections` takes a projection that looks like the one below it for the same one and leaves one out, and so computes `x + 1` once
//! where it is asked for twice (apache/datafusion#24686, which the release in use does not have). It compares after it has merged what it can, so all of a chain
//! of projections are told apart.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::expr::Alias;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// See the module documentation.
#[derive(Debug, Default)]
pub struct TellProjectionsApart {}

impl OptimizerRule for TellProjectionsApart {
    fn name(&self) -> &str {
        "tell_projections_apart"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Projection(top) = &plan else { return Ok(Transformed::no(plan)) };
        Ok(match told_apart(top, &mut HashSet::new(), config)? {
            Some(projection) => Transformed::yes(LogicalPlan::Projection(projection)),
            None => Transformed::no(plan),
        })
    }
}

/// The chain of projections that begins here with its columns renamed, if there is anything to rename. `computed` are the names that are computed above.
fn told_apart(upper: &Projection, computed: &mut HashSet<String>, config: &dyn OptimizerConfig) -> Result<Option<Projection>> {
    let LogicalPlan::Projection(lower) = upper.input.as_ref() else { return Ok(None) };
    computed.extend(upper.expr.iter().filter(|expr| is_computed(expr)).map(|expr| expr.qualified_name().1));
    // A correlated subquery names columns in places that are not looked at here.
    let renamed = if upper.expr.iter().any(has_correlated_subquery) { None } else { renamed(upper, lower, computed, config)? };
    let (exprs, lower) = match &renamed {
        Some((exprs, lower)) => (exprs.clone(), lower),
        None => (upper.expr.clone(), lower),
    };
    let below = told_apart(lower, computed, config)?;
    let is_changed = renamed.is_some() || below.is_some();
    let input = LogicalPlan::Projection(below.unwrap_or_else(|| lower.clone()));
    if is_changed { Projection::try_new_with_schema(exprs, Arc::new(input), Arc::clone(&upper.schema)).map(Some) } else { Ok(None) }
}

/// The expressions of the upper projection over the lower one whose columns have been renamed.
fn renamed(
    upper: &Projection,
    lower: &Projection,
    computed: &HashSet<String>,
    config: &dyn OptimizerConfig,
) -> Result<Option<(Vec<Expr>, Projection)>> {
    let mut names: Vec<(Column, Column)> = Vec::new();
    let mut exprs = Vec::new();
    for (expr, column) in lower.expr.iter().zip(lower.schema.columns()) {
        if !is_computed(expr) || !computed.contains(&column.name) {
            exprs.push(expr.clone());
            continue;
        }
        let name = unused_name(&column.name, lower, config);
        exprs.push(match expr.clone() {
            Expr::Alias(alias) => Expr::Alias(Alias { relation: None, name: name.clone(), ..alias }),
            other => other.alias(name.clone()),
        });
        names.push((column, Column::from_name(name)));
    }
    if names.is_empty() {
        return Ok(None);
    }
    let lower = Projection::try_new(exprs, Arc::clone(&lower.input))?;
    let preserver = NamePreserver::new_for_projection();
    let rename = |expr: Expr| match &expr {
        Expr::Column(column) => Ok(match names.iter().find(|(old, _)| old == column) {
            Some((_, new)) => Transformed::yes(Expr::Column(new.clone())),
            None => Transformed::no(expr),
        }),
        _ => Ok(Transformed::no(expr)),
    };
    let of_upper = upper.expr.iter().map(|expr| {
        let saved = preserver.save(expr);
        Ok(saved.restore(expr.clone().transform_up(rename)?.data))
    });
    Ok(Some((of_upper.collect::<Result<Vec<_>>>()?, lower)))
}

/// A name that the projection does not have.
fn unused_name(name: &str, projection: &Projection, config: &dyn OptimizerConfig) -> String {
    loop {
        let unused = config.alias_generator().next(&format!("__{name}"));
        if !projection.schema.fields().iter().any(|field| *field.name() == unused) {
            return unused;
        }
    }
}

/// Whether the column is more than one of those below under its own name.
fn is_computed(expr: &Expr) -> bool {
    !matches!(expr, Expr::Column(_))
}

fn has_correlated_subquery(expr: &Expr) -> bool {
    let is_correlated = |expr: &Expr| {
        let subquery = match expr {
            Expr::ScalarSubquery(subquery) => subquery,
            Expr::Exists(exists) => &exists.subquery,
            Expr::InSubquery(call) => &call.subquery,
            Expr::SetComparison(comparison) => &comparison.subquery,
            _ => return false,
        };
        !subquery.outer_ref_columns.is_empty()
    };
    expr.exists(|expr| Ok(is_correlated(expr))).unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;
    use proptest::prelude::*;
    use proptest::test_runner::TestRunner;

    use crate::planner::testing::{ours, rows_of};

    /// What a layer selects of `x` and `y`, and what that is.
    type Layer = (&'static str, fn(i64, i64) -> (i64, i64));

    const LAYERS: [Layer; 9] = [
        ("x + 1 AS x, y", |x, y| (x + 1, y)),
        ("x + x AS x, y", |x, y| (x + x, y)),
        ("y AS x, x AS y", |x, y| (y, x)),
        ("x, y", |x, y| (x, y)),
        ("x + 1 AS y, x AS x", |x, _| (x, x + 1)),
        ("y + 1 AS x, y", |_, y| (y + 1, y)),
        ("x + y AS x, x - y AS y", |x, y| (x + y, x - y)),
        ("3 AS x, x AS y", |x, _| (3, x)),
        ("x + (SELECT max(value) FROM generate_series(1, 2)) AS x, y", |x, y| (x + 2, y)),
    ];

    async fn found(context: &SessionContext, layers: &[usize], condition: &str) -> Vec<String> {
        let rows = "SELECT value AS x, 10 - value AS y FROM generate_series(1, 3)".to_string();
        let nested = layers.iter().fold(rows, |inner, layer| format!("SELECT {} FROM ({inner})", LAYERS[*layer].0));
        rows_of(context, &format!("SELECT x, y FROM ({nested}){condition}")).await.unwrap()
    }

    #[test]
    fn every_layer_is_computed() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let context = runtime.block_on(ours()).unwrap();
        let layers = proptest::collection::vec(0..LAYERS.len(), 1..9);
        TestRunner::default()
            .run(&(layers, any::<bool>()), |(layers, is_filtered)| {
                let mut rows: Vec<(i64, i64)> = (1..=3).map(|value| (value, 10 - value)).collect();
                for layer in &layers {
                    rows = rows.into_iter().map(|(x, y)| LAYERS[*layer].1(x, y)).collect();
                }
                if is_filtered {
                    rows.retain(|(x, _)| *x > 2);
                }
                let mut expected: Vec<String> = rows.into_iter().map(|(x, y)| format!("{x}|{y}")).collect();
                expected.sort();
                let condition = if is_filtered { " WHERE x > 2" } else { "" };
                prop_assert_eq!(runtime.block_on(found(&context, &layers, condition)), expected);
                Ok(())
            })
            .unwrap();
    }

    #[tokio::test]
    async fn names_that_are_in_use_are_left_alone() {
        let context = ours().await.unwrap();
        let sql =
            "SELECT x + x AS x, \"__x_1\" FROM (SELECT x + x AS x, 7 AS \"__x_1\" FROM (SELECT value AS x FROM generate_series(1, 1)))";
        assert_eq!(rows_of(&context, sql).await.unwrap(), ["4|7"]);
    }
}
