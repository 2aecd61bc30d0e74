//! Bytes to an object while they are being produced: small objects in one put, larger ones in parts that travel while the next part is encoded.

use bytes::Bytes;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload};
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::live::LiveTask;

/// Bytes per part, and the size up to which an object is put in one request.
const PART_SIZE: usize = 8 * 1024 * 1024;
/// Parts in flight before the writer waits.
const MAX_PARTS_IN_FLIGHT: usize = 4;

/// An object being written. Nothing is visible under its path before [`finish`](Self::finish); dropping it gives the upload up.
pub(super) struct Upload {
    store: Arc<dyn ObjectStore>,
    path: Path,
    waiting: Vec<Bytes>,
    waiting_bytes: usize,
    parts: Option<Parts>,
    /// Keeps the write from counting as ended before an abandoned upload is gone.
    live: LiveTask,
}

impl Upload {
    pub fn new(store: Arc<dyn ObjectStore>, path: Path, live: LiveTask) -> Self {
        Self { store, path, waiting: Vec::new(), waiting_bytes: 0, parts: None, live }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes held in memory that have not been handed to the store.
    pub fn buffered(&self) -> usize {
        self.waiting_bytes
    }

    /// Takes bytes over; waits only when too many parts are in flight.
    pub async fn push(&mut self, bytes: Bytes) -> object_store::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        if self.parts.is_none() {
            self.waiting_bytes += bytes.len();
            self.waiting.push(bytes);
            if self.waiting_bytes <= PART_SIZE {
                return Ok(());
            }
            self.parts = Some(Parts { upload: self.start().await?, in_flight: JoinSet::new(), next: Vec::new(), next_bytes: 0 });
        } else {
            self.waiting.push(bytes);
        }
        self.waiting_bytes = 0;
        let waiting = std::mem::take(&mut self.waiting);
        if let Some(parts) = &mut self.parts {
            waiting.into_iter().for_each(|bytes| parts.put(bytes));
            parts.wait_for_capacity(MAX_PARTS_IN_FLIGHT).await?;
        }
        Ok(())
    }

    /// Begins an upload in parts. Whoever waits for it may be cancelled meanwhile; the upload is given up then.
    async fn start(&mut self) -> object_store::Result<Box<dyn MultipartUpload>> {
        let (store, path, live) = (Arc::clone(&self.store), self.path.clone(), self.live.clone());
        let (started, waiting) = oneshot::channel();
        tokio::spawn(async move {
            if let Err(Ok(mut upload)) = started.send(store.put_multipart(&path).await)
                && let Err(error) = upload.abort().await
            {
                tracing::debug!(%error, "an unfinished upload could not be given up");
            }
            drop(live);
        });
        waiting.await.unwrap_or_else(|lost| Err(object_store::Error::Generic { store: "upload", source: Box::new(lost) }))
    }

    /// Completes the object, which then appears whole. Once begun this goes on even if whoever waits for it is cancelled: half
    /// an object could not be found and removed, a whole one can.
    pub async fn finish(mut self) -> object_store::Result<()> {
        let (store, path, live) = (Arc::clone(&self.store), self.path.clone(), self.live.clone());
        let (parts, waiting) = (self.parts.take(), std::mem::take(&mut self.waiting));
        let finished = tokio::spawn(async move {
            let finished = match parts {
                Some(parts) => parts.finish().await,
                None => store.put(&path, PutPayload::from_iter(waiting)).await.map(|_| ()),
            };
            drop(live);
            finished
        });
        finished.await.unwrap_or_else(|lost| Err(object_store::Error::JoinError { source: lost }))
    }
}

/// The parts of a large object, all of [`PART_SIZE`] bytes but the last. object_store's own writer of parts drops an upload
/// whose last parts fail without giving it up.
struct Parts {
    upload: Box<dyn MultipartUpload>,
    in_flight: JoinSet<object_store::Result<()>>,
    next: Vec<Bytes>,
    next_bytes: usize,
}

impl Parts {
    fn put(&mut self, mut bytes: Bytes) {
        while self.next_bytes + bytes.len() >= PART_SIZE {
            self.next.push(bytes.split_to(PART_SIZE - self.next_bytes));
            self.send();
        }
        self.next_bytes += bytes.len();
        self.next.push(bytes);
    }

    fn send(&mut self) {
        self.next_bytes = 0;
        self.in_flight.spawn(self.upload.put_part(PutPayload::from_iter(std::mem::take(&mut self.next))));
    }

    async fn wait_for_capacity(&mut self, most: usize) -> object_store::Result<()> {
        while self.in_flight.len() > most {
            match self.in_flight.join_next().await {
                Some(sent) => sent.unwrap_or_else(|lost| Err(object_store::Error::JoinError { source: lost }))?,
                None => break,
            }
        }
        Ok(())
    }

    /// Completes the object, or gives it up and says why.
    async fn finish(mut self) -> object_store::Result<()> {
        if self.next_bytes > 0 {
            self.send();
        }
        let sent = self.wait_for_capacity(0).await;
        let completed = match sent {
            Ok(()) => self.upload.complete().await.map(|_| ()),
            Err(error) => Err(error),
        };
        if completed.is_err() {
            self.abort().await;
        }
        completed
    }

    async fn abort(mut self) {
        self.in_flight.shutdown().await;
        if let Err(error) = self.upload.abort().await {
            tracing::debug!(%error, "an unfinished upload could not be given up");
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // A cancelled task cannot wait, so the store is told in the background. Local stores also clean up on their own.
        if let (Some(parts), Ok(runtime)) = (self.parts.take(), tokio::runtime::Handle::try_current()) {
            let live = self.live.clone();
            runtime.spawn(async move {
                parts.abort().await;
                drop(live);
            });
        }
    }
}
