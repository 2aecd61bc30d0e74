//! The rows of a task as they came, with what it takes to find the session of each beside them.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema};
use datafusion::common::Result;
use datafusion::common::utils::memory::get_record_batch_memory_size;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion::physical_plan::aggregates::order::GroupOrdering;
use orrery_udfs::window::session_function::{FoundSessions, RowSessions};

use super::Call;

/// See the module documentation.
pub(super) struct Rows {
    keys: Vec<Arc<dyn PhysicalExpr>>,
    /// Of every call its time, and the rows as it sees them.
    calls: Vec<(Arc<dyn PhysicalExpr>, RowSessions)>,
    batches: Vec<RecordBatch>,
    rows: usize,
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
            calls: calls.iter().filter_map(|call| Some((Arc::clone(call.args.first()?), call.function.rows()))).collect(),
            batches: Vec::new(),
            rows: 0,
            values: new_group_values(Arc::new(Schema::new(fields)), &GroupOrdering::None)?,
            batch_bytes: 0,
            interned: Vec::new(),
        })
    }

    /// Adds rows. False where there are more of them than can be numbered; they are kept nevertheless.
    pub fn push(&mut self, batch: RecordBatch) -> Result<bool> {
        let rows = batch.num_rows();
        if self.rows + rows >= u32::MAX as usize {
            self.batches.push(batch);
            return Ok(false);
        }
        let of_batch = |expr: &Arc<dyn PhysicalExpr>| expr.evaluate(&batch)?.into_array(rows);
        let keys = self.keys.iter().map(of_batch).collect::<Result<Vec<_>>>()?;
        self.values.intern(&keys, &mut self.interned)?;
        for (time, sessions) in &mut self.calls {
            sessions.push(&of_batch(time)?, &self.interned, self.values.len())?;
        }
        self.rows += rows;
        self.batch_bytes += get_record_batch_memory_size(&batch);
        self.batches.push(batch);
        Ok(true)
    }

    /// The memory that the rows take, with what finding their sessions will.
    pub fn bytes(&self) -> usize {
        self.batch_bytes + self.values.size() + self.calls.iter().map(|(_, sessions)| sessions.bytes()).sum::<usize>()
    }

    /// Of every call the sessions of all rows, in the order of the rows; and the rows.
    pub fn find(self) -> Result<(Vec<FoundSessions>, Vec<RecordBatch>)> {
        let Self { calls, batches, values, .. } = self;
        let total_groups = values.len();
        drop(values);
        Ok((calls.into_iter().map(|(_, sessions)| sessions.find(total_groups)).collect::<Result<_>>()?, batches))
    }

    pub fn into_batches(self) -> Vec<RecordBatch> {
        self.batches
    }
}
