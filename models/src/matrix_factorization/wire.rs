//! Requests and partial results as bytes: a head, and long arrays of numbers behind it.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::config::{Config, Feedback, Solver};
use crate::model_file::little_endian;
use crate::{ModelError, Result};

/// Which ratings a run is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// All.
    All,
    /// Those that are not held out to compare trials.
    Training,
}

/// What may differ from one run of a training to the next.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Setup {
    /// Number of factors.
    pub rank: usize,
    /// Weight of squared factors.
    pub l2_reg: f64,
    /// What ratings are.
    pub feedback: Feedback,
    /// How rows are solved.
    pub solver: Solver,
    /// The ratings.
    pub part: Part,
}

impl Setup {
    /// With these options, on some of the ratings.
    pub fn of(config: &Config, part: Part) -> Self {
        let Config { rank, l2_reg, feedback, solver, .. } = *config;
        Self { rank, l2_reg, feedback, solver, part }
    }

    /// The options of a training for this run.
    pub fn apply(&self, config: &Config) -> Config {
        let Self { rank, l2_reg, feedback, solver, .. } = *self;
        Config { rank, l2_reg, feedback, solver, ..config.clone() }
    }
}

/// What a pass is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// The ids of the side by whose ids the layout divides rows. Parts of the answer: [`Answer::Ids`].
    Ids,
    /// What the block's rows weigh in the loss of a run. Answer: [`Answer::Weights`].
    Weights(Setup),
    /// Brings a run that lies in one block to the end of an iteration (0: the factors to begin with). Answer: [`Answer::Loss`].
    Iterate {
        /// How many iterations there have been then.
        iteration: u32,
        /// The run.
        setup: Setup,
    },
    /// All that a run in one block led to after so many iterations. Answer: [`Answer::Result`].
    Result {
        /// How many.
        iteration: u32,
        /// The run.
        setup: Setup,
    },
    /// The factors of the block's rows. Parts: the other side's ids and factors, its Gram matrix (may be empty), this side's ids and factors (may be empty).
    /// Answer: [`Answer::Rows`].
    Solve(Setup),
    /// What the block's users rated, and how well it is predicted. Parts: ids and factors of items, ids and factors of users, a part that is empty. Answer:
    /// [`Answer::Rated`].
    Rated {
        /// The run.
        setup: Setup,
        /// Users whose key is not above it are ranked for.
        sample: u64,
    },
    /// How well what is held out is predicted. Parts: none of a run in one block, else those of [`Request::Rated`], the last one saying of each item whether it
    /// has ratings that were trained on. Answer: [`Answer::HeldOut`].
    HeldOut {
        /// Iterations of a run in one block.
        iteration: u32,
        /// The run.
        setup: Setup,
        /// Users whose key is not above it are ranked for.
        sample: u64,
    },
}

/// What a block answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Parts: ids (none of a block that has everything), rows gathered (then items as well of a block that has everything).
    Ids {
        /// All rows of all layouts lie in this block.
        whole: bool,
    },
    /// Parts: the checksum of the block's ids (empty of a block that has everything), weights of the rows in the loss.
    Weights,
    /// Parts: the loss.
    Loss,
    /// Parts: ids, factors of users, ids, factors of items, errors of each user, their rankings (none of explicit feedback), what ratings look like with the
    /// median of the absolute errors, how many ratings each user has, places of the items rated.
    Result,
    /// Parts: the checksum of the block's ids, factors, losses, whether each row has ratings.
    Rows,
    /// Parts: the checksum of the block's ids, errors of each row, rankings of each row (none of explicit feedback), absolute errors of all ratings (none of
    /// implicit feedback), the ratings, how many ratings each row has, places of the items rated.
    Rated,
    /// Parts: the checksum of the block's ids (empty of a block that has everything), errors of each row's ratings that are held out, their rankings (none of
    /// explicit feedback).
    HeldOut,
}

