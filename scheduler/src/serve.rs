//! A scheduler from start to end.

use std::sync::Arc;
use std::time::Duration;

use orrery_engine::access::Access;
use orrery_proto::v1::scripts_server::ScriptsServer;
use orrery_server::{Port, Users, tuned};
use orrery_transport::Incoming;

use crate::Result;
use crate::client_sessions::ClientSessions;
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
    let client_tls = settings.tls.open()?;
    let client = listen(&settings, settings.client_port).await?;
    let pages = if settings.http_port == 0 { None } else { Some(listen(&settings, settings.http_port).await?) };
    let (coordinator, mut background) = Coordinator::start(&settings).await?;
    let access = Access::with_capacity(coordinator.warehouse.clone(), settings.limits.capacity());
    let users = Users::open(access.clone(), &settings.users, settings.bind_host).await?;
    let clients = Port::new(Arc::new(users), Arc::new(ClientSessions::new(coordinator.clone())?), settings.limits.clone());
    let runs = Runs::open(&settings, coordinator.clone())?;
    if let Some(listener) = pages {
        background.spawn("the HTTP port", http::serve(listener, Pages { coordinator, runs: Arc::clone(&runs) }));
    }
    let service = ScriptsServer::new(ScriptService::new(Arc::clone(&runs))).max_decoding_message_size(REQUEST_LIMIT_BYTES);
    let encrypted = client_tls.is_some();
    let server = tuned()
        .add_service(clients.known(service))
        .add_service(clients.flight_sql())
        .serve_with_incoming(Incoming::new(client, client_tls));
    background.spawn("the client port", async { server.await.map_err(std::io::Error::other) });
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
            tokio::join!(runs.close(PATIENCE), clients.close());
            if let Err(error) = access.flush_audit().await {
                tracing::error!(%error, "the audit cannot be written");
            }
            Ok(())
        }
        error = background.ended() => Err(error),
    }
}
