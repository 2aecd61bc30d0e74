//! How much of the variance of other rows the components explain: one minus the squared errors of their reconstructions, divided by their squared distances
//! from the mean of the training rows. For the training rows it is the sum of the kept eigenvalues divided by that of all.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::model::PcaModel;
use super::passes::{decode, encode, squared_errors};
use crate::exact_sum::ExactSum;
use crate::features::TILE_ROWS;
use crate::{Evaluation, InputColumn, Model as _, ModelError, Result};

/// An evaluation on rows.
pub struct PcaEvaluation {
    model: Arc<PcaModel>,
    places: Vec<usize>,
}

impl PcaEvaluation {
    /// On rows with such columns.
    ///
    /// # Errors
    /// A column that is missing.
    pub fn new(model: Arc<PcaModel>, columns: &[InputColumn]) -> Result<Self> {
        let place = |input: &InputColumn| {
            columns.iter().position(|column| column.name == input.name).ok_or_else(|| {
                let needed: Vec<&str> = model.inputs().iter().map(|input| input.name.as_str()).collect();
                ModelError::column(&input.name, "the rows do not have it").hint(format!("the model takes: {}", needed.join(", ")))
            })
        };
        let places = model.inputs().iter().map(place).collect::<Result<_>>()?;
        Ok(Self { model, places })
    }
}

/// Squared errors and squared distances from the mean.
type Sums = (ExactSum, ExactSum);

impl Evaluation for PcaEvaluation {
    fn columns(&self) -> Vec<usize> {
        self.places.clone()
    }

    fn stages(&self) -> usize {
        1
    }

    fn accumulate(&self, _: usize, _: Option<&[u8]>, partial: Option<Vec<u8>>, columns: &[ArrayRef]) -> Result<Vec<u8>> {
        let (mut errors, mut squares): Sums = partial.as_deref().map_or_else(|| Ok(Sums::default()), decode)?;
        let mut of_tile = Vec::new();
        for tile in &self.model.tiles(columns)?.tiles {
            squared_errors(tile, &self.model.scaling, &self.model.components, &mut of_tile);
            errors.add_slice(&of_tile);
            for feature in 0..self.model.names.len() {
                for row in 0..tile.rows {
                    let value = self.model.scaling.centred(feature, tile.values[feature * TILE_ROWS + row]);
                    squares.add(value * value);
                }
            }
        }
        encode(&(errors, squares))
    }

    fn merge(&self, _: usize, one: Vec<u8>, other: &[u8]) -> Result<Vec<u8>> {
        let (mut one, other): (Sums, Sums) = (decode(&one)?, decode(other)?);
        one.0.merge(&other.0);
        one.1.merge(&other.1);
        encode(&one)
    }

    fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("total_explained_variance_ratio", DataType::Float64, true)]))
    }

    fn finish(&self, _: Option<&[u8]>, partial: Option<&[u8]>) -> Result<RecordBatch> {
        let (errors, squares): Sums = partial.map_or_else(|| Ok(Sums::default()), decode)?;
        let total = squares.value();
        let ratio = (total > 0.0).then(|| 1.0 - errors.value() / total);
        RecordBatch::try_new(self.schema(), vec![Arc::new(Float64Array::from(vec![ratio]))])
            .map_err(|e| ModelError::bug(format!("the evaluation of pca: {e}")))
    }
}
