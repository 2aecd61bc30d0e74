//! Bytes to an object while they are being produced: small objects in one put, larger ones in parts that travel while the next part is encoded.

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, WriteMultipart};
use std::sync::Arc;

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
    parts: Option<WriteMultipart>,
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
            let upload = self.store.put_multipart(&self.path).await?;
            self.parts = Some(WriteMultipart::new_with_chunk_size(upload, PART_SIZE));
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

    /// Completes the object, which then appears whole.
    pub async fn finish(mut self) -> object_store::Result<()> {
        match self.parts.take() {
            Some(parts) => parts.finish().await.map(|_| ()),
            None => {
                let payload = PutPayload::from_iter(std::mem::take(&mut self.waiting));
                self.store.put(&self.path, payload).await.map(|_| ())
            }
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // A cancelled task cannot wait, so the store is told in the background. Local stores also clean up on their own.
        if let (Some(parts), Ok(runtime)) = (self.parts.take(), tokio::runtime::Handle::try_current()) {
            let live = self.live.clone();
            runtime.spawn(async move {
                if let Err(error) = parts.abort().await {
                    tracing::debug!(%error, "an unfinished upload could not be given up");
                }
                drop(live);
            });
        }
    }
}
