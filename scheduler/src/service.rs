//! The script service on the client port, behind its door: each call knows who makes it.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt as _};
use orrery_proto::v1::scripts_server::Scripts;
use orrery_proto::v1::{
    AttachRunRequest, CancelRunRequest, CancelRunResponse, GetRunRequest, ListRunsRequest, ListRunsResponse, Run as RunMessage, RunEvent,
    SubmitScriptRequest,
};
use orrery_server::Principal;
use tonic::{Request, Response, Status};

use crate::runs::{Caller, Refusal, Run, Runs, follow};

/// Runs listed unless the caller says otherwise.
const LISTED: usize = 100;

/// See the module documentation.
pub(crate) struct ScriptService {
    runs: Arc<Runs>,
}

impl ScriptService {
    pub fn new(runs: Arc<Runs>) -> Self {
        Self { runs }
    }

    fn find(&self, id: &str, caller: &Caller) -> Result<Arc<Run>, Status> {
        self.runs.find(id, caller).ok_or_else(|| Status::from(Refusal::NotFound(id.to_string())))
    }
}

/// Who makes a call.
async fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    let principal = request.extensions().get::<Principal>().ok_or_else(|| Status::unauthenticated("nobody is known to make this call"))?;
    let unavailable = |error| {
        tracing::error!(%error, "rights cannot be read");
        Status::unavailable("users cannot be looked up now")
    };
    Caller::of(principal).await.map_err(unavailable)
}

type Events = Pin<Box<dyn Stream<Item = Result<RunEvent, Status>> + Send>>;

fn events(run: &Arc<Run>, after: u64) -> Result<Response<Events>, Status> {
    let fault = |error: std::io::Error| Status::internal(format!("the run's events cannot be read: {error}"));
    let events = follow(run, after).map_err(fault)?;
    Ok(Response::new(Box::pin(events.map(move |event| event.map_err(fault)))))
}

#[tonic::async_trait]
impl Scripts for ScriptService {
    type SubmitScriptStream = Events;
    type AttachRunStream = Events;

    async fn submit_script(&self, request: Request<SubmitScriptRequest>) -> Result<Response<Events>, Status> {
        let caller = caller(&request).await?;
        let request = request.into_inner();
        if request.files.is_empty() && request.resume_run_id.is_empty() {
            return Err(Status::invalid_argument("there is no script to run"));
        }
        let run = self.runs.submit(request, &caller)?;
        events(&run, 0)
    }

    async fn attach_run(&self, request: Request<AttachRunRequest>) -> Result<Response<Events>, Status> {
        let caller = caller(&request).await?;
        let request = request.into_inner();
        events(&self.find(&request.run_id, &caller)?, request.after_sequence)
    }

    async fn cancel_run(&self, request: Request<CancelRunRequest>) -> Result<Response<CancelRunResponse>, Status> {
        let caller = caller(&request).await?;
        let cancelled = self.find(&request.into_inner().run_id, &caller)?.cancel();
        Ok(Response::new(CancelRunResponse { cancelled }))
    }

    async fn list_runs(&self, request: Request<ListRunsRequest>) -> Result<Response<ListRunsResponse>, Status> {
        let caller = caller(&request).await?;
        let request = request.into_inner();
        let limit = if request.limit == 0 { LISTED } else { request.limit as usize };
        let wanted = |run: &RunMessage| request.states.is_empty() || request.states.contains(&run.state);
        let seen = self.runs.list().into_iter().filter(|run| caller.may_see(run));
        let runs = seen.map(|run| run.summary()).filter(wanted).take(limit).collect();
        Ok(Response::new(ListRunsResponse { runs }))
    }

    async fn get_run(&self, request: Request<GetRunRequest>) -> Result<Response<RunMessage>, Status> {
        let caller = caller(&request).await?;
        Ok(Response::new(self.find(&request.into_inner().run_id, &caller)?.details()))
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Invalid(message) => Status::invalid_argument(message),
            Refusal::NotFound(id) => {
                Status::not_found(format!("there is no run '{id}', or more than one begins so; orrery runs lists them"))
            }
            Refusal::Full(message) => Status::resource_exhausted(message),
            Refusal::Closing => Status::unavailable("the scheduler is going down"),
            Refusal::Journal(message) => Status::internal(format!("the journal of runs cannot be written: {message}")),
        }
    }
}
