//! What becomes of rights when objects come and go: who makes an object owns it, and what was granted on it goes with it.

use crate::access::Securable;
use crate::session::{Outcome, Session};
use crate::{Error, Result};

/// What is to be done once a statement has succeeded.
pub(in crate::session) enum FollowUp {
    Nothing,
    /// The object is new: it belongs to the session's user.
    Own(Securable),
    /// The object was dropped, unless only a part of it was.
    ForgetIfGone(Securable),
}

impl Session {
    /// Does what follows a statement that has succeeded.
    ///
    /// # Errors
    /// The tables of rights cannot be written. The statement itself stays done.
    pub(in crate::session) async fn follow_up(&self, follow_up: FollowUp, outcome: Outcome) -> Result<Outcome> {
        let guard = self.names.guard();
        let done = |what: &str, on: &Securable, error: Error| Error {
            message: format!("the statement was carried out, but {what} {on} could not be recorded: {}", error.message),
            ..error
        };
        match &follow_up {
            FollowUp::Nothing => {}
            FollowUp::Own(on) => {
                let Some(principal) = guard.principal() else { return Ok(outcome) };
                let own = async {
                    // Whoever was first owns it, should two have made it at the same time.
                    if self.exists(on).await? && guard.access().rights_now().await?.owner(on).is_none() {
                        guard.access().set_owner(on, principal.user(), principal.user()).await?;
                    }
                    Ok::<_, Error>(())
                };
                own.await.map_err(|error| done("the owner of", on, error))?;
            }
            FollowUp::ForgetIfGone(on) => {
                let forget = async {
                    if !self.exists(on).await? {
                        guard.access().forget(on).await?;
                    }
                    Ok::<_, Error>(())
                };
                forget.await.map_err(|error| done("the end of all rights on", on, error))?;
            }
        }
        Ok(outcome)
    }
}
