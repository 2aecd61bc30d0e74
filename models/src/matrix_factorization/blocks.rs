//! Ratings in blocks: all of them in one, or those of some users or items in each of many.

use std::sync::Arc;

use super::config::{Config, Feedback};
use super::errors::median;
use super::factors::Factors;
use super::half_step::{HalfStep, gram};
use super::held_out::{HeldOut, Predicted, Split, sample};
use super::ids::{Dictionary, Interner, UNKNOWN};
use super::normal_equations::Gram;
use super::ratings::{Ratings, Repeated, Rows, statistics};
use super::wire::{Answer, Number, Part, Request, Setup, encode, flags_from_bytes, flags_to_bytes, pack, unpack_any};
use crate::model_file::checksum;
use crate::{Block, Collector, ModelError, Observer, Result};

/// What was gathered, with one dictionary for each side.
struct Gathered {
    dictionaries: [Dictionary; 2],
    collected: Vec<Ratings>,
    /// For each part and side, the places of its numbers.
    places: Vec<[Vec<u32>; 2]>,
}

impl Gathered {
    fn new(collected: Vec<Box<dyn Collector>>) -> Result<Option<Self>> {
        let mut parts = Vec::with_capacity(collected.len());
        for part in collected {
            let ratings = part.into_any().downcast::<Ratings>().map_err(|_| ModelError::bug("rows that another model type gathered"))?;
            parts.push(*ratings);
        }
        parts.retain(|part| !part.triples.is_empty());
        if parts.is_empty() {
            return Ok(None);
        }
        let (users, user_places) = unite(&parts, 0)?;
        let (items, item_places) = unite(&parts, 1)?;
        let places = user_places.into_iter().zip(item_places).map(|(users, items)| [users, items]).collect();
        Ok(Some(Self { dictionaries: [users, items], collected: parts, places }))
    }

    /// Ratings by the rows of a side.
    fn rows(&self, config: &Config, side: usize) -> Result<Rows> {
        let triples = self.collected.iter().zip(&self.places).flat_map(|(part, places)| {
            part.triples.iter().map(|t| (places[side][t.ids[side] as usize], places[1 - side][t.ids[1 - side] as usize], t.rating))
        });
        let rows = Rows::gather(self.dictionaries[side].len(), triples, config.duplicates).map_err(|Repeated(row, other)| {
            let mut pair = [row, other as usize];
            if side == 1 {
                pair.reverse();
            }
            let [user, item] = [0, 1].map(|side| self.dictionaries[side].text(pair[side]));
            let message = format!("{} {user} rates {} {item} more than once", config.names[0], config.names[1]);
            ModelError::data(message).hint("set duplicates = 'sum' or 'mean', or aggregate in the query")
        })?;
        if rows.is_finite() {
            return Ok(rows);
        }
        Err(ModelError::column(&config.names[2], "the sum of a pair's ratings exceeds 3.4e38")
            .hint("set duplicates = 'mean', or use smaller ratings"))
    }

    fn row_count(&self) -> u64 {
        self.collected.iter().map(|part| part.triples.len() as u64).sum()
    }
}

/// One dictionary of a side's ids in all parts, and for each part the places of its numbers.
fn unite(parts: &[Ratings], side: usize) -> Result<(Dictionary, Vec<Vec<u32>>)> {
    let empty = || ModelError::bug("a part without ids");
    if let [part] = parts {
        let (ids, places) = part.sides[side].sorted()?.ok_or_else(empty)?;
        return Ok((Dictionary::new(ids), vec![places]));
    }
    let mut all = Interner::default();
    let mut numbers = Vec::with_capacity(parts.len());
    for part in parts {
        let (ids, places) = part.sides[side].sorted()?.ok_or_else(empty)?;
        let united = all.intern(&ids)?;
        numbers.push(places.into_iter().map(|place| united[place as usize]).collect::<Vec<u32>>());
    }
    let (ids, places) = all.sorted()?.ok_or_else(empty)?;
    for part in &mut numbers {
        for number in part {
            *number = places[*number as usize];
        }
    }
    Ok((Dictionary::new(ids), numbers))
}

