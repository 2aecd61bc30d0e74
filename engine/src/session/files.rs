//! `read_parquet`, `read_csv`, `read_json` and `read_files`: files as relations, by path, glob or folder, on any object store.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::datasource::file_format::json::JsonFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::execution::session_state::SessionState;
use datafusion::sql::sqlparser::ast::{Expr, FunctionArg, FunctionArgExpr, FunctionArgOperator, UnaryOperator, Value};
use object_store::ObjectMeta;

use super::catalog::Names;
use super::csv_headers;
use super::file_listing::{Place, url_of};
use crate::{Blame, Error, Result};

/// Rows that CSV and JSON types are inferred from, over all files; a later value that does not fit is an error naming it.
const INFER_ROWS: usize = 20_480;

/// The table functions that read files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileFunction {
    Parquet,
    Csv,
    Json,
    /// By file extension.
    Any,
}

impl FileFunction {
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "read_parquet" => Some(Self::Parquet),
            "read_csv" => Some(Self::Csv),
            "read_json" => Some(Self::Json),
            "read_files" => Some(Self::Any),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Parquet => "read_parquet",
            Self::Csv => "read_csv",
            Self::Json => "read_json",
            Self::Any => "read_files",
        }
    }
}

/// What the function was told.
#[derive(Debug, Clone)]
struct FileOptions {
    paths: Vec<String>,
    header: bool,
    /// Without one: a tab for `.tsv`, a comma else.
    delimiter: Option<u8>,
    quote: u8,
    escape: Option<u8>,
    comment: Option<u8>,
    null_text: Option<String>,
    multiline: bool,
    all_strings: bool,
    schema: Option<String>,
    compression: Option<FileCompressionType>,
}

/// What a group of files holds, by extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    format: FileFunction,
    compression: FileCompressionType,
    default_delimiter: u8,
}

/// Opens the files as one relation.
///
/// # Errors
/// Unknown or ill-typed options, a path or glob that matches nothing, files of several formats, files that cannot be read.
pub(super) async fn open(
    state: &SessionState,
    names: &Names,
    function: FileFunction,
    args: &[FunctionArg],
) -> Result<Arc<dyn TableProvider>> {
    let options = FileOptions::parse(function, args)?;
    let mut urls = Vec::new();
    let mut files = Vec::new();
    for path in &options.paths {
        let place = Place::parse(path)?;
        names.guard().may_look_into(path, place.url())?;
        let found = place.files(state).await?;
        names.guard().may_read_files(names.warehouse(), path, place.url(), &found)?;
        files.extend(found);
        urls.push(place.into_url());
    }
    // Paths may overlap; a file is read once.
    let mut seen = std::collections::HashSet::new();
    files.retain(|file| seen.insert(file.location.clone()));
    let kind = kind_of(function, &options, &files)?;
    let listing = listing_options(&options, kind, state);
    let schema = schema_of(state, &options, kind, &listing, &urls, &files).await?;
    // One URL per file: what was listed here is exactly what is read, whatever else lies in the folder.
    let store = urls.first().map(|u| u.object_store());
    let exact = match store {
        Some(store) if urls.iter().all(|u| u.object_store() == store) => {
            files.iter().map(|f| url_of(&store, f)).collect::<Result<Vec<_>>>()?
        }
        _ => return Err(Error::sql("all paths of one call must be on the same object store")),
    };
    let config = ListingTableConfig::new_with_multi_paths(exact).with_listing_options(listing).with_schema(schema);
    Ok(Arc::new(ListingTable::try_new(config)?.with_cache(state.runtime_env().cache_manager.get_file_statistic_cache())))
}

fn kind_of(function: FileFunction, options: &FileOptions, files: &[ObjectMeta]) -> Result<Kind> {
    let mut kinds: Vec<(Kind, &str)> = Vec::new();
    for file in files {
        let name = file.location.filename().unwrap_or_default();
        let (stem, compression) = match name.rsplit_once('.') {
            Some((stem, "gz" | "gzip")) => (stem, FileCompressionType::GZIP),
            Some((stem, "zst")) => (stem, FileCompressionType::ZSTD),
            Some((stem, "bz2")) => (stem, FileCompressionType::BZIP2),
            Some((stem, "xz")) => (stem, FileCompressionType::XZ),
            _ => (name, FileCompressionType::UNCOMPRESSED),
        };
        let extension = stem.rsplit_once('.').map(|(_, ext)| ext.to_ascii_lowercase());
        let default_delimiter = if extension.as_deref() == Some("tsv") { b'\t' } else { b',' };
        let format = match extension.as_deref() {
            Some("parquet" | "pq") => Some(FileFunction::Parquet),
            Some("csv" | "tsv") => Some(FileFunction::Csv),
            Some("json" | "jsonl" | "ndjson") => Some(FileFunction::Json),
            _ => None,
        };
        let format = match (function, format) {
            (FileFunction::Any, Some(format)) => format,
            (FileFunction::Any, None) => {
                return Err(Error::sql(format!("read_files cannot tell the format of '{}' by its extension", file.location))
                    .hint("known: .parquet, .csv, .tsv, .json, .jsonl, each with .gz, .zst, .bz2 or .xz after it; or call read_parquet, read_csv, read_json"));
            }
            (told, _) => told,
        };
        let compression =
            if format == FileFunction::Parquet { FileCompressionType::UNCOMPRESSED } else { options.compression.unwrap_or(compression) };
        let kind = Kind { format, compression, default_delimiter };
        if !kinds.iter().any(|(k, _)| *k == kind) {
            kinds.push((kind, file.location.as_ref()));
        }
    }
    match kinds.as_slice() {
        [(kind, _)] => Ok(*kind),
        [(_, one), (_, other), ..] => Err(Error::sql(format!("the files are of different formats or compressions: '{one}' and '{other}'"))
            .hint("name one kind with a glob, such as 'folder/*.parquet'")),
        [] => Err(Error::new(Blame::Storage, "there are no files")),
    }
}

