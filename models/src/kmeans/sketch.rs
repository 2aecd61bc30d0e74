//! A sample of the distinct rows with the weight of each, on which first centres are found.
//!
//! Every distinct row has a priority, a random number keyed by the seed and its content; the sample is the rows of least priority. As long as there are not
//! more distinct rows than its limit, it is the whole set; beyond, it is a uniform sample of the distinct rows with their exact weights ("bottom-k"), the same
//! however rows are divided. It is what `k-means||` needs several passes for.

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use super::rows::Part;
use crate::exact_sum::{Grid, GridSum};
use crate::features::TILE_ROWS;
use crate::keyed_random::{EMPTY_KEY, extend_key, random};
use crate::simd::{Kernel, widest};
use crate::{Observer, Result};

/// How large a sample may be, and what it depends on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Distinct rows at most.
    pub rows: usize,
    /// Seed of the priorities.
    pub seed: u64,
    /// For weights.
    pub weight: Grid,
}

/// The sample of one block, or of several.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sketch {
    /// Priority of each row, ascending.
    pub priorities: Vec<u64>,
    /// Features, row by row.
    pub values: Vec<f64>,
    /// Weight of each row.
    pub weights: Vec<GridSum>,
    /// Whether rows were left out.
    pub sampled: bool,
}

/// The sample of rows.
///
/// # Errors
/// Training was cancelled.
pub fn sketch(parts: &[Part], limits: &Limits, observer: &dyn Observer) -> Result<Sketch> {
    let features = parts.first().map_or(0, |part| part.tile.values.len() / TILE_ROWS);
    let mut gatherer = Gatherer::new(*limits, features);
    let mut priorities = vec![0; TILE_ROWS];
    for part in parts {
        observer.check()?;
        widest(Priorities { values: &part.tile.values, seed: limits.seed, priorities: &mut priorities });
        for (row, priority) in priorities[..part.tile.rows].iter().enumerate() {
            if *priority <= gatherer.highest && part.weight(row) > 0.0 {
                gatherer.add(*priority, part, row);
            }
        }
    }
    Ok(gatherer.finish())
}

struct Priorities<'a> {
    values: &'a [f64],
    seed: u64,
    priorities: &'a mut [u64],
}

impl Kernel for Priorities<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        self.priorities.fill(EMPTY_KEY);
        for feature in self.values.chunks(TILE_ROWS) {
            self.priorities.iter_mut().zip(feature).for_each(|(key, value)| *key = extend_key(*key, *value));
        }
        self.priorities.iter_mut().for_each(|key| *key = random(self.seed, *key, 0));
    }
}

struct Gatherer {
    limits: Limits,
    features: usize,
    /// Rows of higher priority are not in the sample.
    highest: u64,
    places: HashMap<u64, usize, foldhash::fast::FixedState>,
    priorities: Vec<u64>,
    values: Vec<f64>,
    weights: Vec<GridSum>,
    sampled: bool,
}

impl Gatherer {
    fn new(limits: Limits, features: usize) -> Self {
        Self {
            limits,
            features,
            highest: u64::MAX,
            places: HashMap::default(),
            priorities: Vec::new(),
            values: Vec::new(),
            weights: Vec::new(),
            sampled: false,
        }
    }

    fn add(&mut self, priority: u64, part: &Part, row: usize) {
        let values = (0..self.features).map(|f| part.tile.values[f * TILE_ROWS + row] + 0.0);
        let mut weight = GridSum::default();
        weight.add(self.limits.weight, part.weight(row));
        self.add_row(priority, values, &weight);
    }

    fn add_row(&mut self, priority: u64, values: impl Iterator<Item = f64> + Clone, weight: &GridSum) {
        let next = self.priorities.len();
        let place = *self.places.entry(priority).or_insert(next);
        if place < next {
            self.weights[place].merge(weight);
            // Two rows of one key are equal but for one case in 2^64; then the lesser one stands for both, whatever came first.
            let kept = &mut self.values[place * self.features..(place + 1) * self.features];
            if kept.iter().copied().gt(values.clone()) {
                kept.iter_mut().zip(values).for_each(|(kept, value)| *kept = value);
            }
            return;
        }
        self.priorities.push(priority);
        self.values.extend(values);
        self.weights.push(*weight);
        if self.priorities.len() > 2 * self.limits.rows {
            self.shrink();
        }
    }

    /// Keeps the rows of least priority, in the order of their priorities.
    fn shrink(&mut self) {
        let mut order: Vec<usize> = (0..self.priorities.len()).collect();
        order.sort_unstable_by_key(|place| self.priorities[*place]);
        if order.len() > self.limits.rows {
            order.truncate(self.limits.rows);
            self.sampled = true;
            self.highest = order.last().map_or(u64::MAX, |place| self.priorities[*place]);
        }
        self.values = order.iter().flat_map(|place| &self.values[place * self.features..(place + 1) * self.features]).copied().collect();
        self.weights = order.iter().map(|place| self.weights[*place]).collect();
        self.priorities = order.iter().map(|place| self.priorities[*place]).collect();
        self.places = self.priorities.iter().enumerate().map(|(place, priority)| (*priority, place)).collect();
    }

    fn finish(mut self) -> Sketch {
        self.shrink();
        Sketch { priorities: self.priorities, values: self.values, weights: self.weights, sampled: self.sampled }
    }
}

/// One sample from those of several blocks.
pub fn merge(sketches: Vec<Sketch>, limits: &Limits, features: usize) -> Sketch {
    let mut sketches = sketches;
    if sketches.len() == 1 {
        return sketches.remove(0);
    }
    let mut gatherer = Gatherer::new(*limits, features);
    for sketch in sketches {
        gatherer.sampled |= sketch.sampled;
        for (place, priority) in sketch.priorities.iter().enumerate() {
            if *priority <= gatherer.highest {
                let values = sketch.values[place * features..(place + 1) * features].iter().copied();
                gatherer.add_row(*priority, values, &sketch.weights[place]);
            }
        }
    }
    gatherer.finish()
}
