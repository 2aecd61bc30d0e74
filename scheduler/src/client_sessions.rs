//! Sessions of those who connect to the client port by Flight SQL: they plan and commit here, their plans run on the executors.

use async_trait::async_trait;
use orrery_engine::Result;
use orrery_engine::session::{Session, SessionOptions, SharedRuntime};
use orrery_server::{OpenSession, Principal};

use crate::coordinator::Coordinator;

/// See the module documentation.
pub(crate) struct ClientSessions {
    coordinator: Coordinator,
    options: SessionOptions,
}

impl ClientSessions {
    /// All sessions share the memory that statements in the scheduler may hold.
    pub fn new(coordinator: Coordinator) -> Result<Self> {
        let mut options = SessionOptions { memory_limit_bytes: Some(coordinator.memory_limit_bytes()), ..SessionOptions::default() };
        options.runtime = Some(SharedRuntime::new(&options)?);
        Ok(Self { coordinator, options })
    }
}

#[async_trait]
impl OpenSession for ClientSessions {
    async fn open(&self, principal: &Principal, name: &str) -> Result<Session> {
        let options = SessionOptions {
            principal: principal.user.clone(),
            until_users: principal.user.is_none(),
            session_name: Some(name.to_string()),
            ..self.options.clone()
        };
        self.coordinator.open_session(options).await
    }
}
