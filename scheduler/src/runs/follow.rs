//! A run as a stream of events: those that have been, then those that come, with the newest progress in between.

use std::io;
use std::sync::Arc;

use futures::Stream;
use orrery_proto::v1::RunEvent;
use tokio::sync::watch;

use super::event_log::EventReader;
use super::run::{News, Run};

struct Follower {
    /// Kept so that the run's files stay while they are read.
    _run: Arc<Run>,
    events: EventReader,
    news: watch::Receiver<News>,
    after: u64,
    /// The last event has been handed out.
    read: u64,
}

/// Events of `run` after the sequence number `after`; ends with the run.
pub(crate) fn follow(run: &Arc<Run>, after: u64) -> io::Result<impl Stream<Item = io::Result<RunEvent>> + Send + use<>> {
    let follower = Follower { _run: Arc::clone(run), events: run.events()?, news: run.news(), after, read: 0 };
    Ok(futures::stream::try_unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Ok(event.map(|event| (event, follower)))
    }))
}

impl Follower {
    async fn next(&mut self) -> io::Result<Option<RunEvent>> {
        loop {
            let news = self.news.borrow_and_update().clone();
            while self.read < news.sequence {
                let Some(event) = self.events.next()? else { break };
                self.read = event.sequence;
                if event.sequence > self.after {
                    return Ok(Some(event));
                }
            }
            if news.is_over && self.read >= news.sequence {
                return Ok(None);
            }
            if self.news.changed().await.is_err() {
                return Ok(None);
            }
            let news = self.news.borrow();
            if let Some(progress) = news.progress.clone().filter(|_| news.sequence == self.read) {
                return Ok(Some(progress));
            }
        }
    }
}
