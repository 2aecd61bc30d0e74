//! A grouped accumulator used for one group: what an aggregate without `GROUP BY`, or over a window, needs.

use arrow::array::ArrayRef;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

/// Group 0 of a grouped accumulator.
pub(super) struct OneGroup<A> {
    inner: A,
    groups: Vec<usize>,
    /// The first column of the state is the value.
    state_has_value: bool,
}

impl<A: GroupsAccumulator> OneGroup<A> {
    /// For an accumulator whose state begins with its value.
    pub(super) fn new(inner: A) -> Self {
        Self { inner, groups: Vec::new(), state_has_value: true }
    }

    /// For an accumulator whose value has to be computed from its state.
    pub(super) fn with_state_apart(inner: A) -> Self {
        Self { inner, groups: Vec::new(), state_has_value: false }
    }

    fn grow_to(&mut self, rows: usize) {
        if self.groups.len() < rows {
            self.groups.resize(rows, 0);
        }
    }

    /// The state of the group, which stays as it is.
    fn peek(&mut self) -> Result<Vec<ArrayRef>> {
        // Makes the group exist, should there have been no rows yet.
        let state = self.inner.state(EmitTo::First(1))?;
        self.inner.merge_batch(&state, &[0], 1)?;
        Ok(state)
    }
}

impl<A> std::fmt::Debug for OneGroup<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OneGroup").finish_non_exhaustive()
    }
}

impl<A: GroupsAccumulator + Sync> Accumulator for OneGroup<A> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let rows = values.first().map_or(0, |column| column.len());
        self.grow_to(rows);
        self.inner.update_batch(values, &self.groups[..rows], None, 1)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let rows = states.first().map_or(0, |column| column.len());
        self.grow_to(rows);
        self.inner.merge_batch(states, &self.groups[..rows], 1)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let state = self.peek()?;
        if self.state_has_value {
            return ScalarValue::try_from_array(&state[0], 0);
        }
        let value = self.inner.evaluate(EmitTo::First(1))?;
        // A window asks again when its frame has grown.
        self.inner.merge_batch(&state, &[0], 1)?;
        ScalarValue::try_from_array(&value, 0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.peek()?.iter().map(|column| ScalarValue::try_from_array(column, 0)).collect()
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.groups.capacity() * size_of::<usize>() + self.inner.size()
    }
}
