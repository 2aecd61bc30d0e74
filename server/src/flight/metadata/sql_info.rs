//! What the server says of itself and its SQL. Each entry is what a test or the reference of the dialect shows; what is not known is left out.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::sql::metadata::SqlInfoDataBuilder;
use arrow_flight::sql::{
    CommandGetSqlInfo, SqlInfo, SqlNullOrdering, SqlSupportedCaseSensitivity, SqlSupportedTransaction, SqlTransactionIsolationLevel,
    SupportedSqlGrammar,
};
use tonic::Status;

use super::fault;
use crate::Limits;

/// Bits of the answers that are sets of choices.
const BOTH_UNIONS: i32 = 0b11;
const ALL_SUBQUERIES: i32 = 0b1111;
const GROUPS_BEYOND_SELECT: i32 = 0b11;
const FORWARD_ONLY: i32 = 0b10;
/// `SqlOuterJoinsSupportLevel`: full outer joins too.
const ALL_JOINS: i32 = 0b100;

pub(super) fn schema() -> SchemaRef {
    Arc::new(SqlInfoDataBuilder::schema().clone())
}

/// `GetSqlInfo`.
pub(super) fn rows(limits: &Limits, command: CommandGetSqlInfo) -> Result<RecordBatch, Status> {
    let mut about = SqlInfoDataBuilder::new();
    server(&mut about, limits);
    names(&mut about);
    language(&mut about);
    what_is_not_there(&mut about);
    let about = about.build().map_err(fault)?;
    command.into_builder(&about).build().map_err(fault)
}

fn server(about: &mut SqlInfoDataBuilder, limits: &Limits) {
    about.append(SqlInfo::FlightSqlServerName, "Orrery");
    about.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    about.append(SqlInfo::FlightSqlServerArrowVersion, "1.3");
    about.append(SqlInfo::FlightSqlServerReadOnly, false);
    about.append(SqlInfo::FlightSqlServerSql, true);
    about.append(SqlInfo::FlightSqlServerSubstrait, false);
    about.append(SqlInfo::FlightSqlServerTransaction, SqlSupportedTransaction::None as i32);
    about.append(SqlInfo::FlightSqlServerCancel, true);
    about.append(SqlInfo::FlightSqlServerBulkIngestion, true);
    about.append(SqlInfo::FlightSqlServerIngestTransactionsSupported, false);
    about.append(SqlInfo::FlightSqlServerStatementTimeout, 0i32);
    about.append(SqlInfo::FlightSqlServerTransactionTimeout, 0i32);
    about.append(SqlInfo::SqlMaxStatementLength, i64::try_from(limits.statement_bytes()).unwrap_or(i64::MAX));
    about.append(SqlInfo::SqlMaxConnections, i64::from(limits.max_sessions));
}

fn names(about: &mut SqlInfoDataBuilder) {
    about.append(SqlInfo::SqlDdlCatalog, true);
    about.append(SqlInfo::SqlDdlSchema, true);
    about.append(SqlInfo::SqlDdlTable, true);
    about.append(SqlInfo::SqlIdentifierCase, SqlSupportedCaseSensitivity::SqlCaseSensitivityLowercase as i32);
    about.append(SqlInfo::SqlQuotedIdentifierCase, SqlSupportedCaseSensitivity::SqlCaseSensitivityUnknown as i32);
    about.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
    about.append(SqlInfo::SqlExtraNameCharacters, "");
    about.append(SqlInfo::SqlSearchStringEscape, "\\");
    about.append(SqlInfo::SqlCatalogTerm, "catalog");
    about.append(SqlInfo::SqlSchemaTerm, "schema");
    about.append(SqlInfo::SqlCatalogAtStart, true);
    about.append(SqlInfo::SqlAllTablesAreSelectable, true);
}

fn language(about: &mut SqlInfoDataBuilder) {
    about.append(SqlInfo::SqlNullOrdering, SqlNullOrdering::SqlNullsSortedHigh as i32);
    about.append(SqlInfo::SqlSupportsColumnAliasing, true);
    about.append(SqlInfo::SqlNullPlusNullIsNull, true);
    about.append(SqlInfo::SqlSupportsTableCorrelationNames, true);
    about.append(SqlInfo::SqlSupportsDifferentTableCorrelationNames, false);
    about.append(SqlInfo::SqlSupportsExpressionsInOrderBy, true);
    about.append(SqlInfo::SqlSupportsOrderByUnrelated, true);
    about.append(SqlInfo::SqlSupportedGroupBy, GROUPS_BEYOND_SELECT);
    about.append(SqlInfo::SqlSupportsLikeEscapeClause, false);
    about.append(SqlInfo::SqlSupportsNonNullableColumns, true);
    about.append(SqlInfo::SqlSupportedGrammar, 1i32 << SupportedSqlGrammar::SqlCoreGrammar as i32);
    about.append(SqlInfo::SqlOuterJoinsSupportLevel, ALL_JOINS);
    about.append(SqlInfo::SqlSupportedSubqueries, ALL_SUBQUERIES);
    about.append(SqlInfo::SqlCorrelatedSubqueriesSupported, true);
    about.append(SqlInfo::SqlSupportedUnions, BOTH_UNIONS);
    about.append(SqlInfo::SqlSupportedResultSetTypes, FORWARD_ONLY);
    about.append(SqlInfo::SqlBatchUpdatesSupported, true);
    about.append(SqlInfo::SqlNamedParametersSupported, true);
}

fn what_is_not_there(about: &mut SqlInfoDataBuilder) {
    about.append(SqlInfo::SqlTransactionsSupported, false);
    about.append(SqlInfo::SqlDefaultTransactionIsolation, SqlTransactionIsolationLevel::SqlTransactionNone as i32);
    about.append(SqlInfo::SqlSupportedTransactionsIsolationLevels, 1i32);
    about.append(SqlInfo::SqlDataDefinitionCausesTransactionCommit, false);
    about.append(SqlInfo::SqlDataDefinitionsInTransactionsIgnored, false);
    about.append(SqlInfo::SqlSavepointsSupported, false);
    about.append(SqlInfo::SqlStoredProceduresSupported, 0i32);
    about.append(SqlInfo::SqlSelectForUpdateSupported, false);
    about.append(SqlInfo::SqlSupportedPositionedCommands, 0i32);
    about.append(SqlInfo::SqlSupportsIntegrityEnhancementFacility, false);
    about.append(SqlInfo::SqlStoredFunctionsUsingCallSyntaxSupported, false);
    about.append(SqlInfo::SqlLocatorsUpdateCopy, false);
}
