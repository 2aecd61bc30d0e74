//! Bulk ingestion.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_flight::FlightData;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{CommandStatementIngest, ProstMessageExt as _, TableDefinitionOptions, TableExistsOption, TableNotExistOption};
use futures::StreamExt as _;
use prost::Message as _;
use tonic::{Code, Status};

use super::on_both;
use super::served::{Client, Server, assert_refused, rows, status, update};

on_both!(tables_are_made_extended_and_replaced, temporary_tables_go_with_the_session, what_cannot_be_read_leaves_nothing);

const CREATE: (TableNotExistOption, TableExistsOption) = (TableNotExistOption::Create, TableExistsOption::Fail);
const APPEND: (TableNotExistOption, TableExistsOption) = (TableNotExistOption::Fail, TableExistsOption::Append);
const REPLACE: (TableNotExistOption, TableExistsOption) = (TableNotExistOption::Create, TableExistsOption::Replace);
const CREATE_APPEND: (TableNotExistOption, TableExistsOption) = (TableNotExistOption::Create, TableExistsOption::Append);

fn into(table: &str, (if_not_exist, if_exists): (TableNotExistOption, TableExistsOption)) -> CommandStatementIngest {
    let options = TableDefinitionOptions { if_not_exist: if_not_exist as i32, if_exists: if_exists as i32 };
    CommandStatementIngest { table_definition_options: Some(options), table: table.to_string(), ..CommandStatementIngest::default() }
}

fn people(names: &[&str], from: i64) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(from..from + names.len() as i64));
    let names: ArrayRef = Arc::new(StringArray::from(names.to_vec()));
    RecordBatch::try_from_iter([("id", ids), ("name", names)]).unwrap()
}

async fn ingest(client: &mut Client, command: CommandStatementIngest, batches: Vec<RecordBatch>) -> Result<i64, Status> {
    client.execute_ingest(command, futures::stream::iter(batches.into_iter().map(Ok))).await.map_err(status)
}

async fn tables_are_made_extended_and_replaced(server: Server) {
    let mut client = server.connect().await;
    assert_refused(ingest(&mut client, into("people", APPEND), vec![people(&["a"], 1)]).await, Code::InvalidArgument, &["does not exist"]);
    assert_eq!(ingest(&mut client, into("people", CREATE), vec![people(&["a", "b"], 1), people(&["c"], 3)]).await.unwrap(), 3);
    assert_refused(ingest(&mut client, into("people", CREATE), vec![people(&["a"], 1)]).await, Code::InvalidArgument, &["exists"]);
    assert_eq!(ingest(&mut client, into("people", APPEND), vec![people(&["d"], 4)]).await.unwrap(), 1);
    assert_eq!(rows(&mut client, "SELECT * FROM people ORDER BY id").await.unwrap(), ["1|a", "2|b", "3|c", "4|d"]);
    // By the names of columns: some missing, in another order.
    let names: ArrayRef = Arc::new(StringArray::from(vec!["e"]));
    let only_names = RecordBatch::try_from_iter([("name", names)]).unwrap();
    assert_eq!(ingest(&mut client, into("people", CREATE_APPEND), vec![only_names]).await.unwrap(), 1);
    assert_eq!(rows(&mut client, "SELECT name FROM people WHERE id IS NULL").await.unwrap(), ["e"]);
    let other: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    let other = RecordBatch::try_from_iter([("nick", Arc::clone(&other))]).unwrap();
    assert_refused(ingest(&mut client, into("people", APPEND), vec![other.clone()]).await, Code::InvalidArgument, &["no column 'nick'"]);
    assert_eq!(ingest(&mut client, into("people", REPLACE), vec![other]).await.unwrap(), 1);
    assert_eq!(rows(&mut client, "SELECT * FROM people").await.unwrap(), ["x"]);
    // In another schema, and into a table that a statement made, which has columns of other types.
    update(&mut client, "CREATE SCHEMA s; CREATE TABLE s.t (id INT, name STRING) PARTITIONED BY (name)").await.unwrap();
    let in_schema = CommandStatementIngest { schema: Some("s".to_string()), catalog: Some("dev".to_string()), ..into("t", APPEND) };
    assert_eq!(ingest(&mut client, in_schema, vec![people(&["p", "q", "p"], 7)]).await.unwrap(), 3);
    assert_eq!(rows(&mut client, "SELECT id FROM s.t WHERE name = 'p' ORDER BY id").await.unwrap(), ["7", "9"]);
    let history = rows(&mut client, "DESCRIBE HISTORY s.t").await.unwrap();
    assert_eq!(history.len(), 2);
}

