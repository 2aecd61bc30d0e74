//! Training: which options are tried, and what is kept of the runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::blocks;
use super::config::{Config, OPTIONS};
use super::errors::Errors;
use super::factors::Factors;
use super::held_out::{K, Measured};
use super::ids::Dictionary;
use super::model::{Content, write};
use super::ratings::Ratings;
use super::runs::{Fitted, Training};
use super::tuning::{self, Candidate};
use super::user_ranking::UserRanking;
use crate::feature_statistics::FeatureStatistics;
use crate::{Block, Collector, InputColumn, Iteration, Layout, ModelError, Observer, Options, Passes, Result, Trained, Trainer, Trial};

/// A measure that both kinds of feedback have.
const MEAN_SQUARED_ERROR: &str = "mean_squared_error";
/// A rating takes 12 bytes as it is gathered, 8 by each side, and 8 while it is sorted.
const BYTES_PER_RATING: usize = 36;

/// The same again, of the ratings that are not held out.
const BYTES_PER_TRAINING_RATING: usize = 16;

/// Trains a matrix factorization.
pub struct AlsTrainer {
    /// With the first of several values of an option.
    config: Arc<Config>,
    /// What is tried; empty where there is nothing to choose.
    candidates: Vec<(BTreeMap<String, f64>, Config)>,
}

impl AlsTrainer {
    /// Of options, checked against the training columns.
    ///
    /// # Errors
    /// As [`Config::new`]; too many combinations of values.
    pub fn new(options: &Options, columns: &[InputColumn]) -> Result<Self> {
        options.check(OPTIONS)?;
        let candidates = tuning::candidates(options)?;
        let config = |candidate: Candidate| Ok((candidate.hyperparameters, Config::new(&candidate.options, columns)?));
        let mut candidates: Vec<(BTreeMap<String, f64>, Config)> = candidates.into_iter().map(config).collect::<Result<_>>()?;
        let first = candidates.first().ok_or_else(|| ModelError::bug("no combination of options"))?;
        let config = Arc::new(first.1.clone());
        if first.0.is_empty() {
            candidates.clear();
        }
        Ok(Self { config, candidates })
    }

    fn runs(&self) -> u32 {
        match self.candidates.len() {
            0 => 1,
            trials => trials as u32 + 1,
        }
    }

    /// Tries all candidates on the ratings that are not held out, and returns the options that are kept.
    fn tune(&self, training: &mut Training<'_>) -> Result<(Config, Vec<Trial>)> {
        let mut trials = Vec::with_capacity(self.candidates.len());
        for (place, (hyperparameters, config)) in self.candidates.iter().enumerate() {
            training.progress.begin_run(place as u32);
            let measured = training.measure_held_out(config)?;
            let loss = training.progress.iterations.last().and_then(|iteration| iteration.loss);
            trials.push(Trial {
                trial_id: place as i64 + 1,
                hyperparameters: hyperparameters.clone(),
                metrics: held_out_measures(config, &measured),
                training_loss: loss,
                error_message: None,
                is_optimal: false,
            });
        }
        let kept = tuning::choose(&mut trials, self.config.is_implicit())?;
        training.progress.begin_run(self.candidates.len() as u32);
        Ok((self.candidates[kept].1.clone(), trials))
    }
}

impl Trainer for AlsTrainer {
    fn layouts(&self) -> Vec<Layout> {
        vec![Layout::By(vec![self.config.columns[0]]), Layout::By(vec![self.config.columns[1]])]
    }

    fn bytes_per_row(&self) -> usize {
        if self.candidates.is_empty() { BYTES_PER_RATING } else { BYTES_PER_RATING + BYTES_PER_TRAINING_RATING }
    }

    fn passes(&self) -> u32 {
        (2 * self.config.iterations + 1).saturating_mul(self.runs()).saturating_add(3 + self.candidates.len() as u32)
    }

    fn collector(&self) -> Box<dyn Collector> {
        Box::new(Ratings::new(self.config.clone()))
    }

    fn blocks(&self, layouts: &[usize], collected: Vec<Box<dyn Collector>>, _: usize) -> Result<Vec<Vec<Box<dyn Block>>>> {
        blocks::blocks(&self.config, layouts, collected)
    }

    fn fit(&self, passes: &mut dyn Passes, observer: &dyn Observer) -> Result<Trained> {
        observer.begin(self.config.iterations.saturating_mul(self.runs()));
        let mut training = Training::begin(&self.config, passes, observer)?;
        let (config, trials) =
            if self.candidates.is_empty() { (Config::clone(&self.config), Vec::new()) } else { self.tune(&mut training)? };
        let fitted = training.fit(&config)?;
        Ok(Trained { trials, ..finish(&config, fitted, training.progress.iterations)? })
    }

