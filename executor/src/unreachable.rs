//! Tells the scheduler of executors whose rows cannot be fetched. The task fails as it does anyway; this is so that the next attempt does not end the same
//! way when both executors are alive and only the network between them is cut.

use orrery_proto::v1::ReportUnreachableRequest;
use tokio::sync::mpsc;

use crate::scheduler::Scheduler;

/// Reports that may wait; the tasks of a stage all say the same.
const WAITING_MAX: usize = 16;

/// Where to tell.
#[derive(Debug, Clone)]
pub(crate) struct Unreachable(mpsc::Sender<String>);

impl Unreachable {
    /// Reports to the scheduler in the name of an executor, until the last clone is gone.
    pub fn start(scheduler: Scheduler, reporter_id: String) -> Self {
        let (sender, mut receiver) = mpsc::channel::<String>(WAITING_MAX);
        tokio::spawn(async move {
            while let Some(executor_id) = receiver.recv().await {
                let request = ReportUnreachableRequest { reporter_id: reporter_id.clone(), executor_id };
                if let Err(error) = report(&scheduler, request).await {
                    tracing::debug!(%error, "the scheduler cannot be told of an executor that is out of reach");
                }
            }
        });
        Self(sender)
    }

    /// Tells of an executor. Does not wait: a report that finds no room says what others have said.
    pub fn tell(&self, executor_id: &str) {
        let _ = self.0.try_send(executor_id.to_string());
    }
}

async fn report(scheduler: &Scheduler, request: ReportUnreachableRequest) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut client = scheduler.connect().await?;
    client.report_unreachable(request).await?;
    Ok(())
}
