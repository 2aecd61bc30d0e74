//! What `session_start`, `session_index` and `session_id` share: their arguments, and one pass over a partition.
//!
//! An event belongs to the session of the event before it if it comes no more than that event's gap after it. Exactly the
//! gap is still the same session, as in scripts that compare `lag` with `> gap`, and as in Spark's `session_window`, whose
//! iterators join a window that begins where the one before it ends. Unlike Spark's, a gap that differs from event to event
//! is only that of the event just before: a long gap further back does not hold a session open.

use std::any::Any;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _, Int64Array};
use arrow::buffer::NullBuffer;
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, Schema};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowFunctionSimplification, WindowUDFFieldArgs};
use datafusion::logical_expr::{DocSection, Documentation, Expr, PartitionEvaluator, Signature, Volatility, WindowUDF, WindowUDFImpl};
use datafusion::physical_expr::PhysicalExpr;

use super::{session_id, session_index, session_start};
use crate::kernels::row_runs::{RowRuns, RunSessions};
use crate::kernels::sessions::{for_each_in_group_session, for_each_in_session};
use crate::kernels::spark_hash::is_hashable;
use crate::time_arguments::{SpanArgument, coerce_time, instants, restore_instants};

pub(super) const SECTION: DocSection = DocSection { include: true, label: "Session Functions", description: None };
pub(super) const SEMANTICS: &str = "A session begins with an event that comes more than the gap after the event before it, or \
     more than max_length after the session's first event; exactly as much is still the same session. Events at one instant \
     are always in one session, and the order of rows does not matter. A row whose ts is NULL belongs to no session and ends \
     none: the result is NULL.";
pub(super) const TS_DESCRIPTION: &str = "When the event happened: a TIMESTAMP, a DATE, or an integer in any unit.";
pub(super) const GAP_DESCRIPTION: &str = "How long nothing may happen within a session: an INTERVAL without months (a day is \
     24 hours), or an integer where ts is one. It may differ from row to row, where that of the earlier event applies and, of \
     several at one instant, the longest. NULL, zero and less are errors.";
pub(super) const MAX_LENGTH_DESCRIPTION: &str =
    "Optional literal: how long a session may be from its first event to its last, like gap; NULL for no limit.";

/// What is told of the session that a row belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SessionOutput {
    /// `session_id`.
    Id,
    /// `session_index`.
    Index,
    /// `session_start`.
    Start,
}

impl SessionOutput {
    fn name(self) -> &'static str {
        match self {
            Self::Id => "session_id",
            Self::Index => "session_index",
            Self::Start => "session_start",
        }
    }

    fn gap(self) -> SpanArgument {
        SpanArgument { function: self.name(), position: 2, name: "gap" }
    }

    fn max_length(self) -> SpanArgument {
        SpanArgument { function: self.name(), position: 3, name: "max_length" }
    }

    fn check(self, args: &[Expr]) -> Result<()> {
        self.gap().check_literal(args)?;
        self.max_length().require_literal_or_null(args)
    }
}

/// Any of the three functions.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct SessionFunction {
    signature: Signature,
    output: SessionOutput,
}

impl SessionFunction {
    /// The function that gives `output`; it has no state.
    pub fn new(output: SessionOutput) -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable), output }
    }
}

impl WindowUDFImpl for SessionFunction {
    fn name(&self) -> &str {
        self.output.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let function = self.name();
        let [ts, gap, rest @ ..] = arg_types else {
            return plan_err!("{function} takes ts, a gap and optionally a greatest length, not {} arguments", arg_types.len());
        };
        if rest.len() > 1 && self.output != SessionOutput::Id {
            return plan_err!("{function} takes ts, a gap and optionally a greatest length, not {} arguments", arg_types.len());
        }
        let time = coerce_time(function, 1, ts, Some(gap))?;
        let mut types = vec![time.clone(), self.output.gap().coerce(gap, &time)?];
        if let Some((max_length, keys)) = rest.split_first() {
            types.push(self.output.max_length().coerce(max_length, &time)?);
            if let Some(at) = keys.iter().position(|key| !is_hashable(key)) {
                return plan_err!("{function}: argument {} of type {} cannot be hashed", at + 4, keys[at]);
            }
            types.extend(keys.iter().cloned());
        }
        Ok(types)
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        let data_type = match (self.output, args.input_fields().first()) {
            (SessionOutput::Start, Some(ts)) => ts.data_type().clone(),
            _ => DataType::Int64,
        };
        Ok(Arc::new(Field::new(args.name(), data_type, true)))
    }

