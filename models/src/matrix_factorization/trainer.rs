//! Training: iterations over one block that has everything, or over blocks of users and blocks of items in turn.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use super::blocks;
use super::config::Config;
use super::errors::{Errors, SUMS};
use super::factors::Factors;
use super::half_step::gram;
use super::ids::{Dictionary, Interner};
use super::model::{Content, write};
use super::ratings::Ratings;
use super::wire::{Answer, Number, Request, pack, unexpected, unpack, unpack_any};
use crate::model_file::checksum;
use crate::{Block, Collector, Iteration, Layout, ModelError, Observer, Passes, Result, Trained, Trainer};

/// A rating takes 12 bytes as it is gathered, 8 by each side, and 8 while it is sorted.
const BYTES_PER_RATING: usize = 36;

/// Trains a matrix factorization.
pub struct AlsTrainer {
    config: Arc<Config>,
}

impl AlsTrainer {
    /// Of options that are checked.
    pub fn new(config: Config) -> Self {
        Self { config: Arc::new(config) }
    }
}

impl Trainer for AlsTrainer {
    fn layouts(&self) -> Vec<Layout> {
        vec![Layout::By(vec![self.config.columns[0]]), Layout::By(vec![self.config.columns[1]])]
    }

    fn bytes_per_row(&self) -> usize {
        BYTES_PER_RATING
    }

    fn passes(&self) -> u32 {
        2 * self.config.iterations + 3
    }

    fn collector(&self) -> Box<dyn Collector> {
        Box::new(Ratings::new(self.config.clone()))
    }

    fn blocks(&self, layouts: &[usize], collected: Vec<Box<dyn Collector>>, _: usize) -> Result<Vec<Vec<Box<dyn Block>>>> {
        blocks::blocks(&self.config, layouts, collected)
    }

    fn fit(&self, passes: &mut dyn Passes, observer: &dyn Observer) -> Result<Trained> {
        let config = &self.config;
        observer.begin(config.iterations);
        let answers = passes.run(0, &pack(Request::Ids, &[])?)?;
        if answers.is_empty() {
            return Err(ModelError::data("there are no ratings to train on").hint("the training query gave no rows"));
        }
        let mut progress = Progress { config, observer, iterations: Vec::new(), started: Instant::now(), weight: 0.0 };
        let (whole, _) = unpack_any::<Answer>(&answers[0])?;
        let fitted = if whole == (Answer::Ids { whole: true }) {
            fit_whole(config, &answers, passes, &mut progress)?
        } else {
            Spread::new(config, &answers, passes)?.fit(passes, &mut progress)?
        };
        finish(config, fitted, progress.iterations)
    }
}

/// What training leads to, however it was done.
struct Fitted {
    count: u64,
    dictionaries: [Dictionary; 2],
    factors: [Factors; 2],
    errors: Vec<f64>,
    lengths: Vec<u64>,
    rated: Vec<u32>,
}

fn finish(config: &Config, fitted: Fitted, iterations: Vec<Iteration>) -> Result<Trained> {
    let Fitted { count, dictionaries, factors, errors, lengths, rated } = fitted;
    if !factors.iter().all(Factors::is_finite) {
        let message = "the factors exceed what 32 bits can hold";
        return Err(ModelError::data(message).hint("scale the ratings down, or raise l2_reg"));
    }
    let mut sums = Errors { squared_logs: f64::NAN, ..Errors::default() };
    for row in errors.as_chunks::<SUMS>().0 {
        sums.add(&Errors::from_array(*row));
    }
    let mut metrics: BTreeMap<String, f64> = sums.measures();
    let mean = if config.is_implicit() {
        metrics.retain(|name, _| name == "mean_squared_error");
        sums.targets / (dictionaries[0].len() as f64 * dictionaries[1].len() as f64)
    } else {
        sums.targets / sums.count
    };
    let file = write(config, &Content { dictionaries: &dictionaries, factors: &factors, lengths: &lengths, rated: &rated, mean })?;
    Ok(Trained { file, rows: count, iterations, metrics, trials: Vec::new() })
}

/// Tells the observer of iterations, and when to stop.
struct Progress<'a> {
    config: &'a Config,
    observer: &'a dyn Observer,
    iterations: Vec<Iteration>,
    started: Instant,
    /// By what the loss is divided.
    weight: f64,
}

