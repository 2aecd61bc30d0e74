//! [`Access`]: the tables of rights, read when they may have changed and changed in commits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use datafusion::prelude::SessionContext;
use orrery_lakehouse::Warehouse;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Principal;
use super::audit::Audit;
use super::limits::Share;
use super::memory::{Accounts, UserPool};
use super::rights::{AllRows, Rights};
use super::tables::{PLACE, Tables};
use super::throttle::Throttle;
use super::workload::{Capacity, Slot, Workload};
use crate::Result;
use crate::session::SYSTEM;
use crate::stored_table::columns::{rows_of, to_batch};
use crate::stored_table::{Change, Place, Rows, StoredTable};

/// Rights that are older are read again, while the old ones still serve.
const READ_AGAIN_AFTER: Duration = Duration::from_millis(200);
/// Rights that are older serve nobody.
const SERVE_UNTIL: Duration = Duration::from_millis(500);

/// Users and rights of a warehouse; cheap to clone. A server has one, and hands it to its sessions within each [`Principal`](super::Principal).
#[derive(Clone)]
pub struct Access {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    warehouse: Warehouse,
    place: OnceLock<Place>,
    pub(super) tables: Tables,
    seen: Mutex<Option<Seen>>,
    /// One reads, the others wait for what it finds.
    reading: tokio::sync::Mutex<()>,
    /// Somebody reads them while the old ones still serve.
    reads_again: AtomicBool,
    pub(super) throttle: Throttle,
    workload: Arc<Workload>,
    accounts: Accounts,
    pub(super) audit: Audit,
}

/// What was read last.
#[derive(Clone)]
struct Seen {
    at: Instant,
    /// The rows that the rights were made of; empty while there are no tables.
    rows: Vec<Arc<Rows>>,
    rights: Arc<Rights>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").field("warehouse", &self.inner.warehouse.root().as_str()).finish_non_exhaustive()
    }
}

impl Access {
    /// Users and rights of a warehouse. Nothing is read or written yet.
    pub fn open(warehouse: Warehouse) -> Self {
        Self::with_capacity(warehouse, Capacity::default())
    }

