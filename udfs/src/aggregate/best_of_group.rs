//! The grouped accumulator behind `first_value`, `last_value`, `any_value`, `min_by` and `max_by`: of every group the value
//! of the row whose ordering key is best.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::buffer::BooleanBuffer;
use arrow::compute::SortOptions;
use arrow::datatypes::DataType;
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};

use crate::kernels::order_keys::{Move, OrderColumn, OrderKeys, reversed, true_rows};
use crate::kernels::value_store::{ValueStore, new_value_store};

/// Which row of a group is best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Wanted {
    /// The first in the ordering.
    First,
    /// The last in the ordering.
    Last,
}

/// Keeps value and ordering key of the best row of every group.
///
/// Its state is the value, the columns of the ordering, and whether the group had a row at all. Of rows with equal keys
/// the one that came first stays, which is any of them once several partitions are merged.
pub(super) struct BestOfGroup {
    keys: OrderKeys,
    values: Box<dyn ValueStore>,
    moves: Vec<Move>,
    groups: usize,
    ignore_nulls: bool,
    /// Rows whose ordering key is null take no part.
    ignore_null_keys: bool,
}

impl BestOfGroup {
    /// An accumulator for values of `data_type`, ordered by `order`.
    pub(super) fn try_new(data_type: &DataType, order: Vec<OrderColumn>, wanted: Wanted) -> Result<Self> {
        let order = order.into_iter().map(|column| match wanted {
            Wanted::First => column,
            Wanted::Last => OrderColumn { options: reversed(column.options), ..column },
        });
        Ok(Self {
            keys: OrderKeys::try_new(order.collect(), wanted == Wanted::Last)?,
            values: new_value_store(data_type),
            moves: Vec::new(),
            groups: 0,
            ignore_nulls: false,
            ignore_null_keys: false,
        })
    }

    /// The accumulator of `f(x ORDER BY …)` as planned.
    pub(super) fn of_call(args: &AccumulatorArgs, wanted: Wanted) -> Result<Self> {
        let order = args.order_bys.iter().map(|key| {
            let data_type = key.expr.data_type(args.schema)?;
            Ok(OrderColumn { data_type, options: key.options })
        });
        let accumulator = Self::try_new(args.return_field.data_type(), order.collect::<Result<_>>()?, wanted)?;
        Ok(accumulator.ignoring_nulls(args.ignore_nulls))
    }

    /// Leaves out rows whose value is null.
    pub(super) fn ignoring_nulls(self, ignore_nulls: bool) -> Self {
        Self { ignore_nulls, ..self }
    }

    /// The accumulator of `min_by(x, y)` or `max_by(x, y)`: one ordering column, whose nulls take no part.
    pub(super) fn by_one_key(value: &DataType, key: &DataType, wanted: Wanted) -> Result<Self> {
        let order = OrderColumn { data_type: key.clone(), options: SortOptions::default() };
        Ok(Self { ignore_null_keys: true, ..Self::try_new(value, vec![order], wanted)? })
    }

    /// The rows that take part; all, if `None`.
    fn kept_rows(&self, columns: &[ArrayRef], filter: Option<BooleanBuffer>) -> Option<BooleanBuffer> {
        let mut kept = filter;
        let mut leave_out_nulls = |column: &ArrayRef| {
            if let Some(nulls) = column.logical_nulls().filter(|nulls| nulls.null_count() > 0) {
                kept = Some(kept.as_ref().map_or_else(|| nulls.inner().clone(), |kept| kept & nulls.inner()));
            }
        };
        if self.ignore_nulls {
            leave_out_nulls(&columns[0]);
        }
        if self.ignore_null_keys {
            columns[1..].iter().for_each(leave_out_nulls);
        }
        kept
    }

    fn offer(&mut self, columns: &[ArrayRef], groups: &[usize], filter: Option<BooleanBuffer>, total_groups: usize) -> Result<()> {
        self.groups = total_groups;
        let kept = self.kept_rows(columns, filter);
        self.moves.clear();
        self.keys.offer(&columns[1..], groups, kept.as_ref(), total_groups, &mut self.moves)?;
        Ok(self.values.write(&columns[0], &self.moves, total_groups)?)
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

impl GroupsAccumulator for BestOfGroup {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.offer(values, group_indices, opt_filter.map(|filter| true_rows(filter)), total_num_groups)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        let (seen, columns) = values.split_last().ok_or_else(|| internal_datafusion_err!("first_value without a state"))?;
        self.offer(columns, group_indices, Some(true_rows(seen.as_boolean())), total_num_groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let emitted = self.emitted(emit_to);
        self.keys.drop_first(emitted);
        Ok(self.values.take_first(emitted)?)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let emitted = self.emitted(emit_to);
        let mut state = vec![self.values.take_first(emitted)?];
        let (keys, seen) = self.keys.take_first(emitted)?;
        state.extend(keys);
        state.push(Arc::new(BooleanArray::new(seen, None)));
        Ok(state)
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let kept = self.kept_rows(values, opt_filter.map(|filter| true_rows(filter)));
        let kept = kept.unwrap_or_else(|| BooleanBuffer::new_set(values[0].len()));
        let mut state = values.to_vec();
        state.push(Arc::new(BooleanArray::new(kept, None)));
        Ok(state)
    }

    fn size(&self) -> usize {
        let moves = self.moves.capacity() * size_of::<Move>();
        size_of::<Self>() + moves + self.keys.allocated_bytes() + self.values.allocated_bytes()
    }
}
