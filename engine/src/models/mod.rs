//! Models as objects of the warehouse: what is known of a version, how it is named, where its file lies.
//!
//! The mathematics is the crate `orrery_models`; here are the registry, training on a backend and scoring within plans.

pub mod blocks;
pub mod cache;
pub(crate) mod errors;
pub mod live;
pub mod record;
pub mod reference;
pub mod registry;
pub(crate) mod resolved;
pub mod scoring;
pub(crate) mod training_spec;

pub use record::{ModelRecord, SourceTable};
pub use reference::{ModelReference, Selector};
pub use registry::Registry;
