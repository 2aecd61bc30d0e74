//! How the engine and a model type meet.
//!
//! Training is a loop of *passes* over rows that stay where they are. The engine gathers rows into blocks (in the memory of one task, or spread over
//! executors), the [`Trainer`] asks for passes and merges what comes back:
//!
//! ```text
//!            engine                                  model type
//!   rows ─► Collector::push ─► Trainer::blocks ─► Block, Block, …      one task: all rows; distributed: the rows of one task each
//!                                                   ▲ request │ partial
//!                              Passes::run ─────────┘         ▼
//!                                  ▲                      Trainer::fit ─► Trained (model file, iterations, metrics)
//!                                  └── until it converges ────┘
//! ```
//!
//! Requests and partial results are bytes, so that a pass can be a job on a cluster. Merging partial results gives the same bits in any order and for any
//! division of the rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, SchemaRef};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{Iteration, ModelError, ModelFile, Observer, OptionSpec, Options, Result};

/// A column that a model is trained on or scores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InputColumn {
    /// Its name.
    pub name: String,
    /// Its Arrow type.
    pub data_type: DataType,
}

/// How the rows have to lie in blocks when there are several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// Any row in any block.
    Any,
    /// Rows with equal values of these columns (indices into the training columns) in one block.
    By(Vec<usize>),
}

/// A kind of model, found by name.
pub trait ModelType: Sync {
    /// Lower-case name, as `model_type` names it.
    fn name(&self) -> &'static str;

    /// What it is, in a sentence, for the reference.
    fn about(&self) -> &'static str;

    /// Its options beside `model_type`.
    fn options(&self) -> &'static [OptionSpec];

    /// Whether there is nothing to it without a `TRANSFORM`.
    fn needs_transform(&self) -> bool {
        false
    }

    /// Checks options and columns, and prepares training. Executors call this again with the same arguments.
    ///
    /// # Errors
    /// Options that do not fit, columns that are missing or of unsuitable types.
    fn trainer(&self, options: &Options, columns: &[InputColumn], warm_start: Option<&dyn Model>) -> Result<Box<dyn Trainer>>;

    /// A model from its file.
    ///
    /// # Errors
    /// A file of another type, or a damaged one.
    fn read(&self, file: &ModelFile) -> Result<Arc<dyn Model>>;

    /// [`Model::inputs`] of the model that a file holds; a model type whose models are large need not make one for that.
    ///
    /// # Errors
    /// As [`ModelType::read`].
    fn inputs(&self, file: &ModelFile) -> Result<Vec<InputColumn>> {
        Ok(self.read(file)?.inputs().to_vec())
    }
}

/// A training, prepared: options and columns are known and fit.
pub trait Trainer: Send + Sync {
    /// The ways in which rows have to lie in blocks; a pass names one by its place. Most model types have one.
    fn layouts(&self) -> Vec<Layout> {
        vec![Layout::Any]
    }

    /// How many bytes of memory a row takes in a block, about; for the choice between one task and many.
    fn bytes_per_row(&self) -> usize;

    /// How many passes over the rows there will be at most.
    fn passes(&self) -> u32;

    /// Something to gather rows with, one for each partition of the input.
    fn collector(&self) -> Box<dyn Collector>;

    /// What was gathered, as blocks on which passes run, a list for each of the layouts that are wanted. How many blocks there are is the trainer's choice
    /// (about `threads`, when passes are to run on so many). One task gathers once for all layouts; spread over executors, each task gathers for one.
    ///
    /// # Errors
    /// Rows that cannot be trained on.
    fn blocks(&self, layouts: &[usize], collected: Vec<Box<dyn Collector>>, threads: usize) -> Result<Vec<Vec<Box<dyn Block>>>>;

    /// Trains.
    ///
    /// # Errors
    /// Rows that cannot be trained on (too few, all equal, …), or the training was cancelled.
    fn fit(&self, passes: &mut dyn Passes, observer: &dyn Observer) -> Result<Trained>;

    /// What [`Trainer::fit`] would lead to as far as that is known without rows, so that what uses the model can be planned: a model with the inputs, the
    /// predictions and the tables of the trained one, its measures and trials by name. The numbers in it mean nothing. What only rows can tell is 1 (the
    /// length of a list) or as much as it may be (how many components explain a share of the variance).
    ///
    /// # Errors
    /// Options that no rows can satisfy.
    fn outline(&self) -> Result<Trained>;
}

