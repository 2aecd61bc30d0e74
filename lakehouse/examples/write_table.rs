//! Writes Parquet files as a Delta table and reports time, processor time, rows and bytes:
//! `cargo run --release -p orrery-lakehouse --example write_table -- WAREHOUSE PARTITIONS "SELECT * FROM source" FILE…`

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use datafusion::error::{DataFusionError, Result};
use datafusion::physical_plan::{collect, displayable};
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use orrery_lakehouse::{TableName, Warehouse, WriteMode, WriteRequest};

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [location, partitions, sql, files @ ..] = arguments.as_slice() else {
        return Err(DataFusionError::Configuration("usage: write_table WAREHOUSE PARTITIONS SQL FILE…".into()));
    };
    let partitions =
        partitions.parse().map_err(|_| DataFusionError::Configuration(format!("{partitions:?} is not a number of partitions")))?;
    let session = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(partitions));
    let source = session.read_parquet(files.to_vec(), ParquetReadOptions::default()).await?;
    session.register_table("source", source.into_view())?;
    let warehouse = Warehouse::open(location, HashMap::new()).await?;
    warehouse.register_with(&session.runtime_env());

    let (started, used) = (Instant::now(), processor_seconds());
    let query = session.sql(sql).await?;
    let name = TableName::new("dev", "default", "written");
    let request = WriteRequest::new(name, WriteMode::CreateOrReplace, Arc::new(query.schema().as_arrow().clone()));
    let pending = warehouse.begin_write(request).await?;
    let plan = pending.write_plan(query.create_physical_plan().await?)?;
    let written = collect(Arc::clone(&plan), session.task_ctx()).await?;
    let outcome = pending.commit(written).await?;
    let (elapsed, used) = (started.elapsed().as_secs_f64(), processor_seconds() - used);

    if std::env::var_os("SHOW_PLAN").is_some() {
        println!("{}", displayable(plan.as_ref()).indent(true));
    }
    println!("{elapsed:.2} s, {used:.2} s of processor time, {} rows, {} bytes, {} files", outcome.rows, outcome.bytes, outcome.files);
    Ok(())
}

/// User and system time of this process so far; 0 where `/proc` is not.
fn processor_seconds() -> f64 {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>();
    ticks / TICKS_PER_SECOND
}
