//! The port for tasks when nodes talk encrypted: calls whose callers have shown a certificate are handed on to Ballista's own server, which cannot ask for
//! one and listens on loopback. Tasks get the word without which they are not run.

use std::net::SocketAddr;

use ballista_core::serde::protobuf::executor_grpc_client::ExecutorGrpcClient;
use ballista_core::serde::protobuf::executor_grpc_server::{ExecutorGrpc, ExecutorGrpcServer};
use ballista_core::serde::protobuf::{
    CancelTasksParams, CancelTasksResult, LaunchMultiTaskParams, LaunchMultiTaskResult, LaunchTaskParams, LaunchTaskResult,
    RemoveJobDataParams, RemoveJobDataResult, StopExecutorParams, StopExecutorResult,
};
use orrery_transport::Incoming;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};

use crate::admission::Word;
use crate::{Error, Result};

/// Serves callers until the handle is dropped.
///
/// # Errors
/// None but an address that is none.
pub(crate) fn serve(callers: Incoming, ballista: SocketAddr, word: Word, message_limit_bytes: usize) -> Result<AbortOnDropHandle<()>> {
    let endpoint = Endpoint::from_shared(format!("http://{ballista}")).map_err(|error| Error::Stopped(error.to_string()))?;
    let server = ExecutorGrpcClient::new(endpoint.connect_lazy())
        .max_encoding_message_size(message_limit_bytes)
        .max_decoding_message_size(message_limit_bytes);
    let service = ExecutorGrpcServer::new(TaskPort { server, word })
        .max_encoding_message_size(message_limit_bytes)
        .max_decoding_message_size(message_limit_bytes);
    let serving = Server::builder().add_service(service).serve_with_incoming(callers);
    Ok(AbortOnDropHandle::new(tokio::spawn(async move {
        if let Err(error) = serving.await {
            tracing::error!(%error, "the port for tasks stopped");
        }
    })))
}

struct TaskPort {
    server: ExecutorGrpcClient<Channel>,
    word: Word,
}

#[tonic::async_trait]
impl ExecutorGrpc for TaskPort {
    async fn launch_task(&self, request: Request<LaunchTaskParams>) -> Result<Response<LaunchTaskResult>, Status> {
        let mut launched = request.into_inner();
        launched.tasks.iter_mut().for_each(|task| self.word.admit(&mut task.props));
        self.server.clone().launch_task(launched).await
    }

    async fn launch_multi_task(&self, request: Request<LaunchMultiTaskParams>) -> Result<Response<LaunchMultiTaskResult>, Status> {
        let mut launched = request.into_inner();
        launched.multi_tasks.iter_mut().for_each(|tasks| self.word.admit(&mut tasks.props));
        self.server.clone().launch_multi_task(launched).await
    }

    async fn stop_executor(&self, request: Request<StopExecutorParams>) -> Result<Response<StopExecutorResult>, Status> {
        self.server.clone().stop_executor(request.into_inner()).await
    }

    async fn cancel_tasks(&self, request: Request<CancelTasksParams>) -> Result<Response<CancelTasksResult>, Status> {
        self.server.clone().cancel_tasks(request.into_inner()).await
    }

    async fn remove_job_data(&self, request: Request<RemoveJobDataParams>) -> Result<Response<RemoveJobDataResult>, Status> {
        self.server.clone().remove_job_data(request.into_inner()).await
    }
}
