//! Narrows a subplan to what its mentions need of it: the columns that one of them reads, and the rows that one of them keeps.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result};
use datafusion::logical_expr::utils::{conjunction, disjunction};
use datafusion::logical_expr::{Expr, Filter, LogicalPlan, Projection, TableScan};

use super::replace::{stands_for, stored_names};

/// With more different filters than this, testing them all costs more than the rows that none of them keeps.
const MOST_FILTERS: usize = 8;

/// What optimized plans read of a subplan.
pub(super) struct Usage {
    columns: BTreeSet<usize>,
    /// The filters of the mentions, each once; `None` where a mention needs all rows.
    filters: Option<Vec<Expr>>,
}

impl Usage {
    /// What `readers` need of the subplan of this name.
    pub fn of(name: &str, readers: &[LogicalPlan]) -> Result<Self> {
        let mut usage = Self { columns: BTreeSet::new(), filters: Some(Vec::new()) };
        for reader in readers {
            reader.apply_with_subqueries(|node| {
                if let LogicalPlan::TableScan(scan) = node
                    && stands_for(scan).is_some_and(|found| found == name)
                {
                    usage.add(scan);
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        Ok(usage)
    }

    fn add(&mut self, scan: &TableScan) {
        match &scan.projection {
            Some(columns) => self.columns.extend(columns),
            None => self.columns.extend(0..scan.source.schema().fields().len()),
        }
        let filter = conjunction(scan.filters.iter().filter(|filter| is_plain(filter)).cloned());
        self.filters = match (self.filters.take(), filter) {
            (Some(mut filters), Some(filter)) => {
                if !filters.contains(&filter) {
                    filters.push(filter);
                }
                (filters.len() <= MOST_FILTERS).then_some(filters)
            }
            _ => None,
        };
    }

    /// The subplan with these columns, under the names that they have in a table, and these rows.
    pub fn narrow(self, subplan: LogicalPlan) -> Result<LogicalPlan> {
        let stored = stored_names(subplan.schema());
        let own = |at: usize| Column::from(subplan.schema().qualified_field(at));
        let mut columns = self.columns;
        if columns.is_empty() {
            // Rows that are only counted: a table needs a column.
            columns.insert(0);
        }
        let kept: Vec<Expr> = columns.into_iter().map(|at| Expr::Column(own(at)).alias(&stored[at])).collect();
        let filter =
            disjunction(self.filters.unwrap_or_default()).map(|filter| over_subplan(filter, subplan.schema(), &stored)).transpose()?;
        let rows = match filter {
            Some(filter) => LogicalPlan::Filter(Filter::try_new(filter, Arc::new(subplan))?),
            None => subplan,
        };
        Ok(LogicalPlan::Projection(Projection::try_new(kept, Arc::new(rows))?))
    }
}

/// Whether a filter says all there is to it, so that it can be tested elsewhere.
fn is_plain(filter: &Expr) -> bool {
    let is_other = |part: &Expr| {
        matches!(
            part,
            Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::SetComparison(_) | Expr::OuterReferenceColumn(..)
        ) || part.is_volatile_node()
    };
    !filter.exists(|part| Ok(is_other(part))).unwrap_or(true)
}

/// A filter over the columns of a scan as one over those of the subplan itself.
fn over_subplan(filter: Expr, schema: &DFSchema, stored: &[String]) -> Result<Expr> {
    filter
        .transform_up(|part| {
            let Expr::Column(column) = &part else { return Ok(Transformed::no(part)) };
            match stored.iter().position(|name| *name == column.name) {
                Some(at) => Ok(Transformed::yes(Expr::Column(Column::from(schema.qualified_field(at))))),
                None => datafusion::common::internal_err!("{column} is not a column of a common subplan"),
            }
        })
        .data()
}
