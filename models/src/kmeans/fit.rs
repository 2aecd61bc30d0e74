//! Training: which passes are made, and what is concluded from them.

use std::collections::BTreeMap;
use std::time::Instant;

use super::assign::{Assigned, Grids};
use super::finish::{Ends, Finished, Spread, Spreads, davies_bouldin};
use super::model::{Cluster, Parts};
use super::moments::Moments;
use super::preparation::Preparation;
use super::request::{Request, decode, encode};
use super::seeding::{Points, set_length_one};
use super::settings::{Init, Settings};
use super::sketch::{Limits, Sketch, merge};
use crate::exact_sum::Grid;
use crate::keyed_random::random;
use crate::medians;
use crate::observer::ClusterInfo;
use crate::{Iteration, ModelError, Observer, Passes, Result, Trained, Trial};

/// Distinct rows in the sample at most, within what [`SAMPLE_NUMBERS`] allows.
const SAMPLE_ROWS: usize = 1 << 14;
/// Numbers in the sample at most, as long as there are enough rows.
const SAMPLE_NUMBERS: usize = 1 << 22;
/// Distinct rows in the sample for each cluster at least.
const SAMPLE_PER_CLUSTER: usize = 64;

/// A training under way.
pub struct Fit<'a> {
    settings: &'a Settings,
    passes: &'a mut dyn Passes,
    observer: &'a dyn Observer,
    moments: Moments,
    medians: Vec<Option<f64>>,
    preparation: Preparation,
    bounds: Vec<(f64, f64)>,
    grids: Grids,
    iterations: Vec<Iteration>,
    training_run: u32,
}

/// What one number of clusters led to.
struct Outcome {
    centres: Vec<f64>,
    clusters: Vec<Cluster>,
    steps: Vec<(u32, u64)>,
    metrics: BTreeMap<String, f64>,
}

/// Trains.
///
/// # Errors
/// See [`Trainer::fit`](crate::Trainer::fit).
pub fn fit(settings: &Settings, passes: &mut dyn Passes, observer: &dyn Observer) -> Result<Trained> {
    observer.begin(settings.max_iterations.saturating_mul(settings.runs).saturating_mul(settings.clusters.len() as u32));
    let mut answers = run::<Moments>(passes, &Request::Moments)?.into_iter();
    let first = answers.next().ok_or_else(|| ModelError::bug("there is no block"))?;
    let moments = answers.try_fold(first, |all, one| all.merge(one, &settings.features))?;
    moments.check(&settings.features)?;
    let preparation = preparation(settings, &moments);
    let bounds = bounds(&preparation, &moments);
    let grids = Grids::new(origin(&preparation), &bounds, moments.max_weight);
    let medians = if observer.reads_statistics() { medians(&moments, passes)? } else { vec![None; moments.features.len()] };
    let mut fit = Fit { settings, passes, observer, moments, medians, preparation, bounds, grids, iterations: Vec::new(), training_run: 0 };
    fit.train()
}

fn run<T: serde::de::DeserializeOwned>(passes: &mut dyn Passes, request: &Request) -> Result<Vec<T>> {
    passes.run(0, &encode(request)?)?.iter().map(|bytes| decode(bytes)).collect()
}

/// The medians of the features, as they came.
fn medians(moments: &Moments, passes: &mut dyn Passes) -> Result<Vec<Option<f64>>> {
    let ends: Vec<(f64, f64, u64)> = moments.features.iter().map(|f| (f.min, f.max, f.moments.count)).collect();
    medians::medians(&ends, |intervals| run(passes, &Request::Medians { widths: moments.widths.clone(), intervals: intervals.to_vec() }))
}

fn preparation(settings: &Settings, moments: &Moments) -> Preparation {
    let scale = |deviation: f64| if deviation > 0.0 { 1.0 / deviation } else { 0.0 };
    Preparation {
        widths: moments.widths.clone(),
        means: moments.features.iter().map(|f| f.mean()).collect(),
        scales: settings.standardize.then(|| moments.features.iter().map(|f| scale(f.deviation())).collect()),
        normalize: settings.cosine,
    }
}

/// Between which numbers prepared features lie.
fn bounds(preparation: &Preparation, moments: &Moments) -> Vec<(f64, f64)> {
    if preparation.normalize {
        return vec![(-1.0, 1.0); preparation.features()];
    }
    let ends = |end: &dyn Fn(usize) -> f64| preparation.of_centre(&(0..preparation.features()).map(end).collect::<Vec<_>>());
    let low = ends(&|f| moments.features[f].min);
    low.into_iter().zip(ends(&|f| moments.features[f].max)).collect()
}