    /// The same for a server that says how much runs on it at the same time.
    pub fn with_capacity(warehouse: Warehouse, capacity: Capacity) -> Self {
        let inner = Inner {
            audit: Audit::new(warehouse.clone()),
            warehouse,
            place: OnceLock::new(),
            tables: Tables::new(),
            seen: Mutex::default(),
            reading: tokio::sync::Mutex::new(()),
            reads_again: AtomicBool::new(false),
            throttle: Throttle::default(),
            workload: Workload::new(capacity),
            accounts: Accounts::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Whether there is any user, as of at most half a second ago. Without users a server lets nobody in but from its own machine.
    ///
    /// # Errors
    /// The tables of rights cannot be read.
    pub async fn has_users(&self) -> Result<bool> {
        Ok(!self.rights().await?.users.is_empty())
    }

    /// Whether somebody who was let in may go on, as of at most half a second ago.
    ///
    /// # Errors
    /// The tables of rights cannot be read.
    pub async fn admits(&self, principal: &Principal) -> Result<bool> {
        Ok(self.rights().await?.admits(principal))
    }

    /// The warehouse whose rights these are.
    pub fn warehouse(&self) -> &Warehouse {
        &self.inner.warehouse
    }

    /// Waits until there is room for a statement of a user.
    ///
    /// # Errors
    /// There was none for too long.
    pub(crate) async fn enter(&self, user: &str, shares: &[Share]) -> Result<Slot> {
        self.inner.workload.enter(user, shares).await
    }

    /// Counts a session's memory under the limits that hold now.
    pub(crate) fn count_memory(&self, shares: &[Share], pool: &UserPool) {
        self.inner.accounts.apply(shares, pool);
    }

    pub(super) fn place(&self) -> &Place {
        self.inner.place.get_or_init(|| {
            let context = SessionContext::new();
            self.inner.warehouse.register_with(&context.runtime_env());
            Place { warehouse: self.inner.warehouse.clone(), context }
        })
    }

    /// The rights, at most half a second old.
    ///
    /// # Errors
    /// The tables of rights cannot be read; then nobody may do anything.
    pub(crate) async fn rights(&self) -> Result<Arc<Rights>> {
        let seen = self.inner.seen.lock().as_ref().map(|seen| (seen.at, Arc::clone(&seen.rights)));
        if let Some((at, rights)) = seen {
            let age = at.elapsed();
            if age < READ_AGAIN_AFTER {
                return Ok(rights);
            }
            if age < SERVE_UNTIL {
                if !self.inner.reads_again.swap(true, Ordering::AcqRel) {
                    let access = self.clone();
                    tokio::spawn(async move {
                        let _again = ReadingAgain(&access.inner.reads_again);
                        // Whoever waits for them next hears of the error.
                        let _ = access.read_unless_newer_than(at).await;
                    });
                }
                return Ok(rights);
            }
        }
        self.read_unless_newer_than(Instant::now().checked_sub(SERVE_UNTIL).unwrap_or_else(Instant::now)).await
    }

    /// The rights as they are now.
    ///
    /// # Errors
    /// The tables of rights cannot be read.
    pub(crate) async fn rights_now(&self) -> Result<Arc<Rights>> {
        self.read_unless_newer_than(Instant::now()).await
    }

    async fn read_unless_newer_than(&self, moment: Instant) -> Result<Arc<Rights>> {
        let _turn = self.inner.reading.lock().await;
        let before = self.inner.seen.lock().clone();
        if let Some(seen) = &before
            && seen.at > moment
        {
            return Ok(Arc::clone(&seen.rights));
        }
        let at = Instant::now();
        let rows = self.read_rows().await?;
        let unchanged = before.filter(|seen| seen.rows.len() == rows.len() && seen.rows.iter().zip(&rows).all(|(a, b)| a.are(b)));
        let rights = match unchanged {
            Some(seen) => seen.rights,
            None => Arc::new(rights_of(&rows)?),
        };
        *self.inner.seen.lock() = Some(Seen { at, rows, rights: Arc::clone(&rights) });
        Ok(rights)
    }

    async fn read_rows(&self) -> Result<Vec<Arc<Rows>>> {
        if !self.inner.warehouse.schema_exists(SYSTEM, PLACE.0).await? {
            return Ok(Vec::new());
        }
        let tables = &self.inner.tables;
        let all = [
            &tables.users,
            &tables.roles,
            &tables.members,
            &tables.tokens,
            &tables.grants,
            &tables.owners,
            &tables.filters,
            &tables.masks,
            &tables.functions,
            &tables.limits,
        ];
        let place = self.place();
        futures::future::try_join_all(all.map(|table| table.read(place))).await
    }

    /// Changes the rows of a table; `change` says whether there is anything to write. The rights of this process follow at once.
    pub(super) async fn change<T: Serialize + DeserializeOwned>(
        &self,
        table: &StoredTable,
        mut change: impl FnMut(&mut Vec<T>) -> Result<bool>,
    ) -> Result<()> {
        let mut is_changed = false;
        table
            .change(self.place(), |base| {
                let mut rows = rows_of(&base.batch)?;
                is_changed = change(&mut rows)?;
                Ok(if is_changed { Some(Change::Replace(to_batch(table.schema(), &rows)?)) } else { None })
            })
            .await?;
        if is_changed {
            self.rights_now().await?;
        }
        Ok(())
    }
}

/// Somebody reads the rights again, until this is dropped.
struct ReadingAgain<'a>(&'a AtomicBool);

impl Drop for ReadingAgain<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// In the order of [`Access::read_rows`].
fn rights_of(rows: &[Arc<Rows>]) -> Result<Rights> {
    let [users, roles, members, tokens, grants, owners, filters, masks, functions, limits] = rows else { return Ok(Rights::default()) };
    Ok(Rights::new(AllRows {
        users: rows_of(&users.batch)?,
        roles: rows_of(&roles.batch)?,
        members: rows_of(&members.batch)?,
        tokens: rows_of(&tokens.batch)?,
        grants: rows_of(&grants.batch)?,
        owners: rows_of(&owners.batch)?,
        filters: rows_of(&filters.batch)?,
        masks: rows_of(&masks.batch)?,
        functions: rows_of(&functions.batch)?,
        limits: rows_of(&limits.batch)?,
    }))
}
