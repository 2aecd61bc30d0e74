//! What passes are asked for, as bytes.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::assign::Grids;
use super::finish::{Ends, Spreads};
use super::preparation::Preparation;
use super::sketch::Limits;
use crate::medians::Interval;
use crate::{ModelError, Result};

/// A pass. Each but the first carries how rows are prepared: a block that was made anew prepares them again.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// What features look like; answered with [`Moments`](super::moments::Moments).
    Moments,
    /// How many numbers lie where medians may be; answered with a [`Counted`](crate::medians::Counted) for each interval. Rows are as they came.
    Medians {
        /// How many features each column has, for all rows.
        widths: Vec<usize>,
        /// Where to look.
        intervals: Vec<Interval>,
    },
    /// A sample of the distinct rows; answered with [`Sketch`](super::sketch::Sketch).
    Sketch {
        /// How rows are prepared.
        preparation: Preparation,
        /// How large it may be.
        limits: Limits,
    },
    /// The rows that are marked as first centres; answered with rows.
    Chosen {
        /// How rows are prepared.
        preparation: Preparation,
    },
    /// Sums over the rows of each cluster; answered with [`Assigned`](super::assign::Assigned).
    Assign {
        /// How rows are prepared.
        preparation: Preparation,
        /// How sums are kept.
        grids: Grids,
        /// Centres, one after the other.
        centres: Vec<f64>,
    },
    /// Sums and distances for the last centres; answered with [`Finished`](super::finish::Finished).
    Finish {
        /// How rows are prepared.
        preparation: Preparation,
        /// How sums are kept.
        grids: Grids,
        /// Centres, one after the other.
        centres: Vec<f64>,
        /// How distances are summed.
        ends: Ends,
    },
    /// Silhouettes, and how distances are spread, for the clusters of the pass before; answered with [`Spread`](super::finish::Spread).
    Spread {
        /// How rows are prepared.
        preparation: Preparation,
        /// The clusters.
        clusters: Spreads,
    },
}

impl Request {
    /// How rows are prepared.
    pub fn preparation(&self) -> Option<&Preparation> {
        match self {
            Self::Moments | Self::Medians { .. } => None,
            Self::Sketch { preparation, .. }
            | Self::Chosen { preparation }
            | Self::Assign { preparation, .. }
            | Self::Finish { preparation, .. }
            | Self::Spread { preparation, .. } => Some(preparation),
        }
    }
}

/// As bytes.
///
/// # Errors
/// None that is known.
pub fn encode(value: &impl Serialize) -> Result<Vec<u8>> {
    postcard::to_allocvec(value).map_err(|e| ModelError::bug(format!("a message of the training: {e}")))
}

/// From bytes.
///
/// # Errors
/// Bytes that [`encode`] has not made.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    postcard::from_bytes(bytes).map_err(|e| ModelError::bug(format!("a message of the training: {e}")))
}
