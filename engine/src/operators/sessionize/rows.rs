//! The rows of a task as they came, with the number of each row's key and its instants beside them.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::compute::concat;
use arrow::datatypes::{Field, Schema};
use datafusion::common::Result;
use datafusion::common::utils::memory::get_record_batch_memory_size;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion::physical_plan::aggregates::order::GroupOrdering;

use super::Call;

/// What a row needs beside itself while the sessions are found: its key's number, its place and instant among its key's, and what is found.
const BYTES_PER_ROW: usize = size_of::<u32>() + size_of::<(i64, u32)>() + 2 * size_of::<i64>();

/// See the module documentation.
pub(super) struct Rows {
    keys: Vec<Arc<dyn PhysicalExpr>>,
    times: Vec<Arc<dyn PhysicalExpr>>,
    batches: Vec<RecordBatch>,
    /// Of every call, the times of each batch.
    instants: Vec<Vec<ArrayRef>>,
    groups: Vec<u32>,
    values: Box<dyn GroupValues>,
    batch_bytes: usize,
    interned: Vec<usize>,
}

impl Rows {
    pub fn new(keys: &[Arc<dyn PhysicalExpr>], calls: &[Call], schema: &Schema) -> Result<Self> {
        let fields: Vec<Field> =
            keys.iter().map(|key| Ok(Field::new("key", key.data_type(schema)?, key.nullable(schema)?))).collect::<Result<_>>()?;
        Ok(Self {
            keys: keys.to_vec(),
            times: calls.iter().filter_map(|call| call.args.first().cloned()).collect(),
            batches: Vec::new(),
            instants: vec![Vec::new(); calls.len()],
            groups: Vec::new(),
            values: new_group_values(Arc::new(Schema::new(fields)), &GroupOrdering::None)?,
            batch_bytes: 0,
            interned: Vec::new(),
        })
    }

    /// Adds rows. False where there are more of them than can be numbered; they are kept nevertheless.
    pub fn push(&mut self, batch: RecordBatch) -> Result<bool> {
        let rows = batch.num_rows();
        if self.groups.len() + rows > u32::MAX as usize {
            self.batches.push(batch);
            return Ok(false);
        }
        let of_batch = |expr: &Arc<dyn PhysicalExpr>| expr.evaluate(&batch)?.into_array(rows);
        let keys = self.keys.iter().map(of_batch).collect::<Result<Vec<_>>>()?;
        self.values.intern(&keys, &mut self.interned)?;
        self.groups.extend(self.interned.iter().map(|group| *group as u32));
        for (instants, time) in self.instants.iter_mut().zip(&self.times) {
            instants.push(of_batch(time)?);
        }
        self.batch_bytes += get_record_batch_memory_size(&batch);
        self.batches.push(batch);
        Ok(true)
    }

    /// The memory that the rows take, with what finding their sessions will.
    pub fn bytes(&self) -> usize {
        self.batch_bytes + self.values.size() + self.groups.len() * BYTES_PER_ROW * self.instants.len().max(1)
    }

    /// Of every call the sessions of all rows, in the order of the rows.
    pub fn sessions(&mut self, calls: &[Call]) -> Result<Vec<Int64Array>> {
        let total = self.values.len();
        let groups = std::mem::take(&mut self.groups);
        let mut found = Vec::new();
        for (call, instants) in calls.iter().zip(std::mem::take(&mut self.instants)) {
            let parts: Vec<&dyn arrow::array::Array> = instants.iter().map(AsRef::as_ref).collect();
            found.push(match parts.is_empty() {
                true => Int64Array::new_null(0),
                false => call.function.sessions(&concat(&parts)?, &groups, total)?,
            });
        }
        Ok(found)
    }

    pub fn into_batches(self) -> Vec<RecordBatch> {
        self.batches
    }
}