fn origin(preparation: &Preparation) -> Vec<f64> {
    if preparation.normalize || preparation.scales.is_some() { vec![0.0; preparation.features()] } else { preparation.means.clone() }
}

impl Fit<'_> {
    fn train(&mut self) -> Result<Trained> {
        let sample = self.sample()?;
        let mut trials = Vec::new();
        let mut best: Option<(usize, Outcome)> = None;
        for (i, k) in self.settings.clusters.iter().enumerate() {
            let outcome = match self.outcome(*k, &sample) {
                Err(error)
                    if self.settings.clusters.len() > 1 && error.cause == crate::error::Cause::Option("num_clusters".to_string()) =>
                {
                    trials.push(trial(i, *k, BTreeMap::new(), Some(error.message)));
                    continue;
                }
                outcome => outcome?,
            };
            trials.push(trial(i, *k, outcome.metrics.clone(), None));
            let silhouette = |outcome: &Outcome| outcome.metrics.get("silhouette").copied().unwrap_or(f64::NEG_INFINITY);
            if best.as_ref().is_none_or(|(_, best)| silhouette(&outcome) > silhouette(best)) {
                best = Some((i, outcome));
            }
        }
        let Some((kept, outcome)) = best else {
            let error = ModelError::option("num_clusters", "none of the candidates could be trained");
            return Err(error.hint(trials.into_iter().next().and_then(|t| t.error_message).unwrap_or_default()));
        };
        if let Some(trial) = trials.get_mut(kept) {
            trial.is_optimal = true;
        }
        let parts = Parts {
            inputs: self.settings.inputs.clone(),
            feature_names: self.settings.features.names(&self.moments.widths),
            preparation: self.preparation.clone(),
            centres: outcome.centres,
            clusters: outcome.clusters,
            statistics: self.moments.features.iter().zip(&self.medians).map(|(moments, median)| moments.statistics(*median)).collect(),
            steps: outcome.steps,
        };
        Ok(Trained {
            file: parts.to_file()?,
            rows: self.moments.rows,
            iterations: std::mem::take(&mut self.iterations),
            metrics: outcome.metrics,
            trials: if self.settings.clusters.len() > 1 { trials } else { Vec::new() },
        })
    }

    fn sample(&mut self) -> Result<Points> {
        let features = self.preparation.features();
        let most = self.settings.clusters.last().copied().unwrap_or(1);
        let rows = SAMPLE_ROWS.min(SAMPLE_NUMBERS / features.max(1)).max(most.saturating_mul(SAMPLE_PER_CLUSTER));
        let limits = Limits { rows, seed: self.settings.seed, weight: self.grids.weight };
        let request = Request::Sketch { preparation: self.preparation.clone(), limits };
        let sketches: Vec<Sketch> = run(self.passes, &request)?;
        Ok(Points::of_sample(&merge(sketches, &limits, features), limits.weight, features))
    }

    /// Trains one number of clusters.
    fn outcome(&mut self, k: usize, sample: &Points) -> Result<Outcome> {
        if k > sample.count() {
            let message = format!("{k} clusters, but the training rows have only {} distinct points", sample.count());
            return Err(ModelError::option("num_clusters", message).hint(format!("ask for at most {}", sample.count())));
        }
        let mut best: Option<(f64, Vec<f64>)> = None;
        for number in 0..self.settings.runs {
            let start = self.first_centres(k, number, sample)?;
            let (cost, centres) = self.lloyd(start)?;
            if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                best = Some((cost, centres));
            }
        }
        let (_, centres) = best.ok_or_else(|| ModelError::bug("no run was made"))?;
        self.finish(centres)
    }

    fn first_centres(&mut self, k: usize, number: u32, sample: &Points) -> Result<Vec<f64>> {
        let seed = random(self.settings.seed, u64::from(number), 0);
        let mut centres = match &self.settings.init {
            Init::Parallel { steps } => sample.best_parallel(k, *steps, (seed, self.settings.runs), self.settings.cosine, self.observer)?,
            Init::PlusPlus => sample.once_plus_plus(k, seed, self.observer)?,
            Init::Random => sample.random(k, seed),
            Init::Custom => self.chosen(k)?,
            Init::Given(centres) => {
                if centres.len() != k * self.preparation.features() {
                    return Err(ModelError::option("warm_start", "the earlier version has another number of features")
                        .hint("leave warm_start out, or train on lists of the same length"));
                }
                centres.chunks(self.preparation.features().max(1)).flat_map(|c| self.preparation.of_centre(c)).collect()
            }
        };
        if self.settings.cosine {
            centres.chunks_mut(self.preparation.features().max(1)).for_each(|c| {
                set_length_one(c);
            });
        }
        Ok(centres)
    }

    fn chosen(&mut self, k: usize) -> Result<Vec<f64>> {
        let rows: Vec<Vec<Vec<f64>>> = run(self.passes, &Request::Chosen { preparation: self.preparation.clone() })?;
        let mut rows: Vec<Vec<f64>> = rows.into_iter().flatten().collect();
        if rows.len() != k {
            return Err(ModelError::option("kmeans_init_col", format!("it is TRUE in {} rows, but num_clusters is {k}", rows.len()))
                .hint("mark exactly one row for each cluster"));
        }
        rows.sort_by(|one, other| {
            one.iter().zip(other).map(|(a, b)| a.total_cmp(b)).find(|o| o.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
        });
        Ok(rows.concat())
    }

    /// Lloyd's iterations (S. Lloyd, 1982) over all rows; the loss and the last centres.
    fn lloyd(&mut self, mut centres: Vec<f64>) -> Result<(f64, Vec<f64>)> {
        let features = self.preparation.features();
        let mut last = f64::INFINITY;
        for iteration in 0..self.settings.max_iterations {
            let begin = Instant::now();
            self.observer.check()?;
            let request = Request::Assign { preparation: self.preparation.clone(), grids: self.grids.clone(), centres: centres.clone() };
            let assigned = merge_assigned(run(self.passes, &request)?)?;
            let step = self.step(&assigned, &centres);
            let moved = centres.chunks(features).zip(step.centres.chunks(features)).map(|(one, other)| square_distance(one, other));
            let converged = moved.fold(0.0, f64::max) <= self.settings.tol * self.settings.tol;
            centres = step.centres;
            let done = Iteration {
                training_run: self.training_run,
                iteration,
                loss: Some(step.loss),
                duration_ms: begin.elapsed().as_secs_f64() * 1e3,
                clusters: step.clusters,
            };
            self.observer.iteration(&done);
            self.iterations.push(done);
            let stalled = self.settings.min_progress.is_some_and(|least| last.is_finite() && last - step.loss < least * last);
            last = step.loss;
            if converged || stalled {
                break;
            }
        }
        self.training_run += 1;
        Ok((last, centres))
    }

    /// The centres that follow from sums, and what the rows cost with them.
    fn step(&self, assigned: &Assigned, before: &[f64]) -> Step {
        let features = self.preparation.features();
        let mut step = Step { centres: before.to_vec(), loss: 0.0, clusters: Vec::with_capacity(assigned.sums.len()) };
        for (i, (sums, centre)) in assigned.sums.iter().zip(step.centres.chunks_mut(features)).enumerate() {
            let weight = sums.weight.value(self.grids.weight);
            let mut radius = 0.0;
            if weight > 0.0 {
                let (mean, variance) = self.mean_and_variance(sums, weight);
                let mut next = mean.clone();
                if !self.settings.cosine || set_length_one(&mut next) {
                    centre.copy_from_slice(&next);
                }
                let square = variance + square_distance(&mean, centre);
                step.loss += weight * if self.settings.cosine { 0.5 * square } else { square };
                radius = square.sqrt();
            }
            step.clusters.push(ClusterInfo { centroid_id: i as i64 + 1, cluster_radius: radius, cluster_size: weight });
        }
        step
    }

    /// The mean of a cluster's rows, and their mean squared distance to it.
    fn mean_and_variance(&self, sums: &super::assign::ClusterSums, weight: f64) -> (Vec<f64>, f64) {
        let mean: Vec<f64> = sums.sums.iter().zip(&self.grids.sums).map(|(sum, grid)| sum.value(*grid) / weight).collect();
        let variance = sums.square.value(self.grids.square) / weight - square_distance(&mean, &self.grids.origin);
        (mean, variance.max(0.0))
    }

    /// Measures of the last centres.
    fn finish(&mut self, centres: Vec<f64>) -> Result<Outcome> {
        let features = self.preparation.features();
        let ends = Ends::new(self.farthest(&centres), self.moments.max_weight, self.settings.cosine);
        let (preparation, grids) = (self.preparation.clone(), self.grids.clone());
        let request = Request::Finish { preparation, grids, centres: centres.clone(), ends };
        let mut answers: Vec<Finished> = run(self.passes, &request)?;
        let mut finished = answers.pop().ok_or_else(|| ModelError::bug("there is no block"))?;
        answers.iter().try_for_each(|other| finished.merge(other))?;
        let mut spreads = Spreads {
            means: Vec::new(),
            variances: Vec::new(),
            weights: Vec::new(),
            places: Vec::new(),
            radii: Vec::new(),
            silhouette: Grid::new(self.moments.max_weight),
            cosine: self.settings.cosine,
            centres: centres.clone(),
        };
        let (mut clusters, mut used, mut mean_distances) = (Vec::new(), Vec::new(), Vec::new());
        let (mut all, mut distance_sum, mut square_sum) = (0.0, 0.0, 0.0);
        for (i, (sums, distances)) in finished.assigned.sums.iter().zip(&finished.distances).enumerate() {
            let weight = sums.weight.value(self.grids.weight);
            let (distance, square) = (distances.distance.value(ends.distance), distances.square.value(ends.square));
            let mut cluster = Cluster { size: weight, radius: 0.0, max_distance: distances.most };
            spreads.places.push(if weight > 0.0 { spreads.weights.len() as u16 } else { u16::MAX });
            if weight > 0.0 {
                cluster.radius = (square / weight).sqrt();
                let (mean, variance) = self.mean_and_variance(sums, weight);
                spreads.means.extend(mean);
                spreads.variances.push(variance);
                spreads.weights.push(weight);
                used.push(&centres[i * features..(i + 1) * features]);
                mean_distances.push(distance / weight);
            }
            spreads.radii.push(cluster.radius);
            clusters.push(cluster);
            all += weight;
            distance_sum += distance;
            square_sum += square;
        }
        let mut metrics = BTreeMap::from([
            ("training_cost".to_string(), if self.settings.cosine { distance_sum } else { square_sum }),
            ("mean_squared_distance".to_string(), square_sum / all),
        ]);
        if let Some(index) = davies_bouldin(&used, &mean_distances, self.settings.cosine) {
            metrics.insert("davies_bouldin_index".to_string(), index);
        }
        let several = used.len() > 1;
        let grid = spreads.silhouette;
        let spread = self.spread(spreads)?;
        if several {
            metrics.insert("silhouette".to_string(), spread.silhouette.value(grid) / all);
        }
        Ok(Outcome { centres, clusters, steps: spread.steps, metrics })
    }

    fn spread(&mut self, clusters: Spreads) -> Result<Spread> {
        let answers: Vec<Spread> = run(self.passes, &Request::Spread { preparation: self.preparation.clone(), clusters })?;
        let mut all = Spread::default();
        answers.iter().for_each(|one| all.merge(one));
        Ok(all)
    }

    /// A bound on the squared distance of a row to a centre.
    fn farthest(&self, centres: &[f64]) -> f64 {
        let to_bounds = |centre: &[f64]| -> f64 {
            centre.iter().zip(&self.bounds).map(|(c, (low, high))| (c - low).abs().max((high - c).abs()).powi(2)).sum()
        };
        centres.chunks(self.preparation.features().max(1)).map(to_bounds).fold(0.0, f64::max)
    }
}

struct Step {
    centres: Vec<f64>,
    loss: f64,
    clusters: Vec<ClusterInfo>,
}

fn merge_assigned(mut answers: Vec<Assigned>) -> Result<Assigned> {
    let mut all = answers.pop().ok_or_else(|| ModelError::bug("there is no block"))?;
    answers.iter().try_for_each(|other| all.merge(other))?;
    Ok(all)
}

fn square_distance(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).fold(0.0, |sum, (a, b)| sum + (a - b) * (a - b))
}

/// One number of clusters that was tried.
pub fn trial(place: usize, k: usize, metrics: BTreeMap<String, f64>, error_message: Option<String>) -> Trial {
    Trial {
        trial_id: place as i64 + 1,
        hyperparameters: BTreeMap::from([("num_clusters".to_string(), k as f64)]),
        training_loss: metrics.get("training_cost").copied(),
        metrics,
        error_message,
        is_optimal: false,
    }
}
