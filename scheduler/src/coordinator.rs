//! The coordinator without its network face: Ballista's scheduler in this process, the executors that have joined, the warehouse, and sessions whose plans
//! run on all of it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use orrery_engine::Warehouse;
use orrery_engine::session::{Session, SessionOptions};
use orrery_transport::Incoming;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::avoid::Avoided;
use crate::backend::Cluster;
use crate::balance::EvenShares;
use crate::embed::{self, Ballista};
use crate::executors::Executors;
use crate::reclaim::reclaim_lost_vcores;
use crate::settings::Settings;
use crate::{Error, Result};

/// See the module documentation.
#[derive(Clone)]
pub struct Coordinator {
    pub(crate) ballista: Ballista,
    pub(crate) executors: Arc<Executors>,
    pub(crate) cluster: Cluster,
    pub(crate) warehouse: Warehouse,
    scratch_url: String,
    memory_limit_bytes: usize,
}

/// What goes on beside the coordinator until this is dropped.
pub struct Background(pub(crate) JoinSet<(&'static str, io::Result<()>)>);

impl Background {
    /// Adds a server that is not meant to end.
    pub(crate) fn spawn(&mut self, what: &'static str, server: impl Future<Output = io::Result<()>> + Send + 'static) {
        self.0.spawn(async move { (what, server.await) });
    }

    /// Waits for the first part that ends and tells why.
    pub async fn ended(&mut self) -> Error {
        match self.0.join_next().await {
            Some(Ok((what, Ok(())))) => Error::Stopped(what, "it ended".to_string()),
            Some(Ok((what, Err(error)))) => Error::Stopped(what, error.to_string()),
            Some(Err(error)) => Error::Stopped("a server", error.to_string()),
            None => Error::Stopped("the coordinator", "it has no servers".to_string()),
        }
    }
}

impl Coordinator {
    /// Opens the warehouse and listens for executors on the internal port.
    ///
    /// # Errors
    /// The port is in use or open to others in plain text, certificates cannot be used, or the warehouse cannot be opened.
    pub async fn start(settings: &Settings) -> Result<(Self, Background)> {
        settings.cluster.refuse_exposed_to_nodes("the internal port", settings.bind_host)?;
        let (server_tls, node_tls) = settings.cluster.open()?.map(|tls| (tls.server, tls.client)).unzip();
        let internal = Incoming::new(listen(settings, settings.internal_port).await?, server_tls);
        let warehouse = Warehouse::open(&settings.warehouse, Default::default()).await.map_err(orrery_engine::Error::from)?;
        let scratch_url = settings.scratch.clone().unwrap_or_else(|| format!("{}_scratch", warehouse.root()));
        remove_left_caches(&scratch_url).await;
        let executors = Arc::new(Executors::default());
        let avoided = Arc::new(Avoided::new(Arc::clone(&executors)));
        let shares = Arc::new(EvenShares::new(Arc::clone(&avoided)));
        let (ballista, jobs) = embed::start(settings, Arc::clone(&shares), node_tls.as_ref()).await?;
        let cluster = Cluster::new(ballista.clone(), jobs, Arc::clone(&executors), Arc::clone(&shares), settings, node_tls);
        let message_limit = usize::try_from(settings.message_limit.as_u64()).unwrap_or(usize::MAX);
        let mut background = Background(JoinSet::new());
        background.spawn("the internal port", embed::serve(internal, ballista.clone(), avoided, message_limit));
        let (followed, known, timeout_s) = (Arc::clone(&executors), ballista.clone(), settings.executor_timeout_s);
        background.spawn("the list of executors", async move {
            followed.follow(known, timeout_s).await;
            Ok(())
        });
        let (known, seen) = (ballista.clone(), Arc::clone(&executors));
        background.spawn("the count of vcores", async move {
            reclaim_lost_vcores(known, shares, seen).await;
            Ok(())
        });
        let memory_limit_bytes = usize::try_from(settings.memory_limit.as_u64()).unwrap_or(usize::MAX);
        Ok((Self { ballista, executors, cluster, warehouse, scratch_url, memory_limit_bytes }, background))
    }

    /// Vcores of the executors that are alive.
    pub fn vcores(&self) -> usize {
        self.executors.vcores()
    }

    /// Bytes that statements in this process may hold.
    pub(crate) fn memory_limit_bytes(&self) -> usize {
        self.memory_limit_bytes
    }

    /// A session whose plans run on the executors; small ones in this process. Of `options`, the warehouse, the memory limit and the place of caches are the
    /// coordinator's own.
    ///
    /// # Errors
    /// The catalog does not exist, or the warehouse cannot be read.
    pub async fn open_session(&self, options: SessionOptions) -> orrery_engine::Result<Session> {
        self.open_session_on(&self.cluster.for_session(), options).await
    }

    /// The same on a backend that the caller keeps, to ask it what the executors did.
    pub(crate) async fn open_session_on(&self, cluster: &Cluster, options: SessionOptions) -> orrery_engine::Result<Session> {
        let options = SessionOptions {
            warehouse: self.warehouse.root().to_string(),
            memory_limit_bytes: Some(self.memory_limit_bytes),
            scratch_url: Some(self.scratch_url.clone()),
            ..options
        };
        Session::open_on(self.warehouse.clone(), options, Arc::new(cluster.clone())).await
    }
}

pub(crate) async fn listen(settings: &Settings, port: u16) -> Result<TcpListener> {
    let address = SocketAddr::new(settings.bind_host, port);
    TcpListener::bind(address).await.map_err(|error| Error::Listen(address, error))
}

/// No session survives a scheduler, so neither do caches.
async fn remove_left_caches(scratch: &str) {
    let removed = match Warehouse::open(scratch, Default::default()).await {
        Ok(caches) => caches.remove_everything().await,
        Err(error) => Err(error),
    };
    if let Err(error) = removed {
        tracing::warn!(%scratch, %error, "caches of an earlier scheduler could not be removed");
    }
}
