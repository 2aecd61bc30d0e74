//! The same ratings give the same file, however they lie in batches, partitions and blocks, and in whatever order they come.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, UInt32Array};
use arrow::compute::take_record_batch;
use proptest::prelude::*;

use super::{rows, rows_of, some_ratings, text, train, trainer};
use crate::OptionValue::{Bool, Candidates, Float, Int};
use crate::keyed_random::{mix, random};
use crate::{Block, Collector, Observer, OptionValue, Passes, Result, Trainer, Unobserved, train_in_memory};

/// Blocks as they lie on executors: made anew for each pass, as if all executors were lost in between.
struct Cluster<'a> {
    trainer: &'a dyn Trainer,
    /// For each layout the rows of each task.
    tasks: [Vec<Vec<RecordBatch>>; 2],
    fresh: bool,
    blocks: [Vec<Box<dyn Block>>; 2],
}

impl<'a> Cluster<'a> {
    fn new(trainer: &'a dyn Trainer, rows: &RecordBatch, keys: [Vec<u64>; 2], tasks: u64, fresh: bool) -> Self {
        let divide = |keys: &[u64]| -> Vec<Vec<RecordBatch>> {
            (0..tasks)
                .map(|task| {
                    let places: UInt32Array = (0..keys.len() as u32).filter(|row| mix(keys[*row as usize]) % tasks == task).collect();
                    vec![take_record_batch(rows, &places).unwrap()]
                })
                .collect()
        };
        let mut cluster = Self { trainer, tasks: keys.each_ref().map(|keys| divide(keys)), fresh, blocks: [Vec::new(), Vec::new()] };
        cluster.blocks = [cluster.gather(0).unwrap(), cluster.gather(1).unwrap()];
        cluster
    }

    fn gather(&self, layout: usize) -> Result<Vec<Box<dyn Block>>> {
        let mut blocks = Vec::new();
        for task in &self.tasks[layout] {
            let mut collector = self.trainer.collector();
            for batch in task {
                collector.push(batch)?;
            }
            blocks.extend(self.trainer.blocks(&[layout], vec![collector], 1)?.remove(0));
        }
        Ok(blocks)
    }
}

impl Passes for Cluster<'_> {
    fn run(&mut self, layout: usize, request: &[u8]) -> Result<Vec<Vec<u8>>> {
        if self.fresh {
            self.blocks[layout] = self.gather(layout)?;
        }
        // Answers come in no particular order.
        self.blocks[layout].iter_mut().rev().map(|block| block.pass(request, &Unobserved)).collect()
    }
}

fn shuffled(rows: &RecordBatch, seed: u64) -> RecordBatch {
    let mut order: Vec<u32> = (0..rows.num_rows() as u32).collect();
    order.sort_by_key(|row| random(seed, u64::from(*row), 0));
    take_record_batch(rows, &UInt32Array::from(order)).unwrap()
}

/// The file of rows that come in `partitions` with batches of `batch` rows.
fn bytes_in_memory(rows: &RecordBatch, given: &[(&str, OptionValue)], partitions: usize, batch: usize) -> Vec<u8> {
    let trainer = trainer(rows, given).unwrap();
    let mut collectors: Vec<Box<dyn Collector>> = (0..partitions).map(|_| trainer.collector()).collect();
    for (number, from) in (0..rows.num_rows()).step_by(batch).enumerate() {
        collectors[number % partitions].push(&rows.slice(from, batch.min(rows.num_rows() - from))).unwrap();
    }
    train_in_memory(trainer.as_ref(), collectors, &Unobserved).unwrap().file.to_bytes().unwrap()
}

fn configurations() -> Vec<Vec<(&'static str, OptionValue)>> {
    let implicit = ("feedback_type", text("implicit"));
    vec![
        vec![("num_factors", Int(5)), ("max_iterations", Int(3))],
        vec![("num_factors", Int(3)), ("max_iterations", Int(2)), ("nonnegative", Bool(true))],
        vec![("num_factors", Int(9)), ("max_iterations", Int(3)), implicit.clone()],
        vec![("num_factors", Int(17)), ("max_iterations", Int(3)), implicit.clone()],
        vec![
            ("num_factors", Candidates(vec![Int(2), Int(4)])),
            ("l2_reg", Candidates(vec![Float(0.05), Int(1)])),
            ("max_iterations", Int(2)),
        ],
        vec![("rank", OptionValue::Range(2.0, 3.0)), ("alpha", OptionValue::Range(1.0, 16.0)), ("max_iterations", Int(2)), implicit],
    ]
}