impl Progress<'_> {
    /// The sum of the weights of all pairs: the loss is a mean.
    fn weigh(&mut self, row_weights: &[f64], users: usize, items: usize) {
        let pairs = if self.config.is_implicit() { users as f64 * items as f64 } else { 0.0 };
        self.weight = pairs + row_weights.iter().sum::<f64>();
    }

    /// Takes the sum of losses of an iteration; true when training ends.
    fn iteration(&mut self, loss: f64) -> Result<bool> {
        if self.observer.is_cancelled() {
            return Err(ModelError::cancelled());
        }
        let loss = (loss / self.weight).max(0.0);
        let before = self.iterations.last().and_then(|iteration| iteration.loss);
        let duration_ms = self.started.elapsed().as_secs_f64() * 1000.0;
        self.started = Instant::now();
        let iteration = self.iterations.len() as u32;
        let done = Iteration { training_run: 0, iteration, loss: Some(loss), duration_ms, clusters: Vec::new() };
        self.observer.iteration(&done);
        self.iterations.push(done);
        let settled = before.is_some_and(|before| (before - loss).abs() <= self.config.tol * before);
        Ok(iteration + 1 >= self.config.iterations || (self.config.tol > 0.0 && settled))
    }
}

fn fit_whole(config: &Config, answers: &[Vec<u8>], passes: &mut dyn Passes, progress: &mut Progress<'_>) -> Result<Fitted> {
    let [answer] = answers else { return Err(ModelError::bug("a block that has everything is not alone")) };
    let (_, [_, weights, sizes]) = unpack::<Answer, 3>(answer)?;
    let (weights, sizes) = (f64::from_bytes(weights), u64::from_bytes(sizes));
    let &[count, items] = sizes.as_slice() else { return Err(ModelError::bug("sizes of a block")) };
    progress.weigh(&weights, weights.len(), items as usize);
    let mut iteration = 0;
    loop {
        iteration += 1;
        let answer = only(passes.run(0, &pack(Request::Iterate { iteration }, &[])?)?)?;
        let (_, [loss]) = unpack::<Answer, 1>(&answer)?;
        let loss = f64::from_bytes(loss);
        if progress.iteration(loss.first().copied().unwrap_or(f64::NAN))? {
            break;
        }
    }
    let answer = only(passes.run(0, &pack(Request::Result { iteration }, &[])?)?)?;
    let (_, [user_ids, users, item_ids, items, errors, lengths, rated]) = unpack::<Answer, 7>(&answer)?;
    let dense = |bytes| Factors::from_dense(config.rank, &f32::from_bytes(bytes));
    Ok(Fitted {
        count,
        dictionaries: [Dictionary::from_ipc(user_ids)?, Dictionary::from_ipc(item_ids)?],
        factors: [dense(users), dense(items)],
        errors: f64::from_bytes(errors),
        lengths: u64::from_bytes(lengths),
        rated: u32::from_bytes(rated),
    })
}

fn only(mut answers: Vec<Vec<u8>>) -> Result<Vec<u8>> {
    match (answers.pop(), answers.is_empty()) {
        (Some(answer), true) => Ok(answer),
        _ => Err(ModelError::bug("one block was expected to answer")),
    }
}

/// Training over blocks of users and blocks of items.
struct Spread<'a> {
    config: &'a Config,
    count: u64,
    dictionaries: [Dictionary; 2],
    /// The dictionaries as bytes.
    ids: [Vec<u8>; 2],
    /// Where the rows of each block belong, by the block's checksum.
    places: [HashMap<Vec<u8>, Vec<u32>>; 2],
    /// For users.
    row_weights: Vec<f64>,
}

impl<'a> Spread<'a> {
    fn new(config: &'a Config, users: &[Vec<u8>], passes: &mut dyn Passes) -> Result<Self> {
        let items = passes.run(1, &pack(Request::Ids, &[])?)?;
        let users = SideIds::unite(users)?;
        let items = SideIds::unite(&items)?;
        if users.count != items.count {
            return Err(ModelError::bug(format!("{} rows by user, {} by item", users.count, items.count)));
        }
        let ids = [users.dictionary.to_ipc()?, items.dictionary.to_ipc()?];
        Ok(Self {
            config,
            count: users.count,
            dictionaries: [users.dictionary, items.dictionary],
            ids,
            places: [users.places, items.places],
            row_weights: users.weights,
        })
    }

    fn fit(self, passes: &mut dyn Passes, progress: &mut Progress<'_>) -> Result<Fitted> {
        progress.weigh(&self.row_weights, self.dictionaries[0].len(), self.dictionaries[1].len());
        let initial = |side: usize| Factors::initial(&self.dictionaries[side], self.config.rank, self.config.seed);
        let mut factors = [initial(0)?, initial(1)?];
        loop {
            (factors[1], _) = self.half(1, &factors, passes)?;
            let losses;
            (factors[0], losses) = self.half(0, &factors, passes)?;
            if progress.iteration(losses.iter().sum())? {
                break;
            }
        }
        self.rated(factors, passes)
    }

