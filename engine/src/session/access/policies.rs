//! What of a table its readers see: row filters, column masks, and which rows of the program's own tables are whose.
//!
//! ```text
//! Barrier                                   filters of the query stay above, unless they cannot tell of other rows
//!   Projection: a, mask(b) AS b, c          masks
//!     Filter: region = 'eu'                 the row filter, over the true values
//!       TableScan: t
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::datasource::provider_as_source;
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, col, in_subquery, lit, when};
use datafusion::scalar::ScalarValue;
use orrery_lakehouse::{Relation, TableName};

use super::Guard;
use crate::access::tables::{HIDDEN_COLUMNS, PLACE, PolicyRow};
use crate::access::{Privilege, Rights, Securable, Subject};
use crate::dialect::Statement;
use crate::planner::barrier;
use crate::session::SYSTEM;
use crate::session::catalog::{Names, StoredQuery};
use crate::session::view_provider;
use crate::session::write::cast_to;
use crate::{Blame, Error, Result};

/// Schemas of catalog `system` whose rows are sorted out by whose they are.
const FILTERED: [&str; 3] = [PLACE.0, "ml", QUERY];

/// Where runs of scripts are kept: one table of runs, and others of what belongs to them.
const QUERY: &str = "query";
const RUNS: &str = "runs";

/// Columns of `system.ml` that tell what a model was trained on; they are for whoever manages it.
const TELLS_QUERY: [&str; 4] = ["statement", "query", "record", "sources"];

/// Whether the program decides which rows of a table each user sees.
pub(super) fn is_filtered_by_program(name: &TableName) -> bool {
    name.catalog == SYSTEM && FILTERED.contains(&name.schema.as_str())
}

impl Names {
    /// Notes that readers of a table do not see all of it, if that is so.
    pub(crate) fn note_policies(&self, name: &TableName) {
        let guard = self.guard();
        let rights = guard.rights();
        if guard.reader().is_some() && (rights.row_filter(name).is_some() || !rights.column_masks(name).is_empty()) {
            guard.note_partial(name);
        }
    }

    /// A stored table as the session's user sees it.
    ///
    /// # Errors
    /// A row filter or mask that cannot be planned.
    pub(crate) async fn protect(&self, name: &TableName, provider: Arc<dyn TableProvider>) -> Result<Arc<dyn TableProvider>> {
        let guard = self.guard();
        let Some(reader) = guard.reader() else { return Ok(provider) };
        let rights = guard.rights();
        if is_filtered_by_program(name) {
            return own_rows(guard, &rights, &reader, name, provider, self.runs_beside(name).await?);
        }
        let (filter, masks) = (rights.row_filter(name), rights.column_masks(name));
        if filter.is_none() && masks.is_empty() {
            return Ok(provider);
        }
        guard.note_partial(name);
        let plan = self.planned_by_authors(name, &provider, filter, masks).await.map_err(|error| {
            tracing::warn!(table = %name, %error, "a row filter or mask cannot be planned");
            let problem = format!("the row filter or a column mask of {name} does not work");
            Error::new(Blame::Rights, problem).hint("whoever manages the table has to look at it")
        })?;
        Ok(view_provider::of_plan(barrier::over(plan)))
    }

    /// The table of runs, by which it is told whose the rows of another table of its schema are.
    async fn runs_beside(&self, name: &TableName) -> Result<Option<Arc<dyn TableProvider>>> {
        if name.schema != QUERY || name.table == RUNS {
            return Ok(None);
        }
        match self.warehouse().relation(&TableName::new(SYSTEM, QUERY, RUNS)).await? {
            Some(Relation::Table(table)) => Ok(Some(self.scan(&table))),
            _ => Ok(None),
        }
    }

    /// The plan under the policies, which are read with the rights of who has set them: whoever may hide rows may not look into other tables by it. With
    /// several authors, each has to have the rights.
    async fn planned_by_authors(
        &self,
        name: &TableName,
        provider: &Arc<dyn TableProvider>,
        filter: Option<&Arc<PolicyRow>>,
        masks: &[Arc<PolicyRow>],
    ) -> Result<LogicalPlan> {
        let authors: BTreeSet<Option<&str>> = filter.into_iter().chain(masks).map(|policy| policy.set_by.as_deref()).collect();
        let mut planned = None;
        for author in authors {
            let work = self.apply_policies(name, Arc::clone(provider), filter.map(AsRef::as_ref), masks);
            // Boxed: a policy may read tables that have policies.
            planned = Some(Box::pin(self.guard().as_owner(author, work)).await?);
        }
        planned.ok_or_else(|| Error::new(Blame::Bug, format!("{name} has neither a row filter nor a mask")))
    }

