//! The state that a session's last statement was planned with, for the next one: a state knows all functions by name, and copying them takes longer than
//! planning a small statement.

use datafusion::execution::session_state::SessionState;
use datafusion::prelude::SessionContext;
use parking_lot::Mutex;

/// At most one state; statements that run at the same time copy the session's.
#[derive(Default)]
pub(super) struct SpareState(Mutex<Option<Box<SessionState>>>);

impl SpareState {
    /// A state of the session, with its settings of this moment, in which a statement begins now.
    pub fn take(&self, context: &SessionContext) -> Box<SessionState> {
        let spare = self.0.lock().take();
        match spare {
            Some(mut state) => {
                *state.config_mut() = context.copied_config();
                state.mark_start_execution();
                state
            }
            None => Box::new(context.state()),
        }
    }

    /// Keeps a state that came from [`SpareState::take`] and of which nothing but the settings were changed. What a statement had among its settings, such as
    /// samples of the tables that it joins, goes.
    pub fn give_back(&self, mut state: Box<SessionState>, context: &SessionContext) {
        *state.config_mut() = context.copied_config();
        *self.0.lock() = Some(state);
    }
}
