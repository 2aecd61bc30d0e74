//! One task of a write: its batches into data files. Without partition columns there is one open file at a time; with them, one per partition value within
//! bounds on memory and on the number of open files.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::SchemaRef;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::MemoryReservation;
use hashbrown::HashMap;
use object_store::ObjectStore;
use object_store::path::Path;

use super::faults::store_fault;
use super::live::LiveTask;
use super::parquet_file::{FileFormat, FinishedFile, ParquetFile};
use super::partitions::{PartitionSplitter, PartitionValues};
use super::progress::Progress;
use super::spec::WriteSpec;
use crate::error::Error;

/// Files open at the same time; a task with more partition values closes the largest.
const MAX_OPEN_FILES: usize = 64;
/// Rows that wait before they are encoded, so that the encoder does not run for a handful.
const WAITING_ROWS: usize = 8192;
/// Bytes of memory at which the largest partition is sent off.
const MEMORY_BUDGET: usize = 256 << 20;
/// Bytes of memory that a task keeps even when the pool has none left: with less, row groups would be too small to be worth writing.
const MEMORY_FLOOR: usize = 32 << 20;

/// The rows of one partition value on their way to a file.
struct OpenPartition {
    values: PartitionValues,
    waiting: Vec<RecordBatch>,
    waiting_rows: usize,
    waiting_bytes: usize,
    file: Option<(ParquetFile, String)>,
}

impl OpenPartition {
    fn memory(&self) -> usize {
        self.waiting_bytes + self.file.as_ref().map_or(0, |(file, _)| file.memory())
    }
}

/// The state of one task.
pub(super) struct WriteTask {
    spec: Arc<WriteSpec>,
    store: Arc<dyn ObjectStore>,
    format: Arc<FileFormat>,
    input_schema: SchemaRef,
    splitter: Option<PartitionSplitter>,
    /// By partition values; the single entry of an unpartitioned table has the empty key.
    open: HashMap<Box<[u8]>, OpenPartition>,
    finished: Finished,
    /// Distinguishes the files of this task, and of another attempt at it, within the write.
    task_id: String,
    next_file: usize,
    progress: Progress,
    memory: MemoryReservation,
    live: LiveTask,
}

impl WriteTask {
    pub fn new(
        spec: Arc<WriteSpec>,
        store: Arc<dyn ObjectStore>,
        partition: usize,
        live: LiveTask,
        progress: Progress,
        memory: MemoryReservation,
    ) -> Result<Self> {
        let format = Arc::new(FileFormat::new(spec.file_schema(), spec.stats_columns.clone())?);
        let splitter = PartitionSplitter::new(&spec)?;
        let attempt = uuid::Uuid::new_v4().simple().to_string();
        let finished = Finished { files: Vec::new(), store: Arc::clone(&store), table_path: spec.table_path.clone(), live: live.clone() };
        Ok(Self {
            input_schema: Arc::clone(&spec.columns),
            spec,
            store,
            format,
            splitter,
            open: HashMap::new(),
            finished,
            task_id: format!("{partition:05}-{}", &attempt[..8]),
            next_file: 0,
            progress,
            memory,
            live,
        })
    }

