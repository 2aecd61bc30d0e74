//! Refuses what sqlparser accepts and DataFusion would then silently drop, each by name and place. Constructs that DataFusion itself
//! refuses need no entry here.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Distinct, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, GroupByWithModifier,
    JoinOperator, ObjectName, Query, Select, SelectFlavor, SelectItem, Spanned, TableFactor, TableVersion, Visit, Visitor,
};
use datafusion::sql::sqlparser::tokenizer::TokenWithSpan;

use super::written_out;
use crate::{Error, Position, Result};

/// Columns of a `CUBE`, as in PostgreSQL: each doubles the number of sets.
const CUBE_COLUMNS_MAX: usize = 12;

/// Checks a query and everything in it.
pub(super) fn query(query: &Query, tokens: &[TokenWithSpan]) -> Result<()> {
    visit(query, tokens)
}

/// Checks an expression and the subqueries in it.
pub(super) fn expr(expr: &Expr, tokens: &[TokenWithSpan]) -> Result<()> {
    visit(expr, tokens)
}

fn visit(node: &impl Visit, tokens: &[TokenWithSpan]) -> Result<()> {
    written_out::check(node)?;
    match node.visit(&mut Check { tokens }) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Check<'a> {
    tokens: &'a [TokenWithSpan],
}

impl Check<'_> {
    /// The construct's name is also the words to look for when its syntax tree node has no place.
    fn refuse_if(&self, found: bool, construct: &str, from: Option<Position>) -> ControlFlow<Error> {
        if !found {
            return ControlFlow::Continue(());
        }
        let first = construct.split_whitespace().next().unwrap_or_default();
        let place = self.tokens.iter().find_map(|t| {
            let position = Position::of_span(t.span)?;
            (t.token.to_string().eq_ignore_ascii_case(first) && from.is_none_or(|from| position >= from)).then_some(position)
        });
        ControlFlow::Break(Error::unsupported(construct, place.or(from)))
    }
}