    fn half(&self, side: usize, factors: &[Factors; 2], passes: &mut dyn Passes) -> Result<(Factors, Vec<f64>)> {
        let others = 1 - side;
        let gram = gram(self.config, &factors[others]).map(|gram| f64::to_bytes(&gram.upper)).unwrap_or_default();
        let dense = f32::to_bytes(&factors[others].to_dense());
        let warm = self.config.solver == super::config::Solver::ConjugateGradient;
        let before = if warm { f32::to_bytes(&factors[side].to_dense()) } else { Vec::new() };
        let own_ids: &[u8] = if warm { &self.ids[side] } else { &[] };
        let request = pack(Request::Solve, &[&self.ids[others], &dense, &gram, own_ids, &before])?;
        let mut solved = Factors::zeros(factors[side].len(), self.config.rank);
        let mut losses = vec![0.0; solved.len()];
        for answer in passes.run(side, &request)? {
            let (answer, [key, rows, row_losses]) = unpack::<Answer, 3>(&answer)?;
            if answer != Answer::Rows {
                return Err(unexpected(answer));
            }
            let rows = Factors::from_dense(self.config.rank, &f32::from_bytes(rows));
            for ((row, place), loss) in self.places_of(side, key)?.iter().enumerate().zip(f64::from_bytes(row_losses)) {
                solved.row_mut(*place as usize).copy_from_slice(rows.row(row));
                losses[*place as usize] = loss;
            }
        }
        Ok((solved, losses))
    }

    fn places_of(&self, side: usize, key: &[u8]) -> Result<&Vec<u32>> {
        self.places[side].get(key).ok_or_else(|| ModelError::bug("a block has other ids than it had when training began"))
    }

    /// Asks all blocks of users what they rated, and how well it is predicted.
    fn rated(self, factors: [Factors; 2], passes: &mut dyn Passes) -> Result<Fitted> {
        let dense = [0, 1].map(|side: usize| f32::to_bytes(&factors[side].to_dense()));
        let request = pack(Request::Rated, &[&self.ids[1], &dense[1], &self.ids[0], &dense[0]])?;
        let users = self.dictionaries[0].len();
        let (mut errors, mut rated_by) = (vec![[0.0; SUMS]; users], vec![Vec::new(); users]);
        for answer in passes.run(0, &request)? {
            let (answer, [key, row_errors, lengths, rated]) = unpack::<Answer, 4>(&answer)?;
            if answer != Answer::Rated {
                return Err(unexpected(answer));
            }
            let (row_errors, rated) = (f64::from_bytes(row_errors), u32::from_bytes(rated));
            let mut rest = rated.as_slice();
            let rows = row_errors.as_chunks::<SUMS>().0.iter().zip(u64::from_bytes(lengths));
            for (place, (row, length)) in self.places_of(0, key)?.iter().zip(rows) {
                let (items, after) =
                    rest.split_at_checked(length as usize).ok_or_else(|| ModelError::bug("ratings of a block end early"))?;
                errors[*place as usize] = *row;
                rated_by[*place as usize] = items.to_vec();
                rest = after;
            }
        }
        Ok(Fitted {
            count: self.count,
            dictionaries: self.dictionaries,
            factors,
            errors: errors.into_iter().flatten().collect(),
            lengths: rated_by.iter().map(|items| items.len() as u64).collect(),
            rated: rated_by.into_iter().flatten().collect(),
        })
    }
}

/// The ids of a side of all blocks.
struct SideIds {
    count: u64,
    dictionary: Dictionary,
    places: HashMap<Vec<u8>, Vec<u32>>,
    weights: Vec<f64>,
}

impl SideIds {
    fn unite(answers: &[Vec<u8>]) -> Result<Self> {
        let mut all = Interner::default();
        let (mut count, mut parts) = (0, Vec::new());
        for answer in answers {
            let (answer, [ids, weights, rows]) = unpack::<Answer, 3>(answer)?;
            if answer != (Answer::Ids { whole: false }) {
                return Err(unexpected(answer));
            }
            count += u64::from_bytes(rows).first().copied().unwrap_or(0);
            let known = all.len();
            let numbers = all.intern(Dictionary::from_ipc(ids)?.ids())?;
            if all.len() - known != numbers.len() {
                return Err(ModelError::bug("the rows of an id lie in several blocks"));
            }
            parts.push((checksum(ids).into_bytes(), numbers, f64::from_bytes(weights)));
        }
        let (ids, ranks) = all.sorted()?.ok_or_else(|| ModelError::data("there are no ratings to train on"))?;
        let mut united = Self { count, dictionary: Dictionary::new(ids), places: HashMap::new(), weights: vec![0.0; ranks.len()] };
        for (key, numbers, weights) in parts {
            let places: Vec<u32> = numbers.into_iter().map(|number| ranks[number as usize]).collect();
            for (place, weight) in places.iter().zip(weights) {
                united.weights[*place as usize] = weight;
            }
            united.places.insert(key, places);
        }
        Ok(united)
    }
}
