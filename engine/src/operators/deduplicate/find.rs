//! The first pass: which keys occur more than once, found with 64 bits of memory per row.
//!
//! The hashes of all keys are dealt into buckets by their high bits; each bucket is small enough for the processor's cache
//! when its repetitions are looked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::RecordBatch;
use datafusion::common::hash_utils::{QualityRandomState, create_hashes};
use datafusion::common::runtime::JoinSet;
use datafusion::common::{Result, exec_datafusion_err};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use futures::StreamExt;

/// The same in both passes. Not a state that joins and aggregations use, whose buckets would otherwise fill unevenly.
const HASH_STATE: QualityRandomState = QualityRandomState::with_seed(0x6f72_7265_7279_6b65);

const BUCKET_BITS: u32 = 9;
const BUCKETS: usize = 1 << BUCKET_BITS;
/// Hashes of a bucket are kept in blocks of this many: nothing is copied while it grows.
const BLOCK_HASHES: usize = 512;
const BLOCK_BYTES: usize = BLOCK_HASHES * size_of::<u64>();
/// After this many keys a partition looks whether repetitions are common already.
const SAMPLE_KEYS: usize = 1 << 17;
/// Repetitions are common if more than one key in this many is one.
const COMMON: usize = 4;

/// What the first pass found.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Few keys are repeated: these.
    Few(Repeats),
    /// Repetitions are common, or memory is short.
    Many,
}

/// A set of hashes.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    /// Open addressing by the low bits, at most half full; zero is empty. Empty if there are no hashes.
    places: Vec<u64>,
    len: usize,
}

impl Repeats {
    pub(super) fn from_hashes(hashes: &[u64]) -> Self {
        let places = if hashes.is_empty() { 0 } else { (hashes.len() * 4).next_power_of_two() };
        let mut set = Self { places: vec![0; places], len: 0 };
        for hash in hashes {
            let at = set.place_of(*hash);
            set.len += usize::from(set.places[at] == 0);
            set.places[at] = *hash;
        }
        set
    }

    /// Number of hashes.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn contains(&self, hash: u64) -> bool {
        !self.places.is_empty() && self.places[self.place_of(hash)] != 0
    }

    #[inline]
    fn place_of(&self, hash: u64) -> usize {
        let mask = self.places.len() - 1;
        let mut at = hash as usize & mask;
        while self.places[at] != 0 && self.places[at] != hash {
            at = (at + 1) & mask;
        }
        at
    }
}

/// Writes the hash of every row's key to `hashes`; none is zero.
pub(super) fn hash_keys(keys: &[arrow::array::ArrayRef], rows: usize, hashes: &mut Vec<u64>) -> Result<()> {
    hashes.clear();
    hashes.resize(rows, 0);
    create_hashes(keys, &HASH_STATE, hashes)?;
    hashes.iter_mut().for_each(|hash| *hash |= u64::from(*hash == 0));
    Ok(())
}

/// Reads all partitions of `keys` and finds the hashes that occur more than once.
pub(super) async fn repeated_keys(keys: &Arc<dyn ExecutionPlan>, context: &Arc<TaskContext>) -> Result<Verdict> {
    let partitions = keys.output_partitioning().partition_count();
    let enough_seen = Arc::new(AtomicBool::new(false));
    let mut readers = JoinSet::new();
    for partition in 0..partitions {
        let stream = keys.execute(partition, Arc::clone(context))?;
        let consumer = MemoryConsumer::new(format!("DeduplicateExec[{partition}] keys"));
        let buckets = Buckets::new(consumer.register(context.memory_pool()));
        readers.spawn(read_partition(stream, buckets, Arc::clone(&enough_seen)));
    }
    let mut read = Vec::with_capacity(partitions);
    while let Some(buckets) = readers.join_next().await {
        match buckets.map_err(|e| exec_datafusion_err!("reading the keys stopped: {e}"))?? {
            Some(buckets) => read.push(buckets),
            None => return Ok(Verdict::Many),
        }
    }
    let rows: usize = read.iter().map(|buckets| buckets.rows).sum();
    let repeated = search(read, partitions).await?;
    let set_aside: usize = repeated.iter().map(|found| found.rows).sum();
    if set_aside > rows / COMMON && rows > SAMPLE_KEYS {
        return Ok(Verdict::Many);
    }
    let hashes: Vec<u64> = repeated.into_iter().flat_map(|found| found.hashes).collect();
    Ok(Verdict::Few(Repeats::from_hashes(&hashes)))
}

/// Deals the keys of one partition into buckets; `None` once repetitions are seen to be common or memory is short.
async fn read_partition(
    mut stream: datafusion::execution::SendableRecordBatchStream,
    mut buckets: Buckets,
    enough_seen: Arc<AtomicBool>,
) -> Result<Option<Buckets>> {
    let mut hashes = Vec::new();
    let mut is_sampled = false;
    while let Some(batch) = stream.next().await {
        if enough_seen.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let batch: RecordBatch = batch?;
        hash_keys(batch.columns(), batch.num_rows(), &mut hashes)?;
        let has_room = buckets.add(&hashes);
        let is_common = !is_sampled && buckets.rows >= SAMPLE_KEYS && {
            is_sampled = true;
            buckets.repetitions() > buckets.rows / COMMON
        };
        if !has_room || is_common {
            enough_seen.store(true, Ordering::Relaxed);
            return Ok(None);
        }
    }
    Ok(Some(buckets))
}

