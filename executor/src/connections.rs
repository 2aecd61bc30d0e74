//! Connections to other executors, kept between fetches: a shuffle makes as many fetches as both stages have tasks, multiplied.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use ballista_core::client::BallistaClient;
use ballista_core::client_pool::{BallistaClientPool, PooledClient};
use ballista_core::error::Result;
use ballista_core::extension::BallistaConfigGrpcEndpoint;
use ballista_core::utils::GrpcClientConfig;
use orrery_transport::ClientTls;
use parking_lot::Mutex;
use tonic::transport::Endpoint;

/// How long another executor may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the other end of a connection in use is asked whether it is still there, and how long it may take to answer: without, rows from behind a cut
/// network would be waited for forever.
const ASKED_EVERY: Duration = Duration::from_secs(5);
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// How long an unused connection is kept.
const IDLE: Duration = Duration::from_secs(60);

/// Where a connection leads, and with which state of the certificates it was made.
type Key = (String, u16, GrpcClientConfig, u64);

#[derive(Default)]
struct Idle {
    connections: HashMap<Key, Vec<(Instant, BallistaClient)>>,
}

impl Idle {
    fn drop_old(&mut self) {
        self.connections.retain(|_, kept| {
            kept.retain(|(since, _)| since.elapsed() < IDLE);
            !kept.is_empty()
        });
    }
}

/// Connections that nobody uses now, by where they lead. Old ones go whenever one comes back.
pub(crate) struct Connections {
    idle: Arc<Mutex<Idle>>,
    tls: Option<ClientTls>,
}

impl Connections {
    /// Encrypted if there are certificates.
    pub fn new(tls: Option<ClientTls>) -> Self {
        Self { idle: Arc::default(), tls }
    }
}

impl std::fmt::Debug for Connections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connections").field("hosts", &self.idle.lock().connections.len()).finish()
    }
}

/// An endpoint that notices when nobody is there any more.
fn impatient(
    endpoint: Endpoint,
    customize: Option<&BallistaConfigGrpcEndpoint>,
    tls: Option<&ClientTls>,
) -> std::result::Result<Endpoint, Box<dyn std::error::Error + Send + Sync>> {
    let endpoint = match customize {
        Some(customize) => customize.configure_endpoint(endpoint)?,
        None => endpoint,
    };
    let endpoint = match tls {
        Some(tls) => tls.secure(endpoint)?,
        None => endpoint,
    };
    Ok(endpoint.connect_timeout(CONNECT_TIMEOUT).http2_keep_alive_interval(ASKED_EVERY).keep_alive_timeout(ANSWERS_WITHIN))
}

#[async_trait]
impl BallistaClientPool for Connections {
    async fn acquire(
        &self,
        host: &str,
        port: u16,
        config: &GrpcClientConfig,
        customize_endpoint: Option<Arc<BallistaConfigGrpcEndpoint>>,
    ) -> Result<PooledClient> {
        let tls = self.tls.clone();
        let key = (host.to_string(), port, config.clone(), tls.as_ref().map_or(0, ClientTls::generation));
        let kept = self.idle.lock().connections.get_mut(&key).and_then(Vec::pop);
        let client = match kept {
            Some((_, client)) => client,
            None => {
                BallistaClient::try_new(
                    host,
                    port,
                    config.max_message_size,
                    tls.is_some(),
                    Some(Arc::new(BallistaConfigGrpcEndpoint::new(Arc::new(move |endpoint| {
                        impatient(endpoint, customize_endpoint.as_deref(), tls.as_ref())
                    })))),
                    config.io_retries_times,
                    config.io_retry_wait_time_ms,
                    config.initial_connection_window_size,
                    config.initial_stream_window_size,
                )
                .await?
            }
        };
        let idle = Arc::clone(&self.idle);
        let give_back = move |client| {
            let mut idle = idle.lock();
            idle.drop_old();
            idle.connections.entry(key).or_default().push((Instant::now(), client));
        };
        Ok(PooledClient::new(client, Box::new(give_back)))
    }

    async fn evict_idle(&self) {
        self.idle.lock().drop_old();
    }
}
