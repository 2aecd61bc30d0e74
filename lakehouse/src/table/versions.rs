//! Time travel: the same table at an earlier version or time.

use std::sync::Arc;

use chrono::{DateTime, Duration, SecondsFormat, Utc};
use futures::{StreamExt, TryStreamExt};

use super::Table;
use super::history::summarize;
use crate::error::Result;
use crate::log::CommitFile;

const READ_CONCURRENCY: usize = 16;

impl Table {
    /// The same table at version `version`. A version that never existed or has expired is an error that says which versions exist.
    pub async fn at_version(&self, version: u64) -> Result<Arc<Table>> {
        let commits = self.log.commits(0).await?;
        let newest = commits.last().map_or(self.version(), |commit| commit.version);
        let earliest = self.earliest_version(&commits).await?;
        if !(earliest..=newest).contains(&version) {
            return Err(self.invalid_time(format!("has no version {version}: its versions are {earliest} to {newest}")));
        }
        let snapshot = self.log.snapshot(Some(version)).await?;
        Table::new(self.log.clone(), snapshot, &commits).map(Arc::new)
    }

    /// The same table as it was at `timestamp`: the last version committed at or before it. A time before the first version is an error; a time after the
    /// last gives the last.
    pub async fn at_timestamp(&self, timestamp: DateTime<Utc>) -> Result<Arc<Table>> {
        let commits = self.log.commits(0).await?;
        let earliest = self.earliest_version(&commits).await?;
        let times = self.commit_times(commits.iter().filter(|commit| commit.version >= earliest)).await?;
        match times.iter().rev().find(|(_, time)| *time <= timestamp) {
            Some((version, _)) => self.at_version(*version).await,
            None => {
                let shown = |time: &DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Millis, true);
                let first = times.first().map(|(version, time)| format!("its earliest version is {version}, from {}", shown(time)));
                Err(self.invalid_time(format!(
                    "has no version as of {}: {}",
                    shown(&timestamp),
                    first.unwrap_or_else(|| "it has no commits".into())
                )))
            }
        }
    }

    /// The earliest version that can still be read: 0, or that of the first checkpoint when commits before it have expired.
    async fn earliest_version(&self, commits: &[CommitFile]) -> Result<u64> {
        if commits.first().is_none_or(|first| first.version == 0) {
            return Ok(0);
        }
        Ok(self.log.checkpoint_versions().await?.first().copied().unwrap_or(0))
    }

    /// Versions with the times at which they were committed, ascending in both even where clocks were not.
    async fn commit_times<'a>(&self, commits: impl Iterator<Item = &'a CommitFile>) -> Result<Vec<(u64, DateTime<Utc>)>> {
        let recorded = self.properties.get("delta.enableInCommitTimestamps").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let mut times: Vec<(u64, DateTime<Utc>)> = if recorded {
            let reads: Vec<_> = commits.cloned().map(|commit| summarize(&self.log, commit)).collect();
            futures::stream::iter(reads)
                .buffered(READ_CONCURRENCY)
                .map_ok(|summary| (summary.version, summary.timestamp))
                .try_collect()
                .await?
        } else {
            commits.map(|commit| (commit.version, commit.modified)).collect()
        };
        for index in 1..times.len() {
            let after_previous = times[index - 1].1 + Duration::milliseconds(1);
            times[index].1 = times[index].1.max(after_previous);
        }
        Ok(times)
    }
}