impl Visitor for Check<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Error> {
        let at = Position::of_span(query.span());
        for (found, construct) in [
            (!query.locks.is_empty(), "FOR UPDATE / FOR SHARE"),
            (query.for_clause.is_some(), "FOR XML / FOR JSON / FOR BROWSE"),
            (query.settings.is_some(), "SETTINGS"),
            (query.format_clause.is_some(), "FORMAT"),
            (query.fetch.is_some(), "FETCH FIRST"),
        ] {
            self.refuse_if(found, construct, at)?;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Error> {
        let at = Position::of_span(select.span());
        let modifiers = match &select.group_by {
            GroupByExpr::All(modifiers) | GroupByExpr::Expressions(_, modifiers) => modifiers,
        };
        let grouped_with = |wanted: fn(&GroupByWithModifier) -> bool| modifiers.iter().any(wanted);
        let filters_columns = select.projection.iter().any(|item| match item {
            SelectItem::Wildcard(options) | SelectItem::QualifiedWildcard(_, options) => options.opt_ilike.is_some(),
            _ => false,
        });
        for (found, construct) in [
            (select.top.is_some(), "TOP"),
            (select.into.is_some(), "INTO"),
            (!select.lateral_views.is_empty(), "LATERAL VIEW"),
            (select.prewhere.is_some(), "PREWHERE"),
            (!select.connect_by.is_empty(), "CONNECT BY"),
            (!select.cluster_by.is_empty(), "CLUSTER BY"),
            (!select.distribute_by.is_empty(), "DISTRIBUTE BY"),
            (!select.sort_by.is_empty(), "SORT BY"),
            (select.value_table_mode.is_some(), "AS STRUCT / AS VALUE"),
            (select.select_modifiers.is_some(), "SELECT modifier"),
            (grouped_with(|m| matches!(m, GroupByWithModifier::Totals)), "WITH TOTALS"),
            (grouped_with(|m| matches!(m, GroupByWithModifier::Rollup)), "WITH ROLLUP (write GROUP BY ROLLUP (…))"),
            (grouped_with(|m| matches!(m, GroupByWithModifier::Cube)), "WITH CUBE (write GROUP BY CUBE (…))"),
            (
                grouped_with(|m| matches!(m, GroupByWithModifier::GroupingSets(_))),
                "GROUPING SETS after a list (write GROUP BY GROUPING SETS (…))",
            ),
            (filters_columns, "ILIKE after *"),
            (matches!(select.distinct, Some(Distinct::On(ref list)) if list.is_empty()), "DISTINCT ON ()"),
            (matches!(select.flavor, SelectFlavor::FromFirstNoSelect) && select.from.is_empty(), "FROM without a table"),
        ] {
            self.refuse_if(found, construct, at)?;
        }
        for join in select.from.iter().flat_map(|f| &f.joins) {
            let (found, construct) = match &join.join_operator {
                JoinOperator::AsOf { .. } => (true, "ASOF JOIN"),
                JoinOperator::StraightJoin(_) => (true, "STRAIGHT_JOIN"),
                _ => (join.global, "GLOBAL JOIN"),
            };
            self.refuse_if(found, construct, at)?;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Error> {
        if let Expr::Cube(columns) = expr
            && columns.len() > CUBE_COLUMNS_MAX
        {
            let problem = format!("CUBE of {} columns is {} sets of groups", columns.len(), 2_f64.powi(columns.len() as i32));
            let at = Position::of_span(expr.span());
            return ControlFlow::Break(
                Error::sql(problem).at(at).hint(format!("at most {CUBE_COLUMNS_MAX} columns; GROUPING SETS (…) names single ones")),
            );
        }
        let Expr::Function(Function { name, parameters, args, .. }) = expr else { return ControlFlow::Continue(()) };
        let at = Position::of_span(name.span());
        self.refuse_if(*parameters != FunctionArguments::None, &format!("{name}(…)(…)"), at)?;
        let FunctionArguments::List(list) = args else { return ControlFlow::Continue(()) };
        let counts_rows = list.duplicate_treatment == Some(DuplicateTreatment::Distinct)
            && list.args.iter().any(|argument| {
                matches!(argument, FunctionArg::Unnamed(FunctionArgExpr::Wildcard | FunctionArgExpr::QualifiedWildcard(_)))
            });
        self.refuse_if(counts_rows, "DISTINCT * (write count(*) over a SELECT DISTINCT)", at)
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<Error> {
        let text = relation.0.iter().find_map(|part| part.as_ident().filter(|ident| ident.quote_style == Some('\'')));
        match text {
            None => ControlFlow::Continue(()),
            Some(text) => ControlFlow::Break(
                Error::sql(format!("'{}' is a string, not a name", text.value))
                    .at(Position::of_span(text.span))
                    .hint("a name that a variable holds is written \"${name}\""),
            ),
        }
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Error> {
        let at = Position::of_span(factor.span());
        match factor {
            TableFactor::Table { name, args, with_hints, version, with_ordinality, partitions, json_path, sample, index_hints, .. } => {
                let at = Position::of_span(name.span()).or(at);
                for (found, construct) in [
                    (!with_hints.is_empty(), "WITH (table hints)"),
                    (*with_ordinality, "WITH ORDINALITY"),
                    (!partitions.is_empty(), "PARTITION selection"),
                    (json_path.is_some(), "a JSON path after a table"),
                    (sample.is_some(), "TABLESAMPLE"),
                    (!index_hints.is_empty(), "index hints"),
                    (args.as_ref().is_some_and(|a| a.settings.is_some()), "SETTINGS"),
                    (args.is_some() && version.is_some(), "a table version on a function"),
                    (matches!(version, Some(TableVersion::Function(_))), "AT / BEFORE (table version)"),
                    (matches!(version, Some(TableVersion::Changes { .. })), "CHANGES"),
                ] {
                    self.refuse_if(found, construct, at)?;
                }
                ControlFlow::Continue(())
            }
            TableFactor::Derived { sample, .. } => self.refuse_if(sample.is_some(), "TABLESAMPLE", at),
            TableFactor::Pivot { .. } => self.refuse_if(true, "PIVOT", at),
            TableFactor::Unpivot { .. } => self.refuse_if(true, "UNPIVOT", at),
            TableFactor::MatchRecognize { .. } => self.refuse_if(true, "MATCH_RECOGNIZE", at),
            _ => ControlFlow::Continue(()),
        }
    }
}
