//! `model_type = 'transform_only'`: no mathematics, only the `TRANSFORM` that is kept with every model, for `ML.TRANSFORM`.
//!
//! What the select list learned is the engine's and lies beside the model's file; here are the columns that it makes. Training counts the rows.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::Field;

use crate::{
    Block, Collector, Evaluation, InputColumn, Model, ModelError, ModelFile, ModelType, Observer, OptionSpec, Options, Passes, Result,
    Trained, Trainer,
};

const NAME: &str = "transform_only";

/// See the module documentation.
#[derive(Debug, Clone, Copy)]
pub struct TransformOnly;

impl ModelType for TransformOnly {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "Keeps a TRANSFORM alone: ML.TRANSFORM prepares rows with it, also for queries that train other models."
    }

    fn options(&self) -> &'static [OptionSpec] {
        &[]
    }

    fn needs_transform(&self) -> bool {
        true
    }

    fn trainer(&self, options: &Options, columns: &[InputColumn], _: Option<&dyn Model>) -> Result<Box<dyn Trainer>> {
        options.check(self.options())?;
        Ok(Box::new(Counting { columns: columns.to_vec() }))
    }

    fn read(&self, file: &ModelFile) -> Result<Arc<dyn Model>> {
        Ok(Arc::new(Columns { columns: file.value("columns")? }))
    }
}

struct Counting {
    columns: Vec<InputColumn>,
}

impl Counting {
    fn trained(&self, rows: u64) -> Result<Trained> {
        let mut file = ModelFile::new(NAME);
        file.set("columns", &self.columns)?;
        Ok(Trained { file, rows, iterations: Vec::new(), metrics: BTreeMap::new(), trials: Vec::new() })
    }
}

impl Trainer for Counting {
    fn bytes_per_row(&self) -> usize {
        0
    }

    fn passes(&self) -> u32 {
        1
    }

    fn collector(&self) -> Box<dyn Collector> {
        Box::new(Rows(0))
    }

    fn blocks(&self, layouts: &[usize], collected: Vec<Box<dyn Collector>>, _: usize) -> Result<Vec<Vec<Box<dyn Block>>>> {
        let mut rows = 0;
        for collector in collected {
            let counted = collector.into_any().downcast::<Rows>().map_err(|_| ModelError::bug("rows of another model type"))?;
            rows += counted.0;
        }
        Ok(layouts.iter().map(|_| vec![Box::new(Rows(rows)) as Box<dyn Block>]).collect())
    }

    fn fit(&self, passes: &mut dyn Passes, observer: &dyn Observer) -> Result<Trained> {
        observer.begin(0);
        let mut rows = 0;
        for answer in passes.run(0, &[])? {
            let count = answer.try_into().map_err(|_| ModelError::bug("a number of rows has 8 bytes"))?;
            rows += u64::from_le_bytes(count);
        }
        self.trained(rows)
    }

    fn outline(&self) -> Result<Trained> {
        self.trained(0)
    }
}

/// How many rows there are.
struct Rows(u64);

impl Collector for Rows {
    fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        self.0 += batch.num_rows() as u64;
        Ok(())
    }

    fn bytes(&self) -> usize {
        0
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }
}

impl Block for Rows {
    fn pass(&mut self, _: &[u8], _: &dyn Observer) -> Result<Vec<u8>> {
        Ok(self.0.to_le_bytes().to_vec())
    }

    fn bytes(&self) -> usize {
        0
    }
}

/// The columns that a `TRANSFORM` makes.
struct Columns {
    columns: Vec<InputColumn>,
}

impl Model for Columns {
    fn model_type(&self) -> &'static str {
        NAME
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.columns.iter().map(|column| size_of::<InputColumn>() + column.name.len()).sum::<usize>()
    }

    fn inputs(&self) -> &[InputColumn] {
        &self.columns
    }

    fn predicted(&self) -> Vec<Field> {
        Vec::new()
    }

    fn predict(&self, _: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        Err(ModelError::bug("a transform_only model predicts nothing"))
    }

    fn evaluation(self: Arc<Self>, _: &[InputColumn], _: &Options) -> Result<Box<dyn Evaluation>> {
        Err(ModelError::bug("a transform_only model predicts nothing that could be measured"))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Unobserved, train_in_memory};
    use arrow::array::Int64Array;
    use arrow::datatypes::DataType;

    #[test]
    fn counts_rows_and_keeps_columns() {
        let columns = [InputColumn { name: "x".to_string(), data_type: DataType::Int64 }];
        let trainer = TransformOnly.trainer(&Options::default(), &columns, None).unwrap();
        let collected = [3, 0, 4].map(|rows| {
            let mut collector = trainer.collector();
            let rows: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
            collector.push(&RecordBatch::try_from_iter([("x", rows)]).unwrap()).unwrap();
            collector
        });
        let trained = train_in_memory(trainer.as_ref(), collected.into(), &Unobserved).unwrap();
        assert_eq!(trained.rows, 7);
        let model = TransformOnly.read(&ModelFile::from_bytes(&trained.file.to_bytes().unwrap()).unwrap()).unwrap();
        assert_eq!((model.inputs(), model.predicted().len()), (&columns[..], 0));
    }
}
