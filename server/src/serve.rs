//! A client port from start to end: `orrery serve`, and the parts that a scheduler puts on its own client port.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use orrery_engine::access::Access;
use orrery_transport::Incoming;
use tokio::net::TcpListener;
use tonic::transport::Server;

use crate::door::Needs;
use crate::sessions::Sessions;
use crate::{Authenticator, DirectRows, Door, Embedded, Error, FlightSql, Limits, OpenSession, Result, Settings, Users};

/// How much a client may send ahead of what has been read of it: on one stream, and on a connection.
const STREAM_WINDOW_BYTES: u32 = 8 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 32 << 20;
/// Frames in which a client may send.
const FRAME_BYTES: u32 = 1 << 20;
/// How often a silent connection is asked whether somebody is there, and how long an answer may take.
const ASKED_EVERY: Duration = Duration::from_secs(30);
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// How long work may take to clean up when the server is told to stop.
const PATIENCE: Duration = Duration::from_secs(10);

/// The client port: Flight SQL for those whom an authenticator lets in, over sessions of an engine.
pub struct Port {
    sessions: Arc<Sessions>,
    limits: Limits,
}

impl Port {
    /// Has to be called within a runtime.
    pub fn new(authenticator: Arc<dyn Authenticator>, opener: Arc<dyn OpenSession>, limits: Limits) -> Self {
        Self { sessions: Sessions::new(authenticator, opener, limits.clone()), limits }
    }

    /// The Flight SQL service behind its door, to be added to a server.
    pub fn flight_sql(&self) -> Door<DirectRows<FlightServiceServer<FlightSql>>> {
        let service = FlightServiceServer::new(FlightSql::new(Arc::clone(&self.sessions), self.limits.clone()))
            .max_decoding_message_size(self.limits.request_bytes())
            .max_encoding_message_size(usize::MAX);
        Door::before(DirectRows::before(service), Arc::clone(&self.sessions), Needs::Session)
    }

    /// Another service behind the door: its calls carry a [`Principal`](crate::Principal) among their extensions.
    pub fn known<S>(&self, service: S) -> Door<S> {
        Door::before(service, Arc::clone(&self.sessions), Needs::Identity)
    }

    /// Ends all sessions, their statements with them, and waits for a while until these have cleaned up behind themselves.
    pub async fn close(&self) {
        if tokio::time::timeout(PATIENCE, self.sessions.end_all()).await.is_err() {
            tracing::warn!("statements did not end in time");
        }
    }
}

/// A server with windows and frames for streams of rows.
pub fn tuned() -> Server {
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES)
        .http2_keepalive_interval(Some(ASKED_EVERY))
        .http2_keepalive_timeout(Some(ANSWER_WITHIN))
}

/// Listens on an address.
///
/// # Errors
/// The port is in use, or the address is not this machine's.
pub async fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| Error::Listen(address, error))
}

/// Runs a server on the engine in this process until `stop` completes; then statements are stopped, and cleaned up behind.
///
/// # Errors
/// A port in use or open to others in plain text, certificates that cannot be used, a warehouse or catalog that cannot be used.
pub async fn serve(settings: Settings, stop: impl Future<Output = ()>) -> Result<()> {
    settings.tls.refuse_exposed(settings.bind_host, settings.insecure)?;
    let tls = settings.tls.open()?;
    let encrypted = tls.is_some();
    let listener = listen(SocketAddr::new(settings.bind_host, settings.client_port)).await?;
    let opener = Embedded::new(settings.session_options()).await?;
    let access = Access::with_capacity(opener.warehouse().clone(), settings.limits.capacity());
    let users = Users::open(access.clone(), &settings.users, settings.bind_host).await?;
    let port = Port::new(Arc::new(users), Arc::new(opener), settings.limits.clone());
    let incoming = Incoming::new(listener, tls);
    let (told, end) = tokio::sync::oneshot::channel::<()>();
    let server = tuned().add_service(port.flight_sql()).serve_with_incoming_shutdown(incoming, async {
        let _told_or_gone = end.await;
    });
    let mut server = std::pin::pin!(server);
    tracing::info!(host = %settings.bind_host, port = settings.client_port, warehouse = %settings.warehouse, encrypted, "server is up");
    tokio::select! {
        ended = &mut server => return Ok(ended?),
        () = stop => {}
    }
    tracing::info!("server stops");
    port.close().await;
    if let Err(error) = access.flush_audit().await {
        tracing::error!(%error, "the audit cannot be written");
    }
    let _the_server_waits = told.send(());
    match tokio::time::timeout(PATIENCE, server).await {
        Ok(ended) => Ok(ended?),
        Err(_) => {
            tracing::warn!("clients did not end their calls in time");
            Ok(())
        }
    }
}
