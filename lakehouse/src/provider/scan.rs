//! From a snapshot, a projection and filters to a Parquet scan.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileScanConfigBuilder, FileSource, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::projection::{ProjectionExpr, ProjectionExprs};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::metrics::{Label, Metric, MetricType, MetricValue, PruningMetrics};
use object_store::ObjectMeta;
use parking_lot::Mutex;

use super::{grouping, pruning, statistics};
use crate::table::{DataFile, Table};

/// The resolution to which Spark's old 96-bit timestamps are read: the table's own, because finer ones do not cover all years.
const INT96_UNIT: &str = "us";

/// The metric of a scan that tells how many files of the table its log ruled out while the scan was planned, and how many it left. It is on the scan of
/// whoever planned it; whoever only runs the scan does not know it.
pub const FILES_BY_LOG: &str = "files_by_log";

/// The label of [`FILES_BY_LOG`] that names the table.
pub const TABLE_LABEL: &str = "table";

/// Tables of which a planning ruled out every file, so that no scan is left to tell it: an extension of the configuration of a session that wants to know.
#[derive(Debug, Default)]
pub struct RuledOut(Mutex<BTreeMap<String, u64>>);

impl RuledOut {
    fn tell(&self, table: &Table) {
        if table.num_files() > 0 {
            self.0.lock().insert(table.name().to_string(), table.num_files());
        }
    }

    /// The tables' names, and how many files each has.
    pub fn tables(&self) -> Vec<(String, u64)> {
        self.0.lock().iter().map(|(name, files)| (name.clone(), *files)).collect()
    }
}

/// The columns of a table as a file scan orders them: those in the files first, partition columns last.
pub(super) struct ScanColumns {
    /// In scan order, under logical names.
    pub schema: SchemaRef,
    /// In scan order, as the files and the log name them.
    physical: Vec<String>,
    /// For each column of the table's order, its place in scan order.
    places: Vec<usize>,
    /// Number of columns that are in the files.
    in_files: usize,
}

impl ScanColumns {
    pub fn new(table: &Table, schema: &Schema) -> Self {
        let is_partition = |index: &usize| table.partition_columns().contains(schema.field(*index).name());
        let mut order: Vec<usize> = (0..schema.fields().len()).filter(|index| !is_partition(index)).collect();
        let in_files = order.len();
        order.extend(table.partition_columns().iter().filter_map(|name| schema.index_of(name).ok()));
        let mut places = vec![0; order.len()];
        order.iter().enumerate().for_each(|(place, &index)| places[index] = place);
        Self {
            schema: Arc::new(Schema::new(order.iter().map(|&index| schema.field(index).clone()).collect::<Vec<_>>())),
            physical: order.iter().map(|&index| table.columns().physical[index].clone()).collect(),
            places,
            in_files,
        }
    }

    pub fn in_files(&self) -> usize {
        self.in_files
    }

    fn file_schema(&self) -> TableSchema {
        let renamed = |place: usize| -> Field { self.schema.field(place).clone().with_name(&self.physical[place]) };
        let in_files: Vec<Field> = (0..self.in_files).map(renamed).collect();
        let partition: Vec<FieldRef> = (self.in_files..self.physical.len()).map(|place| Arc::new(renamed(place))).collect();
        TableSchema::builder(Arc::new(Schema::new(in_files))).with_table_partition_cols(partition).build()
    }

    /// The projection from scan order and physical names to the asked-for columns under logical names.
    fn projection(&self, projection: Option<&Vec<usize>>) -> ProjectionExprs {
        let asked: Vec<usize> = match projection {
            Some(indices) => indices.iter().map(|&index| self.places[index]).collect(),
            None => self.places.clone(),
        };
        let expression = |place: usize| ProjectionExpr {
            expr: Arc::new(Column::new(&self.physical[place], place)),
            alias: self.schema.field(place).name().clone(),
        };
        asked.into_iter().map(expression).collect()
    }
}

