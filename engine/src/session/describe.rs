//! `DESCRIBE`: columns, history and detail.

use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use datafusion::sql::sqlparser::ast::Query;
use orrery_lakehouse::{Relation, Table};

use super::rows::{Cells, table};
use super::{Outcome, Session, planning, sql_type_name};
use crate::access::Securable;
use crate::dialect::Name;
use crate::{Error, Result};

impl Session {
    pub(super) async fn describe_relation(&self, name: &Name, extended: bool) -> Result<Outcome> {
        let full = self.names.resolve(name);
        let temporary = self.names.temporary(name).is_some();
        let stored = if temporary { None } else { self.names.readable_relation(&full).await.map_err(|e| e.at(name.position))? };
        let Some(provider) = self.names.relation(&full).await.map_err(|e| e.at(name.position))? else {
            return Err(planning::missing_relation(&self.names, &full).await.at(name.position));
        };
        let mut rows = columns(&provider.schema());
        if let Some(Relation::Table(stored)) = &stored {
            for partition in stored.partition_columns() {
                if let Some(row) = rows.iter_mut().find(|r| r.0 == *partition) {
                    row.2 = Some(row.2.take().map_or_else(|| "partition column".into(), |c| format!("{c} (partition column)")));
                }
            }
        }
        if extended {
            rows.push((String::new(), String::new(), None));
            rows.push(("# details".to_string(), String::new(), None));
            let shows_query = self.shows_definition(&Securable::table(&full));
            rows.extend(details(&full.to_string(), stored.as_ref(), shows_query));
        }
        Self::batch(describe_batch(rows)?)
    }

    pub(super) async fn describe_query(&self, query: Box<Query>) -> Result<Outcome> {
        let plan = planning::plan_query(&self.context.state(), &self.names, query).await?;
        Self::batch(describe_batch(columns(plan.schema().as_arrow()))?)
    }

    pub(super) async fn describe_history(&self, name: &Name, limit: Option<usize>) -> Result<Outcome> {
        Self::batch(self.stored_table(name).await?.history(limit).await?)
    }

    pub(super) async fn describe_detail(&self, name: &Name) -> Result<Outcome> {
        Self::batch(self.stored_table(name).await?.detail().await?)
    }

    /// The newest snapshot of a stored table.
    pub(super) async fn stored_table(&self, name: &Name) -> Result<Arc<Table>> {
        let full = self.names.resolve(name);
        let readable = self.names.readable_relation(&full).await.map_err(|e| e.at(name.position))?;
        if readable.is_some() {
            self.names.guard().require_whole(&full).map_err(|e| e.at(name.position))?;
        }
        match readable {
            Some(Relation::Table(table)) => Ok(table),
            Some(Relation::View(_)) => Err(Error::sql(format!("{full} is a view, not a table")).at(name.position)),
            None => Err(planning::missing_relation(&self.names, &full).await.at(name.position)),
        }
    }
}

type Row = (String, String, Option<String>);

fn columns(schema: &Schema) -> Vec<Row> {
    let comment = |metadata: &std::collections::HashMap<String, String>| metadata.get("comment").cloned();
    schema.fields().iter().map(|f| (f.name().clone(), sql_type_name(f.data_type()), comment(f.metadata()))).collect()
}

fn details(name: &str, stored: Option<&Relation>, shows_query: bool) -> Vec<Row> {
    let row = |key: &str, value: String| (key.to_string(), value, None);
    let mut rows = vec![row("name", name.to_string())];
    match stored {
        Some(Relation::Table(table)) => {
            rows.push(row("kind", "table".into()));
            rows.push(row("location", table.location().to_string()));
            rows.push(row("version", table.version().to_string()));
            rows.push(row("files", table.num_files().to_string()));
            rows.push(row("size in bytes", table.size_bytes().to_string()));
            if let Some(comment) = table.comment() {
                rows.push(row("comment", comment.to_string()));
            }
            let mut properties: Vec<_> = table.properties().iter().collect();
            properties.sort();
            rows.extend(properties.into_iter().map(|(k, v)| row(k, v.clone())));
        }
        Some(Relation::View(view)) => {
            rows.push(row("kind", "view".into()));
            rows.push(row("created", view.created_at.to_rfc3339()));
            rows.push(row("names resolve in", format!("{}.{}", view.catalog, view.schema)));
            if shows_query {
                rows.push(row("query", view.sql.clone()));
            }
        }
        None => rows.push(row("kind", "temporary".into())),
    }
    rows
}

fn describe_batch(rows: Vec<Row>) -> Result<datafusion::arrow::array::RecordBatch> {
    let mut names = Vec::with_capacity(rows.len());
    let mut types = Vec::with_capacity(rows.len());
    let mut comments = Vec::with_capacity(rows.len());
    for (name, data_type, comment) in rows {
        names.push(name);
        types.push(data_type);
        comments.push(comment);
    }
    table(vec![("col_name", Cells::text(names)), ("data_type", Cells::text(types)), ("comment", Cells::Text(comments))])
}
