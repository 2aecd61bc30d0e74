//! Engine sessions for those who connect, on whatever runs their plans.

use async_trait::async_trait;
use orrery_engine::session::{InProcess, Session, SessionOptions, SharedRuntime};
use orrery_engine::{Result, Warehouse};

use crate::Principal;

/// Opens engine sessions.
#[async_trait]
pub trait OpenSession: Send + Sync + 'static {
    /// A session for somebody, under a name that the audit knows it by.
    ///
    /// # Errors
    /// The warehouse cannot be read, or the catalog that sessions begin with is gone.
    async fn open(&self, principal: &Principal, name: &str) -> Result<Session>;
}

/// Sessions whose plans run in this process, within one memory limit for all of them.
pub struct Embedded {
    warehouse: Warehouse,
    options: SessionOptions,
}

impl Embedded {
    /// Opens the warehouse of the options, with which all sessions are opened.
    ///
    /// # Errors
    /// A warehouse that cannot be opened, a catalog that does not exist, or a scratch directory that cannot be used.
    pub async fn new(mut options: SessionOptions) -> Result<Self> {
        options.runtime = Some(SharedRuntime::new(&options)?);
        let warehouse = Warehouse::open(&options.warehouse, options.storage_options.clone()).await?;
        // Told now rather than to the first who connects.
        Session::open_on(warehouse.clone(), options.clone(), std::sync::Arc::new(InProcess)).await?;
        Ok(Self { warehouse, options })
    }

    /// The warehouse.
    pub fn warehouse(&self) -> &Warehouse {
        &self.warehouse
    }
}

#[async_trait]
impl OpenSession for Embedded {
    async fn open(&self, principal: &Principal, name: &str) -> Result<Session> {
        let options = SessionOptions {
            principal: principal.user.clone(),
            until_users: principal.user.is_none(),
            session_name: Some(name.to_string()),
            ..self.options.clone()
        };
        Session::open_on(self.warehouse.clone(), options, std::sync::Arc::new(InProcess)).await
    }
}