    /// The plan of a table under a row filter and masks, in the table's types.
    pub(super) async fn apply_policies(
        &self,
        name: &TableName,
        provider: Arc<dyn TableProvider>,
        filter: Option<&PolicyRow>,
        masks: &[impl AsRef<PolicyRow>],
    ) -> Result<LogicalPlan> {
        let schema = provider.schema();
        if let Some(gone) = masks.iter().find(|mask| schema.column_with_name(mask.as_ref().column.as_deref().unwrap_or_default()).is_none())
        {
            // A table that was replaced by one without the column could hide what the mask was for under another name.
            let column = gone.as_ref().column.as_deref().unwrap_or_default();
            return Err(Error::sql(format!("{name} has no column '{column}' any more, which has a mask")));
        }
        let scan = self.put_scan(provider);
        let sql = policy_query(&scan, &name.table, &schema, filter, masks);
        let planned = async {
            let statement =
                crate::dialect::split_own(&sql)?.into_iter().next().map(|text| crate::dialect::parse(&text.tokens)).transpose()?;
            let Some(Statement::Query(query)) = statement else {
                return Err(Error::sql("a row filter or mask has to be an expression"));
            };
            let stored = StoredQuery { query, columns: Vec::new(), catalog: name.catalog.clone(), schema: name.schema.clone() };
            self.plan_policy(&format!("the row filter or a mask of {name}"), &stored).await
        };
        let plan = planned.await;
        self.drop_scans(&[scan]);
        cast_to(plan?, &schema)
    }
}

/// `SELECT a, (mask) AS b FROM scan AS t WHERE (filter)`.
fn policy_query(scan: &str, alias: &str, schema: &SchemaRef, filter: Option<&PolicyRow>, masks: &[impl AsRef<PolicyRow>]) -> String {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let columns = schema.fields().iter().map(|field| {
        let mask = masks.iter().map(|mask| -> &PolicyRow { mask.as_ref() }).find(|mask| mask.column.as_ref() == Some(field.name()));
        let column = quoted(field.name());
        mask.map_or_else(|| column.clone(), |mask| format!("({}) AS {column}", mask.expression))
    });
    let columns = columns.collect::<Vec<_>>().join(", ");
    let filter = filter.map_or_else(String::new, |filter| format!(" WHERE ({})", filter.expression));
    format!("SELECT {columns} FROM {} AS {}{filter}", quoted(scan), quoted(alias))
}

impl Guard {
    /// Refuses what tells of all rows of a table, such as its history and its files, to who may see some of them only.
    ///
    /// # Errors
    /// The user may not see all of the table.
    pub(crate) fn require_whole(&self, name: &TableName) -> Result<()> {
        let Some(reader) = self.reader() else { return Ok(()) };
        let (rights, on) = (self.rights(), Securable::table(name));
        let has_policies = rights.row_filter(name).is_some() || !rights.column_masks(name).is_empty();
        let sees_whole = match is_filtered_by_program(name) {
            true => rights.holds(&reader, Privilege::Select, &on),
            false => !has_policies || rights.manages(&reader, &on),
        };
        if sees_whole {
            return Ok(());
        }
        Err(Error::new(Blame::Rights, format!("{} may see some rows of {name} only", reader.name)).hint("SELECT FROM it shows them"))
    }
}

/// The rows of the program's own tables that a user may see; hashes of secrets are for nobody.
fn own_rows(
    guard: &Guard,
    rights: &Rights,
    reader: &Subject,
    name: &TableName,
    provider: Arc<dyn TableProvider>,
    runs: Option<Arc<dyn TableProvider>>,
) -> Result<Arc<dyn TableProvider>> {
    let schema = provider.schema();
    // Whoever was granted the table sees all of it.
    let sees_all = reader.is_administrator() || rights.holds(reader, Privilege::Select, &Securable::table(name));
    let filter = if sees_all { None } else { Some(rows_of(rights, reader, name, &schema, runs)?) };
    let hides = schema.fields().iter().any(|field| HIDDEN_COLUMNS.contains(&field.name().as_str()));
    if filter.is_none() && !hides {
        return Ok(provider);
    }
    if filter.is_some() {
        guard.note_withheld(format!("rows of {name}"));
    }
    let mut plan = LogicalPlanBuilder::scan(name.table.as_str(), provider_as_source(provider), None)?;
    if let Some(filter) = filter {
        plan = plan.filter(filter)?;
    }
    let columns = schema.fields().iter().map(|field| {
        let column = datafusion::common::Column::new(Some(name.table.as_str()), field.name().as_str());
        let null = || ScalarValue::try_from(field.data_type()).map(lit);
        let of_model = !sees_all && name.schema == "ml" && TELLS_QUERY.contains(&field.name().as_str());
        Ok(if HIDDEN_COLUMNS.contains(&field.name().as_str()) {
            null()?.alias(field.name())
        } else if of_model {
            let managed = models_within(rights.models_with(reader, |privilege| privilege == Privilege::Manage));
            when(managed, col(column)).otherwise(null()?)?.alias(field.name())
        } else {
            col(column)
        })
    });
    let plan = plan.project(columns.collect::<Result<Vec<Expr>>>()?)?.build()?;
    Ok(view_provider::of_plan(barrier::over(plan)))
}