/// The blocks of the layouts that are wanted: when it is both, everything lies in one block of the first.
///
/// # Errors
/// Rows that cannot be trained on.
pub fn blocks(config: &Arc<Config>, layouts: &[usize], collected: Vec<Box<dyn Collector>>) -> Result<Vec<Vec<Box<dyn Block>>>> {
    let Some(gathered) = Gathered::new(collected)? else { return Ok(layouts.iter().map(|_| Vec::new()).collect()) };
    if let [side @ (0 | 1)] = layouts {
        let ratings = gathered.rows(config, *side)?;
        let count = gathered.row_count();
        let [users, items] = gathered.dictionaries;
        let (own, others) = if *side == 0 { (users, items) } else { (items, users) };
        return Ok(vec![vec![Box::new(OneSide::new(config.clone(), *side, own, others, ratings, count)?)]]);
    }
    let by_user = gathered.rows(config, 0)?;
    let by_item = by_user.transposed(gathered.dictionaries[1].len());
    let count = gathered.row_count();
    let whole =
        Whole { config: config.clone(), count, dictionaries: gathered.dictionaries, ratings: [by_user, by_item], split: None, state: None };
    let mut whole: Option<Box<dyn Block>> = Some(Box::new(whole));
    Ok(layouts.iter().map(|_| whole.take().into_iter().collect()).collect())
}

/// What the pairs of each row weigh in the mean of the loss: explicit feedback has a weight of 1 for each rating; implicit feedback `alpha * |r|` beside the
/// 1 that every pair of a user and an item has.
fn row_weights(config: &Config, ratings: &Rows) -> Vec<f64> {
    let weigh = |row| {
        let (_, values) = ratings.row(row);
        match config.feedback {
            Feedback::Explicit => values.len() as f64,
            Feedback::Implicit { alpha } => values.iter().map(|r| alpha * f64::from(r.abs())).sum(),
        }
    };
    (0..ratings.len()).map(weigh).collect()
}

fn row_lengths(ratings: &Rows) -> Vec<u64> {
    ratings.offsets.windows(2).map(|pair| (pair[1] - pair[0]) as u64).collect()
}

/// All ratings, by user and by item; training needs no factors from outside.
struct Whole {
    config: Arc<Config>,
    count: u64,
    dictionaries: [Dictionary; 2],
    ratings: [Rows; 2],
    /// What is held out, and the other ratings by user and by item, once a run needs it.
    split: Option<(Split, [Rows; 2])>,
    state: Option<State>,
}

/// Factors after some iterations. They only save work: another block makes them again from the first iteration on.
struct State {
    setup: Setup,
    iteration: u32,
    factors: [Factors; 2],
    loss: f64,
}

impl Whole {
    fn split(&mut self) -> Result<&(Split, [Rows; 2])> {
        let split = match self.split.take() {
            Some(split) => split,
            None => {
                let split = Split::new(self.config.seed, &self.dictionaries[0], &self.dictionaries[1])?;
                let by_user = split.training(&self.ratings[0], 0);
                let by_item = by_user.transposed(self.dictionaries[1].len());
                (split, [by_user, by_item])
            }
        };
        Ok(self.split.insert(split))
    }

    /// The ratings of a run.
    fn ratings(&mut self, part: Part) -> Result<&[Rows; 2]> {
        match part {
            Part::All => Ok(&self.ratings),
            Part::Training => Ok(&self.split()?.1),
        }
    }

    fn bring_to(&mut self, iteration: u32, setup: Setup, observer: &dyn Observer) -> Result<&State> {
        let config = setup.apply(&self.config);
        let mut state = match self.state.take() {
            Some(state) if state.setup == setup && state.iteration <= iteration => state,
            _ => self.begin(setup)?,
        };
        let ratings = self.ratings(setup.part)?;
        while state.iteration < iteration {
            let (items, _) = half(&config, ratings, 1, &state, observer)?;
            state.factors[1] = items;
            let (users, losses) = half(&config, ratings, 0, &state, observer)?;
            state.factors[0] = users;
            state.loss = losses.iter().sum();
            state.iteration += 1;
        }
        Ok(self.state.insert(state))
    }

