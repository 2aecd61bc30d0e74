//! Work that was asked for and its rows: carried out in a task of its own, watched by whoever asked, stopped when nobody is interested any more.
//!
//! ```text
//!   statements ──► Outcome::Rows ──► pump ──► a few batches ──► whoever has the ticket
//!                  Outcome::Written ──► count
//! ```
//!
//! The pump works ahead of the reader by a few batches and no more, so a result of any size takes the same memory, however slow its reader is.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::execution::SendableRecordBatchStream;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use orrery_engine::Error;
use orrery_engine::session::{PreparedStatement, Progress, Session, Tracker};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;

use crate::{status, wire};

/// Batches that may wait for their reader.
const BATCHES_AHEAD: usize = 4;

/// What the last statement of some work led to.
pub(crate) enum Last {
    /// Rows to be fetched.
    Rows(Box<Stream>),
    /// So many rows were written; none of them is shown.
    Count(i64),
}

/// Rows of a statement, and what is needed to explain an error among them.
pub(crate) struct Stream {
    pub session: Arc<Session>,
    pub statement: Arc<PreparedStatement>,
    pub tracker: Arc<Tracker>,
    pub rows: SendableRecordBatchStream,
}

/// What is known of a result before its rows are read.
#[derive(Debug, Clone)]
pub(crate) struct Ready {
    /// Its columns; none if the statement gives no rows.
    pub schema: SchemaRef,
    /// Rows that were written, where that is what the statement does.
    pub count: Option<i64>,
}

#[derive(Clone)]
enum State {
    Working,
    /// The columns are known.
    Ready(Ready),
    /// Rows are there, or it is known that there are none.
    Flowing(Ready),
    /// All rows have been handed to the reader.
    Complete(Ready),
    Failed(Status),
}

/// Where work is done.
#[derive(Clone)]
pub(crate) struct Place {
    /// Those who work, so that their end can be waited for.
    pub tasks: TaskTracker,
    /// How long rows wait for their reader.
    pub patience: Duration,
}

/// How far some work is, for the task that does it and those who wait for it.
pub(crate) struct Course {
    state: watch::Sender<State>,
    cancel: CancellationToken,
    tracker: Mutex<Arc<Tracker>>,
}

impl Course {
    /// What follows the next statement.
    pub fn begin_statement(&self) -> Arc<Tracker> {
        let tracker = Arc::new(Tracker::default());
        *self.tracker.lock() = Arc::clone(&tracker);
        if self.cancel.is_cancelled() {
            tracker.cancel();
        }
        tracker
    }

    fn set(&self, state: State) {
        self.state.send_replace(state);
    }

    fn cancel(&self) {
        self.cancel.cancel();
        self.tracker.lock().cancel();
    }
}

/// See the module documentation. Dropping it stops the work.
pub(crate) struct Running {
    course: Arc<Course>,
    rows: Mutex<Option<mpsc::Receiver<Result<RecordBatch, Status>>>>,
    /// When somebody asked for it last.
    asked: Mutex<Instant>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.course.cancel();
    }
}

impl Running {
    /// Starts some work. Rows that are not read for as long as the place's patience are given up.
    pub fn start<F>(place: &Place, work: F) -> Arc<Self>
    where
        F: FnOnce(Arc<Course>) -> BoxFuture<'static, Result<Last, Status>>,
    {
        let course =
            Arc::new(Course { state: watch::Sender::new(State::Working), cancel: CancellationToken::new(), tracker: Mutex::default() });
        let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
        let work = work(Arc::clone(&course));
        let doing = Arc::clone(&course);
        let patience = place.patience;
        let mut work = Box::pin(async move {
            let done = AssertUnwindSafe(to_end(work, &doing, sender, patience)).catch_unwind().await;
            if done.is_err() {
                doing
                    .set(State::Failed(Status::internal("the statement ended in a defect of Orrery; please report it with the statement")));
            }
        });
        // What waits for nothing, as a query of few rows in memory, is done here and now, without waking anybody up for it.
        if work.as_mut().now_or_never().is_none() {
            place.tasks.spawn(work);
        }
        Arc::new(Self { course, rows: Mutex::new(Some(receiver)), asked: Mutex::new(Instant::now()) })
    }

    /// Waits until the columns of the result are known.
    ///
    /// # Errors
    /// The work failed.
    pub async fn ready(&self) -> Result<Ready, Status> {
        self.wait(|state| !matches!(state, State::Working)).await
    }

    /// Waits until there is something to fetch.
    ///
    /// # Errors
    /// The work failed.
    pub async fn flowing(&self) -> Result<Ready, Status> {
        self.wait(|state| matches!(state, State::Flowing(_) | State::Complete(_) | State::Failed(_))).await
    }

    async fn wait(&self, enough: impl FnMut(&State) -> bool) -> Result<Ready, Status> {
        let mut states = self.course.state.subscribe();
        let state = states.wait_for(enough).await.map_err(|_| Status::internal("the statement is gone"))?;
        *self.asked.lock() = Instant::now();
        match &*state {
            State::Ready(ready) | State::Flowing(ready) | State::Complete(ready) => Ok(ready.clone()),
            State::Failed(status) => Err(status.clone()),
            State::Working => Err(Status::internal("the statement has not begun")),
        }
    }

