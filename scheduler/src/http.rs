//! `/healthz`, `/readyz`, `/metrics`, and the cluster and its runs as JSON under `/api`.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use orrery_proto::v1::{ExecutorShare, Run as RunMessage, RunState};
use prometheus::{IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::coordinator::Coordinator;
use crate::runs::{Caller, Runs};

#[derive(Clone)]
pub(crate) struct Pages {
    pub coordinator: Coordinator,
    pub runs: Arc<Runs>,
}

/// Serves until the process ends.
pub(crate) async fn serve(listener: TcpListener, pages: Pages) -> std::io::Result<()> {
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/api/executors", get(executors))
        .route("/api/runs", get(runs))
        .route("/api/runs/{id}", get(run))
        .with_state(pages);
    axum::serve(listener, router).await
}

async fn ready(State(pages): State<Pages>) -> (StatusCode, &'static str) {
    match pages.coordinator.vcores() {
        0 => (StatusCode::SERVICE_UNAVAILABLE, "not ready: no executors\n"),
        _ => (StatusCode::OK, "ready\n"),
    }
}

async fn executors(State(pages): State<Pages>) -> Json<Value> {
    Json(json!({ "executors": pages.coordinator.executors.list() }))
}

async fn runs(State(pages): State<Pages>) -> Json<Value> {
    let runs: Vec<Value> = pages.runs.list().iter().map(|run| shown(&run.summary())).collect();
    Json(json!({ "runs": runs }))
}

async fn run(State(pages): State<Pages>, Path(id): Path<String>) -> Result<Json<Value>, (StatusCode, Json<Value>)> {
    let run = pages
        .runs
        .find(&id, &Caller::operator())
        .ok_or_else(|| (StatusCode::NOT_FOUND, Json(json!({ "error": format!("there is no run '{id}'") }))))?;
    let details = run.details();
    let mut shown = shown(&details);
    // The texts of statements stay with those who may read scripts.
    shown["statements"] = details
        .statements
        .iter()
        .map(|statement| {
            let finished = statement.finished.as_ref();
            json!({
                "number": statement.number,
                "kind": statement.kind,
                "file": statement.file,
                "line": statement.line,
                "started_ms": statement.started_ms,
                "elapsed_us": finished.map(|finished| finished.elapsed_us),
                "rows": finished.and_then(|finished| finished.rows),
                "bytes": finished.and_then(|finished| finished.bytes),
                "executors": finished.map(|finished| finished.shares.iter().map(share).collect::<Vec<_>>()).unwrap_or_default(),
                "failed": finished.is_some_and(|finished| finished.error.is_some()),
            })
        })
        .collect();
    Ok(Json(shown))
}

fn share(share: &ExecutorShare) -> Value {
    json!({
        "executor_id": share.executor_id,
        "tasks": share.tasks,
        "rows": share.rows,
        "bytes": share.bytes,
        "busy_ms": share.busy_ms,
    })
}

fn shown(run: &RunMessage) -> Value {
    json!({
        "run_id": run.run_id,
        "state": run.state().word(),
        "files": run.files,
        "catalog": run.catalog,
        "started_ms": run.started_ms,
        "ended_ms": (run.ended_ms > 0).then_some(run.ended_ms),
        "statements_total": run.statements_total,
        "statements_done": run.statements_done,
    })
}

async fn metrics(State(pages): State<Pages>) -> Result<String, (StatusCode, String)> {
    render(&pages).map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

fn render(pages: &Pages) -> prometheus::Result<String> {
    let registry = Registry::new();
    let gauge = |name: &str, help: &str, value: usize| -> prometheus::Result<()> {
        let gauge = IntGauge::new(name, help)?;
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register(Box::new(gauge))
    };
    gauge("orrery_executors", "Executors that are alive", pages.coordinator.executors.list().len())?;
    gauge("orrery_vcores", "Vcores of these executors", pages.coordinator.vcores())?;
    gauge("orrery_jobs_running", "Plans that run on the cluster", pages.coordinator.ballista.running_job_number())?;
    gauge("orrery_jobs_pending", "Plans that wait", pages.coordinator.ballista.pending_job_number())?;
    gauge("orrery_scheduler_memory_bytes", "Resident memory of the scheduler", resident_bytes().unwrap_or(0))?;
    let states = IntGaugeVec::new(Opts::new("orrery_runs", "Runs in the journal, by state"), &["state"])?;
    for state in [RunState::Running, RunState::Succeeded, RunState::Failed, RunState::Cancelled, RunState::Interrupted] {
        states.with_label_values(&[state.word()]).set(0);
    }
    for run in pages.runs.list() {
        states.with_label_values(&[run.summary().state().word()]).inc();
    }
    registry.register(Box::new(states))?;
    TextEncoder::new().encode_to_string(&registry.gather())
}

fn resident_bytes() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<usize>().ok()? * 1024)
}