    fn simplify(&self) -> Option<WindowFunctionSimplification> {
        let output = self.output;
        Some(Box::new(move |call, _| {
            output.check(&call.params.args)?;
            Ok(Expr::from(call))
        }))
    }

    fn partition_evaluator(&self, args: PartitionEvaluatorArgs) -> Result<Box<dyn PartitionEvaluator>> {
        let Some(ts) = args.input_fields().first() else {
            return plan_err!("{} without arguments", self.name());
        };
        let time = ts.data_type().clone();
        let gap = self.output.gap().planned(args.input_exprs(), &time)?;
        let max_length = self.output.max_length().planned_or_null(args.input_exprs(), &time)?;
        Ok(Box::new(SessionEvaluator { output: self.output, time, gap, max_length }))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(match self.output {
            SessionOutput::Id => &session_id::DOCUMENTATION,
            SessionOutput::Index => &session_index::DOCUMENTATION,
            SessionOutput::Start => &session_start::DOCUMENTATION,
        })
    }
}

/// One of the functions over rows of many partitions at once, in any order; for operators that do without sorting.
#[derive(Debug, Clone)]
pub struct GroupedSessions {
    output: SessionOutput,
    time: DataType,
    gap: i64,
    max_length: Option<i64>,
}

impl GroupedSessions {
    /// The function of a window expression with its arguments; `None` for any other function, and where rows have gaps of their own.
    ///
    /// # Errors
    /// A gap or length that is not positive.
    pub fn of(function: &WindowUDF, args: &[Arc<dyn PhysicalExpr>], input: &Schema) -> Result<Option<Self>> {
        let function: &dyn Any = function.inner().as_ref();
        let (Some(SessionFunction { output, .. }), Some(ts)) = (function.downcast_ref(), args.first()) else { return Ok(None) };
        let output = *output;
        let time = ts.data_type(input)?;
        let max_length = output.max_length().planned_or_null(args, &time)?;
        Ok(output.gap().planned(args, &time)?.map(|gap| Self { output, time, gap, max_length }))
    }

    /// Takes the rows of all partitions, to find the session of each.
    pub fn rows(&self) -> RowSessions {
        let wants_index = self.output == SessionOutput::Index;
        let kept = match self.max_length {
            None => Kept::Runs(RowRuns::new(self.gap)),
            Some(max_length) => Kept::Instants { gap: self.gap, max_length, instants: Vec::new() },
        };
        RowSessions { wants_index, of_row: Vec::new(), kept }
    }

    /// What the function returns for rows of these sessions; `args` are its arguments behind the first, of the same rows.
    ///
    /// # Errors
    /// Keys that cannot be hashed.
    pub fn results(&self, sessions: Int64Array, args: &[ArrayRef]) -> Result<ArrayRef> {
        match self.output {
            SessionOutput::Index => Ok(Arc::new(sessions)),
            SessionOutput::Start => restore_instants(sessions, &self.time),
            SessionOutput::Id => session_id::ids(args.get(2..).unwrap_or_default(), &restore_instants(sessions, &self.time)?),
        }
    }

    /// Whether [`Self::results`] needs arguments.
    pub fn needs_args(&self) -> bool {
        self.output == SessionOutput::Id
    }
}

/// Rows of many partitions as they come, until the session of each is found.
#[derive(Debug)]
pub struct RowSessions {
    wants_index: bool,
    /// Of every row its run, or its group.
    of_row: Vec<u32>,
    kept: Kept,
}

#[derive(Debug)]
enum Kept {
    Runs(RowRuns),
    /// A row that comes late can move every later cut that is made for its session's length, so all instants are kept.
    Instants {
        gap: i64,
        max_length: i64,
        instants: Vec<Int64Array>,
    },
}

impl RowSessions {
    /// Adds rows. `groups` has the partition of each, below `total_groups`. There must not be more than `u32::MAX - 1` rows in all.
    ///
    /// # Errors
    /// `times` is of another type than the function was made for.
    pub fn push(&mut self, times: &ArrayRef, groups: &[usize], total_groups: usize) -> Result<()> {
        let times = instants(times)?;
        match &mut self.kept {
            Kept::Runs(runs) => runs.push(&times, groups, total_groups, &mut self.of_row),
            Kept::Instants { instants, .. } => {
                self.of_row.extend(groups.iter().map(|group| *group as u32));
                instants.push(times);
            }
        }
        Ok(())
    }

