//! Runs of a training: iterations over one block that has everything, or over blocks of users and blocks of items in turn.

use std::collections::HashMap;
use std::time::Instant;

use super::config::{Config, Feedback, Solver};
use super::errors::{Errors, median};
use super::factors::Factors;
use super::half_step::gram;
use super::held_out::{Measured, sample};
use super::ids::{Dictionary, Interner};
use super::ratings::statistics;
use super::user_ranking::UserRanking;
use super::wire::{Answer, Number, Part, Request, Setup, decode, flags_from_bytes, flags_to_bytes, pack, unexpected, unpack, unpack_any};
use crate::feature_statistics::FeatureStatistics;
use crate::model_file::checksum;
use crate::{Iteration, ModelError, Observer, Passes, Result};

/// What training leads to, however it was done.
pub struct Fitted {
    /// Rows.
    pub count: u64,
    /// Ids of users and items.
    pub dictionaries: [Dictionary; 2],
    /// Their factors, as [`Factors::to_bytes`] gives them.
    pub factors: [Vec<u8>; 2],
    /// Sums of each user.
    pub measured: Measured,
    /// The median of the absolute errors; none of implicit feedback.
    pub median: Option<f64>,
    /// What ratings look like.
    pub statistics: FeatureStatistics,
    /// How many items each user rated.
    pub lengths: Vec<u64>,
    /// Their places as bytes, user by user.
    pub rated: Vec<u8>,
}

/// Tells the observer of iterations, and when to stop.
pub struct Progress<'a> {
    observer: &'a dyn Observer,
    /// Of all runs.
    pub iterations: Vec<Iteration>,
    started: Instant,
    limit: u32,
    tol: f64,
    /// Which run it is, and where its iterations begin.
    run: (u32, usize),
    /// By what the loss is divided.
    weight: f64,
}

impl<'a> Progress<'a> {
    fn new(config: &Config, observer: &'a dyn Observer) -> Self {
        let (limit, tol) = (config.iterations, config.tol);
        Self { observer, iterations: Vec::new(), started: Instant::now(), limit, tol, run: (0, 0), weight: 0.0 }
    }

    /// A run begins, from 0.
    pub fn begin_run(&mut self, run: u32) {
        self.run = (run, self.iterations.len());
        self.started = Instant::now();
    }

    /// The sum of the weights of all pairs: the loss is a mean.
    fn weigh(&mut self, config: &Config, row_weights: &[f64], users: usize, items: usize) {
        let pairs = if config.is_implicit() { users as f64 * items as f64 } else { 0.0 };
        self.weight = pairs + row_weights.iter().sum::<f64>();
    }

    /// Takes the sum of losses of an iteration; true when the run ends.
    fn iteration(&mut self, loss: f64) -> Result<bool> {
        if self.observer.is_cancelled() {
            return Err(ModelError::cancelled());
        }
        let (training_run, begin) = self.run;
        let loss = (loss / self.weight).max(0.0);
        let before = self.iterations[begin..].last().and_then(|iteration| iteration.loss);
        let duration_ms = self.started.elapsed().as_secs_f64() * 1000.0;
        self.started = Instant::now();
        let iteration = (self.iterations.len() - begin) as u32;
        let done = Iteration { training_run, iteration, loss: Some(loss), duration_ms, clusters: Vec::new() };
        self.observer.iteration(&done);
        self.iterations.push(done);
        let settled = before.is_some_and(|before| (before - loss).abs() <= self.tol * before);
        Ok(iteration + 1 >= self.limit || (self.tol > 0.0 && settled))
    }
}

/// Where the ratings lie.
enum Place {
    Whole(Whole),
    Spread(Box<Spread>),
}

/// A training under way.
pub struct Training<'a> {
    place: Place,
    passes: &'a mut dyn Passes,
    /// Its iterations.
    pub progress: Progress<'a>,
}

impl<'a> Training<'a> {
    /// Finds out where the ratings lie.
    ///
    /// # Errors
    /// There are none.
    pub fn begin(config: &Config, passes: &'a mut dyn Passes, observer: &'a dyn Observer) -> Result<Self> {
        let answers = passes.run(0, &pack(Request::Ids, &[])?)?;
        if answers.is_empty() {
            return Err(ModelError::data("there are no ratings to train on").hint("the training query gave no rows"));
        }
        let (whole, _) = unpack_any::<Answer>(&answers[0])?;
        let place = if whole == (Answer::Ids { whole: true }) {
            Place::Whole(Whole::new(&answers)?)
        } else {
            Place::Spread(Box::new(Spread::new(&answers, passes)?))
        };
        Ok(Self { place, passes, progress: Progress::new(config, observer) })
    }

