//! Arguments → session, and Ctrl-C → cancellation.

use std::sync::Arc;

use orrery_engine::Result;
use orrery_engine::session::{Session, SessionOptions};

use crate::args::SessionArgs;
use crate::exit;

/// Opens the session that the arguments describe.
pub(crate) async fn open(args: SessionArgs) -> Result<Arc<Session>> {
    let options = SessionOptions {
        warehouse: args.warehouse,
        catalog: args.catalog,
        variables: args.variables,
        threads: args.threads,
        memory_limit_bytes: args.memory_limit,
        scratch_dir: args.scratch_dir,
        ..SessionOptions::default()
    };
    Ok(Arc::new(Session::open(options).await?))
}

/// The first Ctrl-C (or SIGTERM) stops the running statement, which then cleans up behind itself; a second one ends the program at once.
pub(crate) fn cancel_on_interrupt(session: &Arc<Session>) {
    let session = Arc::clone(session);
    tokio::spawn(async move {
        if interrupt().await.is_ok() {
            session.cancel();
            if interrupt().await.is_ok() {
                std::process::exit(i32::from(exit::INTERRUPTED));
            }
        }
    });
}

/// Completes at the next Ctrl-C or SIGTERM.
pub(crate) async fn interrupt() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            pressed = tokio::signal::ctrl_c() => pressed,
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}
