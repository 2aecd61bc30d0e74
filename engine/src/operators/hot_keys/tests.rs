//! Rows get the salts of their keys in turn, and every copy of a row its own.

use arrow::array::{AsArray as _, Int64Array, StringArray};
use arrow::datatypes::{Int64Type, UInt32Type};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::physical_plan::collect;
use datafusion::prelude::{SessionConfig, SessionContext};

use super::*;

fn input(keys: Vec<Option<i64>>) -> Arc<dyn ExecutionPlan> {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..keys.len() as i64));
    let keys: ArrayRef = Arc::new(Int64Array::from(keys));
    let batch = RecordBatch::try_from_iter_with_nullable([("n", numbers, false), ("k", keys, true)]).unwrap();
    MemorySourceConfig::try_new_exec(&[vec![batch.clone()]], batch.schema(), None).unwrap()
}

fn hash_of(column: ArrayRef) -> u64 {
    let mut hashes = Vec::new();
    hash_rows(&[column], 1, &mut hashes).unwrap();
    hashes[0]
}

fn hot(key: Option<i64>, salts: &[u32]) -> HotKey {
    let hash = hash_of(Arc::new(Int64Array::from(vec![key])));
    HotKey { hash, salts: salts.to_vec(), matches_nothing: key.is_none() }
}

/// Number and salt of every row that comes out, and the most rows of a batch.
async fn run(plan: HotKeysExec, batch_rows: usize) -> (Vec<(i64, u32)>, usize) {
    let session = SessionContext::new_with_config(SessionConfig::new().with_batch_size(batch_rows));
    let batches = collect(Arc::new(plan), session.task_ctx()).await.unwrap();
    let most = batches.iter().map(RecordBatch::num_rows).max().unwrap_or(0);
    let rows = batches.iter().flat_map(|batch| {
        let numbers = batch.column(0).as_primitive::<Int64Type>().values().to_vec();
        numbers.into_iter().zip(batch.column(2).as_primitive::<UInt32Type>().values().to_vec()).collect::<Vec<_>>()
    });
    (rows.collect(), most)
}

#[tokio::test]
async fn rows_of_a_frequent_key_get_its_salts_in_turn() {
    let keys = vec![Some(7), Some(5), Some(7), None, Some(7), None];
    let plan = HotKeysExec::salt(input(keys), vec![1], Arc::new([hot(Some(7), &[3, 8]), hot(None, &[1, 2])]));
    assert_eq!(run(plan, 8192).await.0, [(0, 3), (1, 0), (2, 8), (3, 1), (4, 3), (5, 2)]);
}

#[tokio::test]
async fn rows_are_replicated_once_per_salt_and_nulls_that_match_nothing_are_not() {
    let keys = vec![Some(5), Some(7), None, Some(7), Some(6)];
    let plan = HotKeysExec::replicate(input(keys.clone()), vec![1], &[hot(Some(7), &[3, 8, 9]), hot(None, &[1, 2])]);
    let (rows, most) = run(plan, 2).await;
    assert_eq!(rows, [(0, 0), (1, 3), (1, 8), (1, 9), (2, 0), (3, 3), (3, 8), (3, 9), (4, 0)]);
    assert_eq!(most, 2, "copies come in batches of the usual size");
    let equal_nulls = HotKey { matches_nothing: false, ..hot(None, &[1, 2]) };
    let plan = HotKeysExec::replicate(input(keys), vec![1], &[equal_nulls]);
    assert_eq!(run(plan, 8192).await.0, [(0, 0), (1, 0), (2, 1), (2, 2), (3, 0), (4, 0)]);
}

#[tokio::test]
async fn without_frequent_keys_salts_are_zero() {
    let plan = HotKeysExec::replicate(input(vec![Some(1), None]), vec![1], &[]);
    assert_eq!(run(plan, 8192).await.0, [(0, 0), (1, 0)]);
}

#[test]
fn a_null_in_one_of_several_columns_is_one() {
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Int64Array::from(vec![None, Some(1), Some(2)])), Arc::new(StringArray::from(vec![Some("a"), None, Some("b")]))];
    let nulls = rows_with_nulls(&columns).unwrap();
    assert_eq!((0..3).map(|row| nulls.is_null(row)).collect::<Vec<_>>(), [true, true, false]);
    assert!(rows_with_nulls(&[Arc::new(Int64Array::from(vec![1])) as ArrayRef]).is_none());
}