    fn begin(&self, setup: Setup) -> Result<State> {
        let [users, items] = [0, 1].map(|side: usize| Factors::initial(&self.dictionaries[side], setup.rank, self.config.seed));
        Ok(State { setup, iteration: 0, factors: [users?, items?], loss: 0.0 })
    }

    /// Brings a run to an iteration and hands over what predicts ratings then; with `split` only those that are held out count.
    fn predicting<T>(
        &mut self,
        (iteration, setup): (u32, Setup),
        with_split: bool,
        observer: &dyn Observer,
        then: impl FnOnce(&Self, &State, &Predicted<'_>) -> Result<T>,
    ) -> Result<T> {
        self.bring_to(iteration, setup, observer)?;
        if with_split {
            self.split()?;
        }
        let Some(state) = &self.state else { return Err(ModelError::bug("a training without factors")) };
        let config = setup.apply(&self.config);
        let (keys, [users, items]) = (self.dictionaries[0].random_keys()?, &state.factors);
        let split = self.split.as_ref().filter(|_| with_split);
        let known = split.map(|(split, training)| (split, training.each_ref().map(Rows::are_filled)));
        let held_out = known.as_ref().map(|(split, [users, items])| HeldOut { split, users, items });
        let (ratings, sample) = (&self.ratings[0], sample(&self.dictionaries[0])?);
        then(self, state, &Predicted { config: &config, ratings, users, items, places: None, keys: &keys, sample, held_out })
    }

    fn result(&mut self, iteration: u32, setup: Setup, observer: &dyn Observer) -> Result<Vec<u8>> {
        self.predicting((iteration, setup), false, observer, |block, state, predicted| {
            let [users, items] = &state.factors;
            let [errors, rankings] = predicted.measure().to_bytes();
            let parts = [
                block.dictionaries[0].to_ipc()?,
                users.to_bytes(),
                block.dictionaries[1].to_ipc()?,
                items.to_bytes(),
                errors,
                rankings,
                encode(&(statistics(&block.ratings[0].values), median(&mut absolutes(predicted))))?,
                u64::to_bytes(&row_lengths(&block.ratings[0])),
                u32::to_bytes(&block.ratings[0].others),
            ];
            pack(Answer::Result, &parts.each_ref().map(Vec::as_slice))
        })
    }
}

/// The absolute errors of explicit feedback.
fn absolutes(predicted: &Predicted<'_>) -> Vec<f32> {
    if predicted.config.is_implicit() { Vec::new() } else { predicted.absolutes() }
}

fn half(config: &Config, ratings: &[Rows; 2], side: usize, state: &State, observer: &dyn Observer) -> Result<(Factors, Vec<f64>)> {
    let factors = &state.factors[1 - side];
    let gram = gram(config, factors);
    let before = Some(&state.factors[side]);
    HalfStep { config, ratings: &ratings[side], factors, gram: gram.as_ref(), before }.solve(observer)
}

impl Block for Whole {
    fn pass(&mut self, request: &[u8], observer: &dyn Observer) -> Result<Vec<u8>> {
        let (request, _) = unpack_any::<Request>(request)?;
        match request {
            Request::Ids => {
                let sizes = [self.count, self.dictionaries[1].len() as u64];
                pack(Answer::Ids { whole: true }, &[&[], &u64::to_bytes(&sizes)])
            }
            Request::Weights(setup) => {
                let config = setup.apply(&self.config);
                pack(Answer::Weights, &[&[], &f64::to_bytes(&row_weights(&config, &self.ratings(setup.part)?[0]))])
            }
            Request::Iterate { iteration, setup } => {
                let loss = self.bring_to(iteration, setup, observer)?.loss;
                pack(Answer::Loss, &[&loss.to_le_bytes()])
            }
            Request::Result { iteration, setup } => self.result(iteration, setup, observer),
            Request::HeldOut { iteration, setup, .. } => self.predicting((iteration, setup), true, observer, |_, _, predicted| {
                let [errors, rankings] = predicted.measure().to_bytes();
                pack(Answer::HeldOut, &[&[], &errors, &rankings])
            }),
            other => Err(ModelError::bug(format!("{other:?} of a block that has everything"))),
        }
    }

