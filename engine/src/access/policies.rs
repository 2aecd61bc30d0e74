//! Row filters, column masks and the functions that they call.

use chrono::Utc;
use orrery_lakehouse::TableName;

use super::Access;
use super::tables::{FunctionRow, PolicyRow};
use super::users::drop_rows;
use crate::{Error, Result};

/// What a row filter or mask computes.
#[derive(Debug, Clone)]
pub(crate) struct NewPolicy {
    pub expression: String,
    pub function: Option<String>,
    pub columns: Vec<String>,
    pub in_catalog: String,
    pub in_schema: String,
    pub by: String,
}

/// A function to be made.
#[derive(Debug, Clone)]
pub(crate) struct NewFunction {
    pub parameters: Vec<String>,
    pub types: Vec<String>,
    pub returns: Option<String>,
    pub expression: String,
    pub comment: Option<String>,
    pub by: String,
}

fn levels(name: &TableName) -> Vec<String> {
    vec![name.catalog.clone(), name.schema.clone(), name.table.clone()]
}

fn row(table: &TableName, column: Option<&str>, new: &NewPolicy) -> PolicyRow {
    PolicyRow {
        table: table.to_string(),
        levels: levels(table),
        column: column.map(str::to_string),
        expression: new.expression.clone(),
        function: new.function.clone(),
        columns: new.columns.clone(),
        in_catalog: new.in_catalog.clone(),
        in_schema: new.in_schema.clone(),
        set_by: Some(new.by.clone()),
        set_at: Utc::now(),
    }
}

impl Access {
    /// Gives a table a row filter in the place of the one it has.
    pub(crate) async fn set_row_filter(&self, table: &TableName, new: &NewPolicy) -> Result<()> {
        self.change(&self.inner.tables.filters, |rows: &mut Vec<PolicyRow>| {
            rows.retain(|row| row.levels != levels(table));
            rows.push(row(table, None, new));
            Ok(true)
        })
        .await
    }

    /// Takes the row filter from a table; returns false if it had none.
    pub(crate) async fn drop_row_filter(&self, table: &TableName) -> Result<bool> {
        let mut found = false;
        self.change(&self.inner.tables.filters, |rows: &mut Vec<PolicyRow>| {
            found = drop_rows(rows, |row| row.levels == levels(table));
            Ok(found)
        })
        .await?;
        Ok(found)
    }

    /// Gives a column a mask in the place of the one it has.
    pub(crate) async fn set_column_mask(&self, table: &TableName, column: &str, new: &NewPolicy) -> Result<()> {
        self.change(&self.inner.tables.masks, |rows: &mut Vec<PolicyRow>| {
            rows.retain(|row| row.levels != levels(table) || row.column.as_deref() != Some(column));
            rows.push(row(table, Some(column), new));
            Ok(true)
        })
        .await
    }

    /// Takes the mask from a column; returns false if it had none.
    pub(crate) async fn drop_column_mask(&self, table: &TableName, column: &str) -> Result<bool> {
        let mut found = false;
        self.change(&self.inner.tables.masks, |rows: &mut Vec<PolicyRow>| {
            found = drop_rows(rows, |row| row.levels == levels(table) && row.column.as_deref() == Some(column));
            Ok(found)
        })
        .await?;
        Ok(found)
    }

    /// Makes a function; an existing one is replaced with `or_replace` only.
    pub(crate) async fn create_function(&self, name: &TableName, new: &NewFunction, or_replace: bool) -> Result<()> {
        self.change(&self.inner.tables.functions, |rows: &mut Vec<FunctionRow>| {
            if drop_rows(rows, |row| row.levels == levels(name)) && !or_replace {
                return Err(Error::sql(format!("the function {name} exists already")).hint("CREATE OR REPLACE FUNCTION replaces it"));
            }
            rows.push(FunctionRow {
                function: name.to_string(),
                levels: levels(name),
                parameters: new.parameters.clone(),
                types: new.types.clone(),
                returns: new.returns.clone(),
                expression: new.expression.clone(),
                comment: new.comment.clone(),
                created_by: Some(new.by.clone()),
                created_at: Utc::now(),
            });
            Ok(true)
        })
        .await
    }

    /// Drops a function that no policy calls; returns false if there was none.
    pub(crate) async fn drop_function(&self, name: &TableName) -> Result<bool> {
        let full = name.to_string();
        let rights = self.rights_now().await?;
        if let Some(policy) = rights.policies().find(|policy| policy.function.as_deref() == Some(full.as_str())) {
            let what = policy.column.as_ref().map_or_else(|| "row filter".to_string(), |column| format!("mask of column {column}"));
            return Err(Error::sql(format!("the {what} of {} calls {full}", policy.table)).hint("drop the row filter or mask first"));
        }
        let mut found = false;
        self.change(&self.inner.tables.functions, |rows: &mut Vec<FunctionRow>| {
            found = drop_rows(rows, |row| row.levels == levels(name));
            Ok(found)
        })
        .await?;
        Ok(found)
    }
}