/// Gathers rows of one partition.
pub trait Collector: Send {
    /// Takes the rows of a batch with the training columns, in their order.
    ///
    /// # Errors
    /// Values that cannot be trained on, named with their column.
    fn push(&mut self, batch: &RecordBatch) -> Result<()>;

    /// Memory that is held now, in bytes.
    fn bytes(&self) -> usize;

    /// For [`Trainer::blocks`].
    fn into_any(self: Box<Self>) -> Box<dyn std::any::Any + Send>;
}

/// Rows in memory. What a pass leaves behind (bounds, assignments) may stay in the block and may only save work: a block that is made anew from the same
/// rows must give the same partial results.
pub trait Block: Send {
    /// Runs a pass over the rows.
    ///
    /// # Errors
    /// Rows that cannot be trained on; a request that was not made by the same trainer.
    fn pass(&mut self, request: &[u8], observer: &dyn Observer) -> Result<Vec<u8>>;

    /// Memory that is held, in bytes.
    fn bytes(&self) -> usize;
}

/// Runs passes over all blocks of a layout.
pub trait Passes {
    /// The partial results of all blocks, in no particular order.
    ///
    /// # Errors
    /// What a block or its executor reports.
    fn run(&mut self, layout: usize, request: &[u8]) -> Result<Vec<Vec<u8>>>;
}

/// What training led to.
#[derive(Debug, Clone)]
pub struct Trained {
    /// The model.
    pub file: ModelFile,
    /// Rows that it was trained on.
    pub rows: u64,
    /// Every iteration, of all trials.
    pub iterations: Vec<Iteration>,
    /// Measures of the model on its training rows, by the names of `ML.EVALUATE`.
    pub metrics: BTreeMap<String, f64>,
    /// What was tried, if options had several candidates.
    pub trials: Vec<Trial>,
}

/// One candidate of options; a row of `ML.TRIAL_INFO`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// From 1.
    pub trial_id: i64,
    /// The options that were tried.
    pub hyperparameters: BTreeMap<String, f64>,
    /// Measures of the result.
    pub metrics: BTreeMap<String, f64>,
    /// Its training loss.
    pub training_loss: Option<f64>,
    /// `None`: it succeeded; else why it could not be trained.
    pub error_message: Option<String>,
    /// The one that was kept.
    pub is_optimal: bool,
}

/// What a model tells of itself, a table each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ModelTable {
    /// `ML.CENTROIDS`, in standardised units or those of the data.
    Centroids {
        /// Standardised units.
        standardize: bool,
    },
    /// `ML.WEIGHTS`.
    Weights,
    /// `ML.PRINCIPAL_COMPONENTS`.
    PrincipalComponents,
    /// `ML.PRINCIPAL_COMPONENTS_INFO`.
    PrincipalComponentsInfo,
    /// `ML.FEATURE_INFO`: what the features of the training rows looked like.
    FeatureInfo,
}

/// A trained model.
pub trait Model: Send + Sync {
    /// Lower-case name of its type.
    fn model_type(&self) -> &'static str;

    /// Memory that it takes, in bytes.
    fn bytes(&self) -> usize;

    /// The columns that it scores, in their order; rows that are to be scored must have them, by name.
    fn inputs(&self) -> &[InputColumn];

    /// The columns that scoring adds, as `ML.PREDICT` names them; none of a model that only prepares.
    fn predicted(&self) -> Vec<Field>;

    /// Scores rows: columns as [`Model::inputs`] lists them, in the types given there; the result is as [`Model::predicted`] lists.
    ///
    /// # Errors
    /// Values that cannot be scored.
    fn predict(&self, columns: &[ArrayRef]) -> Result<Vec<ArrayRef>>;

    /// Scores rows for some of the columns of [`Model::predicted`] only, by index and in that order: what nobody asks for need not be computed.
    ///
    /// # Errors
    /// As [`Model::predict`]; an index that is none.
    fn predict_only(&self, columns: &[ArrayRef], wanted: &[usize]) -> Result<Vec<ArrayRef>> {
        let all = self.predict(columns)?;
        let column =
            |i: &usize| all.get(*i).cloned().ok_or_else(|| ModelError::bug(format!("{} predicts no column {i}", self.model_type())));
        wanted.iter().map(column).collect()
    }

    /// The columns that `ML.DETECT_ANOMALIES` adds; empty where the model type has no such notion. A row is anomalous when its score is greater than
    /// [`Model::anomaly_threshold`].
    fn anomaly_fields(&self) -> Vec<Field> {
        Vec::new()
    }