fn listing_options(options: &FileOptions, kind: Kind, state: &SessionState) -> ListingOptions {
    let format: Arc<dyn FileFormat> = match kind.format {
        FileFunction::Csv => {
            let csv = CsvFormat::default()
                .with_has_header(options.header)
                .with_delimiter(options.delimiter.unwrap_or(kind.default_delimiter))
                .with_quote(options.quote)
                .with_escape(options.escape)
                .with_comment(options.comment)
                .with_newlines_in_values(options.multiline)
                .with_null_regex(options.null_text.as_ref().map(|text| format!("^{}$", escape_regex(text))))
                .with_schema_infer_max_rec(INFER_ROWS)
                .with_file_compression_type(kind.compression);
            Arc::new(csv)
        }
        FileFunction::Json => {
            Arc::new(JsonFormat::default().with_schema_infer_max_rec(INFER_ROWS).with_file_compression_type(kind.compression))
        }
        FileFunction::Parquet | FileFunction::Any => Arc::new(ParquetFormat::default().with_options(state.table_options().parquet.clone())),
    };
    ListingOptions::new(format).with_file_extension("")
}

fn escape_regex(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_ascii_punctuation() { vec!['\\', c] } else { vec![c] }).collect()
}

async fn schema_of(
    state: &SessionState,
    options: &FileOptions,
    kind: Kind,
    listing: &ListingOptions,
    urls: &[ListingTableUrl],
    files: &[ObjectMeta],
) -> Result<SchemaRef> {
    let store_url = urls.first().map(|u| u.object_store()).ok_or_else(|| Error::new(Blame::Bug, "no files to infer a schema from"))?;
    let store = state.runtime_env().object_store(&store_url)?;
    let declared = match &options.schema {
        Some(columns) => Some(declared_schema(state, columns).await?),
        None => None,
    };
    if kind.format == FileFunction::Csv && options.header {
        csv_headers::check(state, &store, listing, files, declared.as_ref()).await?;
    }
    if let Some(declared) = declared {
        return Ok(declared);
    }
    let inferred = match listing.format.infer_schema(state, &store, files).await {
        Ok(schema) => schema,
        Err(error) => return Err(culprit(state, listing, &store, files, error.into()).await),
    };
    if inferred.fields().is_empty() {
        return Err(Error::data(format!("'{}' has no columns", options.paths.join("', '"))));
    }
    if options.all_strings && kind.format != FileFunction::Parquet {
        let fields: Vec<_> = inferred.fields().iter().map(|f| Field::new(f.name(), DataType::Utf8View, true)).collect();
        return Ok(Arc::new(Schema::new(fields)));
    }
    Ok(inferred)
}

/// Names the file that the error of a whole listing comes from.
async fn culprit(
    state: &SessionState,
    listing: &ListingOptions,
    store: &Arc<dyn object_store::ObjectStore>,
    files: &[ObjectMeta],
    error: Error,
) -> Error {
    for file in files {
        if let Err(one) = listing.format.infer_schema(state, store, std::slice::from_ref(file)).await {
            let one = Error::from(one);
            return Error { blame: one.blame, message: format!("/{} cannot be read: {}", file.location, one.message), ..one };
        }
    }
    error
}

/// `a STRING, b DECIMAL(10,2)` → Arrow, by planning a cast to each type.
async fn declared_schema(state: &SessionState, columns: &str) -> Result<SchemaRef> {
    let invalid = |message: String| Error::sql(format!("schema => '{columns}': {message}")).hint("write it as 'name TYPE, name TYPE, …'");
    let script = crate::dialect::split(&format!("CREATE TABLE t ({columns})")).map_err(|e| invalid(e.message))?;
    let [statement] = script.as_slice() else { return Err(invalid("it holds a semicolon".to_string())) };
    let crate::dialect::Statement::CreateTable(table) = crate::dialect::parse(&statement.tokens).map_err(|e| invalid(e.message))? else {
        return Err(invalid("it is no list of columns".to_string()));
    };
    super::types::columns_to_schema(state, &table.columns).await.map_err(|e| invalid(e.message))
}

