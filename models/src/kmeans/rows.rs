//! Rows in memory: gathering them, and the passes over them.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};

use super::assign::{Assigned, ClusterSums, Grids};
use super::bounds::{self, Bounds};
use super::finish::{finish, spread};
use super::moments::Moments;
use super::preparation::Preparation;
use super::request::{Request, encode};
use super::settings::Settings;
use super::sketch::sketch;
use crate::features::{FeatureColumns, TILE_ROWS, Tile, Tiles};
use crate::medians::{Counted, Counter, Interval};
use crate::{Block, Collector, ModelError, Observer, Result};

/// What a row's label is before it has one.
pub const UNASSIGNED: u16 = u16::MAX;

/// A tile with what belongs to its rows.
#[derive(Debug)]
pub struct Part {
    /// Features.
    pub tile: Tile,
    /// Weights, if rows have them.
    pub weights: Option<Vec<f64>>,
    /// Rows that are marked as first centres.
    pub chosen: Vec<u16>,
    /// The cluster of each row in the last pass.
    pub labels: Vec<u16>,
    /// How far the rows are from centres, if that is kept.
    pub bounds: Bounds,
}

impl Part {
    /// The weight of a row.
    #[inline(always)]
    pub fn weight(&self, row: usize) -> f64 {
        self.weights.as_ref().map_or(1.0, |w| w[row])
    }
}

/// Gathers rows.
pub struct RowCollector {
    features: FeatureColumns,
    weight: Option<(usize, String)>,
    chosen: Option<usize>,
    tiles: Tiles,
    weights: Vec<f64>,
    marked: Vec<u64>,
}

impl RowCollector {
    /// Nothing gathered yet.
    pub fn new(settings: &Settings, names: &[String]) -> Self {
        Self {
            features: settings.features.clone(),
            weight: settings.weight.map(|i| (i, names.get(i).cloned().unwrap_or_default())),
            chosen: settings.chosen,
            tiles: Tiles::new(settings.features.widths()),
            weights: Vec::new(),
            marked: Vec::new(),
        }
    }

    /// The rows in parts, and how many features each column has.
    pub fn into_parts(self, widths: &[usize]) -> Vec<Part> {
        let mut tiles = self.tiles;
        tiles.widen(widths);
        let (mut parts, mut marked) = (Vec::with_capacity(tiles.tiles.len()), self.marked.into_iter().peekable());
        for (i, tile) in tiles.tiles.into_iter().enumerate() {
            let first = i * TILE_ROWS;
            let weights = self.weight.as_ref().map(|_| self.weights[first..first + tile.rows].to_vec());
            let chosen = std::iter::from_fn(|| marked.next_if(|row| (*row as usize) < first + TILE_ROWS));
            let chosen = chosen.map(|row| (row as usize - first) as u16).collect();
            parts.push(Part { labels: vec![UNASSIGNED; tile.rows], tile, weights, chosen, bounds: Bounds::default() });
        }
        parts
    }

    /// How many features each column has.
    pub fn widths(&self) -> &[usize] {
        &self.tiles.widths
    }

    fn push_weights(&mut self, index: usize, name: &str, array: &ArrayRef) -> Result<()> {
        let refuse = |what: String| {
            ModelError::data(format!("column '{name}', which holds weights, has {what}"))
                .hint("a weight has to be a finite number from 0 on")
        };
        let array = cast(array, &DataType::Float64).map_err(|e| ModelError::bug(format!("column {index}: {e}")))?;
        let weights = array.as_primitive::<Float64Type>();
        if weights.null_count() > 0 {
            return Err(refuse("NULL".to_string()));
        }
        if let Some(wrong) = weights.values().iter().find(|w| !(w.is_finite() && **w >= 0.0 && **w <= 1e100)) {
            return Err(refuse(wrong.to_string()));
        }
        self.weights.extend_from_slice(weights.values());
        Ok(())
    }
}

impl Collector for RowCollector {
    fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        let before = self.tiles.rows_pushed();
        self.tiles.push(&self.features, &self.features.read(batch.columns())?)?;
        if let Some((index, name)) = self.weight.clone() {
            self.push_weights(index, &name, batch.column(index))?;
        }
        if let Some(index) = self.chosen {
            let marks = batch.column(index).as_boolean_opt().ok_or_else(|| ModelError::bug("the marks of first centres are no BOOL"))?;
            let rows = marks.iter().enumerate().filter(|(_, mark)| *mark == Some(true));
            self.marked.extend(rows.map(|(row, _)| before + row as u64));
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        let bounds = if bounds::can_pay(self.tiles.widths.iter().sum()) { bounds::BYTES_PER_ROW } else { 0 };
        // Labels and bounds come when training begins, and have to fit then.
        let later = self.tiles.rows_pushed() as usize * (size_of::<u16>() + bounds);
        later + self.tiles.bytes() + self.weights.capacity() * size_of::<f64>() + self.marked.capacity() * size_of::<u64>()
    }

    fn into_any(self: Box<Self>) -> Box<dyn std::any::Any + Send> {
        self
    }
}