    fn outline(&self) -> Result<Trained> {
        let trial = |(place, (hyperparameters, config)): (usize, &(BTreeMap<String, f64>, Config))| Trial {
            trial_id: place as i64 + 1,
            hyperparameters: hyperparameters.clone(),
            metrics: held_out_measures(config, &Measured { errors: vec![some_errors()], rankings: vec![some_rankings()] }),
            training_loss: Some(0.0),
            error_message: None,
            is_optimal: place == 0,
        };
        let trials = self.candidates.iter().enumerate().map(trial).collect();
        Ok(Trained { trials, ..outline(&self.config)? })
    }
}

/// The measures of what is held out from a trial.
fn held_out_measures(config: &Config, measured: &Measured) -> BTreeMap<String, f64> {
    let mut errors = Errors { squared_logs: f64::NAN, ..Errors::default() };
    measured.errors.iter().for_each(|user| errors.add(user));
    if !config.is_implicit() {
        return errors.measures(None);
    }
    let mut rankings = UserRanking::default();
    measured.rankings.iter().for_each(|user| rankings.add(user));
    ranking_measures(&rankings, &errors)
}

/// The measures of implicit feedback: rankings of some users, the mean squared error of all.
fn ranking_measures(rankings: &UserRanking, errors: &Errors) -> BTreeMap<String, f64> {
    let mut measures: BTreeMap<String, f64> =
        rankings.measures(K).into_iter().filter_map(|(name, value)| Some((name, value.filter(|value| value.is_finite())?))).collect();
    let error = errors.measures(None).remove(MEAN_SQUARED_ERROR);
    measures.remove(MEAN_SQUARED_ERROR);
    measures.extend(error.map(|error| (MEAN_SQUARED_ERROR.to_string(), error)));
    measures
}

/// Errors of which all measures are defined.
fn some_errors() -> Errors {
    let mut errors = Errors::without_logs(0.0, 0.0);
    errors.add(&Errors::without_logs(1.0, 1.0));
    errors
}

/// Rankings of which all measures are defined.
fn some_rankings() -> UserRanking {
    UserRanking { users: 1.0, rank_weights: 1.0, rows: 1.0, ..UserRanking::default() }
}

/// A model of one user and one item that nobody knows.
fn outline(config: &Config) -> Result<Trained> {
    let [users, items] = &config.id_types;
    let dictionaries = [Dictionary::placeholder(users)?, Dictionary::placeholder(items)?];
    let factors = [0, 1].map(|_| Factors::zeros(1, config.rank).to_bytes());
    let statistics = FeatureStatistics::default();
    let file = write(config, Content { dictionaries, factors, lengths: vec![0], rated: Vec::new(), mean: 0.0, statistics })?;
    let metrics = measures_of(config, &some_errors(), &some_rankings(), Some(0.0));
    Ok(Trained { file, rows: 0, iterations: Vec::new(), metrics, trials: Vec::new() })
}

/// The measures of a training.
fn measures_of(config: &Config, errors: &Errors, rankings: &UserRanking, median: Option<f64>) -> BTreeMap<String, f64> {
    if config.is_implicit() { ranking_measures(rankings, errors) } else { errors.measures(median) }
}

fn finish(config: &Config, fitted: Fitted, iterations: Vec<Iteration>) -> Result<Trained> {
    let Fitted { count, dictionaries, factors, measured, median, statistics, lengths, rated } = fitted;
    if !factors.iter().flat_map(|factors| factors.as_chunks::<4>().0).all(|factor| f32::from_le_bytes(*factor).is_finite()) {
        let message = "the factors exceed what 32 bits can hold";
        return Err(ModelError::data(message).hint("scale the ratings down, or raise l2_reg"));
    }
    let mut errors = Errors { squared_logs: f64::NAN, ..Errors::default() };
    measured.errors.iter().for_each(|user| errors.add(user));
    let mut rankings = UserRanking::default();
    measured.rankings.iter().for_each(|user| rankings.add(user));
    let metrics = measures_of(config, &errors, &rankings, median);
    let mean = if config.is_implicit() {
        errors.targets / (dictionaries[0].len() as f64 * dictionaries[1].len() as f64)
    } else {
        errors.targets / errors.count
    };
    let file = write(config, Content { dictionaries, factors, lengths, rated, mean, statistics })?;
    Ok(Trained { file, rows: count, iterations, metrics, trials: Vec::new() })
}