    /// Trains on all ratings.
    ///
    /// # Errors
    /// As [`Trainer::fit`](crate::Trainer::fit).
    pub fn fit(&mut self, config: &Config) -> Result<Fitted> {
        let setup = Setup::of(config, Part::All);
        let Self { place, passes, progress } = self;
        match place {
            Place::Whole(whole) => {
                let iteration = whole.train(config, setup, *passes, progress)?;
                whole.result(iteration, setup, *passes)
            }
            Place::Spread(spread) => {
                let (factors, _) = spread.train(config, setup, *passes, progress)?;
                spread.rated(factors, setup, *passes)
            }
        }
    }

    /// Trains on what is not held out, and measures how well the rest is predicted.
    ///
    /// # Errors
    /// As [`Trainer::fit`](crate::Trainer::fit).
    pub fn measure_held_out(&mut self, config: &Config) -> Result<Measured> {
        let setup = Setup::of(config, Part::Training);
        let Self { place, passes, progress } = self;
        match place {
            Place::Whole(whole) => {
                let iteration = whole.train(config, setup, *passes, progress)?;
                let answer = only(passes.run(0, &pack(Request::HeldOut { iteration, setup, sample: 0 }, &[])?)?)?;
                let (_, [_, errors, rankings]) = unpack::<Answer, 3>(&answer)?;
                Ok(Measured::from_bytes(errors, rankings))
            }
            Place::Spread(spread) => {
                let (factors, known_items) = spread.train(config, setup, *passes, progress)?;
                spread.held_out(&factors, &known_items, setup, *passes)
            }
        }
    }
}

/// Training on one block that has all ratings.
struct Whole {
    count: u64,
    items: usize,
}

impl Whole {
    fn new(answers: &[Vec<u8>]) -> Result<Self> {
        let [answer] = answers else { return Err(ModelError::bug("a block that has everything is not alone")) };
        let (_, [_, sizes]) = unpack::<Answer, 2>(answer)?;
        match u64::from_bytes(sizes).as_slice() {
            &[count, items] => Ok(Self { count, items: items as usize }),
            _ => Err(ModelError::bug("sizes of a block")),
        }
    }

    /// Returns how many iterations there were; the factors stay in the block.
    fn train(&self, config: &Config, setup: Setup, passes: &mut dyn Passes, progress: &mut Progress<'_>) -> Result<u32> {
        let answer = only(passes.run(0, &pack(Request::Weights(setup), &[])?)?)?;
        let (_, [_, weights]) = unpack::<Answer, 2>(&answer)?;
        let weights = f64::from_bytes(weights);
        progress.weigh(config, &weights, weights.len(), self.items);
        let mut iteration = 0;
        loop {
            iteration += 1;
            let answer = only(passes.run(0, &pack(Request::Iterate { iteration, setup }, &[])?)?)?;
            let (_, [loss]) = unpack::<Answer, 1>(&answer)?;
            let loss = f64::from_bytes(loss);
            if progress.iteration(loss.first().copied().unwrap_or(f64::NAN))? {
                return Ok(iteration);
            }
        }
    }

    fn result(&self, iteration: u32, setup: Setup, passes: &mut dyn Passes) -> Result<Fitted> {
        let answer = only(passes.run(0, &pack(Request::Result { iteration, setup }, &[])?)?)?;
        let (_, [user_ids, users, item_ids, items, errors, rankings, ratings, lengths, rated]) = unpack::<Answer, 9>(&answer)?;
        let (statistics, median) = decode(ratings)?;
        Ok(Fitted {
            count: self.count,
            dictionaries: [Dictionary::from_ipc(user_ids)?, Dictionary::from_ipc(item_ids)?],
            factors: [users.to_vec(), items.to_vec()],
            measured: Measured::from_bytes(errors, rankings),
            median,
            statistics,
            lengths: u64::from_bytes(lengths),
            rated: rated.to_vec(),
        })
    }
}

fn only(mut answers: Vec<Vec<u8>>) -> Result<Vec<u8>> {
    match (answers.pop(), answers.is_empty()) {
        (Some(answer), true) => Ok(answer),
        _ => Err(ModelError::bug("one block was expected to answer")),
    }
}

/// Training over blocks of users and blocks of items.
struct Spread {
    count: u64,
    dictionaries: [Dictionary; 2],
    /// The dictionaries as bytes.
    ids: [Vec<u8>; 2],
    /// Where the rows of each block belong, by the block's checksum.
    places: [HashMap<Vec<u8>, Vec<u32>>; 2],
    /// The greatest key of a user for whom rankings are made.
    sample: u64,
}

