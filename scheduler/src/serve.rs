//! A scheduler from start to end.

use std::sync::Arc;
use std::time::Duration;

use orrery_proto::v1::scripts_server::ScriptsServer;
use orrery_transport::Incoming;
use tonic::transport::Server;

use crate::Result;
use crate::coordinator::{Coordinator, listen};
use crate::http::{self, Pages};
use crate::runs::Runs;
use crate::service::ScriptService;
use crate::settings::Settings;

/// How long runs may take to clean up when the scheduler is told to stop.
const PATIENCE: Duration = Duration::from_secs(10);
/// Largest request of a client: its scripts.
const REQUEST_LIMIT_BYTES: usize = 64 << 20;

/// Runs a scheduler until `stop` completes.
///
/// # Errors
/// Ports in use or open to others in plain text, certificates that cannot be used, a warehouse or state directory that cannot be used.
pub async fn serve(settings: Settings, stop: impl Future<Output = ()>) -> Result<()> {
    settings.refuse_exposed_ports()?;
    let client_tls = settings.client_port_tls()?;
    let client = listen(&settings, settings.client_port).await?;
    let pages = if settings.http_port == 0 { None } else { Some(listen(&settings, settings.http_port).await?) };
    let (coordinator, mut background) = Coordinator::start(&settings).await?;
    let runs = Runs::open(&settings, coordinator.clone())?;
    if let Some(listener) = pages {
        background.spawn("the HTTP port", http::serve(listener, Pages { coordinator, runs: Arc::clone(&runs) }));
    }
    let service = ScriptsServer::new(ScriptService::new(Arc::clone(&runs))).max_decoding_message_size(REQUEST_LIMIT_BYTES);
    let encrypted = client_tls.is_some();
    let scripts = Server::builder().add_service(service).serve_with_incoming(Incoming::new(client, client_tls));
    background.spawn("the client port", async { scripts.await.map_err(std::io::Error::other) });
    let recorded = Arc::clone(&runs);
    tokio::spawn(async move { recorded.catch_up().await });
    tracing::info!(
        internal = settings.internal_port,
        client = settings.client_port,
        http = settings.http_port,
        encrypted,
        "scheduler is up"
    );

    tokio::select! {
        () = stop => {
            tracing::info!("scheduler stops");
            runs.close(PATIENCE).await;
            Ok(())
        }
        error = background.ended() => Err(error),
    }
}
