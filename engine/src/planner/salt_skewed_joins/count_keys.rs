//! How often each key occurs in a sample, and which are frequent.

use arrow::array::ArrayRef;
use datafusion::common::Result;
use hashbrown::HashMap;

use crate::operators::hot_keys::{hash_rows, rows_with_nulls};

/// Sampled rows that a frequent key has at least: fewer may be chance.
const LEAST_ROWS: u64 = 16;

/// What tells keys apart: 64 bits, and whether there is a null.
type KeyBits = (u64, bool);

/// The counted keys of a sample.
#[derive(Debug, Default)]
pub(super) struct KeyCounts {
    pub rows: u64,
    counts: HashMap<KeyBits, Counted>,
    batches: Vec<Vec<ArrayRef>>,
}

#[derive(Debug)]
struct Counted {
    rows: u64,
    /// Where one of them is.
    batch: usize,
    row: usize,
}

/// A key with a large share of the rows.
#[derive(Debug, Clone)]
pub(super) struct FrequentKey {
    pub hash: u64,
    pub has_null: bool,
    /// Of all sampled rows.
    pub share: f64,
    /// Its values, one row of each column.
    pub values: Vec<ArrayRef>,
}

impl KeyCounts {
    /// Counts the keys of batches; `tells_nulls` where a null equals nothing.
    ///
    /// # Errors
    /// Values that cannot be hashed.
    pub fn of(batches: Vec<Vec<ArrayRef>>, tells_nulls: bool) -> Result<Self> {
        let mut counted = Self::default();
        let mut hashes = Vec::new();
        for (number, columns) in batches.iter().enumerate() {
            let rows = columns.first().map_or(0, |column| column.len());
            hash_rows(columns, rows, &mut hashes)?;
            let nulls = if tells_nulls { rows_with_nulls(columns) } else { None };
            for (row, hash) in hashes.iter().enumerate() {
                let key = (*hash, nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)));
                counted.counts.entry(key).or_insert(Counted { rows: 0, batch: number, row }).rows += 1;
            }
            counted.rows += rows as u64;
        }
        counted.batches = batches;
        Ok(counted)
    }

    /// The share of a key among the rows.
    pub fn share(&self, key: &FrequentKey) -> f64 {
        let rows = self.counts.get(&(key.hash, key.has_null)).map_or(0, |counted| counted.rows);
        rows as f64 / self.rows.max(1) as f64
    }

    /// The share of the most frequent key.
    pub fn largest_share(&self) -> f64 {
        self.counts.values().map(|counted| counted.rows).max().unwrap_or(0) as f64 / self.rows.max(1) as f64
    }

    /// The keys with more than half of what a partition has on average, the most frequent one first.
    pub fn frequent(&self, partitions: usize) -> Vec<FrequentKey> {
        let is_frequent = |counted: &Counted| counted.rows >= LEAST_ROWS && counted.rows * 2 * partitions as u64 > self.rows;
        let found = self.counts.iter().filter(|(_, counted)| is_frequent(counted)).map(|((hash, has_null), counted)| FrequentKey {
            hash: *hash,
            has_null: *has_null,
            share: counted.rows as f64 / self.rows as f64,
            values: self.batches[counted.batch].iter().map(|column| column.slice(counted.row, 1)).collect(),
        });
        let mut found: Vec<FrequentKey> = found.collect();
        found.sort_by(|a, b| b.share.total_cmp(&a.share).then(a.hash.cmp(&b.hash)));
        found
    }
}
