//! Catalogs, schemas, views and tables as names: what exists, what may be created, what dropping leaves.

use chrono::Utc;
use orrery_lakehouse::{Error, Relation, RelationKind, TableName, ViewDefinition, WriteMode};

use crate::support::{Lake, files_under, name, request};

fn view(sql: &str) -> ViewDefinition {
    ViewDefinition {
        sql: sql.into(),
        columns: vec![],
        comment: None,
        catalog: "dev".into(),
        schema: "default".into(),
        created_by: None,
        created_at: Utc::now(),
    }
}

async fn names_in(lake: &Lake, schema: &str) -> Vec<(String, RelationKind)> {
    lake.warehouse.relations("dev", schema).await.unwrap().into_iter().map(|entry| (entry.name, entry.kind)).collect()
}

/// The same steps on a file system, where folders exist on their own, and on a store that has none.
async fn catalogs_and_schemas_on(lake: &Lake) {
    let warehouse = &lake.warehouse;
    assert_eq!(warehouse.catalogs().await.unwrap(), ["dev", "prod", "staging", "system"]);
    assert_eq!(warehouse.schemas("prod").await.unwrap(), ["default"]);
    warehouse.create_catalog("lab", false, Some("experiments")).await.unwrap();
    assert!(matches!(warehouse.create_catalog("lab", false, None).await, Err(Error::AlreadyExists(_))));
    assert!(matches!(warehouse.create_catalog("dev", false, None).await, Err(Error::AlreadyExists(_))));
    warehouse.create_catalog("lab", true, None).await.unwrap();
    warehouse.create_schema("lab", "gold", false, None).await.unwrap();
    assert!(matches!(warehouse.create_schema("lab", "gold", false, None).await, Err(Error::AlreadyExists(_))));
    assert!(matches!(warehouse.create_schema("nowhere", "gold", false, None).await, Err(Error::NotFound(_))));
    assert_eq!(warehouse.catalogs().await.unwrap(), ["dev", "lab", "prod", "staging", "system"]);
    assert_eq!(warehouse.schemas("lab").await.unwrap(), ["default", "gold"]);
    assert!(warehouse.schema_exists("lab", "gold").await.unwrap() && !warehouse.schema_exists("lab", "silver").await.unwrap());
    assert!(matches!(warehouse.schemas("nowhere").await, Err(Error::NotFound(_))));
    assert!(matches!(warehouse.drop_catalog("lab", false, false).await, Err(Error::Invalid(message)) if message.contains("CASCADE")));
    warehouse.drop_schema("lab", "gold", false, false).await.unwrap();
    assert!(matches!(warehouse.drop_schema("lab", "gold", false, false).await, Err(Error::NotFound(_))));
    warehouse.drop_schema("lab", "gold", true, false).await.unwrap();
    warehouse.drop_catalog("lab", false, false).await.unwrap();
    assert!(!warehouse.catalog_exists("lab").await.unwrap());
    assert!(matches!(warehouse.drop_catalog("dev", false, true).await, Err(Error::Invalid(_))));
    assert!(matches!(warehouse.drop_schema("dev", "default", false, true).await, Err(Error::Invalid(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn catalogs_and_schemas() {
    catalogs_and_schemas_on(&Lake::local().await).await;
    catalogs_and_schemas_on(&Lake::at("memory:///lake").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lost_its_marker_exists_by_what_it_holds() {
    let lake = Lake::local().await;
    lake.warehouse.create_catalog("lab", false, None).await.unwrap();
    lake.warehouse.create_schema("lab", "gold", false, None).await.unwrap();
    let (catalog, schema) = (lake.root().join("lab"), lake.root().join("lab/gold"));
    std::fs::remove_file(catalog.join("_catalog.json")).unwrap();
    std::fs::rename(schema.join("_schema.json"), schema.join("other.json")).unwrap();
    assert!(lake.warehouse.catalog_exists("lab").await.unwrap() && lake.warehouse.schema_exists("lab", "gold").await.unwrap());
    std::fs::remove_file(schema.join("other.json")).unwrap();
    assert!(!lake.warehouse.catalog_exists("lab").await.unwrap() && !lake.warehouse.schema_exists("lab", "gold").await.unwrap());
}

#[tokio::test]
async fn opening_and_listing_writes_nothing() {
    let lake = Lake::local().await;
    lake.warehouse.catalogs().await.unwrap();
    assert!(lake.warehouse.relation(&name("t")).await.unwrap().is_none());
    assert!(!lake.root().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn views_are_created_replaced_and_dropped() {
    let lake = Lake::local().await;
    let warehouse = &lake.warehouse;
    assert!(warehouse.create_view(&name("v"), view("SELECT 1"), false, false).await.unwrap());
    assert!(matches!(warehouse.create_view(&name("v"), view("SELECT 2"), false, false).await, Err(Error::AlreadyExists(_))));
    assert!(!warehouse.create_view(&name("v"), view("SELECT 2"), false, true).await.unwrap());
    assert!(warehouse.create_view(&name("v"), view("SELECT 3"), true, false).await.unwrap());
    assert!(matches!(warehouse.relation(&name("v")).await.unwrap(), Some(Relation::View(found)) if found.sql == "SELECT 3"));
    assert_eq!(names_in(&lake, "default").await, [("v".to_string(), RelationKind::View)]);
    assert!(matches!(warehouse.drop_table(&name("v"), true).await, Err(Error::Invalid(message)) if message.contains("DROP VIEW")));
    assert!(warehouse.drop_view(&name("v"), false).await.unwrap());
    assert!(!warehouse.drop_view(&name("v"), true).await.unwrap());
    assert!(matches!(warehouse.drop_view(&name("v"), false).await, Err(Error::NotFound(_))));
    let nowhere = TableName::new("dev", "nowhere", "v");
    assert!(
        matches!(warehouse.create_view(&nowhere, view("SELECT 1"), false, false).await, Err(Error::NotFound(message)) if message.contains("CREATE SCHEMA"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_view_is_named() {
    let lake = Lake::local().await;
    lake.warehouse.create_view(&name("v"), view("SELECT 1"), false, false).await.unwrap();
    std::fs::write(lake.root().join("dev/default/_views/v.json"), "{\"sql\":").unwrap();
    assert!(matches!(lake.warehouse.relation(&name("v")).await, Err(Error::Damaged { path, .. }) if path.ends_with("_views/v.json")));
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_and_views_share_names() {
    let lake = Lake::local().await;
    lake.create("t", "SELECT 1 AS a").await;
    assert!(matches!(lake.warehouse.create_view(&name("t"), view("SELECT 1"), true, false).await, Err(Error::AlreadyExists(_))));
    assert!(matches!(lake.warehouse.drop_view(&name("t"), true).await, Err(Error::Invalid(message)) if message.contains("DROP TABLE")));
    lake.warehouse.create_view(&name("v"), view("SELECT 1"), false, false).await.unwrap();
    let refused = lake.write(request("v", WriteMode::Create), "SELECT 1 AS a").await;
    assert!(matches!(refused, Err(Error::AlreadyExists(message)) if message.contains("view")));
    let expected = [("t".to_string(), RelationKind::Table), ("v".to_string(), RelationKind::View)];
    assert_eq!(names_in(&lake, "default").await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_names_are_refused_everywhere() {
    let lake = Lake::local().await;
    for bad in ["a/b", "_x", "..", "", "a\nb", "x%"] {
        assert!(matches!(lake.warehouse.relation(&name(bad)).await, Err(Error::Invalid(_))), "{bad:?}");
        assert!(matches!(lake.warehouse.create_catalog(bad, true, None).await, Err(Error::Invalid(_))), "{bad:?}");
        assert!(matches!(lake.write(request(bad, WriteMode::Create), "SELECT 1 AS a").await, Err(Error::Invalid(_))), "{bad:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_a_table_leaves_nothing() {
    let lake = Lake::local().await;
    lake.create("t", "SELECT 1 AS a").await;
    std::fs::write(lake.table_folder("t").join("part-1.parquet#1"), "left by a killed writer").unwrap();
    assert!(lake.warehouse.drop_table(&name("t"), false).await.unwrap());
    assert!(!lake.table_folder("t").exists());
    assert!(lake.warehouse.relation(&name("t")).await.unwrap().is_none());
    assert!(matches!(lake.warehouse.drop_table(&name("t"), false).await, Err(Error::NotFound(_))));
    assert!(!lake.warehouse.drop_table(&name("t"), true).await.unwrap());
    lake.create("t", "SELECT 'other' AS b").await;
    lake.show("t").await;
    assert!(lake.query("SELECT * FROM t").await.contains("other"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_drop_is_a_drop() {
    let lake = Lake::local().await;
    lake.create("t", "SELECT 1 AS a").await;
    // What a killed process leaves: the tombstone, and the log half gone.
    std::fs::write(lake.table_folder("t").join("_dropped"), "{}").unwrap();
    assert!(lake.warehouse.relation(&name("t")).await.unwrap().is_none());
    assert!(names_in(&lake, "default").await.is_empty());
    assert!(matches!(lake.write(request("t", WriteMode::Append), "SELECT 1 AS a").await, Err(Error::NotFound(_))));
    lake.create("t", "SELECT 2 AS b").await;
    lake.show("t").await;
    assert_eq!(lake.query("SELECT b FROM t").await.matches('2').count(), 1);
    assert_eq!(lake.data_files("t").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn cascading_drops_take_everything() {
    let lake = Lake::local().await;
    lake.warehouse.create_schema("dev", "gold", false, None).await.unwrap();
    let table = TableName::new("dev", "gold", "t");
    let mut create = request("t", WriteMode::Create);
    create.name = table.clone();
    lake.write(create, "SELECT 1 AS a").await.unwrap();
    lake.warehouse.create_view(&TableName::new("dev", "gold", "v"), view("SELECT 1"), false, false).await.unwrap();
    assert!(
        matches!(lake.warehouse.drop_schema("dev", "gold", false, false).await, Err(Error::Invalid(message)) if message.contains("not empty"))
    );
    lake.warehouse.drop_schema("dev", "gold", false, true).await.unwrap();
    assert!(!lake.warehouse.schema_exists("dev", "gold").await.unwrap());
    assert!(lake.warehouse.relation(&table).await.unwrap().is_none());
    assert!(files_under(&lake.root()).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_table_is_found() {
    let lake = Lake::local().await;
    lake.create("t", "SELECT 1 AS a").await;
    let copied = std::process::Command::new("cp").arg("-r").arg(lake.table_folder("t")).arg(lake.table_folder("copy")).status().unwrap();
    assert!(copied.success());
    let found = names_in(&lake, "default").await;
    assert_eq!(found.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["copy", "t"]);
    lake.show("copy").await;
    assert_eq!(lake.query("SELECT a FROM copy").await.matches('1').count(), 1);
}
