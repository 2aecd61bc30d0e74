//! Bytes of any length as rows, so that no message between processes is too large.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, AsArray as _, BinaryArray, RecordBatch, UInt32Array, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type, UInt64Type};
use datafusion::common::{Result, internal_err};

/// Bytes of one row.
const ROW_BYTES: usize = 4 << 20;

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let field = |name: &str, data_type| Field::new(name, data_type, false);
    let fields = vec![
        field("payload", DataType::UInt64),
        field("part", DataType::UInt32),
        field("parts", DataType::UInt32),
        field("bytes", DataType::Binary),
    ];
    Arc::new(Schema::new(fields))
});

/// The columns of the rows: a number that tells payloads apart, which part of its payload a row is, how many parts there are, and the part.
pub(crate) fn schema() -> SchemaRef {
    Arc::clone(&SCHEMA)
}

/// A payload, which may come in pieces, as rows, a batch each.
pub(crate) fn rows(pieces: &[&[u8]]) -> Result<Vec<RecordBatch>> {
    let (id, _) = uuid::Uuid::new_v4().as_u64_pair();
    let mut parts: Vec<&[u8]> = pieces.iter().flat_map(|piece| piece.chunks(ROW_BYTES)).collect();
    if parts.is_empty() {
        parts.push(&[]);
    }
    let count = u32::try_from(parts.len()).unwrap_or(u32::MAX);
    let batch = |(part, bytes): (u32, &[u8])| {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(UInt64Array::from(vec![id])),
            Arc::new(UInt32Array::from(vec![part])),
            Arc::new(UInt32Array::from(vec![count])),
            Arc::new(BinaryArray::from_vec(vec![bytes])),
        ];
        Ok(RecordBatch::try_new(schema(), columns)?)
    };
    (0..count).zip(parts).map(batch).collect()
}

/// The payloads of rows in any order.
///
/// # Errors
/// Rows that are not of [`schema`], or of which some are missing.
pub(crate) fn payloads(batches: &[RecordBatch]) -> Result<Vec<Vec<u8>>> {
    let mut found: BTreeMap<u64, (u32, BTreeMap<u32, &[u8]>)> = BTreeMap::new();
    for batch in batches {
        if batch.num_columns() != SCHEMA.fields().len() {
            return internal_err!("rows of a training have {} columns", batch.num_columns());
        }
        let (ids, parts) = (batch.column(0).as_primitive::<UInt64Type>(), batch.column(1).as_primitive::<UInt32Type>());
        let (counts, bytes) = (batch.column(2).as_primitive::<UInt32Type>(), batch.column(3).as_binary::<i32>());
        for row in 0..batch.num_rows() {
            let entry = found.entry(ids.value(row)).or_insert_with(|| (counts.value(row), BTreeMap::new()));
            entry.1.insert(parts.value(row), bytes.value(row));
        }
    }
    let whole = |(count, parts): (u32, BTreeMap<u32, &[u8]>)| {
        if parts.len() != count as usize {
            return internal_err!("{} of {count} parts of a training's result are there", parts.len());
        }
        Ok(parts.into_values().collect::<Vec<_>>().concat())
    };
    found.into_values().map(whole).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_come_back_whole_in_any_order() {
        let long: Vec<u8> = (0..ROW_BYTES * 2 + 7).map(|at| (at % 251) as u8).collect();
        let mut batches = rows(&[&long]).unwrap();
        assert_eq!(batches.len(), 3);
        batches.extend(rows(&[]).unwrap());
        batches.extend(rows(&[&[9], &[], &[8, 7]]).unwrap());
        batches.reverse();
        let mut found = payloads(&batches).unwrap();
        found.sort_by_key(Vec::len);
        assert_eq!(found, [vec![], vec![9, 8, 7], long]);
        assert!(payloads(&batches[..batches.len() - 1]).is_err());
        assert!(payloads(&[]).unwrap().is_empty());
    }
}