    /// Scores rows by how unusual they are: the columns of [`Model::anomaly_fields`], of which the first is the score.
    ///
    /// # Errors
    /// The model type has no such notion, or values that cannot be scored.
    fn anomalies(&self, columns: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        let _ = columns;
        Err(ModelError::bug(format!("{} finds no anomalies", self.model_type())))
    }

    /// The score above which a share of `contamination` of the training rows lies; `None` where the model type has no such notion.
    fn anomaly_threshold(&self, contamination: f64) -> Option<f64> {
        let _ = contamination;
        None
    }

    /// A table about the model; `None` where the model type has no such table.
    ///
    /// # Errors
    /// A model that contradicts itself.
    fn table(&self, table: ModelTable) -> Result<Option<RecordBatch>> {
        let _ = table;
        Ok(None)
    }

    /// How the model is evaluated on rows. `columns` are those of the rows to evaluate on, `options` how it is to be done.
    ///
    /// # Errors
    /// Columns that are missing or of unsuitable types; options that have no meaning for the model; a model that predicts nothing.
    fn evaluation(self: Arc<Self>, columns: &[InputColumn], options: &Options) -> Result<Box<dyn Evaluation>>;

    /// The model as ONNX bytes; `None` where the type has no such form.
    ///
    /// # Errors
    /// A model that ONNX cannot hold.
    fn to_onnx(&self) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    /// As the type that it is, for functions that only one type has.
    fn as_any(&self) -> &dyn std::any::Any;
}

/// Evaluates a model over rows that may lie anywhere, in one or more stages. A stage sees every row once; the next stage may need what the ones before
/// found.
pub trait Evaluation: Send + Sync {
    /// The columns that the stages are given, by index into the columns that [`Model::evaluation`] was given.
    fn columns(&self) -> Vec<usize>;

    /// How many stages there are.
    fn stages(&self) -> usize;

    /// Adds rows (the columns of [`Evaluation::columns`], in their order) to a stage's partial result; `None` begins one. `before` is the finished result of
    /// the stage before, for all but the first.
    ///
    /// # Errors
    /// Values that cannot be scored.
    fn accumulate(&self, stage: usize, before: Option<&[u8]>, partial: Option<Vec<u8>>, columns: &[ArrayRef]) -> Result<Vec<u8>>;

    /// One partial result from two of the same stage; gives the same bits in any order.
    ///
    /// # Errors
    /// Bytes that were not made by [`Evaluation::accumulate`].
    fn merge(&self, stage: usize, one: Vec<u8>, other: &[u8]) -> Result<Vec<u8>>;

    /// The columns of the result's only row.
    fn schema(&self) -> SchemaRef;

    /// The result's row, from the partial result of the last stage (`None`: there were no rows).
    ///
    /// # Errors
    /// Bytes that were not made by [`Evaluation::accumulate`].
    fn finish(&self, before: Option<&[u8]>, partial: Option<&[u8]>) -> Result<RecordBatch>;
}

/// Trains on rows that lie in memory, on the threads of the current rayon pool.
///
/// # Errors
/// As [`Trainer::fit`].
pub fn train_in_memory(trainer: &dyn Trainer, collected: Vec<Box<dyn Collector>>, observer: &dyn Observer) -> Result<Trained> {
    let threads = rayon::current_num_threads();
    let layouts: Vec<usize> = (0..trainer.layouts().len()).collect();
    let mut passes = InMemory { blocks: trainer.blocks(&layouts, collected, threads)?, observer };
    trainer.fit(&mut passes, observer)
}

/// Passes on the threads of this process.
pub struct InMemory<'a> {
    /// The blocks of each layout.
    pub blocks: Vec<Vec<Box<dyn Block>>>,
    /// Who may stop them.
    pub observer: &'a dyn Observer,
}

impl Passes for InMemory<'_> {
    fn run(&mut self, layout: usize, request: &[u8]) -> Result<Vec<Vec<u8>>> {
        let observer = self.observer;
        let blocks = self.blocks.get_mut(layout).ok_or_else(|| ModelError::bug(format!("there is no layout {layout}")))?;
        if let [only] = blocks.as_mut_slice() {
            return Ok(vec![only.pass(request, observer)?]);
        }
        blocks.par_iter_mut().map(|block| block.pass(request, observer)).collect()
    }
}