#[test]
fn the_same_file_for_any_division() {
    let triples = some_ratings(40, 25, 0.3);
    let table = rows(&triples);
    let keys = [triples.iter().map(|t| t.0 as u64).collect::<Vec<u64>>(), triples.iter().map(|t| t.1 as u64).collect()];
    for given in configurations() {
        let expected = bytes_in_memory(&table, &given, 1, 8192);
        for (partitions, batch) in [(2, 50), (7, 13)] {
            assert!(
                bytes_in_memory(&shuffled(&table, partitions as u64), &given, partitions, batch) == expected,
                "{partitions} partitions, {given:?}"
            );
        }
        let trainer = trainer(&table, &given).unwrap();
        let whole = train(&table, &given).unwrap();
        for (tasks, fresh) in [(1, false), (2, true), (7, false)] {
            let mut cluster = Cluster::new(trainer.as_ref(), &table, keys.clone(), tasks, fresh);
            let trained = trainer.fit(&mut cluster, &Unobserved).unwrap();
            assert!(trained.file.to_bytes().unwrap() == expected, "{tasks} tasks, {given:?}");
            assert_eq!((&trained.metrics, &trained.trials), (&whole.metrics, &whole.trials));
            assert_eq!(trained.rows, whole.rows);
            let losses = |trained: &crate::Trained| trained.iterations.iter().map(|i| i.loss).collect::<Vec<_>>();
            assert_eq!(losses(&trained), losses(&whole));
        }
    }
}

#[test]
fn the_same_file_for_any_number_of_threads() {
    let table = rows(&some_ratings(90, 60, 0.4));
    for given in configurations() {
        let with = |threads| {
            rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| bytes_in_memory(&table, &given, 1, 8192))
        };
        assert!(with(1) == with(3), "{given:?}");
    }
}

#[test]
fn ids_of_text_lie_anywhere_too() {
    let triples = some_ratings(30, 20, 0.4);
    let name = |prefix: &str, id: i64| format!("{prefix}{id}");
    let users: ArrayRef = Arc::new(triples.iter().map(|t| Some(name("u", t.0))).collect::<StringArray>());
    let items: ArrayRef = Arc::new(triples.iter().map(|t| Some(name("i", t.1))).collect::<StringArray>());
    let table = rows_of(users, items, rows(&triples).column(2).clone());
    let keys = [triples.iter().map(|t| t.0 as u64).collect::<Vec<u64>>(), triples.iter().map(|t| t.1 as u64).collect()];
    let given = [("num_factors", Int(4)), ("max_iterations", Int(2))];
    let expected = bytes_in_memory(&table, &given, 3, 17);
    let trainer = trainer(&table, &given).unwrap();
    let trained = trainer.fit(&mut Cluster::new(trainer.as_ref(), &table, keys, 3, false), &Unobserved).unwrap();
    assert!(trained.file.to_bytes().unwrap() == expected);
}

#[test]
fn a_block_made_anew_goes_on_where_the_other_was() {
    use crate::matrix_factorization::config::Config;
    use crate::matrix_factorization::wire::{Part, Request, Setup, pack};
    let table = rows(&some_ratings(20, 15, 0.5));
    let given = [("num_factors", Int(3))];
    let trainer = trainer(&table, &given).unwrap();
    let setup = Setup::of(&Config::new(&super::options(&given), &super::columns_of(&table)).unwrap(), Part::All);
    let block = || {
        let mut collector = trainer.collector();
        collector.push(&table).unwrap();
        trainer.blocks(&[0, 1], vec![collector], 1).unwrap().remove(0).remove(0)
    };
    let mut kept = block();
    for iteration in 1..=4 {
        let request = pack(Request::Iterate { iteration, setup }, &[]).unwrap();
        let answer = kept.pass(&request, &Unobserved).unwrap();
        assert_eq!(answer, block().pass(&request, &Unobserved).unwrap());
    }
}

#[test]
fn another_seed_gives_another_file() {
    let table = rows(&some_ratings(20, 15, 0.5));
    let with = |seed| bytes_in_memory(&table, &[("seed", Int(seed))], 1, 100);
    assert!(with(1) == with(1) && with(1) != with(2));
}

struct Stop;

impl Observer for Stop {
    fn is_cancelled(&self) -> bool {
        true
    }
}

#[test]
fn stops_when_cancelled() {
    let table = rows(&some_ratings(20, 15, 0.5));
    let trainer = trainer(&table, &[]).unwrap();
    let mut collector = trainer.collector();
    collector.push(&table).unwrap();
    let error = train_in_memory(trainer.as_ref(), vec![collector], &Stop).unwrap_err();
    assert_eq!(error.cause, crate::error::Cause::Cancelled);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_ratings_in_any_order(
        triples in prop::collection::vec((0i64..12, -5i64..5, -3.0f64..3.0), 1..80),
        seed in 0u64..1000, partitions in 1usize..5, batch in 1usize..40, implicit in any::<bool>(),
    ) {
        let given = [("num_factors", Int(3)), ("max_iterations", Int(2)), ("feedback_type", text(if implicit { "implicit" } else { "explicit" }))];
        let table = rows(&triples);
        let expected = bytes_in_memory(&table, &given, 1, 100);
        prop_assert!(bytes_in_memory(&shuffled(&table, seed), &given, partitions, batch) == expected);
        let keys = [triples.iter().map(|t| t.0 as u64).collect::<Vec<u64>>(), triples.iter().map(|t| t.1 as u64).collect()];
        let trainer = trainer(&table, &given).unwrap();
        let trained = trainer.fit(&mut Cluster::new(trainer.as_ref(), &table, keys, 3, false), &Unobserved).unwrap();
        prop_assert!(trained.file.to_bytes().unwrap() == expected);
    }
}