    fn bytes(&self) -> usize {
        // Of several candidates the one that is trained now counts.
        let rank = self.state.as_ref().map_or(self.config.rank, |state| state.setup.rank);
        let factors = self.dictionaries.iter().map(|ids| ids.len() * rank.next_multiple_of(8) * 4).sum::<usize>();
        let training = self.split.iter().flat_map(|(_, ratings)| ratings);
        self.ratings.iter().chain(training).map(Rows::bytes).sum::<usize>()
            + self.dictionaries.iter().map(Dictionary::bytes).sum::<usize>()
            + factors
    }
}

/// The ratings of some users, or of some items; the factors of the others come with each request.
struct OneSide {
    config: Arc<Config>,
    /// 0: users, 1: items.
    side: usize,
    count: u64,
    own: Dictionary,
    own_ipc: Vec<u8>,
    key: String,
    others: Dictionary,
    ratings: Rows,
    /// What is held out, and the other ratings, once a run needs it.
    split: Option<(Split, Rows)>,
    /// Places of this block's ids in dictionaries that came, by their checksums: of others, of its own.
    found: [Option<(String, Vec<u32>)>; 2],
}

impl OneSide {
    fn new(config: Arc<Config>, side: usize, own: Dictionary, others: Dictionary, ratings: Rows, count: u64) -> Result<Self> {
        let own_ipc = own.to_ipc()?;
        Ok(Self { config, side, count, key: checksum(&own_ipc), own, own_ipc, others, ratings, split: None, found: [None, None] })
    }

    /// Splits the ratings unless they are.
    fn split(&mut self) -> Result<()> {
        if self.split.is_none() {
            let (users, items) = if self.side == 0 { (&self.own, &self.others) } else { (&self.others, &self.own) };
            let split = Split::new(self.config.seed, users, items)?;
            let training = split.training(&self.ratings, self.side);
            self.split = Some((split, training));
        }
        Ok(())
    }

    /// The ratings of a run, once they are split.
    fn ratings(&self, part: Part) -> &Rows {
        match (&self.split, part) {
            (Some((_, training)), Part::Training) => training,
            _ => &self.ratings,
        }
    }

    /// The rows of a matrix that came which belong to this block's ids: those of others (0) or its own (1).
    fn pick(&mut self, which: usize, ids: &[u8], factors: &Factors) -> Result<Factors> {
        let key = checksum(ids);
        let dictionary = if which == 0 { &self.others } else { &self.own };
        let places = match self.found[which].take() {
            Some((known, places)) if known == key => places,
            _ => Dictionary::from_ipc(ids)?.places("id", dictionary.ids())?,
        };
        if places.iter().any(|place| *place == UNKNOWN || *place as usize >= factors.len()) {
            return Err(ModelError::bug("a request does not have all ids of the block"));
        }
        let picked = factors.take(&places);
        self.found[which] = Some((key, places));
        Ok(picked)
    }

    fn solve(&mut self, setup: Setup, parts: &[&[u8]], observer: &dyn Observer) -> Result<Vec<u8>> {
        let &[other_ids, others, gram, own_ids, own] = parts else { return Err(ModelError::bug("a request to solve rows lacks parts")) };
        if setup.part == Part::Training {
            self.split()?;
        }
        let config = setup.apply(&self.config);
        let dense = |bytes| Factors::from_bytes(config.rank, bytes);
        let factors = self.pick(0, other_ids, &dense(others))?;
        let before = if own_ids.is_empty() { None } else { Some(self.pick(1, own_ids, &dense(own))?) };
        let gram = if gram.is_empty() { None } else { Some(Gram { upper: f64::from_bytes(gram) }) };
        let ratings = self.ratings(setup.part);
        let step = HalfStep { config: &config, ratings, factors: &factors, gram: gram.as_ref(), before: before.as_ref() };
        let (solved, losses) = step.solve(observer)?;
        let (rows, losses, filled) = (solved.to_bytes(), f64::to_bytes(&losses), flags_to_bytes(&ratings.are_filled()));
        pack(Answer::Rows, &[self.key.as_bytes(), &rows, &losses, &filled])
    }

