//! What clients ask before they query.

use arrow::array::{Array as _, AsArray as _};
use arrow::datatypes::{Int32Type, Schema, UInt32Type};
use arrow_flight::IpcMessage;
use arrow_flight::sql::{
    CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys, CommandGetImportedKeys, CommandGetPrimaryKeys, CommandGetTables,
    CommandGetXdbcTypeInfo, SqlInfo,
};

use super::on_both;
use super::served::{Client, Server, as_text, fetched, rows, status, update};

on_both!(names_are_listed_and_filtered, columns_of_tables_are_told, abilities_and_types_are_told, information_schema_lists_everything);

async fn warehouse(client: &mut Client) {
    let made = "CREATE SCHEMA gold; CREATE CATALOG other;
                CREATE TABLE gold.users (id BIGINT NOT NULL COMMENT 'who', name STRING, score DECIMAL(5, 1)) COMMENT 'People';
                CREATE TABLE gold.orders AS SELECT 1 AS id; CREATE VIEW gold.best AS SELECT name FROM gold.users WHERE score > 9;
                CREATE TABLE other.default.elsewhere AS SELECT 1 AS x";
    update(client, made).await.unwrap();
}

fn tables() -> CommandGetTables {
    CommandGetTables {
        catalog: Some("dev".to_string()),
        db_schema_filter_pattern: Some("gold".to_string()),
        table_name_filter_pattern: None,
        table_types: vec![],
        include_schema: false,
    }
}

async fn names_are_listed_and_filtered(server: Server) {
    let mut client = server.connect().await;
    warehouse(&mut client).await;
    let info = client.get_catalogs().await.unwrap();
    let catalogs = as_text(&fetched(&mut client, info).await.unwrap());
    assert!(["dev", "other"].iter().all(|name| catalogs.contains(&name.to_string())), "{catalogs:?}");
    let schemas = CommandGetDbSchemas { catalog: Some("dev".to_string()), db_schema_filter_pattern: Some("g%".to_string()) };
    let info = client.get_db_schemas(schemas).await.unwrap();
    assert_eq!(as_text(&fetched(&mut client, info).await.unwrap()), ["dev|gold"]);
    let none = CommandGetDbSchemas { catalog: Some(String::new()), db_schema_filter_pattern: None };
    let info = client.get_db_schemas(none).await.unwrap();
    assert_eq!(fetched(&mut client, info).await.unwrap().num_rows(), 0);
    for (command, expected) in [
        (tables(), vec!["dev|gold|best|VIEW", "dev|gold|orders|TABLE", "dev|gold|users|TABLE"]),
        (CommandGetTables { table_types: vec!["VIEW".to_string()], ..tables() }, vec!["dev|gold|best|VIEW"]),
        (CommandGetTables { table_name_filter_pattern: Some("_sers".to_string()), ..tables() }, vec!["dev|gold|users|TABLE"]),
        (CommandGetTables { catalog: Some("none".to_string()), ..tables() }, vec![]),
        (
            CommandGetTables {
                catalog: None,
                db_schema_filter_pattern: None,
                table_name_filter_pattern: Some("else%".to_string()),
                ..tables()
            },
            vec!["other|default|elsewhere|TABLE"],
        ),
    ] {
        let info = client.get_tables(command).await.unwrap();
        assert_eq!(as_text(&fetched(&mut client, info).await.unwrap()), expected);
    }
    let info = client.get_table_types().await.unwrap();
    assert_eq!(as_text(&fetched(&mut client, info).await.unwrap()), ["TABLE", "VIEW"]);
}

async fn columns_of_tables_are_told(server: Server) {
    let mut client = server.connect().await;
    warehouse(&mut client).await;
    let info = client.get_tables(CommandGetTables { include_schema: true, ..tables() }).await.unwrap();
    let found = fetched(&mut client, info).await.unwrap();
    let schemas = found.column(4).as_binary::<i32>();
    let read = |row: usize| Schema::try_from(IpcMessage(bytes::Bytes::copy_from_slice(schemas.value(row)))).unwrap();
    let users = read(2);
    let told: Vec<String> = users.fields().iter().map(|f| format!("{} {} {}", f.name(), f.data_type(), f.is_nullable())).collect();
    assert_eq!(told, ["id Int64 false", "name Utf8 true", "score Decimal128(5, 1) true"]);
    let id = users.field(0).metadata();
    assert_eq!((id["ARROW:FLIGHT:SQL:TYPE_NAME"].as_str(), id["ARROW:FLIGHT:SQL:REMARKS"].as_str()), ("BIGINT", "who"));
    assert_eq!(read(0).field(0).name(), "name");
    // Keys: none, in the columns that are asked for.
    let table = "users".to_string();
    let (catalog, db_schema) = (Some("dev".to_string()), Some("gold".to_string()));
    let keys = CommandGetPrimaryKeys { catalog: catalog.clone(), db_schema: db_schema.clone(), table: table.clone() };
    let info = client.get_primary_keys(keys).await.unwrap();
    let keys = fetched(&mut client, info).await.unwrap();
    assert_eq!((keys.num_rows(), keys.num_columns(), keys.schema().field(5).name().as_str()), (0, 6, "key_sequence"));
    let exported = CommandGetExportedKeys { catalog: catalog.clone(), db_schema: db_schema.clone(), table: table.clone() };
    let imported = CommandGetImportedKeys { catalog, db_schema, table: table.clone() };
    let crossed = CommandGetCrossReference { pk_table: table.clone(), fk_table: table, ..CommandGetCrossReference::default() };
    let infos = [
        client.get_exported_keys(exported).await.unwrap(),
        client.get_imported_keys(imported).await.unwrap(),
        client.get_cross_reference(crossed).await.unwrap(),
    ];
    for info in infos {
        let keys = fetched(&mut client, info).await.unwrap();
        assert_eq!((keys.num_rows(), keys.num_columns(), keys.schema().field(12).name().as_str()), (0, 13, "delete_rule"));
    }
}

