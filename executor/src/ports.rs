//! The ports on which other nodes reach this one. In plain text they are Ballista's own. Encrypted, rows are served here, and calls for tasks, whose server
//! Ballista opens itself, are handed on to it: it then listens on a port of the loopback address that the system chose.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use arrow_flight::flight_service_server::FlightServiceServer;
use ballista_core::error::BallistaError;
use ballista_core::extension::SessionConfigExt as _;
use ballista_core::utils::create_grpc_server;
use ballista_executor::ArrowFlightServerProvider;
use ballista_executor::executor_process::ExecutorProcessConfig;
use ballista_executor::flight_service::BallistaFlightService;
use datafusion::prelude::SessionConfig;
use orrery_transport::{Incoming, ServerTls};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::admission::Word;
use crate::link::Link;
use crate::scheduler::Scheduler;
use crate::settings::Settings;
use crate::task_port;
use crate::{Error, Result};

/// Ports that are open until this is dropped.
pub(crate) struct Encrypted {
    _link: Link,
    _tasks: AbortOnDropHandle<()>,
}

impl Encrypted {
    /// Opens both ports, and has Ballista's executor listen and talk to others only through this process.
    ///
    /// # Errors
    /// Ports in use.
    pub async fn open(
        settings: &Settings,
        tls: ServerTls,
        scheduler: Scheduler,
        word: Word,
        ballista: &mut ExecutorProcessConfig,
    ) -> Result<Self> {
        let message_limit_bytes = usize::try_from(settings.message_limit.as_u64()).unwrap_or(usize::MAX);
        let rows = Incoming::encrypted(listen(settings.bind_host, settings.flight_port).await?, tls.clone());
        let tasks = Incoming::encrypted(listen(settings.bind_host, settings.task_port).await?, tls);
        let link = Link::start(scheduler, settings.task_port, message_limit_bytes)?;
        let task_server = free_on_loopback().await?;
        ballista.bind_host = task_server.ip().to_string();
        ballista.grpc_port = task_server.port();
        ballista.override_arrow_flight_service = Some(serve_rows(rows, message_limit_bytes));
        ballista.override_create_grpc_client_endpoint = Some(link.endpoints());
        ballista.override_config_producer = Some(Arc::new(|| Word::carried_by(SessionConfig::new_with_ballista())));
        Ok(Self { _link: link, _tasks: task_port::serve(tasks, task_server, word, message_limit_bytes)? })
    }
}

async fn listen(host: IpAddr, port: u16) -> Result<TcpListener> {
    let address = SocketAddr::new(host, port);
    TcpListener::bind(address).await.map_err(|error| Error::Listen(address, error))
}

/// A port that is free now. Ballista opens it next; if somebody else is faster, the executor does not start.
async fn free_on_loopback() -> Result<SocketAddr> {
    let any = Ipv4Addr::LOCALHOST.into();
    let listener = listen(any, 0).await?;
    listener.local_addr().map_err(|error| Error::Listen(SocketAddr::new(any, 0), error))
}

fn serve_rows(incoming: Incoming, message_limit_bytes: usize) -> Arc<ArrowFlightServerProvider> {
    // Asked for once.
    let incoming = Mutex::new(Some(incoming));
    Arc::new(move |work_dir, _, mut shutdown, config| {
        let incoming = incoming.lock().take();
        tokio::spawn(async move {
            let incoming = incoming.ok_or_else(|| BallistaError::Internal("rows are served already".to_string()))?;
            let service = FlightServiceServer::new(BallistaFlightService::new(work_dir))
                .max_decoding_message_size(message_limit_bytes)
                .max_encoding_message_size(message_limit_bytes);
            let server = create_grpc_server(&config).add_service(service).serve_with_incoming_shutdown(incoming, shutdown.recv());
            server.await.map_err(BallistaError::TonicError)
        })
    })
}