    /// Hands over what predicts ratings with the factors that came; with `split` only those that are held out count.
    fn predicting<T>(
        &mut self,
        (setup, sample): (Setup, u64),
        parts: &[&[u8]],
        with_split: bool,
        then: impl FnOnce(&Self, &Predicted<'_>) -> Result<T>,
    ) -> Result<T> {
        let &[item_ids, items, user_ids, users, known_items] = parts else {
            return Err(ModelError::bug("a request for ratings lacks parts"));
        };
        if with_split {
            self.split()?;
        }
        let config = setup.apply(&self.config);
        let dense = |bytes| Factors::from_bytes(config.rank, bytes);
        let items = dense(items);
        let known_items = flags_from_bytes(known_items);
        if with_split && known_items.len() != items.len() {
            return Err(ModelError::bug("a request for ratings does not say of all items whether they are known"));
        }
        // For the places of this block's items among all.
        self.pick(0, item_ids, &items)?;
        let users = self.pick(1, user_ids, &dense(users))?;
        let Some((_, places)) = &self.found[0] else { return Err(ModelError::bug("a block without places")) };
        let (keys, places) = (self.own.random_keys()?, Some(places.as_slice()));
        let known = self.split.as_ref().filter(|_| with_split).map(|(split, training)| (split, training.are_filled()));
        let held_out = known.as_ref().map(|(split, known_users)| HeldOut { split, users: known_users, items: &known_items });
        let (config, ratings, users, items, keys) = (&config, &self.ratings, &users, &items, &keys);
        then(self, &Predicted { config, ratings, users, items, places, keys, sample, held_out })
    }

    fn rated(&mut self, run: (Setup, u64), parts: &[&[u8]]) -> Result<Vec<u8>> {
        self.predicting(run, parts, false, |block, predicted| {
            let [errors, rankings] = predicted.measure().to_bytes();
            let places = predicted.places.unwrap_or_default();
            let rated: Vec<u32> = block.ratings.others.iter().map(|other| places[*other as usize]).collect();
            let parts = [
                errors,
                rankings,
                f32::to_bytes(&absolutes(predicted)),
                f32::to_bytes(&block.ratings.values),
                u64::to_bytes(&row_lengths(&block.ratings)),
                u32::to_bytes(&rated),
            ];
            let parts: Vec<&[u8]> = std::iter::once(block.key.as_bytes()).chain(parts.iter().map(Vec::as_slice)).collect();
            pack(Answer::Rated, &parts)
        })
    }

    fn held_out(&mut self, run: (Setup, u64), parts: &[&[u8]]) -> Result<Vec<u8>> {
        self.predicting(run, parts, true, |block, predicted| {
            let [errors, rankings] = predicted.measure().to_bytes();
            pack(Answer::HeldOut, &[block.key.as_bytes(), &errors, &rankings])
        })
    }
}

impl Block for OneSide {
    fn pass(&mut self, request: &[u8], observer: &dyn Observer) -> Result<Vec<u8>> {
        let (request, parts) = unpack_any::<Request>(request)?;
        match request {
            Request::Ids => pack(Answer::Ids { whole: false }, &[&self.own_ipc, &self.count.to_le_bytes()]),
            Request::Weights(setup) => {
                if setup.part == Part::Training {
                    self.split()?;
                }
                let weights = row_weights(&setup.apply(&self.config), self.ratings(setup.part));
                pack(Answer::Weights, &[self.key.as_bytes(), &f64::to_bytes(&weights)])
            }
            Request::Solve(setup) => self.solve(setup, &parts, observer),
            Request::Rated { setup, sample } => self.rated((setup, sample), &parts),
            Request::HeldOut { setup, sample, .. } => self.held_out((setup, sample), &parts),
            other => Err(ModelError::bug(format!("{other:?} of a block that has some rows"))),
        }
    }

    fn bytes(&self) -> usize {
        let training = self.split.as_ref().map_or(0, |(_, training)| training.bytes());
        self.ratings.bytes()
            + training
            + self.own.bytes()
            + self.others.bytes()
            + self.own_ipc.len()
            + (self.own.len() + self.others.len()) * 4
    }
}