impl FileOptions {
    fn parse(function: FileFunction, args: &[FunctionArg]) -> Result<Self> {
        let mut options = Self {
            paths: Vec::new(),
            header: true,
            delimiter: None,
            quote: b'"',
            escape: None,
            comment: None,
            null_text: None,
            multiline: false,
            all_strings: false,
            schema: None,
            compression: None,
        };
        for arg in args {
            match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) if options.paths.is_empty() => options.paths = paths(function, expr)?,
                FunctionArg::Named { name, arg: FunctionArgExpr::Expr(value), operator } if assigns(operator) => {
                    options.set(function, &name.value.to_lowercase(), value)?;
                }
                other => {
                    return Err(Error::sql(format!("{}: unexpected argument {other}", function.name()))
                        .hint("one path or ARRAY of paths, then options as name => value"));
                }
            }
        }
        if options.paths.is_empty() {
            return Err(Error::sql(format!("{} needs a path, glob or folder in quotes", function.name())));
        }
        Ok(options)
    }

    fn set(&mut self, function: FileFunction, name: &str, value: &Expr) -> Result<()> {
        let text_format = function != FileFunction::Parquet;
        match name {
            "header" | "has_header" if function != FileFunction::Json && text_format => self.header = boolean(name, value)?,
            "delimiter" | "delim" | "sep" if text_format => self.delimiter = Some(byte(name, value)?),
            "quote" if text_format => self.quote = byte(name, value)?,
            "escape" if text_format => self.escape = Some(byte(name, value)?),
            "comment" if text_format => self.comment = Some(byte(name, value)?),
            "nullstr" | "null_text" if text_format => self.null_text = Some(string(name, value)?),
            "multiline" if text_format => self.multiline = boolean(name, value)?,
            "all_strings" | "all_varchar" => self.all_strings = boolean(name, value)?,
            "schema" => self.schema = Some(string(name, value)?),
            "compression" if text_format => {
                self.compression = Some(match string(name, value)?.to_lowercase().as_str() {
                    "gzip" | "gz" => FileCompressionType::GZIP,
                    "zstd" | "zst" => FileCompressionType::ZSTD,
                    "bzip2" | "bz2" => FileCompressionType::BZIP2,
                    "xz" => FileCompressionType::XZ,
                    "none" | "uncompressed" => FileCompressionType::UNCOMPRESSED,
                    other => return Err(Error::sql(format!("compression => '{other}' is not known")).hint("gzip, zstd, bzip2, xz or none")),
                });
            }
            _ => {
                return Err(Error::sql(format!("{} has no option '{name}'", function.name()))
                    .hint("header, delimiter, quote, escape, comment, null_text, multiline, all_strings, schema, compression"));
            }
        }
        Ok(())
    }
}

fn assigns(operator: &FunctionArgOperator) -> bool {
    matches!(operator, FunctionArgOperator::RightArrow | FunctionArgOperator::Equals | FunctionArgOperator::Assignment)
}

fn paths(function: FileFunction, expr: &Expr) -> Result<Vec<String>> {
    match expr {
        Expr::Array(array) if !array.elem.is_empty() => array.elem.iter().map(|e| string("path", e)).collect(),
        Expr::Value(_) => Ok(vec![string("path", expr)?]),
        other => {
            Err(Error::sql(format!("{} takes a path in quotes, found {other}", function.name()))
                .hint("use a variable: read_files(${source})"))
        }
    }
}

fn string(name: &str, expr: &Expr) -> Result<String> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text)
            | Value::EscapedStringLiteral(text)
            | Value::DollarQuotedString(datafusion::sql::sqlparser::ast::DollarQuotedString { value: text, .. }) => Ok(text.clone()),
            Value::Number(text, _) if name == "path" => Ok(text.to_string()),
            other => Err(Error::sql(format!("{name} takes text in quotes, found {other}"))),
        },
        other => Err(Error::sql(format!("{name} takes text in quotes, found {other}"))),
    }
}

fn boolean(name: &str, expr: &Expr) -> Result<bool> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Boolean(value) => Ok(*value),
            other => Err(Error::sql(format!("{name} takes true or false, found {other}"))),
        },
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => boolean(name, expr).map(|b| !b),
        other => Err(Error::sql(format!("{name} takes true or false, found {other}"))),
    }
}

fn byte(name: &str, expr: &Expr) -> Result<u8> {
    let text = string(name, expr)?;
    match text.as_str() {
        "\\t" => Ok(b'\t'),
        one if one.len() == 1 => Ok(one.as_bytes()[0]),
        other => Err(Error::sql(format!("{name} takes one ASCII character, found '{other}'"))),
    }
}
