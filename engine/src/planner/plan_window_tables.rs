//! Plans `TUMBLE`, `HOP` and `SESSION` in `FROM`: the rows of a table, each with the `window_start` and `window_end` of its window.
//!
//! `TUMBLE(TABLE t, DESCRIPTOR(time), size [, offset])`, `HOP(TABLE t, DESCRIPTOR(time), slide, size [, offset])` and
//! `SESSION(TABLE t [PARTITION BY k, …], DESCRIPTOR(time), gap)` as in Flink; RisingWave's `TUMBLE(t, time, size)` has been brought into that form by the
//! dialect.

use datafusion::common::{Column, Result};
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, lit};
use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, FunctionArg, FunctionArgExpr, Spanned, TableFactor, TableFunctionArgs};

use super::time_windows::{EventTime, Hopping, START, Sessions, columns};
use crate::dialect::{durations, window_calls, window_tables};
use crate::{Error, Position};

const WINDOW_START: &str = "window_start";
const WINDOW_END: &str = "window_end";

/// See the module documentation.
#[derive(Debug, Default)]
pub struct PlanWindowTables {}

impl RelationPlanner for PlanWindowTables {
    fn plan_relation(&self, relation: TableFactor, context: &mut dyn RelationPlannerContext) -> Result<RelationPlanning> {
        let TableFactor::Table { name, args: Some(args), alias, .. } = &relation else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let Some(function) = window_tables::function_named(name) else { return Ok(RelationPlanning::Original(Box::new(relation))) };
        let call = Call { function, place: Position::of_span(name.span()), args: plain_args(args)? };
        let plan = call.plan(context)?;
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias.clone()))))
    }
}

fn plain_args(args: &TableFunctionArgs) -> Result<Vec<SqlExpr>, Error> {
    let plain = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Ok(expr.clone()),
        other => Err(Error::sql(format!("arguments of windows are given by place, found {other}")).at(Position::of_span(other.span()))),
    };
    args.args.iter().map(plain).collect()
}

struct Call {
    function: &'static str,
    place: Option<Position>,
    args: Vec<SqlExpr>,
}

