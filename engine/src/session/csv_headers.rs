//! CSV files are read by position, so those that are read together must have their columns in one order.

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::listing::ListingOptions;
use datafusion::execution::session_state::SessionState;
use futures::StreamExt as _;
use object_store::{ObjectMeta, ObjectStore};

use crate::{Error, Result};

/// Headers read at the same time.
const AT_ONCE: usize = 32;

/// Refuses files whose headers differ from the first one's, or that have the `declared` names in another order.
///
/// # Errors
/// With the names of both files and both headers. A header that cannot be read is left to the scan, which says more.
pub(super) async fn check(
    state: &SessionState,
    store: &Arc<dyn ObjectStore>,
    listing: &ListingOptions,
    files: &[ObjectMeta],
    declared: Option<&SchemaRef>,
) -> Result<()> {
    let Some(format) = listing.format.downcast_ref::<CsvFormat>() else { return Ok(()) };
    if files.len() < 2 && declared.is_none() {
        return Ok(());
    }
    let format = CsvFormat::default().with_options(format.options().clone()).with_schema_infer_max_rec(1);
    let headers = futures::stream::iter(files).map(|file| {
        let format = &format;
        async move { (file, format.infer_schema(state, store, std::slice::from_ref(file)).await.ok().map(|schema| names(&schema))) }
    });
    let headers: Vec<_> = headers.boxed().buffered(AT_ONCE).collect().await;
    let headers: Vec<_> =
        headers.into_iter().filter_map(|(file, header)| Some((file, header.filter(|names| !names.is_empty())?))).collect();
    let Some((first, expected)) = headers.first() else { return Ok(()) };
    if let Some((other, found)) = headers.iter().find(|(_, found)| found != expected) {
        let message = format!(
            "the CSV files have different columns: /{} has ({}), /{} has ({})",
            first.location,
            expected.join(", "),
            other.location,
            found.join(", ")
        );
        return Err(Error::data(message).hint("read them one by one and combine them with UNION ALL"));
    }
    if let Some(declared) = declared.map(names)
        && declared != *expected
        && sorted(&declared) == sorted(expected)
    {
        let message = format!("schema => names the columns ({}), /{} has ({})", declared.join(", "), first.location, expected.join(", "));
        return Err(Error::data(message).hint("columns of a CSV file are read in the file's order"));
    }
    Ok(())
}

fn names(schema: &SchemaRef) -> Vec<String> {
    schema.fields().iter().map(|field| field.name().clone()).collect()
}

fn sorted(names: &[String]) -> Vec<String> {
    let mut names = names.to_vec();
    names.sort();
    names
}
