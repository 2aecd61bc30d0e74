//! The grouped accumulator of `count(DISTINCT x)`: one flat table for all groups, mergeable across partitions.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, ListArray};
use arrow::buffer::{BooleanBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, exec_datafusion_err, internal_datafusion_err};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};

use crate::kernels::distinct_pairs::DistinctPairs;
use crate::kernels::order_keys::true_rows;

/// Counts the distinct non-null values of every group. Its state is the list of them.
pub(super) struct DistinctCount {
    data_type: DataType,
    pairs: DistinctPairs,
    groups: usize,
}

impl DistinctCount {
    /// An accumulator for values of `data_type`; dictionaries count by their values.
    pub(super) fn try_new(data_type: &DataType) -> Result<Self> {
        let data_type = value_type(data_type).clone();
        let pairs = DistinctPairs::try_new(&data_type)?;
        Ok(Self { data_type, pairs, groups: 0 })
    }

    fn plain(&self, values: &[ArrayRef]) -> Result<ArrayRef> {
        let values = values.first().ok_or_else(|| internal_datafusion_err!("count(DISTINCT) without an argument"))?;
        Ok(if values.data_type() == &self.data_type { Arc::clone(values) } else { cast(values, &self.data_type)? })
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

/// What the values of a column are, looking through a dictionary.
pub(super) fn value_type(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::Dictionary(_, value) => value,
        other => other,
    }
}

impl GroupsAccumulator for DistinctCount {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups = total_num_groups;
        let values = self.plain(values)?;
        let keep = opt_filter.map(|filter| true_rows(filter));
        Ok(self.pairs.insert(&values, group_indices, keep.as_ref(), total_num_groups)?)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let emitted = self.emitted(emit_to);
        Ok(Arc::new(Int64Array::from(self.pairs.take_counts(emitted))))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let emitted = self.emitted(emit_to);
        let (counts, values) = self.pairs.take_values(emitted)?;
        if values.len() > i32::MAX as usize {
            return Err(exec_datafusion_err!("count(DISTINCT): {} values in one batch of states, the limit is 2^31", values.len()));
        }
        let offsets = OffsetBuffer::from_lengths(counts.into_iter().map(|count| count as usize));
        Ok(vec![self.list(offsets, values)?])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.groups = total_num_groups;
        let lists = values.first().ok_or_else(|| internal_datafusion_err!("count(DISTINCT) without a state"))?.as_list::<i32>();
        let offsets = lists.value_offsets();
        let start = offsets.first().copied().unwrap_or(0) as usize;
        let end = offsets.last().copied().unwrap_or(0) as usize;
        let mut groups = Vec::with_capacity(end - start);
        for (bounds, group) in offsets.windows(2).zip(group_indices) {
            groups.resize(groups.len() + (bounds[1] - bounds[0]) as usize, *group);
        }
        let values = lists.values().slice(start, end - start);
        Ok(self.pairs.insert(&values, &groups, None, total_num_groups)?)
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let values = self.plain(values)?;
        let valid = values.logical_nulls().map(|nulls| nulls.into_inner());
        let kept: Option<BooleanBuffer> = match (opt_filter.map(|filter| true_rows(filter)), valid) {
            (None, valid) => valid,
            (Some(keep), None) => Some(keep),
            (Some(keep), Some(valid)) => Some(&keep & &valid),
        };
        let Some(kept) = kept else {
            let ones: ScalarBuffer<i32> = (0..=values.len() as i32).collect();
            return Ok(vec![self.list(OffsetBuffer::new(ones), values)?]);
        };
        let offsets = OffsetBuffer::from_lengths(kept.iter().map(usize::from));
        let values = arrow::compute::filter(&values, &BooleanArray::new(kept, None))?;
        Ok(vec![self.list(offsets, values)?])
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.pairs.allocated_bytes()
    }
}

impl DistinctCount {
    fn list(&self, offsets: OffsetBuffer<i32>, values: ArrayRef) -> Result<ArrayRef> {
        let item = Arc::new(Field::new_list_field(self.data_type.clone(), true));
        Ok(Arc::new(ListArray::try_new(item, offsets, values, None)?))
    }
}