/// The hashes of one partition, by their high bits.
pub(super) struct Buckets {
    blocks: Vec<Vec<Vec<u64>>>,
    rows: usize,
    reservation: MemoryReservation,
}

impl Buckets {
    pub(super) fn new(reservation: MemoryReservation) -> Self {
        Self { blocks: (0..BUCKETS).map(|_| Vec::new()).collect(), rows: 0, reservation }
    }

    /// Adds hashes; false if the memory pool refuses the room for them.
    pub(super) fn add(&mut self, hashes: &[u64]) -> bool {
        let mut new_blocks = 0;
        for hash in hashes {
            let blocks = &mut self.blocks[(hash >> (64 - BUCKET_BITS)) as usize];
            match blocks.last_mut() {
                Some(block) if block.len() < BLOCK_HASHES => block.push(*hash),
                _ => {
                    let mut block = Vec::with_capacity(BLOCK_HASHES);
                    block.push(*hash);
                    blocks.push(block);
                    new_blocks += 1;
                }
            }
        }
        self.rows += hashes.len();
        self.reservation.try_grow(new_blocks * BLOCK_BYTES).is_ok()
    }

    /// Number of hashes.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Every hash that occurs more than once.
    pub(super) async fn repeated(self) -> Vec<u64> {
        let (mut found, mut table) = (Vec::new(), Vec::new());
        for bucket in &self.blocks {
            find_in_bucket(&[bucket], &mut table, &mut found);
            // As in `search`: a bucket takes a millisecond at most.
            tokio::task::yield_now().await;
        }
        found
    }

    /// How many of the hashes occurred before.
    fn repetitions(&self) -> usize {
        let mut table = Vec::new();
        (0..BUCKETS).map(|bucket| find_in_bucket(std::slice::from_ref(&&self.blocks[bucket]), &mut table, &mut Vec::new())).sum()
    }
}

/// Repeated hashes of some buckets, and the number of rows that have one of them.
#[derive(Default)]
struct Found {
    hashes: Vec<u64>,
    rows: usize,
}

/// Searches all buckets, in `tasks` tasks at once.
async fn search(read: Vec<Buckets>, tasks: usize) -> Result<Vec<Found>> {
    let read = Arc::new(read);
    let tasks = tasks.clamp(1, BUCKETS);
    let mut searches = JoinSet::new();
    for task in 0..tasks {
        let read = Arc::clone(&read);
        searches.spawn(async move {
            let mut found = Found::default();
            let mut table = Vec::new();
            for bucket in (task..BUCKETS).step_by(tasks) {
                let parts: Vec<&Vec<Vec<u64>>> = read.iter().map(|buckets| &buckets.blocks[bucket]).collect();
                found.rows += find_in_bucket(&parts, &mut table, &mut found.hashes);
                // A bucket takes a millisecond at most: often enough for a query that is being cancelled.
                tokio::task::yield_now().await;
            }
            found.rows += found.hashes.len();
            found
        });
    }
    let mut found = Vec::with_capacity(tasks);
    while let Some(part) = searches.join_next().await {
        found.push(part.map_err(|e| exec_datafusion_err!("searching the keys stopped: {e}"))?);
    }
    Ok(found)
}

/// Appends every repeated hash of a bucket to `repeated`, once. Returns how many hashes occurred before.
fn find_in_bucket(parts: &[&Vec<Vec<u64>>], table: &mut Vec<u64>, repeated: &mut Vec<u64>) -> usize {
    let hashes = || parts.iter().flat_map(|blocks| blocks.iter().flatten());
    let count: usize = parts.iter().flat_map(|blocks| blocks.iter().map(Vec::len)).sum();
    if count == 0 {
        return 0;
    }
    let places = (count * 2).next_power_of_two();
    table.clear();
    table.resize(places, 0);
    // The bits below those that chose the bucket choose the place.
    let shift = 64 - BUCKET_BITS - places.trailing_zeros();
    let first = repeated.len();
    let mut repetitions = 0;
    for hash in hashes() {
        let mut at = (hash >> shift) as usize & (places - 1);
        loop {
            if table[at] == 0 {
                table[at] = *hash;
                break;
            }
            if table[at] == *hash {
                repetitions += 1;
                repeated.push(*hash);
                break;
            }
            at = (at + 1) & (places - 1);
        }
    }
    let tail = &mut repeated[first..];
    tail.sort_unstable();
    let mut kept = first;
    for at in first..repeated.len() {
        if at == first || repeated[at] != repeated[kept - 1] {
            repeated[kept] = repeated[at];
            kept += 1;
        }
    }
    repeated.truncate(kept);
    repetitions
}
