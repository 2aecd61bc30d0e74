//! Puts scans in the places of subplans: first of stand-ins, then of what holds the subplan's rows.
//!
//! A mention is a projection over a scan, which gives the columns the names and types that they had. So nothing above a subplan changes but whether columns
//! may be null: what is read from a table may.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, TableScan, TableScanBuilder, Union, cast, lit};

use super::Sources;
use super::find::is_same;
use super::stand_in::StandIn;

/// The names of a subplan's columns in a table: letters, digits and underscores, and no two the same without regard to case.
pub(in crate::planner) fn stored_names(schema: &DFSchema) -> Vec<String> {
    let mut taken = HashSet::new();
    let mut stored = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let plain: String = field.name().chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect();
        let plain = plain.trim_matches('_');
        let plain = if plain.is_empty() { "column" } else { plain };
        let numbered = (2..).map(|number| format!("{plain}_{number}"));
        let free = std::iter::once(plain.to_string()).chain(numbered).find(|name| taken.insert(name.to_lowercase()));
        stored.extend(free);
    }
    stored
}

/// What stands in the place of a subplan: all its columns, read from a stand-in.
pub(super) fn mention(name: &str, schema: &DFSchema) -> Result<LogicalPlan> {
    let stored = stored_names(schema);
    let fields = schema.fields().iter().zip(&stored).map(|(field, name)| Field::new(name, field.data_type().clone(), true));
    let stand_in = StandIn::new(name, Schema::new(fields.collect::<Vec<_>>()));
    let scan = TableScanBuilder::new(name, provider_as_source(Arc::new(stand_in))).build()?;
    let columns = schema.iter().zip(&stored).map(|((qualifier, field), stored)| {
        Expr::Column(Column::new(Some(name), stored)).alias_qualified(qualifier.cloned(), field.name())
    });
    Ok(LogicalPlan::Projection(Projection::try_new(columns.collect(), Arc::new(LogicalPlan::TableScan(scan)))?))
}

/// The name of the subplan that a scan stands for.
pub(super) fn stands_for(scan: &TableScan) -> Option<String> {
    source_as_provider(&scan.source).ok()?.downcast_ref::<StandIn>().map(|stand_in| stand_in.name().to_string())
}

/// Puts the second plan of each pair wherever the first occurs.
pub(super) fn replace_subplans(plan: LogicalPlan, pairs: &[(LogicalPlan, LogicalPlan)]) -> Result<LogicalPlan> {
    let find = |node: &LogicalPlan| {
        for (subplan, mention) in pairs {
            if is_same(subplan, node)? {
                return Ok(Some(mention.clone()));
            }
        }
        Ok(None)
    };
    Ok(replace(plan, &find)?.data)
}

/// Puts scans of `sources` in the places of the stand-ins of their names.
pub(super) fn replace_sources(plan: LogicalPlan, sources: &Sources) -> Result<LogicalPlan> {
    let find = |node: &LogicalPlan| {
        let LogicalPlan::Projection(projection) = node else { return Ok(None) };
        let LogicalPlan::TableScan(scan) = projection.input.as_ref() else { return Ok(None) };
        let Some(name) = stands_for(scan).filter(|name| sources.contains_key(name)) else { return Ok(None) };
        from_source(projection, &name, sources).map(Some)
    };
    Ok(replace(plan, &find)?.data)
}

/// A mention that reads what there is; columns that nobody needs were not kept, and are NULL.
fn from_source(mention: &Projection, name: &str, sources: &Sources) -> Result<LogicalPlan> {
    let Some(source) = sources.get(name) else { return datafusion::common::internal_err!("there are no rows of {name}") };
    let kept = source.schema();
    let scan = TableScanBuilder::new(name, provider_as_source(Arc::clone(source))).build()?;
    let mut columns = Vec::with_capacity(mention.expr.len());
    for (expr, (qualifier, field)) in mention.expr.iter().zip(mention.schema.iter()) {
        let stored = expr.clone().unalias().try_as_col().map(|column| column.name.clone()).unwrap_or_default();
        let value = match kept.field_with_name(&stored) {
            Ok(found) => restored(Expr::Column(Column::new(Some(name), stored)), found.data_type(), field.data_type()),
            Err(_) => lit(ScalarValue::try_from(field.data_type())?),
        };
        columns.push(value.alias_qualified(qualifier.cloned(), field.name()));
    }
    Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(LogicalPlan::TableScan(scan)))?))
}

fn restored(column: Expr, stored: &DataType, wanted: &DataType) -> Expr {
    if stored == wanted { column } else { cast(column, wanted.clone()) }
}

/// What is to stand in the place of a node, if anything.
pub(in crate::planner) type Find<'a> = dyn Fn(&LogicalPlan) -> Result<Option<LogicalPlan>> + 'a;

/// Puts what `find` finds in the places of nodes, from above, in subqueries too; what is found is not looked at again.
pub(in crate::planner) fn replace(plan: LogicalPlan, find: &Find<'_>) -> Result<Transformed<LogicalPlan>> {
    if let Some(found) = find(&plan)? {
        return Ok(Transformed::yes(found));
    }
    if matches!(plan, LogicalPlan::RecursiveQuery(_)) {
        return Ok(Transformed::no(plan));
    }
    let replaced = plan.map_subqueries(|plan| replace(plan, find))?;
    let replaced = replaced.transform_sibling(|plan| plan.map_children(|child| replace(child, find)))?;
    if replaced.transformed { replaced.map_data(with_new_nulls) } else { Ok(replaced) }
}

/// The node with the schema that its new inputs give it.
fn with_new_nulls(plan: LogicalPlan) -> Result<LogicalPlan> {
    let LogicalPlan::Union(union) = plan else { return plan.recompute_schema() };
    // DataFusion computes the schema of a union again only if the number of columns has changed.
    let is_nullable = |at: usize| union.inputs.iter().any(|input| input.schema().field(at).is_nullable());
    let fields = union.schema.iter().enumerate().map(|(at, (qualifier, field))| {
        let nullable = field.is_nullable() || is_nullable(at);
        (qualifier.cloned(), Arc::new(field.as_ref().clone().with_nullable(nullable)))
    });
    let metadata: HashMap<_, _> = union.schema.metadata().clone();
    let schema = Arc::new(DFSchema::new_with_metadata(fields.collect(), metadata)?);
    Ok(LogicalPlan::Union(Union { schema, inputs: union.inputs }))
}
