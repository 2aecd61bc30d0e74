//! `model_type = 'kmeans'`: clusters around means.
//!
//! ```text
//!   pass 1  moments     exact mean, deviation, least, greatest of each feature   ─► how rows are prepared
//!   pass …  medians     how many numbers lie where medians may be               ─► medians, for the record
//!   pass …  sketch      the distinct rows, or a uniform sample of them           ─► first centres
//!   pass …  assign      each row to its nearest centre, exact sums               ─► next centres, until none moves (Lloyd)
//!   pass n-1 finish     distances to the last centres                            ─► cost, radii, Davies-Bouldin index
//!   pass n  spread      silhouettes; how distances are spread                    ─► silhouette, thresholds of anomalies
//! ```
//!
//! Lloyd's iterations are exact: the nearest centre is the least squared distance, ties to the lowest index; a cluster without rows keeps its centre. The
//! conventions are Spark's (no scaling unless asked for, convergence when no centre moves farther than `tol`, 20 iterations); names are BigQuery ML's.

mod assign;
mod bounds;
mod evaluation;
mod finish;
mod fit;
mod model;
mod moments;
mod nearest;
mod outline;
mod preparation;
mod request;
mod rows;
mod seeding;
mod settings;
mod sketch;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use model::KMeansModel;
use rows::{RowCollector, Rows};
use settings::{OPTIONS, Settings};

use crate::{
    Block, Collector, InputColumn, Model, ModelError, ModelFile, ModelType, Observer, OptionSpec, Options, Passes, Result, Trained, Trainer,
};

/// Passes beside the iterations.
const OTHER_PASSES: u32 = 10;

/// See the module documentation.
#[derive(Debug, Clone, Copy)]
pub struct KMeans;

impl ModelType for KMeans {
    fn name(&self) -> &'static str {
        "kmeans"
    }

    fn about(&self) -> &'static str {
        "Clusters of rows around their means (Lloyd's algorithm, exact), with Euclidean or cosine distance."
    }

    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn trainer(&self, options: &Options, columns: &[InputColumn], warm_start: Option<&dyn Model>) -> Result<Box<dyn Trainer>> {
        let settings = Settings::new(options, columns, warm_start)?;
        Ok(Box::new(KMeansTrainer { settings, names: columns.iter().map(|c| c.name.clone()).collect() }))
    }

    fn read(&self, file: &ModelFile) -> Result<Arc<dyn Model>> {
        Ok(Arc::new(KMeansModel::read(file)?))
    }
}

struct KMeansTrainer {
    settings: Settings,
    names: Vec<String>,
}

impl Trainer for KMeansTrainer {
    fn bytes_per_row(&self) -> usize {
        self.settings.bytes_per_row()
    }

    fn passes(&self) -> u32 {
        let iterations = self.settings.max_iterations.saturating_mul(self.settings.runs);
        iterations.saturating_mul(self.settings.clusters.len() as u32).saturating_add(OTHER_PASSES)
    }

    fn collector(&self) -> Box<dyn Collector> {
        Box::new(RowCollector::new(&self.settings, &self.names))
    }

    fn blocks(&self, layouts: &[usize], collected: Vec<Box<dyn Collector>>, threads: usize) -> Result<Vec<Vec<Box<dyn Block>>>> {
        let collectors = collected.into_iter().map(|c| c.into_any().downcast::<RowCollector>());
        let collectors: Vec<Box<RowCollector>> =
            collectors.collect::<Result<_, _>>().map_err(|_| ModelError::bug("rows of another trainer"))?;
        let widths =
            collectors.iter().try_fold(self.settings.features.widths(), |w, c| self.settings.features.merge_widths(&w, c.widths()))?;
        let mut parts = collectors.into_iter().flat_map(|c| c.into_parts(&widths)).collect::<Vec<_>>();
        let blocks = threads.clamp(1, parts.len().max(1));
        let mut made: Vec<Box<dyn Block>> = Vec::with_capacity(blocks);
        for i in 0..blocks {
            let rest = parts.split_off(parts.len() / (blocks - i));
            made.push(Box::new(Rows::new(parts, widths.clone(), self.settings.weight.is_some())));
            parts = rest;
        }
        match layouts {
            [_] => Ok(vec![made]),
            _ => Err(ModelError::bug(format!("kmeans has one layout, not {}", layouts.len()))),
        }
    }

    fn fit(&self, passes: &mut dyn Passes, observer: &dyn Observer) -> Result<Trained> {
        fit::fit(&self.settings, passes, observer)
    }

    fn outline(&self) -> Result<Trained> {
        outline::outline(&self.settings)
    }
}
