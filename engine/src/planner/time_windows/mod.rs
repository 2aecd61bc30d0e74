//! Windows of time as plain expressions: the rows of a plan get the starts of the windows that they fall into.
//!
//! Tumbling and hopping windows are computed on the instants' numbers, which needs neither a calendar nor a time zone: they are aligned to 1970-01-01
//! 00:00 UTC, shifted by the offset. Sessions by one gap for all rows are those of `session_start`. Where rows have gaps of their own they are found by two
//! passes of window functions over the rows of a key in the order of their time, because a long gap holds a session open over later rows:
//!
//! ```text
//!   time   end (time + gap)   latest end before   begins a session   start (latest beginning so far)
//!   10:00  10:30              none                10:00              10:00
//!   10:30  11:00              10:30                                  10:00   touching its end is still the session, as in Spark and Flink
//!   11:31  12:01              11:00               11:31              11:31
//! ```
//!
//! Rows without a time are in no window.

mod event_time;
pub mod markers;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::datatypes::{DataType, IntervalUnit};
use datafusion::common::tree_node::TreeNode as _;
use datafusion::common::{Column, DFSchema, NullHandling, Result, ScalarValue, UnnestOptions, internal_err};
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::functions_nested::expr_fn::gen_series;
use datafusion::functions_window::lead_lag::lead_udwf;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{
    AggregateUDF, Cast, Expr, ExprFunctionExt as _, ExprSchemable as _, LogicalPlan, LogicalPlanBuilder, WindowFrame, WindowFrameBound,
    WindowFrameUnits, lit, when,
};

pub(super) use event_time::EventTime;

use crate::{Error, Position};

/// The column that the plans of this module put behind those of their input: where the row's window starts.
pub(super) const START: &str = "__window_start";
/// Beside [`START`] for sessions: where the session would end if the row were its last.
pub(super) const EVENT_END: &str = "__event_end";
const TIME: &str = "__event_time";
const LAST_END: &str = "__last_end";

/// Windows of one size that start at regular times; microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hopping {
    pub size: i64,
    pub slide: i64,
    pub offset: i64,
}

impl Hopping {
    /// The rows of `plan` with the start of their window as a number in the unit of the time; as many times as there are windows around it.
    pub fn with_starts(self, plan: LogicalPlan, time: &EventTime) -> Result<LogicalPlan> {
        let plan = LogicalPlanBuilder::from(plan).filter(time.expr.clone().is_not_null())?;
        let columns: Vec<Expr> = columns(plan.schema());
        if self.size == self.slide {
            return plan.project(columns.into_iter().chain([self.last_start(time, time.number()).alias(START)]))?.build();
        }
        let first = self.last_start(time, time.number() - lit(time.units(self.size))) + lit(time.units(self.slide));
        let starts = gen_series(first, self.last_start(time, time.number()), lit(time.units(self.slide)));
        let only_windows = UnnestOptions { null_handling: NullHandling::Drop, recursions: Vec::new() };
        plan.project(columns.into_iter().chain([starts.alias(START)]))?
            .unnest_column_with_options(Column::from_name(START), only_windows)?
            .build()
    }

    /// The latest start that is not after `number`. The remainder of a time before 1970 is negative, so it is taken twice.
    fn last_start(self, time: &EventTime, number: Expr) -> Expr {
        let (slide, offset) = (lit(time.units(self.slide)), lit(time.units(self.offset)));
        number.clone() - ((number - offset) % slide.clone() + slide.clone()) % slide
    }

    /// The edges of the window that starts at a number.
    pub fn edges(self, time: &EventTime, start: Expr) -> (Expr, Expr) {
        let end = start.clone() + lit(time.units(self.size));
        (time.at(start), time.at(end))
    }
}

/// Sessions of the rows with the same keys.
#[derive(Debug, Clone)]
pub(super) struct Sessions {
    pub keys: Vec<Expr>,
    /// When a session ends that has nothing after the row.
    pub event_end: Expr,
    /// The gap of all rows, in microseconds; `None` where they have gaps of their own, and those without one are in no session.
    pub gap: Option<i64>,
}

