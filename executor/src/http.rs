//! `/healthz`, `/readyz` and `/metrics` of an executor.

use std::net::SocketAddr;
use std::path::PathBuf;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use ballista_executor::health::ExecutorHealth;

use crate::metrics::Metrics;
use crate::{Error, Result};

#[derive(Clone)]
pub(crate) struct Pages {
    pub metrics: Metrics,
    pub health: ExecutorHealth,
    pub work_dir: PathBuf,
}

/// Listens on `address` until the process ends.
pub(crate) async fn start(address: SocketAddr, pages: Pages) -> Result<()> {
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(pages);
    let listener = tokio::net::TcpListener::bind(address).await.map_err(|error| Error::Listen(address, error))?;
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the health pages stopped");
        }
    });
    Ok(())
}

async fn ready(State(pages): State<Pages>) -> (StatusCode, &'static str) {
    if pages.health.is_ready() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready: the scheduler has not answered a heartbeat\n")
    }
}

async fn metrics(State(pages): State<Pages>) -> Result<String, (StatusCode, String)> {
    let free = free_bytes(&pages.work_dir);
    pages.metrics.render(pages.health.is_ready(), free).map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

/// Free space of the disk that holds a folder.
fn free_bytes(folder: &std::path::Path) -> Option<u64> {
    fs4::available_space(folder).ok()
}
