//! Which rows of a batch have a frequent key, told by 64 bits of it.
//!
//! Two keys of the same bits are taken for one, on both sides of a join alike, which does no harm. Keys with a null in them are told apart where they match
//! nothing: their rows are spread and not replicated, and a key that does match something must not be taken for one of these.

use arrow::array::{Array as _, ArrayRef};
use arrow::buffer::NullBuffer;
use datafusion::common::Result;
use datafusion::common::hash_utils::create_hashes;
use datafusion::physical_plan::repartition::REPARTITION_RANDOM_STATE;
use hashbrown::HashMap;

/// A frequent key and the numbers that spread its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HotKey {
    /// What [`hash_rows`] makes of it.
    pub hash: u64,
    /// One for each part of its rows, at least one.
    pub salts: Vec<u32>,
    /// It has a null, and nulls are not equal to each other.
    pub matches_nothing: bool,
}

/// The hashes by which shuffles tell rows apart.
pub(crate) fn hash_rows(columns: &[ArrayRef], rows: usize, hashes: &mut Vec<u64>) -> Result<()> {
    hashes.clear();
    hashes.resize(rows, 0);
    create_hashes(columns, REPARTITION_RANDOM_STATE.random_state(), hashes)?;
    Ok(())
}

/// The rows that have a null in one of the columns; `None` if there are no such rows.
pub(crate) fn rows_with_nulls(columns: &[ArrayRef]) -> Option<NullBuffer> {
    let nulls = columns.iter().map(|column| column.logical_nulls());
    nulls.fold(None, |all, nulls| NullBuffer::union(all.as_ref(), nulls.as_ref())).filter(|nulls| nulls.null_count() > 0)
}

/// See the module documentation.
#[derive(Debug, Default)]
pub(super) struct Finder {
    /// Places in the list of frequent keys, by hash.
    matching: HashMap<u64, usize>,
    matching_nothing: HashMap<u64, usize>,
    hashes: Vec<u64>,
}

impl Finder {
    pub fn new(keys: &[HotKey]) -> Self {
        let places = |matches_nothing: bool| {
            let these = keys.iter().enumerate().filter(move |(_, key)| key.matches_nothing == matches_nothing);
            these.map(|(place, key)| (key.hash, place)).collect()
        };
        Self { matching: places(false), matching_nothing: places(true), hashes: Vec::new() }
    }

    /// Calls `found` with the row and the place of its key for every row that has a frequent one, in order.
    pub fn each(&mut self, columns: &[ArrayRef], rows: usize, mut found: impl FnMut(usize, usize)) -> Result<()> {
        if self.matching.is_empty() && self.matching_nothing.is_empty() {
            return Ok(());
        }
        hash_rows(columns, rows, &mut self.hashes)?;
        let nulls = if self.matching_nothing.is_empty() { None } else { rows_with_nulls(columns) };
        for (row, hash) in self.hashes.iter().enumerate() {
            let has_null = nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
            let places = if has_null { &self.matching_nothing } else { &self.matching };
            if let Some(place) = places.get(hash) {
                found(row, *place);
            }
        }
        Ok(())
    }
}
