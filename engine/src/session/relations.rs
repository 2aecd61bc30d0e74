//! Relations that DataFusion's planner cannot look up by name: files (`read_parquet('…')` and its kin) and table versions
//! (`t VERSION AS OF 3`). Each is opened before planning and put in its place under a name of its own.

use std::ops::ControlFlow;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::arrow::array::AsArray as _;
use datafusion::arrow::array::types::TimestampMicrosecondType;
use datafusion::catalog::TableProvider;
use datafusion::execution::session_state::SessionState;
use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, Expr, FunctionArg, Ident, ObjectName, ObjectNamePart, Query, Spanned, TableAlias, TableFactor, TableVersion,
    TimezoneInfo, VisitMut, VisitorMut,
};
use orrery_lakehouse::Relation;

use super::catalog::Names;
use super::files::{self, FileFunction};
use super::named_models;
use super::planning;
use super::reliance::Reliance;
use super::scalar_calls;
use crate::dialect::{Name, to_name};
use crate::{Error, Position, Result};

enum Request {
    Files {
        function: FileFunction,
        args: Vec<FunctionArg>,
    },
    Version {
        name: Name,
        version: Box<TableVersion>,
    },
    /// A full name that a temporary one would hide.
    Hidden {
        name: Name,
    },
}

struct Found {
    request: Request,
    placeholder: String,
    position: Option<Position>,
}

/// Opens every file scan and table version of the query and rewrites the query to use them; returns their names for
/// [`Names::drop_scans`].
pub(super) async fn prepare(state: &SessionState, names: &Names, query: &mut Query) -> Result<Vec<String>> {
    names.expand_functions(state, query)?;
    scalar_calls::check(state, query)?;
    Box::pin(named_models::resolve(state, names, query)).await?;
    let is_hidden = |name: &Name| names.is_hidden(&names.resolve_in(name, state));
    let mut finder = Finder { found: Vec::new(), is_hidden: &is_hidden };
    if let ControlFlow::Break(error) = query.visit(&mut finder) {
        return Err(error);
    }
    let found = finder.found;
    if found.is_empty() {
        return Ok(Vec::new());
    }
    names.with_reliance(Reliance::note_unrepeatable);
    let mut opened = Vec::new();
    for found in found {
        let provider = open(state, names, found.request).await.map_err(|e| e.at(found.position))?;
        opened.push((found.placeholder, names.put_scan(provider)));
    }
    let _ = query.visit(&mut Replacer { opened: &opened });
    Ok(opened.into_iter().map(|(_, name)| name).collect())
}

async fn open(state: &SessionState, names: &Names, request: Request) -> Result<Arc<dyn TableProvider>> {
    match request {
        Request::Files { function, args } => files::open(state, names, function, &args).await,
        Request::Hidden { name } => {
            let name = names.resolve_in(&name, state);
            match names.stored_relation(&name).await? {
                Some(provider) => Ok(provider),
                None => Err(planning::missing_relation(names, &name).await),
            }
        }
        Request::Version { name, version } => {
            let name = names.resolve_in(&name, state);
            let Some(relation) = names.readable_relation(&name).await? else {
                return Err(planning::missing_relation(names, &name).await);
            };
            let Relation::Table(table) = relation else {
                return Err(Error::sql(format!("{name} is a view; only tables have versions")));
            };
            let table = match *version {
                TableVersion::VersionAsOf(expr) => table.at_version(version_number(&expr)?).await?,
                TableVersion::TimestampAsOf(expr) | TableVersion::ForSystemTimeAsOf(expr) => {
                    table.at_timestamp(timestamp(state, names, expr).await?).await?
                }
                TableVersion::Function(_) | TableVersion::Changes { .. } => {
                    return Err(Error::unsupported("this table version", name_position(&version)));
                }
            };
            names.protect(&name, names.scan(&table)).await
        }
    }
}

fn name_position(version: &TableVersion) -> Option<Position> {
    match version {
        TableVersion::Function(expr) => Position::of_span(expr.span()),
        _ => None,
    }
}

fn version_number(expr: &Expr) -> Result<u64> {
    let text = expr.to_string();
    text.parse().map_err(|_| Error::sql(format!("VERSION AS OF takes a version number, found {text}")))
}

/// The moment of `TIMESTAMP AS OF`: any constant expression; text without an offset is UTC.
async fn timestamp(state: &SessionState, names: &Names, expr: Expr) -> Result<DateTime<Utc>> {
    planning::refuse_subqueries(&expr, "TIMESTAMP AS OF")?;
    let text = expr.to_string();
    let cast = Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(expr),
        data_type: DataType::Timestamp(Some(6), TimezoneInfo::WithoutTimeZone),
        array: false,
        format: None,
    };
    let values = Box::pin(planning::evaluate(state, names, vec![cast])).await?;
    let array = values.first().map(|v| v.to_array()).transpose()?;
    let micros = array.as_ref().filter(|a| a.len() == 1 && !a.is_null(0)).and_then(|array| {
        let micros = datafusion::arrow::compute::cast(
            array,
            &datafusion::arrow::datatypes::DataType::Timestamp(datafusion::arrow::datatypes::TimeUnit::Microsecond, None),
        )
        .ok()?;
        Some(micros.as_primitive::<TimestampMicrosecondType>().value(0))
    });
    micros.and_then(DateTime::from_timestamp_micros).ok_or_else(|| Error::sql(format!("TIMESTAMP AS OF takes a timestamp, found {text}")))
}

struct Finder<'a> {
    found: Vec<Found>,
    is_hidden: &'a (dyn Fn(&Name) -> bool + Sync),
}

impl VisitorMut for Finder<'_> {
    type Break = Error;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        let TableFactor::Table { name, alias, args, version, .. } = factor else { return ControlFlow::Continue(()) };
        let position = Position::of_span(name.span());
        let parsed = to_name(name);
        let function = match parsed.parts.as_slice() {
            [single] if args.is_some() => FileFunction::named(single),
            _ => None,
        };
        let request = match (function, version.take()) {
            (Some(function), _) => Request::Files { function, args: args.take().map(|a| a.args).unwrap_or_default() },
            (None, Some(version)) => Request::Version { name: parsed.clone(), version: Box::new(version) },
            (None, None) if args.is_none() && parsed.parts.len() > 1 && (self.is_hidden)(&parsed) => {
                Request::Hidden { name: parsed.clone() }
            }
            (None, None) => return ControlFlow::Continue(()),
        };
        if alias.is_none() {
            let shown = Ident::with_quote('"', parsed.parts.last().cloned().unwrap_or_default());
            *alias = Some(TableAlias { explicit: false, name: shown, columns: Vec::new(), at: None });
        }
        let placeholder = format!("\u{1}found{}", self.found.len());
        *name = single_name(&placeholder);
        self.found.push(Found { request, placeholder, position });
        ControlFlow::Continue(())
    }
}

struct Replacer<'a> {
    opened: &'a [(String, String)],
}

impl VisitorMut for Replacer<'_> {
    type Break = ();

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<()> {
        let written = to_name(relation);
        if let Some((_, name)) = self.opened.iter().find(|(placeholder, _)| written.parts.first() == Some(placeholder)) {
            *relation = single_name(name);
        }
        ControlFlow::Continue(())
    }
}

fn single_name(name: &str) -> ObjectName {
    ObjectName(vec![ObjectNamePart::Identifier(Ident::with_quote('"', name))])
}