#[derive(Serialize, Deserialize)]
struct Head<T> {
    what: T,
    lengths: Vec<u64>,
}

/// A message of a head and parts.
///
/// # Errors
/// A head that cannot be written.
pub fn pack<T: Serialize>(what: T, parts: &[&[u8]]) -> Result<Vec<u8>> {
    let head = Head { what, lengths: parts.iter().map(|part| part.len() as u64).collect() };
    let head = postcard::to_allocvec(&head).map_err(|e| ModelError::bug(format!("a message of training: {e}")))?;
    let mut message = Vec::with_capacity(4 + head.len() + parts.iter().map(|part| part.len()).sum::<usize>());
    message.extend_from_slice(&(head.len() as u32).to_le_bytes());
    message.extend_from_slice(&head);
    for part in parts {
        message.extend_from_slice(part);
    }
    Ok(message)
}

/// Head and parts of a message.
///
/// # Errors
/// Bytes that [`pack`] did not make, or another number of parts.
pub fn unpack<T: DeserializeOwned, const N: usize>(message: &[u8]) -> Result<(T, [&[u8]; N])> {
    let (what, parts) = unpack_any(message)?;
    let count = parts.len();
    Ok((what, parts.try_into().map_err(|_| damaged(format!("{count} parts instead of {N}")))?))
}

/// Head and parts of a message, however many.
///
/// # Errors
/// Bytes that [`pack`] did not make.
pub fn unpack_any<T: DeserializeOwned>(message: &[u8]) -> Result<(T, Vec<&[u8]>)> {
    let (length, rest) = message.split_first_chunk::<4>().ok_or_else(|| damaged("it ends early"))?;
    let (head, mut rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(|| damaged("it ends early"))?;
    let head: Head<T> = postcard::from_bytes(head).map_err(damaged)?;
    let mut parts = Vec::with_capacity(head.lengths.len());
    for length in head.lengths {
        let (part, after) = rest.split_at_checked(length as usize).ok_or_else(|| damaged("it ends early"))?;
        parts.push(part);
        rest = after;
    }
    Ok((head.what, parts))
}

fn damaged(what: impl std::fmt::Display) -> ModelError {
    ModelError::bug(format!("a message of training is damaged: {what}"))
}

/// A part that is no array of numbers.
///
/// # Errors
/// What cannot be written.
pub fn encode(what: &impl Serialize) -> Result<Vec<u8>> {
    postcard::to_allocvec(what).map_err(damaged)
}

/// What [`encode`] was given.
///
/// # Errors
/// Bytes that it did not make.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    postcard::from_bytes(bytes).map_err(damaged)
}

/// Flags as bytes.
pub fn flags_to_bytes(flags: &[bool]) -> Vec<u8> {
    flags.iter().copied().map(u8::from).collect()
}

/// What [`flags_to_bytes`] gave.
pub fn flags_from_bytes(bytes: &[u8]) -> Vec<bool> {
    bytes.iter().map(|flag| *flag != 0).collect()
}

/// An answer to another request.
pub fn unexpected(answer: Answer) -> ModelError {
    damaged(format!("unexpected {answer:?}"))
}

/// Numbers as bytes and back.
pub trait Number: Sized + Copy {
    /// Little-endian bytes.
    fn to_bytes(values: &[Self]) -> Vec<u8>;
    /// Numbers of little-endian bytes.
    fn from_bytes(bytes: &[u8]) -> Vec<Self>;
}

macro_rules! number {
    ($type:ty) => {
        impl Number for $type {
            fn to_bytes(values: &[Self]) -> Vec<u8> {
                little_endian(values, Self::to_le_bytes)
            }

            fn from_bytes(bytes: &[u8]) -> Vec<Self> {
                bytes.as_chunks::<{ size_of::<Self>() }>().0.iter().map(|bytes| Self::from_le_bytes(*bytes)).collect()
            }
        }
    };
}

number!(f32);
number!(f64);
number!(u32);
number!(u64);