    /// Bytes that are held now, and those that [`Self::find`] will take beside them.
    pub fn bytes(&self) -> usize {
        let of_rows = self.of_row.capacity() * size_of::<u32>();
        of_rows
            + match &self.kept {
                Kept::Runs(runs) => runs.bytes(),
                // Instants, then in the order of time with their rows, and what is found.
                Kept::Instants { .. } => self.of_row.len() * (size_of::<i64>() + size_of::<(i64, u32)>() + size_of::<i64>()),
            }
    }

    /// The sessions of all rows, once they are there; `total_groups` as they were pushed last.
    ///
    /// # Errors
    /// None but those of Arrow.
    pub fn find(self, total_groups: usize) -> Result<FoundSessions> {
        let Self { wants_index, of_row, kept } = self;
        let (gap, max_length, instants) = match kept {
            Kept::Instants { gap, max_length, instants } => (gap, max_length, instants),
            Kept::Runs(runs) => {
                let RunSessions { starts, indexes } = runs.sessions();
                let of_run = if wants_index { indexes.into_iter().map(i64::from).collect() } else { starts };
                return Ok(FoundSessions(Found::ByRun { run_of_row: of_row, of_run }));
            }
        };
        let parts: Vec<&dyn Array> = instants.iter().map(|part| part as &dyn Array).collect();
        if parts.is_empty() {
            return Ok(FoundSessions(Found::ByRow(Int64Array::new_null(0))));
        }
        let instants = concat(&parts)?.as_primitive::<Int64Type>().clone();
        let mut found = vec![0; instants.len()];
        let note = |row: usize, start: i64, index: i64| found[row] = if wants_index { index } else { start };
        for_each_in_group_session(&instants, &of_row, total_groups, gap, Some(max_length), note);
        Ok(FoundSessions(Found::ByRow(Int64Array::new(found.into(), instants.nulls().cloned()))))
    }
}

/// The session of every row: its number, or its start.
#[derive(Debug)]
pub struct FoundSessions(Found);

#[derive(Debug)]
enum Found {
    ByRow(Int64Array),
    ByRun { run_of_row: Vec<u32>, of_run: Vec<i64> },
}

impl FoundSessions {
    /// Those of some rows; null where there is no instant.
    pub fn slice(&self, first: usize, rows: usize) -> Int64Array {
        match &self.0 {
            Found::ByRow(sessions) => sessions.slice(first, rows),
            Found::ByRun { run_of_row, of_run } => {
                let runs = &run_of_row[first..first + rows];
                let values: Vec<i64> = runs.iter().map(|run| of_run[*run as usize]).collect();
                let nulls = runs.contains(&0).then(|| runs.iter().map(|run| *run != 0).collect::<NullBuffer>());
                Int64Array::new(values.into(), nulls)
            }
        }
    }
}

/// Evaluates one partition.
#[derive(Debug)]
struct SessionEvaluator {
    output: SessionOutput,
    time: DataType,
    /// The gap of all rows, if it is a literal.
    gap: Option<i64>,
    max_length: Option<i64>,
}

impl SessionEvaluator {
    /// The number of every row's session, or its start; anything, where there is no instant.
    fn sessions(&self, instants: &Int64Array, gaps: &ArrayRef) -> Result<Vec<i64>> {
        let mut found = vec![0; instants.len()];
        let wants_index = self.output == SessionOutput::Index;
        let note = |row: usize, start: i64, index: i64| found[row] = if wants_index { index } else { start };
        match self.gap {
            Some(gap) => for_each_in_session(instants, |_| gap, self.max_length, note),
            None => {
                let gaps = self.output.gap().of_rows(gaps, &self.time, instants.nulls())?;
                for_each_in_session(instants, |row| gaps[row], self.max_length, note);
            }
        }
        Ok(found)
    }
}

impl PartitionEvaluator for SessionEvaluator {
    fn evaluate_all(&mut self, values: &[ArrayRef], _num_rows: usize) -> Result<ArrayRef> {
        let instants = instants(&values[0])?;
        let found = self.sessions(&instants, &values[1])?;
        let found = Int64Array::new(found.into(), instants.nulls().cloned());
        match self.output {
            SessionOutput::Index => Ok(Arc::new(found)),
            SessionOutput::Start => restore_instants(found, &self.time),
            SessionOutput::Id => session_id::ids(values.get(3..).unwrap_or_default(), &restore_instants(found, &self.time)?),
        }
    }
}
