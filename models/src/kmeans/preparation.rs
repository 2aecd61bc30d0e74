//! What is done to rows before distances are computed: NULL becomes the mean, features are standardised, rows are normalised.

use serde::{Deserialize, Serialize};

use crate::features::{TILE_ROWS, Tile};
use crate::simd::{Kernel, widest};
use crate::{ModelError, Result};

/// What is done to rows; the same in training and scoring.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Preparation {
    /// How many features each column has.
    pub widths: Vec<usize>,
    /// What NULL becomes: the mean of the feature.
    pub means: Vec<f64>,
    /// `x` becomes `(x - mean) * scale`; `None`: it stays. 0 for a constant feature.
    pub scales: Option<Vec<f64>>,
    /// Rows are divided by their length.
    pub normalize: bool,
}

impl Preparation {
    /// Features of a row.
    pub fn features(&self) -> usize {
        self.means.len()
    }

    /// Prepares the rows of a tile.
    ///
    /// # Errors
    /// A row of zeros when rows are to be normalised.
    pub fn apply(&self, tile: &mut Tile) -> Result<()> {
        let Tile { rows, values } = tile;
        self.apply_to(values, *rows)
    }

    /// Prepares the first rows of a tile's values.
    ///
    /// # Errors
    /// A row of zeros when rows are to be normalised.
    pub fn apply_to(&self, values: &mut [f64], rows: usize) -> Result<()> {
        widest(Prepare { preparation: self, values, rows });
        if !self.normalize {
            return Ok(());
        }
        let mut lengths = [0.0; TILE_ROWS];
        for feature in values.chunks(TILE_ROWS) {
            feature.iter().zip(&mut lengths).take(rows).for_each(|(x, length)| *length += x * x);
        }
        if lengths.iter().take(rows).any(|square| *square == 0.0) {
            return Err(ModelError::data("a row has only zeros, which has no direction: the cosine distance is not defined for it")
                .hint("filter such rows, or train with distance_type = 'euclidean'"));
        }
        lengths.iter_mut().for_each(|length| *length = length.sqrt());
        for feature in values.chunks_mut(TILE_ROWS) {
            feature.iter_mut().zip(&lengths).take(rows).for_each(|(x, length)| *x /= length);
        }
        Ok(())
    }

    /// A centre in the space that is trained in, from one in the units of the data.
    pub fn of_centre(&self, centre: &[f64]) -> Vec<f64> {
        let Some(scales) = &self.scales else { return centre.to_vec() };
        centre.iter().zip(&self.means).zip(scales).map(|((x, mean), scale)| (x - mean) * scale).collect()
    }

    /// A centre in the units of the data; what normalising took away stays away.
    pub fn in_data_units(&self, centre: &[f64]) -> Vec<f64> {
        let Some(scales) = &self.scales else { return centre.to_vec() };
        let back = centre.iter().zip(&self.means).zip(scales);
        back.map(|((x, mean), scale)| if *scale == 0.0 { *mean } else { x / scale + mean }).collect()
    }
}

struct Prepare<'a> {
    preparation: &'a Preparation,
    values: &'a mut [f64],
    rows: usize,
}

impl Kernel for Prepare<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (f, values) in self.values.chunks_mut(TILE_ROWS).enumerate() {
            let values = &mut values[..self.rows];
            let mean = self.preparation.means[f];
            match &self.preparation.scales {
                Some(scales) => {
                    let scale = scales[f];
                    values.iter_mut().for_each(|x| *x = (if x.is_nan() { mean } else { *x } - mean) * scale);
                }
                None => values.iter_mut().for_each(|x| *x = if x.is_nan() { mean } else { *x }),
            }
        }
    }
}
