//! What a statement's plan rests on: relations of the warehouse, each as it was found, and the session's own names, settings and variables. Who keeps a plan
//! for later looks here whether it would be made the same once more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use orrery_lakehouse::{Relation, TableName, Warehouse};
use parking_lot::Mutex;

use super::SYSTEM;
use crate::Result;

/// A time during which a session's own names, settings and variables stay as they are. No two sessions have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Epoch(u64);

impl Epoch {
    /// One that nobody has had.
    pub fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl Default for Epoch {
    fn default() -> Self {
        Self::next()
    }
}

/// Relations as they were found.
pub(super) type Found = Vec<(TableName, Relation)>;

/// What is noted while one statement is planned.
#[derive(Debug)]
pub(super) struct Reliance(Mutex<Option<Found>>);

impl Default for Reliance {
    fn default() -> Self {
        Self(Mutex::new(Some(Found::new())))
    }
}

impl Reliance {
    /// Notes a relation. Of the program's own tables everybody sees other rows, at any time.
    pub fn note(&self, name: &TableName, relation: &Relation) {
        if name.catalog == SYSTEM {
            return self.note_unrepeatable();
        }
        if let Some(found) = self.0.lock().as_mut()
            && !found.iter().any(|(known, _)| known == name)
        {
            found.push((name.clone(), relation.clone()));
        }
    }

    /// Notes something of which it cannot be told later whether it is still the same: files, a model.
    pub fn note_unrepeatable(&self) {
        *self.0.lock() = None;
    }

    /// What was noted; `None` if the plan cannot be known to hold later.
    pub fn found(&self) -> Option<Found> {
        self.0.lock().clone()
    }
}

/// Whether relations are what they were.
///
/// # Errors
/// The warehouse cannot be read.
pub(super) async fn are_unchanged(found: &Found, warehouse: &Warehouse) -> Result<bool> {
    for (name, before) in found {
        let is_same = match (before, warehouse.relation(name).await?) {
            (Relation::Table(before), Some(Relation::Table(now))) => Arc::ptr_eq(before, &now),
            (Relation::View(before), Some(Relation::View(now))) => *before == now,
            _ => false,
        };
        if !is_same {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use orrery_lakehouse::ViewDefinition;

    fn view(sql: &str) -> Relation {
        let text = |text: &str| text.to_string();
        Relation::View(ViewDefinition {
            sql: text(sql),
            columns: Vec::new(),
            comment: None,
            catalog: text("dev"),
            schema: text("default"),
            created_by: None,
            created_at: chrono::DateTime::UNIX_EPOCH,
        })
    }

    #[test]
    fn relations_are_noted_once_and_nothing_is_left_of_what_cannot_be_repeated() {
        let reliance = Reliance::default();
        assert!(reliance.found().is_some_and(|found| found.is_empty()));
        let name = TableName::new("dev", "default", "v");
        reliance.note(&name, &view("SELECT 1"));
        reliance.note(&name, &view("SELECT 1"));
        assert_eq!(reliance.found().map(|found| found.len()), Some(1));
        reliance.note(&TableName::new(SYSTEM, "access", "audit"), &view("SELECT 2"));
        reliance.note(&name, &view("SELECT 1"));
        assert!(reliance.found().is_none());
    }

    #[test]
    fn epochs_are_never_the_same() {
        assert_ne!(Epoch::next(), Epoch::default());
    }
}
