//! That pieces cover every file once, and that a scan of pieces gives every row once.

use datafusion::physical_plan::displayable;
use datafusion::prelude::{ParquetReadOptions, SessionContext};

use super::*;
use crate::planner::testing::{ours, rows_of};

#[test]
fn pieces_cover_a_file_once() {
    let group = FileGroup::new(vec![
        PartitionedFile::new("whole", 10),
        PartitionedFile::new("cut", 101),
        PartitionedFile::new_with_range("part".into(), 500, 100, 131),
    ]);
    let cut = pieces(&group, 10);
    let ranges = |name: &str| -> Vec<(i64, i64)> {
        let named = cut.iter().filter(|file| file.path().as_ref() == name);
        named.map(|file| file.range.as_ref().map_or((0, 10), |range| (range.start, range.end))).collect()
    };
    assert_eq!(ranges("whole"), [(0, 10)]);
    let of_cut = ranges("cut");
    assert_eq!((of_cut.len(), of_cut[0].0, of_cut[10].1), (11, 0, 101));
    assert!(of_cut.windows(2).all(|pair| pair[0].1 == pair[1].0));
    assert_eq!(ranges("part"), [(100, 107), (107, 115), (115, 123), (123, 131)]);
}

/// A folder of one Parquet file of several megabytes in small row groups.
async fn large_file(context: &SessionContext) -> Result<tempfile::TempDir> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("numbers.parquet");
    context.sql("SET datafusion.execution.parquet.max_row_group_size = 50000").await?.collect().await?;
    let copy = format!(
        "COPY (SELECT value * 7919 % 600011 AS value, md5(CAST(value AS VARCHAR)) AS text FROM generate_series(1, 600010)) TO '{}' STORED AS PARQUET",
        path.display()
    );
    context.sql(&copy).await?.collect().await?;
    let options = ParquetReadOptions::default();
    context.register_parquet("numbers", path.to_string_lossy(), options).await?;
    Ok(dir)
}

#[tokio::test]
async fn a_scan_of_pieces_gives_every_row_once() -> Result<()> {
    let context = ours().await?;
    let _dir = large_file(&context).await?;
    let plan = context.sql("SELECT * FROM numbers WHERE value % 2 = 0").await?.create_physical_plan().await?;
    let text = displayable(plan.as_ref()).indent(false).to_string();
    assert!(text.matches("numbers.parquet:").count() > 3, "{text}");
    let sums = "SELECT count(*), sum(value), count(DISTINCT text) FROM numbers WHERE value % 2 = 0";
    assert_eq!(rows_of(&context, sums).await?, ["300005|90003300030|300005"]);
    Ok(())
}

#[tokio::test]
async fn scans_with_an_order_or_a_limit_are_left_alone() -> Result<()> {
    let context = ours().await?;
    let _dir = large_file(&context).await?;
    let plan = context.sql("SELECT * FROM numbers LIMIT 5").await?.create_physical_plan().await?;
    let text = displayable(plan.as_ref()).indent(false).to_string();
    assert!(text.matches("numbers.parquet").count() <= 3, "{text}");
    Ok(())
}