async fn temporary_tables_go_with_the_session(server: Server) {
    let mut client = server.connect().await;
    let temporary = |mode| CommandStatementIngest { temporary: true, ..into("mine", mode) };
    assert_eq!(ingest(&mut client, temporary(CREATE), vec![people(&["a", "b"], 1)]).await.unwrap(), 2);
    assert_refused(ingest(&mut client, temporary(CREATE), vec![people(&["a"], 1)]).await, Code::InvalidArgument, &["exists"]);
    assert_eq!(ingest(&mut client, temporary(REPLACE), vec![people(&["c"], 9)]).await.unwrap(), 1);
    assert_eq!(rows(&mut client, "SELECT * FROM mine").await.unwrap(), ["9|c"]);
    let mut other = server.connect().await;
    assert_refused(rows(&mut other, "SELECT * FROM mine").await, Code::InvalidArgument, &["does not exist"]);
    let placed = CommandStatementIngest { schema: Some("default".to_string()), ..temporary(CREATE) };
    assert_refused(ingest(&mut client, placed, vec![people(&["a"], 1)]).await, Code::InvalidArgument, &["temporary"]);
}

async fn what_cannot_be_read_leaves_nothing(server: Server) {
    let mut client = server.connect().await;
    // The client goes away half way.
    let half = futures::stream::iter([Ok::<_, FlightError>(people(&["a"], 1))]).chain(futures::stream::pending());
    let gone = tokio::time::timeout(std::time::Duration::from_secs(1), client.execute_ingest(into("t", CREATE), half)).await;
    assert!(gone.is_err(), "it waits for more rows");
    // Bytes that are no Arrow.
    let descriptor = arrow_flight::FlightDescriptor::new_cmd(into("t", CREATE).as_any().encode_to_vec());
    for junk in [vec![], vec![0xff; 64], b"ARROW1\0\0".to_vec(), vec![0; 8]] {
        let messages = vec![
            FlightData { flight_descriptor: Some(descriptor.clone()), data_header: junk.clone().into(), ..FlightData::default() },
            FlightData { data_header: vec![1; 16].into(), data_body: junk.into(), ..FlightData::default() },
        ];
        let mut raw = FlightServiceClient::new(server.channel().await);
        let mut request = tonic::Request::new(futures::stream::iter(messages).boxed());
        request.metadata_mut().insert("authorization", format!("Bearer {}", client.token().unwrap()).parse().unwrap());
        let answer = raw.do_put(request).await;
        assert!(answer.is_err());
    }
    assert_refused(ingest(&mut client, into("", CREATE), vec![people(&["a"], 1)]).await, Code::InvalidArgument, &["names no table"]);
    assert_refused(ingest(&mut client, into("../t", CREATE), vec![people(&["a"], 1)]).await, Code::InvalidArgument, &[]);
    let unspecified = CommandStatementIngest { table: "t".to_string(), ..CommandStatementIngest::default() };
    assert_refused(ingest(&mut client, unspecified, vec![people(&["a"], 1)]).await, Code::InvalidArgument, &["does not say"]);
    assert_eq!(rows(&mut client, "SHOW TABLES").await.unwrap(), Vec::<String>::new());
    assert_eq!(rows(&mut client, "SELECT 1").await.unwrap(), ["1"]);
}
