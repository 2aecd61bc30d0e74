//! Whether the statement that a function works for has been stopped, for functions that compute for long between two batches.
//!
//! DataFusion calls an aggregate and waits; dropping its stream, which is how a statement is stopped, has to wait too. Whoever polls the stream lends the thread a
//! [`Stop`] meanwhile, and a function that takes its time picks it up and looks at it now and then, on whatever threads it computes.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use datafusion::common::Result;

thread_local! {
    static LENT: RefCell<Option<Stop>> = const { RefCell::new(None) };
}

/// Tells whether to go on.
#[derive(Clone)]
pub struct Stop(Arc<dyn Fn() -> Result<()> + Send + Sync>);

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stop").field(&self.check().is_err()).finish()
    }
}

/// Gives the thread back what it had before.
struct Return(Option<Stop>);

impl Drop for Return {
    fn drop(&mut self) {
        LENT.set(self.0.take());
    }
}

impl Stop {
    /// `check` fails, with the error that the statement ends with, once it has been stopped.
    pub fn new(check: impl Fn() -> Result<()> + Send + Sync + 'static) -> Self {
        Self(Arc::new(check))
    }

    /// Does work on this thread that may pick this up.
    pub fn lend<T>(&self, work: impl FnOnce() -> T) -> T {
        let _before = Return(LENT.replace(Some(self.clone())));
        work()
    }

    /// What this thread has been lent; `None` where nobody stops statements.
    pub fn lent() -> Option<Self> {
        LENT.with_borrow(Clone::clone)
    }

    /// An error once the statement has been stopped.
    ///
    /// # Errors
    /// What the statement ends with.
    pub fn check(&self) -> Result<()> {
        (self.0)()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::common::exec_err;

    #[test]
    fn is_lent_while_work_lasts() {
        let (go_on, end) = (Stop::new(|| Ok(())), Stop::new(|| exec_err!("stopped")));
        let is_stopped = || Stop::lent().map(|stop| stop.check().is_err());
        assert_eq!(is_stopped(), None);
        go_on.lend(|| {
            assert_eq!(is_stopped(), Some(false));
            assert_eq!(end.lend(is_stopped), Some(true));
            assert_eq!(is_stopped(), Some(false));
            assert_eq!(std::thread::spawn(move || Stop::lent().is_some()).join().ok(), Some(false));
        });
        let fails = std::panic::AssertUnwindSafe(|| end.lend(|| -> bool { panic!("a function fails") }));
        assert!(std::panic::catch_unwind(fails).is_err());
        assert_eq!(is_stopped(), None);
    }
}