    /// Runs to the end and returns how many rows were written; -1 if rows were read instead.
    ///
    /// # Errors
    /// The work failed.
    pub async fn count(self: &Arc<Self>) -> Result<i64, Status> {
        let ready = self.ready().await?;
        if let Some(count) = ready.count {
            return Ok(count);
        }
        if let Some(mut rows) = self.take_rows() {
            while let Some(batch) = rows.next().await {
                batch?;
            }
        }
        Ok(-1)
    }

    /// The rows, once; reading them keeps the work going.
    pub fn take_rows(self: &Arc<Self>) -> Option<BoxStream<'static, Result<RecordBatch, Status>>> {
        let receiver = self.rows.lock().take()?;
        let state = Some((receiver, Arc::clone(self)));
        let rows = futures::stream::unfold(state, |state| async move {
            let (mut receiver, running) = state?;
            match receiver.recv().await {
                Some(Ok(batch)) => Some((Ok(batch), Some((receiver, running)))),
                Some(Err(error)) => Some((Err(error), None)),
                // The end of the channel is the end of the rows only if the work says so.
                None => {
                    let ended = running.wait(|state| matches!(state, State::Complete(_) | State::Failed(_))).await;
                    ended.err().map(|error| (Err(error), None))
                }
            }
        });
        Some(rows.boxed())
    }

    /// Whether somebody has begun to read the rows.
    pub fn is_read(&self) -> bool {
        self.rows.lock().is_none()
    }

    /// Whether it is done but for being read, so that nobody works on it any more.
    pub fn is_waiting(&self) -> bool {
        !matches!(&*self.course.state.borrow(), State::Working)
    }

    /// How long ago somebody asked for it.
    pub fn age(&self) -> Duration {
        self.asked.lock().elapsed()
    }

    /// Stops the work; what it wrote and had not committed is removed.
    pub fn cancel(&self) {
        self.course.cancel();
    }

    /// How much of the present statement is done, from 0 to 1; `None` while that cannot be told.
    pub fn progress(&self) -> Option<f64> {
        let tracker = Arc::clone(&self.course.tracker.lock());
        tracker.read().and_then(|progress| fraction(&progress))
    }
}

/// The part of a statement that is done.
fn fraction(progress: &Progress) -> Option<f64> {
    let part = |done: f64, total: f64| (total > 0.0).then(|| (done / total).clamp(0.0, 1.0));
    if let Some(training) = &progress.training {
        return part(f64::from(training.iterations), f64::from(training.iterations_total));
    }
    if let Some(tasks) = &progress.tasks
        && tasks.total > 0
    {
        return part(f64::from(tasks.done), f64::from(tasks.total));
    }
    part(progress.rows_read as f64, progress.rows_total? as f64)
}

async fn to_end(
    work: BoxFuture<'static, Result<Last, Status>>,
    course: &Course,
    sender: mpsc::Sender<Result<RecordBatch, Status>>,
    patience: Duration,
) {
    match work.await {
        Err(status) => course.set(State::Failed(status)),
        Ok(Last::Count(count)) => course.set(State::Complete(Ready { schema: Arc::new(Schema::empty()), count: Some(count) })),
        Ok(Last::Rows(stream)) => {
            let ready = Ready { schema: wire::schema(&stream.rows.schema()), count: None };
            course.set(State::Ready(ready.clone()));
            match pump(*stream, &ready, course, &sender, patience).await {
                Ok(()) => course.set(State::Complete(ready)),
                Err(status) => course.set(State::Failed(status)),
            }
        }
    }
}

/// Hands rows to their reader until there are no more.
async fn pump(
    stream: Stream,
    ready: &Ready,
    course: &Course,
    sender: &mpsc::Sender<Result<RecordBatch, Status>>,
    patience: Duration,
) -> Result<(), Status> {
    let Stream { session, statement, tracker, mut rows } = stream;
    let (session, text, tracker) = (&session, statement.text(), &tracker);
    let explain = |error: Error| async move { status::of_error(&session.explain_error(error, text, tracker).await) };
    let mut flows = false;
    loop {
        let batch = tokio::select! {
            biased;
            () = course.cancel.cancelled() => return Err(status::of_error(&Error::interrupted())),
            () = sender.closed() => return Err(Status::cancelled("the reader of the rows is gone")),
            batch = rows.next() => batch,
        };
        let batch = match batch {
            None => return Ok(()),
            Some(Ok(batch)) if batch.num_rows() == 0 => continue,
            Some(Ok(batch)) => batch,
            Some(Err(error)) => return Err(explain(error.into()).await),
        };
        let parts = match wire::conform(&batch, &ready.schema) {
            Ok(parts) => parts,
            Err(error) => return Err(explain(error.into()).await),
        };
        for part in parts {
            let sent = tokio::select! {
                biased;
                () = course.cancel.cancelled() => return Err(status::of_error(&Error::interrupted())),
                sent = tokio::time::timeout(patience, sender.send(Ok(part))) => sent,
            };
            match sent {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(Status::cancelled("the reader of the rows is gone")),
                Err(_) => {
                    return Err(Status::aborted(format!("nobody read the rows for {} s; run the statement again", patience.as_secs())));
                }
            }
            if !flows {
                flows = true;
                course.set(State::Flowing(ready.clone()));
            }
        }
    }
}
