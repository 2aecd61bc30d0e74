//! Tables and views of a schema: which exist, and what a name stands for.

use std::fmt;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};

use super::Warehouse;
use super::listing::{folders, object_exists, objects};
use super::views::VIEWS_FOLDER;
use crate::error::{Error, Result};
use crate::names::TableName;
use crate::table::Table;
use crate::view::ViewDefinition;

const LISTING_CONCURRENCY: usize = 16;

/// What a name in a schema stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RelationKind {
    /// A Delta table.
    Table,
    /// A stored query.
    View,
}

impl fmt::Display for RelationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Table => "table",
            Self::View => "view",
        })
    }
}

/// One entry of a schema's listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RelationEntry {
    /// Last level of the name.
    pub name: String,
    /// Table or view.
    pub kind: RelationKind,
}

/// A table or a view.
#[derive(Debug, Clone)]
pub enum Relation {
    /// A table at its newest version.
    Table(Arc<Table>),
    /// A stored query.
    View(ViewDefinition),
}

impl Warehouse {
    /// Tables and views of a schema, sorted by name. The schema has to exist.
    pub async fn relations(&self, catalog: &str, schema: &str) -> Result<Vec<RelationEntry>> {
        self.require_schema(catalog, schema).await?;
        let store = self.store();
        let candidates = folders(store.as_ref(), &self.path(&[catalog, schema])?).await?;
        let checks: Vec<_> = candidates
            .into_iter()
            .map(|table| async move {
                let name = TableName::new(catalog, schema, table);
                // A folder whose name is no identifier was not made here and cannot be asked for.
                let exists = name.check().is_ok() && self.table_exists(&name).await?;
                Ok::<_, Error>(exists.then_some(RelationEntry { name: name.table, kind: RelationKind::Table }))
            })
            .collect();
        let tables: Vec<Option<RelationEntry>> = futures::stream::iter(checks).buffered(LISTING_CONCURRENCY).try_collect().await?;
        let mut entries: Vec<RelationEntry> = tables.into_iter().flatten().collect();
        for name in objects(store.as_ref(), &self.path(&[catalog, schema, VIEWS_FOLDER])?, ".json").await? {
            if !entries.iter().any(|entry| entry.name == name) {
                entries.push(RelationEntry { name, kind: RelationKind::View });
            }
        }
        entries.sort();
        Ok(entries)
    }

    /// The table (at its newest version) or view of this name; `None` if there is neither, or the catalog or schema does not exist.
    pub async fn relation(&self, name: &TableName) -> Result<Option<Relation>> {
        let (table, view) = futures::join!(self.load_table(name), self.load_view(name));
        match table? {
            Some(table) => Ok(Some(Relation::Table(table))),
            None => Ok(view?.map(Relation::View)),
        }
    }

    /// The newest snapshot of a table, refreshed from the cached one where possible; `None` if there is no such table.
    pub(crate) async fn load_table(&self, name: &TableName) -> Result<Option<Arc<Table>>> {
        let log = self.table_log(name)?;
        let cached = self.cached(name);
        let (dropped, table) = futures::join!(self.is_dropped(name), Table::load(log, cached));
        let table = if dropped? { None } else { table? };
        self.remember(table.as_ref(), name);
        Ok(table)
    }

    /// Whether a table of this name exists, without reading it.
    pub(crate) async fn table_exists(&self, name: &TableName) -> Result<bool> {
        let log = self.table_log(name)?;
        let (dropped, has_log) = futures::join!(self.is_dropped(name), log.exists());
        Ok(!dropped? && has_log?)
    }

    /// Whether a drop of the table has begun and not ended.
    pub(crate) async fn is_dropped(&self, name: &TableName) -> Result<bool> {
        object_exists(self.store().as_ref(), &self.tombstone(name)?).await
    }
}
