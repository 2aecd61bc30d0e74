//! Answers executors: those that want to join, and those that cannot reach another one.

use std::sync::Arc;

use orrery_proto::v1::cluster_server::Cluster;
use orrery_proto::v1::{JoinRequest, JoinResponse, ReportUnreachableRequest, ReportUnreachableResponse};
use tonic::{Request, Response, Status};

use crate::avoid::Avoided;

/// The version that scheduler and executors have to share: plans are encoded by the program that made them.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// See the module documentation.
pub(crate) struct Membership {
    instance_id: String,
    avoided: Arc<Avoided>,
}

impl Membership {
    /// For one life of the scheduler.
    pub fn new(avoided: Arc<Avoided>) -> Self {
        Self { instance_id: uuid::Uuid::new_v4().to_string(), avoided }
    }
}

#[tonic::async_trait]
impl Cluster for Membership {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        let address = request.remote_addr().map_or_else(|| "unknown address".to_string(), |address| address.to_string());
        let version = request.into_inner().version;
        if version != VERSION {
            let message = format!("it is version {version}, the scheduler is {VERSION}; all nodes of a cluster have to be of one version");
            tracing::warn!(%address, executor_version = %version, "refused an executor of another version");
            return Err(Status::failed_precondition(message));
        }
        Ok(Response::new(JoinResponse { version: VERSION.to_string(), instance_id: self.instance_id.clone() }))
    }

    async fn report_unreachable(&self, request: Request<ReportUnreachableRequest>) -> Result<Response<ReportUnreachableResponse>, Status> {
        let report = request.into_inner();
        self.avoided.report(&report.reporter_id, &report.executor_id);
        Ok(Response::new(ReportUnreachableResponse {}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_same_version_joins() {
        let membership = Membership::new(Arc::new(Avoided::new(Arc::default())));
        let join = |version: &str| membership.join(Request::new(JoinRequest { version: version.to_string() }));
        assert!(join(VERSION).await.is_ok());
        let refused = join("0.0.1").await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
        assert!(refused.message().contains("version 0.0.1"), "{refused}");
    }
}
