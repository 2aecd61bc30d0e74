//! How a session decides about skewed joins, and what a statement that is being planned has found out about its own.

use std::sync::Arc;

use datafusion::prelude::SessionConfig;
use parking_lot::Mutex;

use super::candidates::{Candidate, JoinId};
use super::sample_joins::Found;
use crate::planner::options::OrreryOptions;

/// Bytes of files below the larger side of a join from which on it is sampled unasked: below, the join is over before a sample of it would pay.
const SKEWED_JOIN_MIN_BYTES: u64 = 128 << 20;

/// A session's setting, with the state of one statement's planning.
#[derive(Debug, Clone)]
pub struct SkewOptions {
    /// See [`OrreryOptions`].
    pub(in crate::planner) skewed_join_min_bytes: u64,
    /// Where the rule leaves the joins that are worth a sample; `None` where nobody would take one.
    candidates: Option<Arc<Mutex<Vec<Candidate>>>>,
    found: Arc<[Found]>,
}

impl Default for SkewOptions {
    fn default() -> Self {
        Self { skewed_join_min_bytes: SKEWED_JOIN_MIN_BYTES, candidates: None, found: Arc::new([]) }
    }
}

impl SkewOptions {
    /// Puts an empty list for candidates into the configuration of one statement.
    pub(super) fn collect_in(config: &mut SessionConfig) {
        Self { candidates: Some(Arc::default()), found: Arc::new([]), ..Self::of(config) }.put_into(config);
    }

    /// The candidates of the last planning, which are forgotten.
    pub(super) fn take_candidates(config: &SessionConfig) -> Vec<Candidate> {
        Self::of(config).candidates.as_ref().map(|candidates| std::mem::take(&mut *candidates.lock())).unwrap_or_default()
    }

    /// Has the next planning salt what was found, and look for no more.
    pub(super) fn put_found(config: &mut SessionConfig, found: Vec<Found>) {
        Self { candidates: None, found: found.into(), ..Self::of(config) }.put_into(config);
    }

    fn of(config: &SessionConfig) -> Self {
        OrreryOptions::of(config.options()).map(|options| options.skewed_joins.clone()).unwrap_or_default()
    }

    fn put_into(self, config: &mut SessionConfig) {
        let options = OrreryOptions::of(config.options()).cloned().unwrap_or_default();
        config.options_mut().extensions.insert(OrreryOptions { skewed_joins: self, ..options });
    }

    pub(super) fn takes_candidates(&self) -> bool {
        self.candidates.is_some()
    }

    pub(super) fn add(&self, candidate: Candidate) {
        if let Some(candidates) = &self.candidates {
            candidates.lock().push(candidate);
        }
    }

    /// What is known about a join.
    pub(super) fn found(&self, join: &JoinId) -> Option<&Found> {
        self.found.iter().find(|found| found.join == *join)
    }

    pub(super) fn has_found(&self) -> bool {
        !self.found.is_empty()
    }
}
