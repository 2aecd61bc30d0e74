//! Before anything else: is the scheduler there, and of this program's version?

use std::time::{Duration, Instant};

use orrery_proto::v1::JoinRequest;
use orrery_transport::explain;
use tonic::Code;

use crate::scheduler::Scheduler;
use crate::settings::Settings;
use crate::{Error, Result};

const RETRY_AFTER: Duration = Duration::from_millis(500);

/// The version that scheduler and executors have to share: plans are encoded by the program that made them.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Watches for a scheduler that was started anew, which knows nothing of the tasks that run here, and calls `forget` whenever there is one.
pub(crate) async fn watch(scheduler: Scheduler, heartbeat_s: u64, mut instance_id: String, forget: impl Fn()) {
    loop {
        tokio::time::sleep(Duration::from_secs(heartbeat_s)).await;
        // One that does not answer may come back as it was; executors end by themselves when it stays away.
        if let Ok(found) = ask(&scheduler, VERSION).await
            && found != instance_id
        {
            tracing::warn!("the scheduler was started anew; work for the earlier one is stopped");
            instance_id = found;
            forget();
        }
    }
}

/// Asks the scheduler to take this executor, as often as `connect_timeout_s` allows. Returns which scheduler it is.
pub(crate) async fn join(scheduler: &Scheduler, settings: &Settings) -> Result<String> {
    let address = scheduler.address();
    let deadline = Instant::now() + Duration::from_secs(u64::from(settings.connect_timeout_s));
    loop {
        let reason = match ask(scheduler, VERSION).await {
            Ok(instance_id) => return Ok(instance_id),
            Err(Refusal::Final(message)) => return Err(Error::Refused(message)),
            Err(Refusal::Unreachable(reason)) => reason,
        };
        if Instant::now() + RETRY_AFTER > deadline {
            return Err(Error::Unreachable { address: address.to_string(), reason });
        }
        tracing::info!(scheduler = %address, %reason, "waiting for the scheduler");
        tokio::time::sleep(RETRY_AFTER).await;
    }
}

enum Refusal {
    Final(String),
    Unreachable(String),
}

async fn ask(scheduler: &Scheduler, version: &str) -> Result<String, Refusal> {
    let mut client = scheduler.connect().await.map_err(|error| Refusal::Unreachable(explain(&error)))?;
    match client.join(JoinRequest { version: version.to_string() }).await {
        Ok(answer) => Ok(answer.into_inner().instance_id),
        Err(status) if status.code() == Code::FailedPrecondition => Err(Refusal::Final(status.message().to_string())),
        Err(status) if status.code() == Code::Unimplemented => Err(Refusal::Final(format!(
            "{} is no Orrery scheduler's internal port; executors join on 50050 unless it was changed",
            scheduler.address()
        ))),
        Err(status) if std::error::Error::source(&status).is_some() => Err(Refusal::Unreachable(explain(&status))),
        Err(status) => Err(Refusal::Unreachable(status.message().to_string())),
    }
}