fn rows_of(rights: &Rights, reader: &Subject, name: &TableName, schema: &SchemaRef, runs: Option<Arc<dyn TableProvider>>) -> Result<Expr> {
    let me = || lit(reader.name.clone());
    // Who had the name before was somebody else, and what he did is not the user's to see.
    let since = rights.users.get(&reader.name).map_or(DateTime::<Utc>::MAX_UTC, |user| user.created_at);
    let mine = || reader.principals.iter().map(|principal| lit(principal.clone())).collect::<Vec<_>>();
    Ok(match (name.schema.as_str(), name.table.as_str()) {
        ("access", "users") => col("name").eq(me()),
        ("access", "roles") => col("name").in_list(mine(), false),
        ("access", "role_members") => col("member").in_list(mine(), false),
        ("access", "tokens") => col("user_name").eq(me()),
        ("access", "audit") => col("user_name").eq(me()).and(begun_after(since)),
        ("access", "grants" | "limits") => col("principal").in_list(mine(), false),
        ("access", "functions") => {
            let seen = rights.functions().filter(|(name, _)| rights.sees(reader, &Securable::function(name)));
            col("function").in_list(seen.map(|(name, _)| lit(name.to_string())).collect(), false)
        }
        ("access", "owners") => col("owner").in_list(mine(), false),
        ("ml", _) if schema.column_with_name("model").is_some() => models_seen(rights, reader),
        (QUERY, RUNS) if schema.column_with_name("user_name").is_some() => own_runs(me(), since),
        (QUERY, _) if schema.column_with_name("user_name").is_some() => match runs {
            None => lit(false),
            Some(runs) => {
                let own = LogicalPlanBuilder::scan(RUNS, provider_as_source(runs), None)?.filter(own_runs(me(), since))?;
                let own = own.project(vec![col("run_id")])?.build()?;
                col("user_name").eq(me()).and(in_subquery(col("run_id"), Arc::new(own)))
            }
        },
        _ => lit(false),
    })
}

/// Entries of the audit on what began at a moment or later; they tell when it ended, and how long it took.
fn begun_after(moment: DateTime<Utc>) -> Expr {
    let begun = cast(col("time"), DataType::Int64) - coalesce(vec![col("duration_us"), lit(0_i64)]);
    begun.gt_eq(lit(moment.timestamp_micros()))
}

/// Runs that a user has begun at a moment or later. When they began is kept in milliseconds.
fn own_runs(user: Expr, since: DateTime<Utc>) -> Expr {
    let since = ScalarValue::TimestampMicrosecond(Some(since.timestamp_millis().saturating_mul(1000)), Some("UTC".into()));
    col("user_name").eq(user).and(col("started_at").gt_eq(lit(since)))
}

/// Models on which a user has any right.
fn models_seen(rights: &Rights, reader: &Subject) -> Expr {
    let is_meant = |privilege| matches!(privilege, Privilege::Execute | Privilege::Manage | Privilege::All);
    models_within(rights.models_with(reader, is_meant))
}

/// Models that are among these objects or lie in them.
fn models_within(objects: Vec<Securable>) -> Expr {
    let seen = objects.into_iter().map(|object| match object.kind {
        crate::access::Kind::Server => lit(true),
        crate::access::Kind::Model => col("model").eq(lit(object.name)),
        _ => datafusion::functions::string::expr_fn::starts_with(col("model"), lit(format!("{}.", object.name))),
    });
    seen.reduce(Expr::or).unwrap_or_else(|| lit(false))
}