async fn abilities_and_types_are_told(server: Server) {
    let mut client = server.connect().await;
    let asked = vec![SqlInfo::FlightSqlServerName, SqlInfo::FlightSqlServerTransaction, SqlInfo::FlightSqlServerBulkIngestion];
    let info = client.get_sql_info(asked).await.unwrap();
    let about = fetched(&mut client, info).await.unwrap();
    let numbers: Vec<u32> = about.column(0).as_primitive::<UInt32Type>().values().to_vec();
    assert_eq!(numbers, [0, 8, 10]);
    let values = about.column(1).as_union();
    assert_eq!(values.value(0).as_string::<i32>().value(0), "Orrery");
    assert_eq!(values.value(1).as_primitive::<Int32Type>().value(0), 0);
    assert!(values.value(2).as_boolean().value(0));
    let info = client.get_sql_info(vec![]).await.unwrap();
    assert!(fetched(&mut client, info).await.unwrap().num_rows() > 40);
    let info = client.get_xdbc_type_info(CommandGetXdbcTypeInfo { data_type: None }).await.unwrap();
    let types = fetched(&mut client, info).await.unwrap();
    let names = types.column(0).as_string::<i32>();
    assert!(names.iter().flatten().any(|name| name == "DECIMAL") && names.len() == 13);
    let info = client.get_xdbc_type_info(CommandGetXdbcTypeInfo { data_type: Some(-5) }).await.map_err(status).unwrap();
    let types = fetched(&mut client, info).await.unwrap();
    assert_eq!(types.column(0).as_string::<i32>().value(0), "BIGINT");
}

async fn information_schema_lists_everything(server: Server) {
    let mut client = server.connect().await;
    warehouse(&mut client).await;
    let mut query = async |sql: &str| rows(&mut client, sql).await.unwrap();
    assert_eq!(query("SELECT schema_name FROM information_schema.schemata ORDER BY 1").await, ["default", "gold", "information_schema"]);
    assert_eq!(
        query("SELECT table_name, table_type, comment FROM information_schema.tables WHERE table_schema = 'gold' ORDER BY 1").await,
        ["best|VIEW|NULL", "orders|BASE TABLE|NULL", "users|BASE TABLE|People"]
    );
    assert_eq!(
        query(
            "SELECT column_name, ordinal_position, is_nullable, data_type, numeric_precision, comment
             FROM information_schema.columns WHERE table_name = 'users' ORDER BY 2"
        )
        .await,
        ["id|1|NO|bigint|19|who", "name|2|YES|string|NULL|NULL", "score|3|YES|decimal(5,1)|5|NULL"]
    );
    assert_eq!(query("SELECT count(*) FROM information_schema.columns WHERE table_name = 'best'").await, ["1"]);
    assert_eq!(
        query("SELECT table_name, view_definition FROM information_schema.views").await,
        ["best|SELECT name FROM gold.users WHERE score > 9"]
    );
    assert_eq!(query("SELECT table_name FROM other.information_schema.tables WHERE table_type = 'BASE TABLE'").await, ["elsewhere"]);
    assert_eq!(
        query("SELECT t.table_name FROM information_schema.tables t JOIN gold.orders o ON o.id = 1 WHERE t.table_name = 'best'").await,
        ["best"]
    );
    let made = rows(&mut client, "CREATE SCHEMA information_schema").await;
    assert!(made.unwrap_err().message().contains("cannot be created"));
    let missing = rows(&mut client, "SELECT * FROM information_schema.nothing").await;
    assert!(missing.unwrap_err().message().contains("schemata"));
}
