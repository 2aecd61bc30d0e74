//! Generates data sets that stand in for real ones, so that the pipelines can be tried and measured without downloading anything.
//!
//! The great one is [`generate_clickstream`]: the raw events of an online shop over October 2019, in the shape of the public REES46 data set and
//! with its marginals (see [`profile`]), for any number of events. [`generate_black_friday`] and [`generate_customer_personality`] make one small
//! table each.
//!
//! The way of an event through the crate: [`profile`] says how many of everything there are and when they happen, [`catalogue`] which products
//! exist, [`population`] which user a session belongs to, [`events`] makes the sessions of one slice of time, [`pipeline`] merges the slices
//! into one stream in time order and cuts it into files and chunks, [`rows`] and [`dirt`] turn events into raw rows, [`writer`] encodes them.
//!
//! Everything derives from the seed by integer operations and by floating-point additions, multiplications, divisions and square roots, which
//! are exact on every machine; no result depends on how many threads run or in what order they finish.

mod black_friday;
mod catalogue;
mod customer_personality;
mod dirt;
mod distribution;
mod error;
mod events;
mod layout;
mod options;
mod pipeline;
mod population;
mod profile;
mod quotas;
mod randomness;
mod rows;
mod table;
mod writer;

pub use black_friday::generate_black_friday;
pub use customer_personality::generate_customer_personality;
pub use error::Error;
pub use options::{ClickstreamOptions, Format, MAXIMUM_EVENTS, Progress, Summary};
pub use pipeline::generate_clickstream;
pub use table::{MAXIMUM_ROWS, TableOptions};
