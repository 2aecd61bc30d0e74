//! An executor from start to end: joins the scheduler, runs tasks until it is told to stop, finishes those it has.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::extension::SessionConfigExt as _;
use ballista_executor::execution_engine::DefaultExecutionEngine;
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use ballista_executor::health::ExecutorHealth;
use ballista_executor::metrics::ExecutorMetricCollectionPolicy;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::SessionConfig;
use orrery_engine::Stores;
use orrery_engine::models::blocks;

use crate::admission::Word;
use crate::connections::Connections;
use crate::engine::GuardingEngine;
use crate::http::{self, Pages};
use crate::join;
use crate::metrics::Metrics;
use crate::ports::Encrypted;
use crate::registry;
use crate::scheduler::Scheduler;
use crate::settings::Settings;
use crate::unreachable::Unreachable;
use crate::{Error, Result};

/// Sessions whose opened files are remembered.
const SESSIONS_REMEMBERED: usize = 64;
/// Work of other jobs that lies about longer than this was left by a scheduler that died.
const LEFTOVERS_AFTER_S: u64 = 24 * 3600;

/// Runs an executor until SIGTERM, Ctrl-C or the loss of its scheduler.
///
/// # Errors
/// A scheduler that cannot be reached or refuses this executor, ports in use, a work directory that cannot be written.
pub async fn serve(settings: Settings) -> Result<()> {
    let cluster = &settings.cluster;
    cluster.refuse_exposed_to_nodes("the ports of this executor", settings.bind_host)?;
    let (server_tls, client_tls) = cluster.open()?.map(|tls| (tls.server, tls.client)).unzip();
    let scheduler = Scheduler::new(&settings, client_tls.clone());
    ports_are_free(&settings)?;
    let instance_id = join::join(&scheduler, &settings).await?;
    let (work_dir, _temporary) = work_dir(&settings)?;
    keep_pages_small();
    blocks::keep_within(settings.memory_limit.map(|size| size.as_u64()));
    let health = ExecutorHealth::new();
    let id = uuid::Uuid::new_v4().to_string();
    let vcores = usize::from(settings.vcores.unwrap_or_else(cores));
    let metrics = Metrics::new(vcores).map_err(|error| Error::Stopped(error.to_string()))?;
    if settings.http_port != 0 {
        let address = SocketAddr::new(settings.bind_host, settings.http_port);
        http::start(address, Pages { metrics: metrics.clone(), health: health.clone(), work_dir: work_dir.clone() }).await?;
    }
    tracing::info!(executor = %id, vcores, work_dir = %work_dir.display(), "executor starts");
    let unreachable = Unreachable::start(scheduler.clone(), id.clone());
    let connections = Arc::new(Connections::new(client_tls));
    let engine = GuardingEngine::new(DefaultExecutionEngine::with_client_pool(connections), metrics, unreachable);
    let word = server_tls.is_some().then(Word::new);
    let engine = engine.admitting(word.clone());
    let tasks = engine.tasks();
    tokio::spawn(join::watch(scheduler.clone(), settings.heartbeat_s, instance_id, move || tasks.stop_all()));
    let mut config = process_config(&settings, id, vcores, &work_dir, health, engine);
    let _encrypted = match server_tls.zip(word) {
        Some((tls, word)) => Some(Encrypted::open(&settings, tls, scheduler, word, &mut config).await?),
        None => None,
    };
    start_executor_process(Arc::new(config)).await.map_err(|error| Error::Stopped(error.to_string()))
}

/// Ballista opens these ports once the executor has joined, and goes on without them when it cannot.
fn ports_are_free(settings: &Settings) -> Result<()> {
    for port in [settings.flight_port, settings.task_port] {
        let address = SocketAddr::new(settings.bind_host, port);
        std::net::TcpListener::bind(address).map_err(|error| Error::Listen(address, error))?;
    }
    Ok(())
}

/// Huge pages are cleared whole when a part of them is touched. Tasks allocate and free buffers of all sizes, so that clearing pages took a quarter of the
/// time of shuffles.
fn keep_pages_small() {
    #[cfg(target_os = "linux")]
    {
        let (on, unused): (libc::c_ulong, libc::c_ulong) = (1, 0);
        // SAFETY: the call takes numbers only and changes a flag of this process.
        let result = unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, on, unused, unused, unused) };
        if result != 0 {
            tracing::debug!(error = %std::io::Error::last_os_error(), "huge pages stay on");
        }
    }
}

fn cores() -> u16 {
    std::thread::available_parallelism().ok().and_then(|n| u16::try_from(n.get()).ok()).unwrap_or(1)
}

/// The folder for shuffle files, without what an earlier executor left in it.
fn work_dir(settings: &Settings) -> Result<(PathBuf, Option<tempfile::TempDir>)> {
    let Some(dir) = &settings.work_dir else {
        let dir = tempfile::Builder::new().prefix("orrery-executor-").tempdir().map_err(|e| Error::WorkDir(std::env::temp_dir(), e))?;
        return Ok((dir.path().to_path_buf(), Some(dir)));
    };
    let dir = dir.join("shuffle");
    let emptied = match std::fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => std::fs::create_dir_all(&dir),
    };
    match emptied {
        Ok(()) => Ok((dir, None)),
        Err(error) => Err(Error::WorkDir(dir, error)),
    }
}

fn process_config(
    settings: &Settings,
    executor_id: String,
    vcores: usize,
    work_dir: &std::path::Path,
    health: ExecutorHealth,
    engine: GuardingEngine,
) -> ExecutorProcessConfig {
    let message_limit = u32::try_from(settings.message_limit.as_u64()).unwrap_or(u32::MAX);
    let stores = Arc::new(Stores::default());
    let spill_dir = work_dir.to_path_buf();
    let runtime = move |_: &SessionConfig| {
        let builder = RuntimeEnvBuilder::new().with_object_store_registry(Arc::clone(&stores) as _).with_object_list_cache_limit(0);
        builder.with_temp_file_path(spill_dir.clone()).build_arc()
    };
    ExecutorProcessConfig {
        executor_id,
        bind_host: settings.bind_host.to_string(),
        external_host: settings.external_host.clone(),
        port: settings.flight_port,
        grpc_port: settings.task_port,
        scheduler_host: settings.scheduler_host.clone(),
        scheduler_port: settings.scheduler_port,
        scheduler_connect_timeout_seconds: settings.connect_timeout_s.max(1),
        vcores,
        task_scheduling_policy: TaskSchedulingPolicy::PushStaged,
        work_dir: Some(work_dir.display().to_string()),
        job_data_ttl_seconds: LEFTOVERS_AFTER_S,
        job_data_clean_up_interval_seconds: LEFTOVERS_AFTER_S,
        grpc_max_decoding_message_size: message_limit,
        grpc_max_encoding_message_size: message_limit,
        executor_heartbeat_interval_seconds: settings.heartbeat_s,
        metric_collection_policy: ExecutorMetricCollectionPolicy::ProcessOnly,
        memory_pool_size: settings.memory_limit.map(|size| size.as_u64()),
        session_runtime_cache_capacity: SESSIONS_REMEMBERED,
        override_execution_engine: Some(Arc::new(engine)),
        override_function_registry: Some(Arc::new(registry::functions())),
        override_runtime_producer: Some(Arc::new(runtime)),
        override_config_producer: Some(Arc::new(SessionConfig::new_with_ballista)),
        override_physical_codec: Some(registry::codec()),
        health,
        ..ExecutorProcessConfig::default()
    }
}
