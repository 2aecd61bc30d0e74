//! Ballista's scheduler as a part of this process: configured, started, and served on the internal port beside what executors ask before they join.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::serve::ListenerExt as _;
use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::serde::BallistaPhysicalExtensionCodec;
use ballista_core::serde::protobuf::scheduler_grpc_server::SchedulerGrpcServer;
use ballista_scheduler::cluster::{BallistaCluster, JobState};
use ballista_scheduler::config::{SchedulerConfig, TaskDistributionPolicy};
use ballista_scheduler::scheduler_process::create_scheduler;
use ballista_scheduler::scheduler_server::SchedulerServer;
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use orrery_engine::operators::codec::OperatorCodec;
use orrery_proto::v1::cluster_server::ClusterServer;
use tokio::net::TcpListener;
use tonic::service::RoutesBuilder;

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
pub(crate) async fn start(settings: &Settings, shares: Arc<EvenShares>) -> Result<(Ballista, Arc<dyn JobState>)> {
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
        override_physical_codec: Some(Arc::new(OperatorCodec::over(Arc::new(BallistaPhysicalExtensionCodec::default())))),
        ..SchedulerConfig::default()
    };
    let cluster = BallistaCluster::new_from_config(&config).await.map_err(|error| Error::Ballista(error.to_string()))?;
    let jobs = cluster.job_state();
    let server = create_scheduler(cluster, Arc::new(config)).await.map_err(|error| Error::Ballista(error.to_string()))?;
    Ok((server, jobs))
}

/// Serves executors until the process ends.
pub(crate) async fn serve(listener: TcpListener, ballista: Ballista, avoided: Arc<Avoided>, message_limit: usize) -> std::io::Result<()> {
    let scheduler = SchedulerGrpcServer::new(ballista).max_encoding_message_size(message_limit).max_decoding_message_size(message_limit);
    let mut routes = RoutesBuilder::default();
    routes.add_service(scheduler).add_service(ClusterServer::new(Membership::new(avoided)));
    // Ballista reads the caller's address when an executor does not name its own.
    let router = routes.routes().into_axum_router().into_make_service_with_connect_info::<SocketAddr>();
    let listener = listener.tap_io(|connection| {
        // Answers to executors are small and must not wait for acknowledgements.
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "a connection will be slow");
        }
    });
    axum::serve(listener, router).await
}
