//! The second pass: rows whose key is unique go through, the others are set aside; what remains of them comes last.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::{BaselineMetrics, Count, MetricBuilder, RecordOutput, SpillMetrics};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, TryStreamExt};

use super::DeduplicateExec;
use super::aside::{AsideWriter, SetAside};
use super::find::{Repeats, Verdict, hash_keys};

/// One partition of the second pass.
pub(super) fn stream(
    exec: DeduplicateExec,
    verdict: Arc<Verdict>,
    partition: usize,
    context: &Arc<TaskContext>,
) -> Result<SendableRecordBatchStream> {
    let schema = exec.schema();
    let baseline = BaselineMetrics::new(&exec.metrics, partition);
    let splitter = Splitter {
        verdict,
        aside: AsideWriter::new(exec.input.schema(), partition, SpillMetrics::new(&exec.metrics, partition), context),
        rows_aside: MetricBuilder::new(&exec.metrics).counter("repeated_rows", partition),
        hashes: Vec::new(),
        input: exec.input.execute(partition, Arc::clone(context))?,
        schema: Arc::clone(&schema),
        baseline: baseline.clone(),
        exec,
    };
    let context = Arc::clone(context);
    let unique = futures::stream::try_unfold(State::Reading(Box::new(splitter)), move |state| {
        let (context, baseline) = (Arc::clone(&context), baseline.clone());
        async move {
            let next = state.next(&context).await?;
            Ok(next.map(|(batch, state)| (batch.record_output(&baseline), state)))
        }
    });
    Ok(Box::pin(RecordBatchStreamAdapter::new(schema, unique)))
}

enum State {
    Reading(Box<Splitter>),
    Rest(SendableRecordBatchStream),
}

impl State {
    async fn next(self, context: &Arc<TaskContext>) -> Result<Option<(RecordBatch, Self)>> {
        let mut rest = match self {
            Self::Reading(mut splitter) => match splitter.next().await? {
                Some(batch) => return Ok(Some((batch, Self::Reading(splitter)))),
                None => {
                    let (exec, aside) = splitter.finish()?;
                    match exec.finish(aside, context)? {
                        Some(rest) => rest,
                        None => return Ok(None),
                    }
                }
            },
            Self::Rest(rest) => rest,
        };
        Ok(rest.try_next().await?.map(|batch| (batch, Self::Rest(rest))))
    }
}

struct Splitter {
    exec: DeduplicateExec,
    verdict: Arc<Verdict>,
    input: SendableRecordBatchStream,
    schema: SchemaRef,
    aside: AsideWriter,
    rows_aside: Count,
    hashes: Vec<u64>,
    baseline: BaselineMetrics,
}

/// The rows of `batch` under a schema that may know more about nulls.
pub(super) fn with_schema(schema: &SchemaRef, batch: &RecordBatch) -> Result<RecordBatch> {
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), batch.columns().to_vec(), &rows)?)
}

impl Splitter {
    /// The next batch of rows with unique keys; empty ones are left out.
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        while let Some(batch) = self.input.next().await {
            let _timer = self.baseline.elapsed_compute().timer();
            let unique = split(&self.exec, &self.verdict, batch?, &mut self.hashes, &mut self.aside, &self.rows_aside)?;
            if unique.num_rows() > 0 {
                return Ok(Some(with_schema(&self.schema, &unique)?));
            }
        }
        Ok(None)
    }

    fn finish(self) -> Result<(DeduplicateExec, SetAside)> {
        Ok((self.exec, self.aside.finish()?))
    }
}

/// The rows of `batch` whose keys are unique; the others are written to `aside`.
fn split(
    exec: &DeduplicateExec,
    verdict: &Verdict,
    batch: RecordBatch,
    hashes: &mut Vec<u64>,
    aside: &mut AsideWriter,
    rows_aside: &Count,
) -> Result<RecordBatch> {
    let Verdict::Few(repeats) = verdict else {
        return internal_err!("DeduplicateExec: no rows are set aside where repetitions are common");
    };
    if repeats.len() == 0 {
        return Ok(batch);
    }
    let rows = batch.num_rows();
    let keys: Vec<ArrayRef> = exec.key_exprs.iter().map(|key| key.evaluate(&batch)?.into_array(rows)).collect::<Result<_>>()?;
    hash_keys(&keys, rows, hashes)?;
    let repeated = repeated_rows(repeats, hashes);
    let count = repeated.count_set_bits();
    if count == 0 {
        return Ok(batch);
    }
    rows_aside.add(count);
    let unique = BooleanArray::new(!&repeated, None);
    let kept = filter_record_batch(&batch, &unique)?;
    aside.write(batch, &BooleanArray::new(repeated, None))?;
    debug_assert_eq!(kept.num_rows() + count, unique.len());
    Ok(kept)
}

fn repeated_rows(repeats: &Repeats, hashes: &[u64]) -> BooleanBuffer {
    BooleanBuffer::collect_bool(hashes.len(), |row| repeats.contains(hashes[row]))
}
