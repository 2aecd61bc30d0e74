//! How Ballista's executor reaches the scheduler when nodes talk encrypted. Ballista keeps one connection for its whole life, with the certificates that it
//! was made with, and tells the scheduler the port that its own server of tasks listens on, which is not the one that others reach. So it is led to a socket
//! in a folder that only this user may enter; what it says there is handed on with the certificates of the hour and the right port.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ballista_core::extension::EndpointOverrideFn;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_core::serde::protobuf::scheduler_grpc_server::{SchedulerGrpc, SchedulerGrpcServer};
use ballista_core::serde::protobuf::{
    CancelJobParams, CancelJobResult, CleanJobDataParams, CleanJobDataResult, CreateUpdateSessionParams, CreateUpdateSessionResult,
    ExecuteQueryParams, ExecuteQueryResult, ExecutorRegistration, ExecutorStoppedParams, ExecutorStoppedResult, GetJobMetricsParams,
    GetJobMetricsResult, GetJobStatusParams, GetJobStatusResult, HeartBeatParams, HeartBeatResult, PollWorkParams, PollWorkResult,
    RegisterExecutorParams, RegisterExecutorResult, RemoveSessionParams, RemoveSessionResult, UpdateTaskStatusParams,
    UpdateTaskStatusResult,
};
use parking_lot::Mutex;
use tokio::net::UnixListener;
use tokio_util::task::AbortOnDropHandle;
use tonic::codegen::tokio_stream::Empty;
use tonic::codegen::tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};

use crate::scheduler::Scheduler;
use crate::{Error, Result};

/// How long the scheduler may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the scheduler is asked whether it is still there, and how long it may take to answer.
const ASKED_EVERY: Duration = Duration::from_secs(5);
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// See the module documentation. The socket is gone with it.
pub(crate) struct Link {
    socket: PathBuf,
    _folder: tempfile::TempDir,
    _serving: AbortOnDropHandle<()>,
}

impl Link {
    /// Begins to listen. `task_port` is the port on which others reach this executor's server of tasks.
    ///
    /// # Errors
    /// The folder or the socket cannot be made.
    pub fn start(scheduler: Scheduler, task_port: u16, message_limit_bytes: usize) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("orrery-link-").tempdir().map_err(Error::Link)?;
        let socket = folder.path().join("scheduler");
        let listener = UnixListener::bind(&socket).map_err(Error::Link)?;
        let forward = Forward { scheduler, task_port: u32::from(task_port), message_limit_bytes, client: Mutex::default() };
        let service =
            SchedulerGrpcServer::new(forward).max_encoding_message_size(message_limit_bytes).max_decoding_message_size(message_limit_bytes);
        let server = Server::builder().add_service(service).serve_with_incoming(UnixListenerStream::new(listener));
        let serving = tokio::spawn(async move {
            if let Err(error) = server.await {
                tracing::error!(%error, "the link to the scheduler stopped");
            }
        });
        Ok(Self { socket, _folder: folder, _serving: AbortOnDropHandle::new(serving) })
    }

    /// Leads connections that Ballista makes to the scheduler here.
    pub fn endpoints(&self) -> EndpointOverrideFn {
        let socket = format!("unix://{}", self.socket.display());
        Arc::new(move |_| Ok(Endpoint::from_shared(socket.clone())?))
    }
}

struct Forward {
    scheduler: Scheduler,
    task_port: u32,
    message_limit_bytes: usize,
    /// A channel, and the state of the certificates with which it was made.
    client: Mutex<Option<(u64, SchedulerGrpcClient<Channel>)>>,
}

impl Forward {
    fn client(&self) -> Result<SchedulerGrpcClient<Channel>, Status> {
        let generation = self.scheduler.generation();
        let mut kept = self.client.lock();
        if let Some((made_with, client)) = &*kept
            && *made_with == generation
        {
            return Ok(client.clone());
        }
        let endpoint = self.scheduler.endpoint().map_err(|error| Status::unavailable(error.to_string()))?;
        let endpoint = endpoint.connect_timeout(CONNECT_TIMEOUT).http2_keep_alive_interval(ASKED_EVERY).keep_alive_timeout(ANSWERS_WITHIN);
        let client = SchedulerGrpcClient::new(endpoint.keep_alive_while_idle(true).connect_lazy())
            .max_encoding_message_size(self.message_limit_bytes)
            .max_decoding_message_size(self.message_limit_bytes);
        *kept = Some((generation, client.clone()));
        Ok(client)
    }

    /// What the scheduler is to know of this executor.
    fn as_reached(&self, registration: Option<ExecutorRegistration>) -> Option<ExecutorRegistration> {
        registration.map(|registration| ExecutorRegistration { grpc_port: self.task_port, ..registration })
    }
}

/// What executors that are sent their tasks do not ask.
fn not_asked<T>() -> Result<T, Status> {
    Err(Status::unimplemented("executors do not ask this of their scheduler"))
}

#[tonic::async_trait]
impl SchedulerGrpc for Forward {
    type ExecuteQueryPushStream = Empty<Result<GetJobStatusResult, Status>>;

    async fn register_executor(&self, request: Request<RegisterExecutorParams>) -> Result<Response<RegisterExecutorResult>, Status> {
        let metadata = self.as_reached(request.into_inner().metadata);
        self.client()?.register_executor(RegisterExecutorParams { metadata }).await
    }

    async fn heart_beat_from_executor(&self, request: Request<HeartBeatParams>) -> Result<Response<HeartBeatResult>, Status> {
        let mut heartbeat = request.into_inner();
        heartbeat.metadata = self.as_reached(heartbeat.metadata);
        self.client()?.heart_beat_from_executor(heartbeat).await
    }

    async fn update_task_status(&self, request: Request<UpdateTaskStatusParams>) -> Result<Response<UpdateTaskStatusResult>, Status> {
        self.client()?.update_task_status(request.into_inner()).await
    }

    async fn executor_stopped(&self, request: Request<ExecutorStoppedParams>) -> Result<Response<ExecutorStoppedResult>, Status> {
        self.client()?.executor_stopped(request.into_inner()).await
    }

    async fn poll_work(&self, _: Request<PollWorkParams>) -> Result<Response<PollWorkResult>, Status> {
        not_asked()
    }

    async fn create_update_session(&self, _: Request<CreateUpdateSessionParams>) -> Result<Response<CreateUpdateSessionResult>, Status> {
        not_asked()
    }

    async fn remove_session(&self, _: Request<RemoveSessionParams>) -> Result<Response<RemoveSessionResult>, Status> {
        not_asked()
    }

    async fn execute_query_push(&self, _: Request<ExecuteQueryParams>) -> Result<Response<Self::ExecuteQueryPushStream>, Status> {
        not_asked()
    }

    async fn execute_query(&self, _: Request<ExecuteQueryParams>) -> Result<Response<ExecuteQueryResult>, Status> {
        not_asked()
    }

    async fn get_job_status(&self, _: Request<GetJobStatusParams>) -> Result<Response<GetJobStatusResult>, Status> {
        not_asked()
    }

    async fn get_job_metrics(&self, _: Request<GetJobMetricsParams>) -> Result<Response<GetJobMetricsResult>, Status> {
        not_asked()
    }

    async fn cancel_job(&self, _: Request<CancelJobParams>) -> Result<Response<CancelJobResult>, Status> {
        not_asked()
    }

    async fn clean_job_data(&self, _: Request<CleanJobDataParams>) -> Result<Response<CleanJobDataResult>, Status> {
        not_asked()
    }
}