impl Call {
    fn form(&self) -> &'static str {
        match self.function {
            "tumble" => "TUMBLE(TABLE t, DESCRIPTOR(time), size [, offset])",
            "hop" => "HOP(TABLE t, DESCRIPTOR(time), slide, size [, offset])",
            _ => "SESSION(TABLE t [PARTITION BY key, …], DESCRIPTOR(time), gap)",
        }
    }

    fn error(&self, problem: String) -> Error {
        Error::sql(problem).at(self.place).hint(self.form())
    }

    fn plan(&self, context: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
        let function = self.function.to_uppercase();
        let [table, time, lengths @ ..] = self.args.as_slice() else {
            return Err(self.error(format!("{function} is called with {} arguments", self.args.len())).into());
        };
        let counts = match self.function {
            "tumble" => 1..=2,
            "hop" => 2..=3,
            _ => 1..=1,
        };
        if !counts.contains(&lengths.len()) {
            return Err(self.error(format!("{function} is called with {} arguments", self.args.len())).into());
        }
        let Some(table) = window_tables::table_argument(table) else {
            let error = self.error(format!("the first argument of {function} is {table}, which is no table"));
            return Err(error.into());
        };
        if let (Some(key), true) = (table.keys.first(), self.function != "session") {
            let error = Error::sql(format!("PARTITION BY does not go with {function}")).at(Position::of_span(key.span()));
            return Err(error.hint(format!("the windows of {function} are the same for all rows")).into());
        }
        let rows = context.plan(TableFactor::Derived { lateral: false, subquery: table.query, alias: None, sample: None })?;
        self.check_columns(&rows)?;
        let time = self.time(time, &rows, context)?;
        match self.function {
            "session" => self.sessions(rows, &time, &table.keys, lengths, context),
            _ => windows(rows, &time, self.hopping(lengths)?),
        }
    }

    fn check_columns(&self, rows: &LogicalPlan) -> Result<(), Error> {
        let taken = rows.schema().fields().iter().find(|field| matches!(field.name().as_str(), WINDOW_START | WINDOW_END));
        match taken {
            None => Ok(()),
            Some(field) => {
                Err(Error::sql(format!("the table has a column '{}' already", field.name())).at(self.place).hint("rename it in a subquery"))
            }
        }
    }

    fn time(&self, written: &SqlExpr, rows: &LogicalPlan, context: &mut dyn RelationPlannerContext) -> Result<EventTime> {
        let place = Position::of_span(written.span()).or(self.place);
        let column = match window_tables::descriptor(written).as_deref() {
            None => written.clone(),
            Some([column]) => column.clone(),
            Some(other) => return Err(Error::sql(format!("DESCRIPTOR names one column, found {}", other.len())).at(place).into()),
        };
        let place = Position::of_span(column.span()).or(place);
        let expr = context.sql_to_expr(column, rows.schema()).map_err(|e| Error::from(e).at(place))?;
        EventTime::of(expr, rows.schema(), &format!("the time column of {}", self.function.to_uppercase()), place)
    }

    fn hopping(&self, lengths: &[SqlExpr]) -> Result<Hopping, Error> {
        let function = self.function.to_uppercase();
        let positive = |expr: &SqlExpr, what: &str| {
            durations::positive_micros(expr, &format!("the {what} of {function}")).map_err(|e| e.at(self.place))
        };
        let (size, slide, offset) = match (self.function, lengths) {
            ("hop", [slide, size, offset @ ..]) => {
                let lengths = (positive(size, "size")?, positive(slide, "slide")?);
                window_calls::check_slide(lengths.0, lengths.1, slide, &function)?;
                (lengths.0, lengths.1, offset.first())
            }
            (_, [size, offset @ ..]) => {
                let size = positive(size, "size")?;
                (size, size, offset.first())
            }
            _ => return Err(self.error(format!("{function} has no size"))),
        };
        let offset = offset.map_or(Ok(0), |offset| durations::micros(offset, &format!("the offset of {function}")))?;
        Ok(Hopping { size, slide, offset: offset.rem_euclid(slide) })
    }

    fn sessions(
        &self,
        rows: LogicalPlan,
        time: &EventTime,
        keys: &[SqlExpr],
        lengths: &[SqlExpr],
        context: &mut dyn RelationPlannerContext,
    ) -> Result<LogicalPlan> {
        let mut plan_expr = |expr: &SqlExpr| {
            let place = Position::of_span(expr.span()).or(self.place);
            context.sql_to_expr(expr.clone(), rows.schema()).map_err(|e| Error::from(e).at(place))
        };
        let keys = keys.iter().map(&mut plan_expr).collect::<Result<Vec<_>, _>>()?;
        let Some(gap) = lengths.first() else { return Err(self.error("SESSION has no gap".to_string()).into()) };
        let length =
            if durations::is_duration(gap) { lit(durations::positive_micros(gap, "the gap of SESSION")?) } else { plan_expr(gap)? };
        let sessions = Sessions::by_gap(keys, time, length, rows.schema(), Position::of_span(gap.span()).or(self.place))?;
        let kept = columns(rows.schema());
        let rows = sessions.with_starts(rows, time)?;
        let (rows, end) = sessions.with_ends(rows)?;
        let edges = [Expr::Column(Column::from_name(START)).alias(WINDOW_START), end.alias(WINDOW_END)];
        LogicalPlanBuilder::from(rows).project(kept.into_iter().chain(edges))?.build()
    }
}

fn windows(rows: LogicalPlan, time: &EventTime, hopping: Hopping) -> Result<LogicalPlan> {
    let kept = columns(rows.schema());
    let (start, end) = hopping.edges(time, Expr::Column(Column::from_name(START)));
    let rows = hopping.with_starts(rows, time)?;
    LogicalPlanBuilder::from(rows).project(kept.into_iter().chain([start.alias(WINDOW_START), end.alias(WINDOW_END)]))?.build()
}
