//! What training in one task and passes over files lead to, however the rows are divided.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_plan::collect;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};

use super::pass::{LaidOut, Request, TrainingPassExec};
use super::testing::spec;
use super::*;
use crate::TaskPool;
use crate::models::blocks;

const ROWS: i64 = 20_000;

/// Rows whose keys are 0 to 99 and whose values are 1 to `ROWS`, in as many files.
async fn scan(dir: &std::path::Path, files: usize, session: &SessionContext) -> Arc<dyn ExecutionPlan> {
    for file in 0..files {
        let mine = || (0..ROWS).filter(|row| *row as usize % files == file);
        // Narrower than the training's columns.
        let keys: ArrayRef = Arc::new(Int32Array::from_iter_values(mine().map(|row| (row % 100) as i32)));
        let values: ArrayRef = Arc::new(Int64Array::from_iter_values(mine().map(|row| row + 1)));
        let batch = RecordBatch::try_from_iter([("k", keys), ("v", values)]).unwrap();
        let path = dir.join(format!("{file}.parquet")).display().to_string();
        session.read_batch(batch).unwrap().write_parquet(&path, Default::default(), None).await.unwrap();
    }
    let path = dir.display().to_string();
    session.read_parquet(path, ParquetReadOptions::default()).await.unwrap().create_physical_plan().await.unwrap()
}

fn session(partitions: usize) -> SessionContext {
    let config = SessionConfig::new().with_target_partitions(partitions).with_batch_size(700);
    SessionContext::new_with_config(config)
}

async fn in_one_task(files: usize, partitions: usize) -> InOneTask {
    let dir = tempfile::tempdir().unwrap();
    let session = session(partitions);
    let plan = scan(dir.path(), files, &session).await;
    let train: Arc<dyn ExecutionPlan> = Arc::new(TrainModelExec::new(plan, spec("operator", &[("rounds", 2)]), partitions, None));
    TrainModelExec::outcome(&collect(train, session.task_ctx()).await.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn trains_on_all_rows_of_all_partitions() {
    for (files, partitions) in [(1, 1), (3, 2), (7, 7)] {
        let InOneTask::Trained(trained) = in_one_task(files, partitions).await else { panic!("it fits") };
        assert_eq!(trained.rows, ROWS as u64);
        let sum = ROWS * (ROWS + 1) / 2;
        assert_eq!(trained.file.i64s("sums").unwrap().1, [sum, 2 * sum]);
        assert_eq!(trained.file.i64s("distinct").unwrap().1, [100, 100]);
        assert_eq!(trained.iterations.len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_do_not_fit_are_told_and_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let session = session(2);
    let plan = scan(dir.path(), 2, &session).await;
    let pool = Arc::new(FairSpillPool::new(100_000));
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::clone(&pool) as _).build_arc().unwrap();
    let context = Arc::new(TaskPool::own(session.task_ctx()).with_runtime(runtime));
    let train: Arc<dyn ExecutionPlan> = Arc::new(TrainModelExec::new(plan, spec("too-large", &[]), 2, None));
    let outcome = TrainModelExec::outcome(&collect(train, context).await.unwrap()).unwrap();
    assert!(matches!(outcome, InOneTask::DoesNotFit(bytes) if bytes > 10_000), "{outcome:?}");
    let reserved = || datafusion::execution::memory_pool::MemoryPool::reserved(pool.as_ref());
    // What other partitions hold goes when their tasks have seen that they are not needed any more.
    for _ in 0..500 {
        if reserved() == 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(reserved(), 0);
}

/// Rows, sum and distinct keys of each block.
async fn pass(plan: &Arc<dyn ExecutionPlan>, run_id: &str, factor: i64, context: Arc<TaskContext>) -> Vec<Vec<i64>> {
    let request = Request::Inline(Arc::new(factor.to_le_bytes().to_vec()));
    let pass: Arc<dyn ExecutionPlan> =
        Arc::new(TrainingPassExec::new(Arc::clone(plan), Arc::new(spec(run_id, &[])), LaidOut { layout: 0, is_keyed: false }, request));
    let batches = collect(pass, context).await.unwrap();
    let partials = payload::payloads(&batches).unwrap();
    let words = |partial: &Vec<u8>| partial.as_chunks::<8>().0.iter().map(|word| i64::from_le_bytes(*word)).collect();
    partials.iter().map(words).collect()
}

fn totals(partials: &[Vec<i64>]) -> (i64, i64) {
    (partials.iter().map(|p| p[0]).sum(), partials.iter().map(|p| p[1]).sum())
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_stay_from_one_pass_to_the_next_and_hold_every_row_once() {
    let dir = tempfile::tempdir().unwrap();
    let session = session(3);
    let plan = scan(dir.path(), 5, &session).await;
    assert!(one_partition::read_again(&plan).is_some());
    for factor in 1..4 {
        let partials = pass(&plan, "kept", factor, session.task_ctx()).await;
        assert_eq!(totals(&partials), (ROWS, factor * ROWS * (ROWS + 1) / 2));
        assert_eq!(blocks::kept_of("kept"), partials.len());
        if factor == 1 {
            // Later passes have nothing else to read.
            for file in 0..5 {
                std::fs::remove_file(dir.path().join(format!("{file}.parquet"))).unwrap();
            }
        }
    }
    blocks::end("kept");
    assert_eq!(blocks::kept_of("kept"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_without_room_are_read_anew_in_each_pass() {
    let dir = tempfile::tempdir().unwrap();
    let session = session(2);
    let plan = scan(dir.path(), 2, &session).await;
    let pool: Arc<FairSpillPool> = Arc::new(FairSpillPool::new(50_000));
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::clone(&pool) as _).build_arc().unwrap();
    let context = Arc::new(TaskPool::own(session.task_ctx()).with_runtime(runtime));
    for factor in 1..3 {
        let partials = pass(&plan, "streamed", factor, Arc::clone(&context)).await;
        assert!(partials.len() > 4, "chunk by chunk: {}", partials.len());
        assert_eq!(totals(&partials), (ROWS, factor * ROWS * (ROWS + 1) / 2));
        assert_eq!(blocks::kept_of("streamed"), 0);
        assert_eq!(datafusion::execution::memory_pool::MemoryPool::reserved(pool.as_ref()), 0);
    }
    blocks::end("streamed");
}

#[tokio::test]
async fn what_may_differ_when_run_again_is_not_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let session = session(2);
    scan(dir.path(), 1, &session).await;
    session.register_parquet("t", dir.path().display().to_string(), ParquetReadOptions::default()).await.unwrap();
    let plan = async |sql: &str| session.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
    assert!(one_partition::read_again(&plan("SELECT k, v * 2 AS w FROM t WHERE v > 3").await).is_some());
    for sql in
        ["SELECT k, random() AS r FROM t", "SELECT k, count(*) AS n FROM t GROUP BY k", "SELECT k, v FROM t LIMIT 3", "SELECT 1 AS k"]
    {
        assert!(one_partition::read_again(&plan(sql).await).is_none(), "{sql}");
    }
}