impl Spread {
    fn new(users: &[Vec<u8>], passes: &mut dyn Passes) -> Result<Self> {
        let items = passes.run(1, &pack(Request::Ids, &[])?)?;
        let users = SideIds::unite(users)?;
        let items = SideIds::unite(&items)?;
        if users.count != items.count {
            return Err(ModelError::bug(format!("{} rows by user, {} by item", users.count, items.count)));
        }
        let ids = [users.dictionary.to_ipc()?, items.dictionary.to_ipc()?];
        let sample = sample(&users.dictionary)?;
        Ok(Self {
            count: users.count,
            dictionaries: [users.dictionary, items.dictionary],
            ids,
            places: [users.places, items.places],
            sample,
        })
    }

    /// The factors, and whether each item has ratings that were trained on.
    fn train(
        &self,
        config: &Config,
        setup: Setup,
        passes: &mut dyn Passes,
        progress: &mut Progress<'_>,
    ) -> Result<([Factors; 2], Vec<bool>)> {
        let weights = self.weights(setup, passes)?;
        progress.weigh(config, &weights, self.dictionaries[0].len(), self.dictionaries[1].len());
        let initial = |side: usize| Factors::initial(&self.dictionaries[side], config.rank, config.seed);
        let mut factors = [initial(0)?, initial(1)?];
        loop {
            let items = self.half(config, setup, 1, &factors, passes)?;
            factors[1] = items.factors;
            let users = self.half(config, setup, 0, &factors, passes)?;
            factors[0] = users.factors;
            if progress.iteration(users.losses.iter().sum())? {
                return Ok((factors, items.filled));
            }
        }
    }

    /// What users weigh in the loss of a run.
    fn weights(&self, setup: Setup, passes: &mut dyn Passes) -> Result<Vec<f64>> {
        let mut weights = vec![0.0; self.dictionaries[0].len()];
        for answer in passes.run(0, &pack(Request::Weights(setup), &[])?)? {
            let (answer, [key, of_block]) = unpack::<Answer, 2>(&answer)?;
            if answer != Answer::Weights {
                return Err(unexpected(answer));
            }
            for (place, weight) in self.places_of(0, key)?.iter().zip(f64::from_bytes(of_block)) {
                weights[*place as usize] = weight;
            }
        }
        Ok(weights)
    }

    fn half(&self, config: &Config, setup: Setup, side: usize, factors: &[Factors; 2], passes: &mut dyn Passes) -> Result<Half> {
        let others = 1 - side;
        let gram = gram(config, &factors[others]).map(|gram| f64::to_bytes(&gram.upper)).unwrap_or_default();
        let dense = factors[others].to_bytes();
        let warm = config.solver == Solver::ConjugateGradient;
        let before = if warm { factors[side].to_bytes() } else { Vec::new() };
        let own_ids: &[u8] = if warm { &self.ids[side] } else { &[] };
        let request = pack(Request::Solve(setup), &[&self.ids[others], &dense, &gram, own_ids, &before])?;
        let mut solved = Factors::zeros(factors[side].len(), config.rank);
        let (mut losses, mut filled) = (vec![0.0; solved.len()], vec![false; solved.len()]);
        for answer in passes.run(side, &request)? {
            let (answer, [key, rows, row_losses, row_flags]) = unpack::<Answer, 4>(&answer)?;
            if answer != Answer::Rows {
                return Err(unexpected(answer));
            }
            let rows = Factors::from_bytes(config.rank, rows);
            let places = self.places_of(side, key)?;
            for ((row, place), loss) in places.iter().enumerate().zip(f64::from_bytes(row_losses)) {
                solved.row_mut(*place as usize).copy_from_slice(rows.row(row));
                losses[*place as usize] = loss;
            }
            for (place, is_filled) in places.iter().zip(flags_from_bytes(row_flags)) {
                filled[*place as usize] = is_filled;
            }
        }
        Ok(Half { factors: solved, losses, filled })
    }

    fn places_of(&self, side: usize, key: &[u8]) -> Result<&Vec<u32>> {
        self.places[side].get(key).ok_or_else(|| ModelError::bug("a block has other ids than it had when training began"))
    }

    /// A request with all ids and factors, to blocks of users; `known_items` only where it is about what is held out.
    fn ask(&self, request: Request, factors: &[Factors; 2], known_items: &[bool], passes: &mut dyn Passes) -> Result<Vec<Vec<u8>>> {
        let dense = factors.each_ref().map(Factors::to_bytes);
        passes.run(0, &pack(request, &[&self.ids[1], &dense[1], &self.ids[0], &dense[0], &flags_to_bytes(known_items)])?)
    }

