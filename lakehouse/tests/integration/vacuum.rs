//! Files that nobody needs any more, or that nobody ever knew of.

use std::time::{Duration, SystemTime};

use orrery_lakehouse::{Error, Vacuum, WriteMode};

use crate::support::{Lake, name, request, rows};

fn now() -> Vacuum {
    Vacuum { retain: Some(Duration::ZERO), force: true, dry_run: false }
}

/// Makes a file look as old as it has to be.
fn age(path: &std::path::Path, days: u64) {
    let then = SystemTime::now() - Duration::from_secs(days * 24 * 3600);
    std::fs::File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_go_and_what_is_needed_stays() {
    let lake = Lake::local().await;
    let write = request("t", WriteMode::Create);
    lake.write(write_partitioned(write), "SELECT v, v % 2 AS p FROM (VALUES (1), (2), (3)) AS x(v)").await.unwrap();
    let folder = lake.table_folder("t");
    let orphans = ["p=1/part-killed.parquet", "p=7/part-killed.parquet", "part-killed.parquet#3", "p=0/part-killed.parquet#12"];
    for orphan in orphans {
        let path = folder.join(orphan);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, b"half a file").unwrap();
        age(&path, 8);
    }
    let young = folder.join("p=1/part-just-now.parquet");
    std::fs::write(&young, b"half a file").unwrap();
    let hidden = folder.join("_notes/keep.parquet");
    std::fs::create_dir_all(hidden.parent().unwrap()).unwrap();
    std::fs::write(&hidden, b"not ours").unwrap();
    age(&hidden, 8);

    let listed = lake.warehouse.vacuum(&name("t"), Vacuum { dry_run: true, ..Vacuum::default() }).await.unwrap();
    let mut expected = orphans.to_vec();
    expected.sort_unstable();
    assert_eq!(listed.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), expected);
    assert!(listed.iter().all(|file| file.bytes == 11));
    assert!(orphans.iter().all(|orphan| folder.join(orphan).exists()), "a dry run removes nothing");

    let removed = lake.warehouse.vacuum(&name("t"), Vacuum::default()).await.unwrap();
    assert_eq!(removed, listed);
    assert!(orphans.iter().all(|orphan| !folder.join(orphan).exists()));
    assert!(!folder.join("p=7").exists(), "a folder that is left empty goes too");
    assert!(young.exists(), "a writer may still be at work on it");
    assert!(hidden.exists());
    lake.show("t").await;
    assert_eq!(rows(&lake.query("SELECT sum(v), count(*) FROM t").await), ["6|3"]);
}

fn write_partitioned(request: orrery_lakehouse::WriteRequest) -> orrery_lakehouse::WriteRequest {
    orrery_lakehouse::WriteRequest { partition_by: vec!["p".to_string()], ..request }
}

#[tokio::test(flavor = "multi_thread")]
async fn replaced_files_go_after_the_retention() {
    let lake = Lake::local().await;
    lake.create("t", "SELECT 1 AS a").await;
    lake.write(request("t", WriteMode::Overwrite), "SELECT 2 AS a").await.unwrap();
    assert_eq!(lake.warehouse.vacuum(&name("t"), Vacuum::default()).await.unwrap(), []);
    let early = Vacuum { retain: Some(Duration::from_secs(3600)), ..Vacuum::default() };
    let refused = lake.warehouse.vacuum(&name("t"), early).await.unwrap_err();
    assert!(matches!(&refused, Error::Invalid(text) if text.contains("168 hours") && text.contains("for 1 hours")), "{refused}");
    assert_eq!(lake.data_files("t").len(), 2);
    assert_eq!(lake.warehouse.vacuum(&name("t"), now()).await.unwrap().len(), 1);
    assert_eq!(lake.data_files("t").len(), 1);
    lake.show("t").await;
    assert_eq!(rows(&lake.query("SELECT a FROM t").await), ["2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_tables_can_be_vacuumed() {
    let lake = Lake::local().await;
    assert!(matches!(lake.warehouse.vacuum(&name("nothing"), Vacuum::default()).await, Err(Error::NotFound(_))));
}
