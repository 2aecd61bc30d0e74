//! Takes the samples of the joins that were found, and says which keys of which are to be salted.

use std::sync::Arc;

use datafusion::common::{JoinSide, NullEquality, Result};
use datafusion::execution::TaskContext;

use super::candidates::{Candidate, JoinId};
use super::count_keys::{FrequentKey, KeyCounts};
use super::deal_salts::deal_salts;
use crate::operators::hot_keys::HotKey;
use crate::planner::hints::Tracked;

/// Frequent keys of a join.
#[derive(Debug)]
pub(super) struct Found {
    pub join: JoinId,
    pub salted: JoinSide,
    pub hot: Arc<[HotKey]>,
    /// Hints that asked for it, and what they are told.
    pub hints: Vec<Tracked>,
    pub note: String,
}

/// What samples of the candidates tell; their hints are told where that is nothing.
pub(super) async fn sample_joins(candidates: Vec<Candidate>, context: Arc<TaskContext>) -> Vec<Found> {
    let mut all = Vec::new();
    for candidate in candidates {
        match sample(&candidate, &context).await {
            Ok(Ok(found)) => all.push(found),
            Ok(Err(why)) => candidate.hints.iter().for_each(|hint| hint.ignored(why.clone())),
            // Whatever is wrong, the statement itself comes upon it and says where.
            Err(error) => {
                tracing::debug!(%error, "a join was not sampled");
                candidate.hints.iter().for_each(|hint| hint.ignored("no sample of its rows could be taken"));
            }
        }
    }
    all
}

/// The keys to be salted, or why there are none.
async fn sample(candidate: &Candidate, context: &Arc<TaskContext>) -> Result<Result<Found, String>> {
    let tells_nulls = candidate.null_equality == NullEquality::NullEqualsNothing;
    let counts = KeyCounts::of(candidate.sampled.read(context).await?, tells_nulls)?;
    let frequent = counts.frequent(candidate.partitions);
    if frequent.is_empty() {
        let percent = counts.largest_share() * 100.0;
        return Ok(Err(format!("no key is frequent: of {} sampled rows, none has more than {percent:.2} %", counts.rows)));
    }
    let keys: Vec<FrequentKey> = frequent.into_iter().filter(|key| key.has_null || candidate.can_replicate()).collect();
    if keys.is_empty() {
        let join_type = candidate.join_type;
        return Ok(Err(format!("a {join_type} join needs to know which rows of its other side have found no match")));
    }
    let most = most_pieces(&keys, candidate, context, tells_nulls).await?;
    let salts = deal_salts(&keys, most, candidate.partitions)?;
    let share: f64 = keys.iter().map(|key| key.share).sum();
    let hot: Vec<HotKey> = keys
        .into_iter()
        .zip(salts)
        .filter(|(_, salts)| !salts.is_empty())
        .map(|(key, salts)| HotKey { hash: key.hash, salts, matches_nothing: key.has_null })
        .collect();
    let note = format!("hot_keys={}, {:.0} % of {} sampled rows", hot.len(), share * 100.0, counts.rows);
    let (join, hints) = (candidate.join.clone(), candidate.hints.clone());
    Ok(Ok(Found { join, salted: candidate.salted, hot: hot.into(), hints, note }))
}

/// Into how many pieces a key may be cut: the copies of the other side's rows must not be many more than it has rows in all.
async fn most_pieces(keys: &[FrequentKey], candidate: &Candidate, context: &Arc<TaskContext>, tells_nulls: bool) -> Result<usize> {
    let Some(other) = candidate.other.as_ref().filter(|_| keys.iter().any(|key| !key.has_null)) else { return Ok(candidate.partitions) };
    let counts = KeyCounts::of(other.read(context).await?, tells_nulls)?;
    let share: f64 = keys.iter().filter(|key| !key.has_null).map(|key| counts.share(key)).sum();
    let is_cheap = share * candidate.partitions as f64 <= 1.0;
    Ok(if is_cheap { candidate.partitions } else { (1.0 / share) as usize })
}