    /// Asks all blocks of users how well what is held out is predicted.
    fn held_out(&self, factors: &[Factors; 2], known_items: &[bool], setup: Setup, passes: &mut dyn Passes) -> Result<Measured> {
        let mut all = ByUser::new(self.dictionaries[0].len(), setup);
        let request = Request::HeldOut { iteration: 0, setup, sample: self.sample };
        for answer in self.ask(request, factors, known_items, passes)? {
            let (answer, [key, errors, rankings]) = unpack::<Answer, 3>(&answer)?;
            if answer != Answer::HeldOut {
                return Err(unexpected(answer));
            }
            all.put(self.places_of(0, key)?, Measured::from_bytes(errors, rankings));
        }
        Ok(all.0)
    }

    /// Asks all blocks of users what they rated, and how well it is predicted.
    fn rated(&self, factors: [Factors; 2], setup: Setup, passes: &mut dyn Passes) -> Result<Fitted> {
        let users = self.dictionaries[0].len();
        let (mut all, mut rated_by) = (ByUser::new(users, setup), vec![Vec::new(); users]);
        let (mut absolutes, mut ratings) = (Vec::new(), Vec::new());
        for answer in self.ask(Request::Rated { setup, sample: self.sample }, &factors, &[], passes)? {
            let (answer, [key, errors, rankings, errors_of_all, values, lengths, rated]) = unpack::<Answer, 7>(&answer)?;
            if answer != Answer::Rated {
                return Err(unexpected(answer));
            }
            let places = self.places_of(0, key)?;
            all.put(places, Measured::from_bytes(errors, rankings));
            absolutes.extend(f32::from_bytes(errors_of_all));
            ratings.extend(f32::from_bytes(values));
            let rated = u32::from_bytes(rated);
            let mut rest = rated.as_slice();
            for (place, length) in places.iter().zip(u64::from_bytes(lengths)) {
                let (items, after) =
                    rest.split_at_checked(length as usize).ok_or_else(|| ModelError::bug("ratings of a block end early"))?;
                rated_by[*place as usize] = items.to_vec();
                rest = after;
            }
        }
        let [users, items] = &self.dictionaries;
        Ok(Fitted {
            count: self.count,
            dictionaries: [Dictionary::new(users.ids().clone()), Dictionary::new(items.ids().clone())],
            factors: factors.each_ref().map(Factors::to_bytes),
            measured: all.0,
            median: median(&mut absolutes),
            statistics: statistics(&ratings),
            lengths: rated_by.iter().map(|items| items.len() as u64).collect(),
            rated: u32::to_bytes(&rated_by.concat()),
        })
    }
}

/// What half an iteration led to, in the order of the side's ids.
struct Half {
    factors: Factors,
    losses: Vec<f64>,
    /// Whether each row has ratings.
    filled: Vec<bool>,
}

/// Sums of users in the order of their ids.
struct ByUser(Measured);

impl ByUser {
    fn new(users: usize, setup: Setup) -> Self {
        let ranked = if matches!(setup.feedback, Feedback::Implicit { .. }) { users } else { 0 };
        Self(Measured { errors: vec![Errors::default(); users], rankings: vec![UserRanking::default(); ranked] })
    }

    fn put(&mut self, places: &[u32], of_block: Measured) {
        for (place, errors) in places.iter().zip(of_block.errors) {
            self.0.errors[*place as usize] = errors;
        }
        for (place, ranking) in places.iter().zip(of_block.rankings) {
            self.0.rankings[*place as usize] = ranking;
        }
    }
}

/// The ids of a side of all blocks.
struct SideIds {
    count: u64,
    dictionary: Dictionary,
    places: HashMap<Vec<u8>, Vec<u32>>,
}

impl SideIds {
    fn unite(answers: &[Vec<u8>]) -> Result<Self> {
        let mut all = Interner::default();
        let (mut count, mut parts) = (0, Vec::new());
        for answer in answers {
            let (answer, [ids, rows]) = unpack::<Answer, 2>(answer)?;
            if answer != (Answer::Ids { whole: false }) {
                return Err(unexpected(answer));
            }
            count += u64::from_bytes(rows).first().copied().unwrap_or(0);
            let known = all.len();
            let numbers = all.intern(Dictionary::from_ipc(ids)?.ids())?;
            if all.len() - known != numbers.len() {
                return Err(ModelError::bug("the rows of an id lie in several blocks"));
            }
            parts.push((checksum(ids).into_bytes(), numbers));
        }
        let (ids, ranks) = all.sorted()?.ok_or_else(|| ModelError::data("there are no ratings to train on"))?;
        let places = parts.into_iter().map(|(key, numbers)| (key, numbers.into_iter().map(|number| ranks[number as usize]).collect()));
        Ok(Self { count, dictionary: Dictionary::new(ids), places: places.collect() })
    }
}
