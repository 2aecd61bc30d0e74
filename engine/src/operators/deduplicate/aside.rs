//! Rows that are set aside until the whole input is read: in memory while the pool allows it, on disk after that.

use std::fmt;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::BatchCoalescer;
use arrow::datatypes::SchemaRef;
use datafusion::common::Result;

use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, SpillFile, TaskContext};
use datafusion::physical_plan::SpillManager;
use datafusion::physical_plan::metrics::SpillMetrics;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, TryStreamExt};

/// Collects the rows that one partition sets aside.
pub(super) struct AsideWriter {
    /// Copies the few rows of every batch together, so that they do not keep whole batches alive.
    coalescer: BatchCoalescer,
    spill: SpillManager,
    aside: SetAside,
}

/// What one partition has set aside.
pub(super) struct SetAside {
    batches: Vec<RecordBatch>,
    reservation: MemoryReservation,
    files: Vec<Arc<dyn SpillFile>>,
    spill: Option<SpillManager>,
}

impl AsideWriter {
    pub(super) fn new(schema: SchemaRef, partition: usize, spill_metrics: SpillMetrics, context: &Arc<TaskContext>) -> Self {
        let consumer = MemoryConsumer::new(format!("DeduplicateExec[{partition}] rows aside")).with_can_spill(true);
        let reservation = consumer.register(context.memory_pool());
        let spill = SpillManager::new(context.runtime_env(), spill_metrics, Arc::clone(&schema))
            .with_compression_type(context.session_config().spill_compression());
        Self {
            coalescer: BatchCoalescer::new(schema, context.session_config().batch_size()),
            spill,
            aside: SetAside { batches: Vec::new(), reservation, files: Vec::new(), spill: None },
        }
    }

    /// Sets the rows of `batch` aside where `mask` is true.
    pub(super) fn write(&mut self, batch: RecordBatch, mask: &BooleanArray) -> Result<()> {
        self.coalescer.push_batch_with_filter(batch, mask)?;
        self.keep_completed()
    }

    fn keep_completed(&mut self) -> Result<()> {
        while let Some(batch) = self.coalescer.next_completed_batch() {
            let bytes = batch.get_array_memory_size();
            self.aside.batches.push(batch);
            if self.aside.reservation.try_grow(bytes).is_err() {
                let batches = std::mem::take(&mut self.aside.batches);
                self.aside.files.extend(self.spill.spill_record_batch_and_finish(&batches, "rows with repeated keys")?);
                self.aside.reservation.free();
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<SetAside> {
        self.coalescer.finish_buffered_batch()?;
        self.keep_completed()?;
        if !self.aside.files.is_empty() {
            self.aside.spill = Some(self.spill);
        }
        Ok(self.aside)
    }
}

/// The rows that several partitions have set aside.
#[derive(Debug, Default)]
pub(super) struct RowsAside {
    parts: Vec<SetAside>,
}

impl RowsAside {
    pub(super) fn new(parts: Vec<SetAside>) -> Self {
        Self { parts: parts.into_iter().filter(|part| !part.batches.is_empty() || !part.files.is_empty()).collect() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Deals the parts out to `hands`.
    pub(super) fn deal(self, hands: usize) -> Vec<Self> {
        let mut dealt: Vec<Self> = (0..hands).map(|_| Self::default()).collect();
        for (at, part) in self.parts.into_iter().enumerate() {
            dealt[at % hands].parts.push(part);
        }
        dealt
    }

    /// All rows. Memory and files are given back as they are read.
    pub(super) fn stream(self, schema: SchemaRef) -> Result<SendableRecordBatchStream> {
        let parts = self.parts.into_iter().map(|part| part.stream(&schema)).collect::<Result<Vec<_>>>()?;
        let rows = futures::stream::iter(parts).flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }
}

impl fmt::Debug for SetAside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetAside").field("batches", &self.batches.len()).field("files", &self.files.len()).finish()
    }
}

impl SetAside {
    fn stream(self, schema: &SchemaRef) -> Result<SendableRecordBatchStream> {
        let Self { batches, reservation, files, spill } = self;
        let mut spilled = Vec::with_capacity(files.len());
        if let Some(spill) = spill {
            for file in files {
                spilled.push(spill.read_spill_as_stream_unbuffered(file, None)?);
            }
        }
        let in_memory = futures::stream::iter(batches.into_iter().map(move |batch| {
            reservation.shrink(batch.get_array_memory_size().min(reservation.size()));
            Ok(batch)
        }));
        let rows = futures::stream::iter(spilled).flatten().chain(in_memory).into_stream();
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(schema), rows)))
    }
}
