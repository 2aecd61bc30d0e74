//! Ballista's scheduler as a part of this process: configured, started, and served on the internal port beside what executors ask before they join.

use std::sync::Arc;

use axum::extract::{ConnectInfo, Request};
use axum::middleware::map_request;
use ballista_core::config::{BallistaConfig, TaskSchedulingPolicy};
use ballista_core::extension::EndpointOverrideFn;
use ballista_core::serde::BallistaPhysicalExtensionCodec;
use ballista_core::serde::protobuf::scheduler_grpc_server::SchedulerGrpcServer;
use ballista_core::utils::{GrpcClientConfig, create_grpc_client_endpoint};
use ballista_scheduler::cluster::{BallistaCluster, JobState};
use ballista_scheduler::config::{SchedulerConfig, TaskDistributionPolicy};
use ballista_scheduler::scheduler_process::create_scheduler;
use ballista_scheduler::scheduler_server::SchedulerServer;
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use orrery_engine::operators::codec::OperatorCodec;
use orrery_proto::v1::cluster_server::ClusterServer;
use orrery_transport::{ClientTls, Incoming};
use tonic::service::RoutesBuilder;
use tonic::transport::Server;
use tonic::transport::server::TcpConnectInfo;

use crate::avoid::Avoided;
use crate::balance::EvenShares;
use crate::membership::Membership;
use crate::settings::Settings;
use crate::{Error, Result};

/// Ballista's scheduler with the plan encodings of this engine.
pub(crate) type Ballista = SchedulerServer<LogicalPlanNode, PhysicalPlanNode>;

/// Results are removed when their reader is done with them; this is for readers that never come back.
const RESULTS_KEPT_S: u64 = 24 * 3600;
/// What is known of a finished job is read at once.
const FINISHED_JOBS_KEPT_S: u64 = 60;
const DEAD_EXECUTORS_LOOKED_FOR_S: u64 = 2;
const LEAST_ATTEMPTS_OF_STAGES: usize = 20;

/// Starts Ballista's scheduler; the state of its jobs can be read beside it.
pub(crate) async fn start(
    settings: &Settings,
    shares: Arc<EvenShares>,
    node_tls: Option<&ClientTls>,
) -> Result<(Ballista, Arc<dyn JobState>)> {
    let message_limit = u32::try_from(settings.message_limit.as_u64()).unwrap_or(u32::MAX);
    let config = SchedulerConfig {
        bind_host: settings.bind_host.to_string(),
        external_host: settings.external_host.clone(),
        bind_port: settings.internal_port,
        scheduling_policy: TaskSchedulingPolicy::PushStaged,
        task_distribution: TaskDistributionPolicy::Custom(shares),
        finished_job_data_clean_up_interval_seconds: RESULTS_KEPT_S,
        finished_job_state_clean_up_interval_seconds: FINISHED_JOBS_KEPT_S,
        executor_timeout_seconds: settings.executor_timeout_s,
        expire_dead_executor_interval_seconds: DEAD_EXECUTORS_LOOKED_FOR_S,
        no_executors_grace_period_seconds: settings.no_executors_grace_s,
        task_max_failures: usize::from(settings.task_attempts),
        stage_max_failures: LEAST_ATTEMPTS_OF_STAGES.max(usize::from(settings.task_attempts)),
        grpc_server_max_decoding_message_size: message_limit,
        grpc_server_max_encoding_message_size: message_limit,
        grpc_client_max_message_size: message_limit,
        use_tls: node_tls.is_some(),
        override_create_grpc_client_endpoint: node_tls.map(secured),
        override_physical_codec: Some(Arc::new(OperatorCodec::over(Arc::new(BallistaPhysicalExtensionCodec::default())))),
        ..SchedulerConfig::default()
    };
    let cluster = BallistaCluster::new_from_config(&config).await.map_err(|error| Error::Ballista(error.to_string()))?;
    let jobs = cluster.job_state();
    let server = create_scheduler(cluster, Arc::new(config)).await.map_err(|error| Error::Ballista(error.to_string()))?;
    Ok((server, jobs))
}

/// Dials executors encrypted. Ballista dials all of them in plain text; of what it has set, only part can be read, so it is set again.
fn secured(tls: &ClientTls) -> EndpointOverrideFn {
    let (tls, config) = (tls.clone(), GrpcClientConfig::from(&BallistaConfig::default()));
    Arc::new(move |plain| {
        let authority = plain.uri().authority().ok_or("the address of an executor names no host")?;
        let endpoint = create_grpc_client_endpoint(format!("https://{authority}"), Some(&config))?;
        Ok(tls.secure(endpoint)?)
    })
}

/// Serves executors until the process ends.
pub(crate) async fn serve(incoming: Incoming, ballista: Ballista, avoided: Arc<Avoided>, message_limit: usize) -> std::io::Result<()> {
    let scheduler = SchedulerGrpcServer::new(ballista).max_encoding_message_size(message_limit).max_decoding_message_size(message_limit);
    let mut routes = RoutesBuilder::default();
    routes.add_service(scheduler).add_service(ClusterServer::new(Membership::new(avoided)));
    let routes = routes.routes().into_axum_router().layer(map_request(with_address));
    Server::builder().add_routes(routes.into()).serve_with_incoming(incoming).await.map_err(std::io::Error::other)
}

/// Ballista reads the caller's address when an executor does not name its own, and looks for it where axum puts it.
async fn with_address(mut request: Request) -> Request {
    let address = request.extensions().get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr);
    if let Some(address) = address {
        request.extensions_mut().insert(ConnectInfo(address));
    }
    request
}