/// Rows on which passes run.
pub struct Rows {
    /// The rows.
    pub parts: Vec<Part>,
    /// How many features each column has.
    pub widths: Vec<usize>,
    /// Whether rows have weights.
    pub weighted: bool,
    preparation: Option<Preparation>,
    last: Option<LastPass>,
}

/// What the pass before left, beside the labels of the rows.
struct LastPass {
    grids: Grids,
    centres: Vec<f64>,
    sums: Vec<ClusterSums>,
}

impl Rows {
    /// A block of rows.
    pub fn new(parts: Vec<Part>, widths: Vec<usize>, weighted: bool) -> Self {
        Self { parts, widths, weighted, preparation: None, last: None }
    }

    /// Gives rows as many features as those of all blocks have.
    fn widen(&mut self, widths: &[usize]) {
        if self.widths == widths {
            return;
        }
        let tiles = std::mem::take(&mut self.parts);
        let (mut tiles, rest): (Vec<_>, Vec<_>) = tiles.into_iter().map(|p| (p.tile, (p.weights, p.chosen, p.labels))).unzip();
        let mut all = Tiles { widths: self.widths.clone(), tiles: std::mem::take(&mut tiles) };
        all.widen(widths);
        let parts = all.tiles.into_iter().zip(rest);
        let part = |(tile, (weights, chosen, labels))| Part { tile, weights, chosen, labels, bounds: Bounds::default() };
        self.parts = parts.map(part).collect();
        self.widths = widths.to_vec();
    }

    /// Counts numbers where medians may be.
    fn count(&mut self, widths: &[usize], intervals: &[Interval]) -> Vec<Counted> {
        self.widen(widths);
        let of = |interval: &Interval| {
            let mut counter = Counter::new(*interval);
            self.parts.iter().for_each(|part| counter.add(part.tile.feature(interval.feature)));
            counter.finish()
        };
        intervals.iter().map(of).collect()
    }

    /// Prepares the rows, unless they are.
    fn prepare(&mut self, preparation: &Preparation) -> Result<()> {
        match &self.preparation {
            Some(done) if done == preparation => return Ok(()),
            Some(_) => return Err(ModelError::bug("rows were prepared in another way")),
            None => {}
        }
        self.widen(&preparation.widths);
        self.parts.iter_mut().try_for_each(|part| preparation.apply(&mut part.tile))?;
        self.preparation = Some(preparation.clone());
        Ok(())
    }

    fn assign(&mut self, grids: &Grids, centres: &[f64], observer: &dyn Observer) -> Result<Assigned> {
        let clusters = centres.len() / grids.features();
        let (before, mut sums) = match self.last.take() {
            Some(last) if last.sums.len() == clusters && last.grids == *grids => (Some(last.centres), last.sums),
            _ => {
                self.parts.iter_mut().for_each(|part| part.labels.fill(UNASSIGNED));
                (None, vec![ClusterSums::new(grids.features()); clusters])
            }
        };
        super::assign::assign(&mut self.parts, grids, centres, before.as_deref(), &mut sums, observer)?;
        let assigned = Assigned { sums: sums.clone() };
        self.last = Some(LastPass { grids: grids.clone(), centres: centres.to_vec(), sums });
        Ok(assigned)
    }

    fn chosen(&self) -> Vec<Vec<f64>> {
        let features = self.widths.iter().sum();
        let rows = self.parts.iter().flat_map(|part| part.chosen.iter().map(move |row| (part, usize::from(*row))));
        rows.map(|(part, row)| (0..features).map(|f| part.tile.values[f * TILE_ROWS + row] + 0.0).collect()).collect()
    }
}

impl Block for Rows {
    fn pass(&mut self, request: &[u8], observer: &dyn Observer) -> Result<Vec<u8>> {
        let request: Request = super::request::decode(request)?;
        if let Some(preparation) = request.preparation() {
            self.prepare(preparation)?;
        }
        match &request {
            Request::Moments | Request::Medians { .. } if self.preparation.is_some() => {
                Err(ModelError::bug("rows were prepared before they were looked at"))
            }
            Request::Moments => encode(&Moments::of(self)),
            Request::Medians { widths, intervals } => encode(&self.count(widths, intervals)),
            Request::Sketch { limits, .. } => encode(&sketch(&self.parts, limits, observer)?),
            Request::Chosen { .. } => encode(&self.chosen()),
            Request::Assign { grids, centres, .. } => encode(&self.assign(grids, centres, observer)?),
            Request::Finish { grids, centres, ends, .. } => {
                let assigned = self.assign(grids, centres, observer)?;
                encode(&finish(&self.parts, assigned, centres, ends, observer)?)
            }
            Request::Spread { clusters, .. } => encode(&spread(&self.parts, clusters, observer)?),
        }
    }

    fn bytes(&self) -> usize {
        // Bounds are counted before there are any: the budget is asked once.
        let bounds = if bounds::can_pay(self.widths.iter().sum()) { TILE_ROWS * bounds::BYTES_PER_ROW } else { 0 };
        let part = |part: &Part| {
            bounds
                + part.tile.values.capacity() * size_of::<f64>()
                + part.labels.capacity() * size_of::<u16>()
                + part.weights.as_ref().map_or(0, |w| w.capacity() * size_of::<f64>())
                + size_of::<Part>()
        };
        self.parts.iter().map(part).sum()
    }
}
