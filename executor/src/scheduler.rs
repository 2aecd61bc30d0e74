//! Where the scheduler is, and how it is reached.

use orrery_proto::v1::cluster_client::ClusterClient;
use orrery_transport::ClientTls;
use tonic::transport::{Channel, Endpoint, Error};

use crate::settings::Settings;

/// See the module documentation.
#[derive(Clone)]
pub(crate) struct Scheduler {
    address: String,
    tls: Option<ClientTls>,
}

impl Scheduler {
    /// As the settings say; encrypted if there are certificates.
    pub fn new(settings: &Settings, tls: Option<ClientTls>) -> Self {
        Self { address: format!("{}:{}", settings.scheduler_host, settings.scheduler_port), tls }
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A new connection, made with the certificates as they are now.
    ///
    /// # Errors
    /// The scheduler does not answer, or one of the two does not trust the other.
    pub async fn connect(&self) -> Result<ClusterClient<Channel>, Error> {
        Ok(ClusterClient::new(self.endpoint()?.connect().await?))
    }

    /// How it is dialled now.
    ///
    /// # Errors
    /// An address that is none.
    pub fn endpoint(&self) -> Result<Endpoint, Error> {
        match &self.tls {
            None => Endpoint::from_shared(format!("http://{}", self.address)),
            Some(tls) => tls.secure(Endpoint::from_shared(format!("https://{}", self.address))?),
        }
    }

    /// Changes when what was dialled before should be dialled anew.
    pub fn generation(&self) -> u64 {
        self.tls.as_ref().map_or(0, ClientTls::generation)
    }
}
