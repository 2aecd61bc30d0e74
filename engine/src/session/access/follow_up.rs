//! What becomes of rights when objects come and go: who makes an object owns it, and what was granted on it goes with it.

use crate::access::{Kind, Securable};
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
                    if self.exists(on).await? {
                        guard.access().own_new(on, principal.user()).await?;
                    }
                    Ok::<_, Error>(())
                };
                own.await.map_err(|error| done("the owner of", on, error))?;
            }
            FollowUp::ForgetIfGone(on) => {
                self.forget_if_gone(on).await.map_err(|error| done("the end of all rights on", on, error))?;
            }
        }
        Ok(outcome)
    }

    /// Forgets what was granted on an object that does not exist. Rights are looked up first: what comes to be after that may belong to another object of that
    /// name, which somebody makes meanwhile.
    ///
    /// # Errors
    /// The warehouse or the tables of rights cannot be read or written.
    pub(super) async fn forget_if_gone(&self, on: &Securable) -> Result<()> {
        let access = self.names.guard().access();
        let known = access.rights_now().await?;
        let exists = match on.kind {
            // They are rows among the rights, of which those of the statement may be older.
            Kind::Function => access.rights_now().await?.function(&on.table_name()).is_some(),
            _ => self.exists(on).await?,
        };
        if exists { Ok(()) } else { access.forget(on, &known).await }
    }
}