/// Plans a scan. `schema` is what the provider shows; `projection` indexes it.
pub(super) fn plan(
    table: &Table,
    schema: &SchemaRef,
    state: &dyn Session,
    projection: Option<&Vec<usize>>,
    filters: &[Expr],
    limit: Option<usize>,
) -> Result<Arc<dyn ExecutionPlan>> {
    table.check_readable()?;
    let columns = ScanColumns::new(table, schema);
    let mut files: Vec<&DataFile> = table.files()?.iter().collect();
    let decided = pruning::prune(&mut files, &columns, table.partition_columns(), state, filters)?;
    let exact = cut_to_limit(&mut files, limit.filter(|_| decided));
    if files.is_empty() {
        if let Some(ruled_out) = state.config().get_extension::<RuledOut>() {
            ruled_out.tell(table);
        }
        let asked: Vec<usize> = projection.cloned().unwrap_or_else(|| (0..schema.fields().len()).collect());
        return Ok(Arc::new(EmptyExec::new(Arc::new(schema.project(&asked)?))));
    }
    let merged = statistics::of_files(&files, &columns);
    let merged = if exact { merged } else { merged.to_inexact() };
    let partitioned = files.iter().map(|file| partitioned_file(file, &columns)).collect::<Result<Vec<_>>>()?;
    let groups = grouping::group(partitioned, state.config());
    let source = parquet_source(table, &columns, state)?;
    let projected = source.try_pushdown_projection(&columns.projection(projection))?;
    let projected = projected.ok_or_else(|| DataFusionError::Internal("the Parquet source refused a projection of columns".into()))?;
    tell_pruning(table, files.len(), projected.as_ref());
    let config = FileScanConfigBuilder::new(store_url(table)?, projected)
        .with_file_groups(groups)
        .with_statistics(merged)
        .with_limit(limit.filter(|_| decided))
        .build();
    Ok(DataSourceExec::from_data_source(config))
}

fn tell_pruning(table: &Table, left: usize, source: &dyn FileSource) {
    let pruning_metrics = PruningMetrics::new();
    pruning_metrics.add_matched(left);
    pruning_metrics.add_pruned(usize::try_from(table.num_files()).unwrap_or(usize::MAX).saturating_sub(left));
    let value = MetricValue::PruningMetrics { name: FILES_BY_LOG.into(), pruning_metrics };
    let label = Label::new(TABLE_LABEL, table.name().to_string());
    source.metrics().register(Arc::new(Metric::new_with_labels(value, None, vec![label]).with_type(MetricType::Summary)));
}

/// Drops files that a limit without filters cannot need. Returns whether all are still there.
fn cut_to_limit(files: &mut Vec<&DataFile>, limit: Option<usize>) -> bool {
    let Some(limit) = limit else { return true };
    let mut rows = 0_u64;
    let enough = files.iter().position(|file| {
        let before = rows;
        rows = rows.saturating_add(file.num_rows.unwrap_or(0));
        before >= limit as u64
    });
    let Some(enough) = enough else { return true };
    files.truncate(enough.max(1));
    false
}

fn partitioned_file(file: &DataFile, columns: &ScanColumns) -> Result<PartitionedFile> {
    let mut partitioned = PartitionedFile::new_from_meta(ObjectMeta {
        location: file.location.clone(),
        last_modified: file.modified,
        size: file.size,
        e_tag: None,
        version: None,
    });
    let types = columns.schema.fields()[columns.in_files..].iter().map(|field| field.data_type());
    partitioned.partition_values =
        file.partition_values.iter().zip(types).map(|(value, data_type)| value.cast_to(data_type)).collect::<Result<_>>()?;
    // Set as a field: the setter would add statistics of its own for partition columns, which take null for a value.
    partitioned.statistics = Some(Arc::new(statistics::of_file(file, columns)));
    Ok(partitioned)
}

fn parquet_source(table: &Table, columns: &ScanColumns, state: &dyn Session) -> Result<ParquetSource> {
    let mut options = state.default_table_options().parquet;
    options.global.coerce_int96.get_or_insert_with(|| INT96_UNIT.to_string());
    let mut source = ParquetSource::new(columns.file_schema());
    if let Some(hint) = options.global.metadata_size_hint {
        source = source.with_metadata_size_hint(hint);
    }
    // Footers stay in the session's cache: a table's files never change under their names.
    let metadata = state.runtime_env().cache_manager.get_file_metadata_cache();
    let readers = CachedParquetFileReaderFactory::new(Arc::clone(table.log().store()), metadata);
    Ok(source.with_table_parquet_options(options).with_parquet_file_reader_factory(Arc::new(readers)))
}

fn store_url(table: &Table) -> Result<ObjectStoreUrl> {
    ObjectStoreUrl::parse(&table.location()[..url::Position::BeforePath])
}