    /// Takes a batch of the query's result.
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let timer = self.progress.compute.timer();
        let batch = self.arrange(batch)?;
        let rows = batch.num_rows();
        let groups = match &mut self.splitter {
            None => vec![(Box::default(), PartitionValues::default(), batch)],
            Some(splitter) => splitter.split(&batch)?,
        };
        drop(timer);
        let partitioned = self.splitter.is_some();
        for (key, values, batch) in groups {
            let partition = self.open.entry(key.clone()).or_insert_with(|| OpenPartition {
                values,
                waiting: Vec::new(),
                waiting_rows: 0,
                waiting_bytes: 0,
                file: None,
            });
            partition.waiting_rows += batch.num_rows();
            partition.waiting_bytes += if partitioned { batch.get_array_memory_size() } else { 0 };
            partition.waiting.push(batch);
            if !partitioned || partition.waiting_rows >= WAITING_ROWS {
                self.encode(&key).await?;
            }
        }
        self.progress.rows.add(rows);
        self.keep_bounds().await
    }

    /// Brings a batch into the table's column order and checks it against the table's columns.
    fn arrange(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.spec.sources.len());
        for (field, &source) in self.input_schema.fields().iter().zip(&self.spec.sources) {
            let array = batch
                .columns()
                .get(source)
                .ok_or_else(|| DataFusionError::Internal(format!("the input of the write has no column {source}")))?;
            if !field.is_nullable() && array.null_count() > 0 {
                let message = format!(
                    "column {:?} of table {} is NOT NULL, and the query gives it NULL in {} rows",
                    field.name(),
                    self.spec.table_name,
                    array.null_count()
                );
                return Err(Error::Invalid(message).into());
            }
            // Operators may hand out nested types that differ in the names of list items only.
            arrays.push(if array.data_type() == field.data_type() { Arc::clone(array) } else { cast(array, field.data_type())? });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.input_schema), arrays, &options)?)
    }

    /// Encodes what waits for a partition; starts its file if it has none and ends it when it is large enough.
    async fn encode(&mut self, key: &[u8]) -> Result<()> {
        let Some(partition) = self.open.get_mut(key) else { return Ok(()) };
        let waiting = std::mem::take(&mut partition.waiting);
        (partition.waiting_rows, partition.waiting_bytes) = (0, 0);
        let rows = match waiting.as_slice() {
            [] => return Ok(()),
            [batch] => without_partition_columns(&self.spec, batch)?,
            batches => without_partition_columns(&self.spec, &concat_batches(&self.input_schema, batches)?)?,
        };
        let (file, _) = match &mut partition.file {
            Some(open) => open,
            closed => {
                let name = format!("part-{}-{}-c{:03}.zstd.parquet", self.task_id, self.spec.write_id, self.next_file);
                self.next_file += 1;
                let relative = partition.values.path_of(&name);
                let path = Path::parse(format!("{}/{relative}", self.spec.table_path))
                    .map_err(|error| DataFusionError::External(Box::new(error)))?;
                let file = ParquetFile::create(Arc::clone(&self.format), &rows, Arc::clone(&self.store), path, self.live.clone())?;
                closed.insert((file, relative))
            }
        };
        let timer = self.progress.compute.timer();
        file.encode(&rows)?;
        drop(timer);
        self.progress.bytes.add(file.send().await? as usize);
        if file.size() >= self.spec.target_file_size {
            self.close(key).await?;
        }
        Ok(())
    }

    async fn close(&mut self, key: &[u8]) -> Result<()> {
        let Some(partition) = self.open.get_mut(key) else { return Ok(()) };
        let Some((file, relative)) = partition.file.take() else { return Ok(()) };
        let timer = self.progress.compute.timer();
        let (finished, sent) = file.finish(relative, partition.values.for_log()).await?;
        drop(timer);
        self.progress.bytes.add(sent as usize);
        self.progress.files.add(1);
        self.finished.files.push(finished);
        Ok(())
    }

    /// Keeps memory and the number of open files within bounds by sending off the largest partitions.
    async fn keep_bounds(&mut self) -> Result<()> {
        while self.open.values().filter(|partition| partition.file.is_some()).count() > MAX_OPEN_FILES {
            let sizes = self.open.iter().filter_map(|(key, partition)| Some((partition.file.as_ref()?.0.size(), key)));
            let Some(largest) = sizes.max().map(|(_, key)| key.clone()) else { break };
            self.close(&largest).await?;
        }
        loop {
            let held: usize = self.open.values().map(OpenPartition::memory).sum();
            // What the pool refuses has been allocated already, so it is booked in any case; the refusal only says that memory is short.
            let granted = self.memory.try_resize(held).is_ok();
            if !granted {
                self.memory.resize(held);
            }
            let Some((most, key)) = self.open.iter().map(|(key, partition)| (partition.memory(), key)).max().map(|(m, k)| (m, k.clone()))
            else {
                break;
            };
            let enough = held <= MEMORY_BUDGET && (granted || held <= MEMORY_FLOOR);
            if enough || !self.relieve(&key, most).await? {
                break;
            }
        }
        Ok(())
    }

    /// Sends off what one partition holds. Returns whether that freed anything.
    async fn relieve(&mut self, key: &[u8], held: usize) -> Result<bool> {
        self.encode(key).await?;
        let Some(partition) = self.open.get_mut(key) else { return Ok(true) };
        let Some((file, _)) = &mut partition.file else { return Ok(true) };
        file.end_row_group()?;
        self.progress.bytes.add(file.send().await? as usize);
        Ok(partition.memory() < held / 2)
    }

    /// Completes all files.
    pub async fn finish(mut self) -> Result<Vec<FinishedFile>> {
        let keys: Vec<Box<[u8]>> = self.open.keys().cloned().collect();
        for key in keys {
            if self.open.get(&key).is_some_and(|partition| !partition.waiting.is_empty()) {
                self.encode(&key).await?;
            }
            self.close(&key).await?;
        }
        self.memory.resize(0);
        Ok(std::mem::take(&mut self.finished.files))
    }

    /// Removes the files that are complete: after an error nobody will commit them. Open ones go when the task is dropped.
    pub async fn discard(mut self) {
        let files = std::mem::take(&mut self.finished.files);
        remove(&files, &self.spec.table_path, self.store.as_ref()).await;
    }
}

/// Files that are complete and that nobody knows of yet. A task that is dropped before it tells, because it was cancelled, removes them: in another process
/// than the coordinator's nobody else would.
struct Finished {
    files: Vec<FinishedFile>,
    store: Arc<dyn ObjectStore>,
    table_path: String,
    live: LiveTask,
}

impl Drop for Finished {
    fn drop(&mut self) {
        let files = std::mem::take(&mut self.files);
        if files.is_empty() {
            return;
        }
        let (store, table_path, live) = (Arc::clone(&self.store), std::mem::take(&mut self.table_path), self.live.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                remove(&files, &table_path, store.as_ref()).await;
                drop(live);
            });
        }
    }
}

async fn remove(files: &[FinishedFile], table_path: &str, store: &dyn ObjectStore) {
    for file in files {
        let Ok(path) = Path::parse(format!("{table_path}/{}", file.add.path)) else { continue };
        if let Err(error) = object_store::ObjectStoreExt::delete(store, &path).await {
            tracing::debug!(error = %store_fault(&path, error), "a file of a failed write could not be removed");
        }
    }
}

fn without_partition_columns(spec: &WriteSpec, batch: &RecordBatch) -> Result<RecordBatch> {
    if spec.partition_columns.is_empty() {
        return Ok(batch.clone());
    }
    let kept: Vec<usize> = (0..batch.num_columns()).filter(|index| !spec.partition_columns.contains(index)).collect();
    Ok(batch.project(&kept)?)
}
