//! Grouped accumulators whose state is apart from their value: what the aggregates over events share.

use arrow::array::{ArrayRef, BooleanArray};
use arrow::buffer::BooleanBuffer;
use datafusion::common::{Result, not_impl_err, plan_err};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};

use crate::kernels::order_keys::true_rows;

/// The state of all groups.
pub(super) trait GroupedState: Send + Sync + 'static {
    /// A state of the same kind without groups.
    fn fresh(&self) -> Self;
    /// Adds rows of arguments; `keep` says which, all if it is missing.
    fn insert(&mut self, values: &[ArrayRef], groups: &[usize], keep: Option<&BooleanBuffer>, total_groups: usize) -> Result<()>;
    /// Adds rows of what [`Self::take_state`] gave.
    fn merge(&mut self, states: &[ArrayRef], groups: &[usize], total_groups: usize) -> Result<()>;
    /// Takes the values of the first `groups` groups out; the others move down.
    fn take_value(&mut self, groups: usize) -> Result<ArrayRef>;
    /// Takes the states of the first `groups` groups out; the others move down.
    fn take_state(&mut self, groups: usize) -> Result<Vec<ArrayRef>>;
    /// Bytes allocated.
    fn allocated_bytes(&self) -> usize;
}

/// A state as DataFusion's accumulator.
pub(super) struct Grouped<S> {
    state: S,
    groups: usize,
}

impl<S: GroupedState> Grouped<S> {
    pub(super) fn new(state: S) -> Self {
        Self { state, groups: 0 }
    }

    fn emitted(&mut self, emit_to: EmitTo) -> usize {
        let emitted = match emit_to {
            EmitTo::All => self.groups,
            EmitTo::First(n) => n,
        };
        self.groups = self.groups.saturating_sub(emitted);
        emitted
    }
}

impl<S: GroupedState> GroupsAccumulator for Grouped<S> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups = total_num_groups;
        let keep = opt_filter.map(|filter| true_rows(filter));
        self.state.insert(values, group_indices, keep.as_ref(), total_num_groups)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.groups = total_num_groups;
        self.state.merge(values, group_indices, total_num_groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let emitted = self.emitted(emit_to);
        self.state.take_value(emitted)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let emitted = self.emitted(emit_to);
        self.state.take_state(emitted)
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let rows = values[0].len();
        let each_its_own: Vec<usize> = (0..rows).collect();
        let mut states = Self::new(self.state.fresh());
        states.update_batch(values, &each_its_own, opt_filter, rows)?;
        states.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.state.allocated_bytes()
    }
}

/// Refuses `f(DISTINCT …)` and `f(… ORDER BY …)`, which would change nothing or be meant otherwise.
pub(super) fn refuse_modifiers(call: &AggregateFunction) -> Result<()> {
    let function = call.func.name();
    if call.params.distinct {
        return plan_err!("{function} does not take DISTINCT");
    }
    if !call.params.order_by.is_empty() {
        return plan_err!("{function} does not take ORDER BY: it goes by its own arguments");
    }
    Ok(())
}

/// As [`refuse_modifiers`], for calls that were not simplified.
pub(super) fn refuse_distinct(function: &str, args: &AccumulatorArgs) -> Result<()> {
    if args.is_distinct { not_impl_err!("{function} does not take DISTINCT") } else { Ok(()) }
}