impl Sessions {
    /// Sessions by a gap: a number of microseconds, or an expression that gives an interval or its text.
    ///
    /// # Errors
    /// A gap with months, whose length varies; one of another type.
    pub fn by_gap(keys: Vec<Expr>, time: &EventTime, gap: Expr, schema: &DFSchema, position: Option<Position>) -> Result<Self> {
        if let Expr::Literal(ScalarValue::Int64(Some(micros)), _) = gap {
            let event_end = time.at(time.number() + lit(time.units(micros)));
            return Ok(Self { keys, event_end, gap: Some(micros) });
        }
        let gap_type = gap.get_type(schema)?;
        markers::check_gap(&gap_type, "the gap of a session", position)?;
        if gap.exists(|part| Ok(matches!(part, Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(length)), _) if length.months != 0)))? {
            return Err(Error::sql("the gap of a session holds months, whose length varies")
                .at(position)
                .hint("count days instead")
                .into());
        }
        let gap = match gap_type {
            DataType::Interval(_) | DataType::Duration(_) => gap,
            _ => Expr::Cast(Cast::new(Box::new(gap), DataType::Interval(IntervalUnit::MonthDayNano))),
        };
        Ok(Self { keys, event_end: time.expr.clone() + gap, gap: None })
    }

    /// The rows of `plan` with the columns [`START`] and [`EVENT_END`].
    pub fn with_starts(&self, plan: LogicalPlan, time: &EventTime) -> Result<LogicalPlan> {
        let kept = columns(plan.schema());
        let (at, end) = (column(TIME), column(EVENT_END));
        let mut is_event = at.clone().is_not_null();
        if self.gap.is_none() {
            is_event = is_event.and(end.clone().gt(at.clone()));
        }
        let events = LogicalPlanBuilder::from(plan)
            .project(kept.iter().cloned().chain([time.expr.clone().alias(TIME), self.event_end.clone().alias(EVENT_END)]))?
            .filter(is_event)?;
        if let Some(gap) = self.gap {
            let start = self.start_by_gap(gap)?;
            let found = column(start.schema_name().to_string()).alias(START);
            return events.window([start])?.project(kept.into_iter().chain([at, end, found]))?.build();
        }

        let earlier = self.over_earlier(max_udaf(), end.clone(), WindowFrameBound::Preceding(ScalarValue::UInt64(Some(1))))?;
        let end_before = column(earlier.schema_name().to_string());
        let is_first = end_before.clone().is_null().or(at.clone().gt(end_before));
        let mark = when(is_first, at.clone()).end()?.alias(START);
        let marks = events.window([earlier])?.project(kept.iter().cloned().chain([at.clone(), end.clone(), mark]))?;

        let latest = self.over_earlier(max_udaf(), column(START), WindowFrameBound::CurrentRow)?;
        let start = column(latest.schema_name().to_string()).alias(START);
        marks.window([latest])?.project(kept.into_iter().chain([at, end, start]))?.build()
    }

    /// `session_start` of the rows by one gap.
    fn start_by_gap(&self, gap_micros: i64) -> Result<Expr> {
        let Some(function) = orrery_udfs::window_functions().into_iter().find(|function| function.name() == "session_start") else {
            return internal_err!("there is no function session_start");
        };
        let gap = ScalarValue::new_interval_mdn(0, 0, gap_micros.saturating_mul(1000));
        self.window(WindowFunction::new(function, vec![column(TIME), lit(gap)]), WindowFrame::new(Some(false)))
    }

    /// The rows of [`Sessions::with_starts`], and when their session ends: as late as any of its rows says, which is known at its last one.
    ///
    /// The windows are those of the keys and the time again, which the rows are in order of already.
    pub fn with_ends(&self, rows: LogicalPlan) -> Result<(LogicalPlan, Expr)> {
        let kept = columns(rows.schema());
        let next_start = self.window(WindowFunction::new(lead_udwf(), vec![column(START)]), WindowFrame::new(Some(false)))?;
        let end_so_far = self.over_earlier(max_udaf(), column(EVENT_END), WindowFrameBound::CurrentRow)?;
        let [next, so_far] = [&next_start, &end_so_far].map(|window| column(window.schema_name().to_string()));
        let is_last = next.clone().is_null().or(next.not_eq(column(START)));
        let ends = LogicalPlanBuilder::from(rows)
            .window([next_start, end_so_far])?
            .project(kept.into_iter().chain([when(is_last, so_far).end()?.alias(LAST_END)]))?;
        let unbounded = WindowFrameBound::Following(ScalarValue::UInt64(None));
        let frame = WindowFrame::new_bounds(WindowFrameUnits::Rows, WindowFrameBound::CurrentRow, unbounded);
        let end = self.window(WindowFunction::new(min_udaf(), vec![column(LAST_END)]), frame)?;
        let name = column(end.schema_name().to_string());
        Ok((ends.window([end])?.build()?, name))
    }

    /// An aggregate of the rows of the key from the first up to `end`.
    fn over_earlier(&self, function: Arc<AggregateUDF>, value: Expr, end: WindowFrameBound) -> Result<Expr> {
        let unbounded = WindowFrameBound::Preceding(ScalarValue::UInt64(None));
        self.window(WindowFunction::new(function, vec![value]), WindowFrame::new_bounds(WindowFrameUnits::Rows, unbounded, end))
    }

    fn window(&self, function: WindowFunction, frame: WindowFrame) -> Result<Expr> {
        let order = vec![column(TIME).sort(true, false)];
        Expr::from(function).partition_by(self.keys.clone()).order_by(order).window_frame(frame).build()
    }
}

fn column(name: impl Into<String>) -> Expr {
    Expr::Column(Column::from_name(name))
}

/// Every column as an expression.
pub(super) fn columns(schema: &DFSchema) -> Vec<Expr> {
    schema.columns().into_iter().map(Expr::Column).collect()
}
