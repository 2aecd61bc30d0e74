//! Where the rows go: into how many files, and into which chunks (row groups) of them. Depends on the number of rows only.

use std::ops::Range;

/// A file has at most this many rows.
const FILE_ROWS: u64 = 1 << 21;
/// A chunk has at most this many rows; it is the unit that one thread encodes, and a row group in Parquet.
const CHUNK_ROWS: u64 = 1 << 18;

/// The rows that are encoded together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChunkPlan {
    /// The number of the file.
    pub file: usize,
    /// The number of the chunk within its file.
    pub chunk: usize,
    /// Whether it is its file's last.
    pub last: bool,
    /// Its rows, counted over all files.
    pub rows: Range<u64>,
}

impl ChunkPlan {
    /// How many rows it has.
    pub fn len(&self) -> usize {
        (self.rows.end - self.rows.start) as usize
    }
}

/// All chunks in the order of their rows. Files are of equal size, so that readers can share them out evenly, and so are a file's chunks.
pub(crate) fn chunks(rows: u64) -> impl Iterator<Item = ChunkPlan> {
    let files = rows.div_ceil(FILE_ROWS);
    (0..files).flat_map(move |file| {
        let from = part(rows, file, files);
        let length = part(rows, file + 1, files) - from;
        let count = length.div_ceil(CHUNK_ROWS);
        (0..count).map(move |chunk| ChunkPlan {
            file: file as usize,
            chunk: chunk as usize,
            last: chunk + 1 == count,
            rows: from + part(length, chunk, count)..from + part(length, chunk + 1, count),
        })
    })
}

/// Where the `index`-th of `count` equal parts of `total` begins.
fn part(total: u64, index: u64, count: u64) -> u64 {
    (u128::from(total) * u128::from(index) / u128::from(count)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_follow_each_other_and_end_with_the_rows() {
        for rows in [1, 2, CHUNK_ROWS, CHUNK_ROWS + 1, FILE_ROWS, FILE_ROWS + 1, 42_448_764] {
            let mut next = 0;
            let mut last_of_file = true;
            for plan in chunks(rows) {
                assert_eq!(plan.rows.start, next);
                assert_eq!(plan.chunk == 0, last_of_file);
                assert!(plan.len() > 0 && plan.len() as u64 <= CHUNK_ROWS);
                next = plan.rows.end;
                last_of_file = plan.last;
            }
            assert!(last_of_file);
            assert_eq!(next, rows);
        }
    }
}
