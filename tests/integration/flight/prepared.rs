//! Prepared statements and their parameters.

use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Schema};
use arrow_flight::sql::client::PreparedStatement;
use arrow_flight::sql::{
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, Any, CommandPreparedStatementQuery, ProstMessageExt as _,
};
use arrow_flight::{Action, FlightDescriptor, FlightInfo};
use bytes::Bytes;
use prost::Message as _;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::on_both;
use super::served::{Client, Server, as_text, assert_refused, fetched, rows, status, update};

on_both!(
    parameters_are_typed_by_their_places,
    queries_run_again_with_other_values,
    every_run_reads_what_is_there_then,
    batches_of_values_write_once_each,
    values_are_never_sql,
    wrong_values_are_refused,
);

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).unwrap()
}

fn whole(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn text(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

async fn prepare(client: &mut Client, sql: &str) -> Result<PreparedStatement<Channel>, Status> {
    client.prepare(sql.to_string(), None).await.map_err(status)
}

fn types(schema: &Schema) -> Vec<String> {
    schema.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect()
}

async fn table(client: &mut Client) {
    let made = "CREATE TABLE items (id BIGINT, name STRING, price DECIMAL(10, 2), day DATE);
                INSERT INTO items VALUES (1, 'pen', 1.50, DATE '2024-01-01'), (2, 'ink', 7.25, DATE '2024-02-01'), (3, 'cap', 0.99, NULL)";
    update(client, made).await.unwrap();
}

async fn parameters_are_typed_by_their_places(server: Server) {
    let mut client = server.connect().await;
    table(&mut client).await;
    let select = prepare(&mut client, "SELECT id, name FROM items WHERE price > ? AND name LIKE ? AND day < ? LIMIT ?").await.unwrap();
    assert_eq!(types(select.parameter_schema().unwrap()), ["$1 Decimal128(10, 2)", "$2 Utf8", "$3 Date32", "$4 Int64"]);
    assert_eq!(types(select.dataset_schema().unwrap()), ["id Int64", "name Utf8"]);
    let named = prepare(&mut client, "SELECT count(*) AS n FROM items WHERE id BETWEEN $low AND $high OR id = $low").await.unwrap();
    assert_eq!(types(named.parameter_schema().unwrap()), ["$low Int64", "$high Int64"]);
    let insert = prepare(&mut client, "INSERT INTO items (name, id, day) VALUES (?, ?, ?), (?, 5, NULL)").await.unwrap();
    assert_eq!(types(insert.parameter_schema().unwrap()), ["$1 Utf8", "$2 Int64", "$3 Date32", "$4 Utf8"]);
    assert!(insert.dataset_schema().unwrap().fields().is_empty());
    let open = prepare(&mut client, "SELECT ? AS anything, CAST(? AS DOUBLE) AS number").await.unwrap();
    assert_eq!(types(open.parameter_schema().unwrap()), ["$1 Null", "$2 Float64"]);
    let nothing = prepare(&mut client, "SHOW TABLES").await.unwrap();
    assert_eq!(types(nothing.dataset_schema().unwrap()), ["schema Utf8", "name Utf8", "kind Utf8", "is_temporary Boolean"]);
    let slip = prepare(&mut client, "SELECT nam FROM items WHERE id = ?").await.map(|_| ());
    assert_refused(slip, Code::InvalidArgument, &["nam", "line 1, column 8"]);
}

async fn queries_run_again_with_other_values(server: Server) {
    let mut client = server.connect().await;
    table(&mut client).await;
    let mut select = prepare(&mut client, "SELECT name FROM items WHERE id = ? OR price = ? ORDER BY id").await.unwrap();
    for (id, price, expected) in [(1, 7.25, vec!["pen", "ink"]), (3, 0.0, vec!["cap"]), (9, 0.995, vec![])] {
        select.set_parameters(batch(vec![("a", whole(&[id])), ("b", Arc::new(Float64Array::from(vec![price])))])).unwrap();
        let info = select.execute().await.map_err(status).unwrap();
        assert_eq!(as_text(&fetched(&mut client, info).await.unwrap()), expected);
    }
    // By name, whatever their order.
    let mut named = prepare(&mut client, "SELECT name FROM items WHERE id BETWEEN $low AND $high ORDER BY id").await.unwrap();
    named.set_parameters(batch(vec![("high", whole(&[2])), ("low", whole(&[1]))])).unwrap();
    let info = named.execute().await.map_err(status).unwrap();
    assert_eq!(as_text(&fetched(&mut client, info).await.unwrap()), ["pen", "ink"]);
    // A value of a type that only shows with it, a date, and text for a date.
    let mut open = prepare(&mut client, "SELECT ? AS anything").await.unwrap();
    open.set_parameters(batch(vec![("x", Arc::new(Date32Array::from(vec![19_782])))])).unwrap();
    let info = open.execute().await.map_err(status).unwrap();
    assert_eq!(info.clone().try_decode_schema().unwrap().field(0).data_type(), &DataType::Date32);
    assert_eq!(as_text(&fetched(&mut client, info).await.unwrap()), ["2024-02-29"]);
    let mut dated = prepare(&mut client, "SELECT name FROM items WHERE day = $1").await.unwrap();
    dated.set_parameters(batch(vec![("d", text(&["2024-02-01"]))])).unwrap();
    let info = dated.execute().await.map_err(status).unwrap();
    assert_eq!(as_text(&fetched(&mut client, info).await.unwrap()), ["ink"]);
    dated.close().await.unwrap();
}

/// Plans are kept from one run to the next, as long as nothing that they read has changed.
async fn every_run_reads_what_is_there_then(server: Server) {
    let (mut client, mut other) = (server.connect().await, server.connect().await);
    table(&mut client).await;
    update(&mut client, "CREATE VIEW cheap AS SELECT name FROM items WHERE price < 5").await.unwrap();
    let mut counted = prepare(&mut client, "SELECT count(*), max(name) FROM items").await.unwrap();
    let mut cheap = prepare(&mut client, "SELECT name FROM cheap WHERE name <> ? ORDER BY name").await.unwrap();
    cheap.set_parameters(batch(vec![("a", text(&["cap"]))])).unwrap();
    let mut both = async || {
        let mut found = Vec::new();
        for statement in [&mut counted, &mut cheap] {
            let info = statement.execute().await.map_err(status).unwrap();
            found.push(as_text(&fetched(&mut client, info).await.unwrap()).join(","));
        }
        found
    };
    for _ in 0..2 {
        assert_eq!(both().await, ["3|pen", "pen"]);
    }
    update(&mut other, "INSERT INTO items VALUES (4, 'quill', 2.00, NULL)").await.unwrap();
    assert_eq!(both().await, ["4|quill", "pen,quill"]);
    update(&mut other, "CREATE OR REPLACE VIEW cheap AS SELECT name FROM items WHERE price > 5").await.unwrap();
    assert_eq!(both().await, ["4|quill", "ink"]);
    update(&mut other, "CREATE OR REPLACE TABLE items AS SELECT 'zinc' AS name, 9.0 AS price, 7 AS more").await.unwrap();
    assert_eq!(both().await, ["1|zinc", "zinc"]);
}

async fn batches_of_values_write_once_each(server: Server) {
    let mut client = server.connect().await;
    table(&mut client).await;
    let mut insert = prepare(&mut client, "INSERT INTO items (id, name) VALUES ($1, $2)").await.unwrap();
    insert.set_parameters(batch(vec![("id", whole(&[10, 11, 12])), ("name", text(&["x", "y", "z"]))])).unwrap();
    assert_eq!(insert.execute_update().await.map_err(status).unwrap(), 3);
    let found = rows(&mut client, "SELECT id, name FROM items WHERE id >= 10 ORDER BY id").await.unwrap();
    assert_eq!(found, ["10|x", "11|y", "12|z"]);
    let mut none = prepare(&mut client, "INSERT INTO items (id) SELECT id + 100 FROM items").await.unwrap();
    assert_eq!(none.execute_update().await.map_err(status).unwrap(), 6);
    // The one that fails is named; those before it are done.
    let mut parsed = prepare(&mut client, "INSERT INTO items (id) SELECT CAST($1 AS BIGINT) / CAST($2 AS BIGINT)").await.unwrap();
    parsed.set_parameters(batch(vec![("a", whole(&[1000, 1001])), ("b", whole(&[1, 0]))])).unwrap();
    let failed = parsed.execute_update().await.map_err(status);
    assert_refused(failed, Code::FailedPrecondition, &["row 2 of the parameters", "ivide by zero"]);
    assert_eq!(rows(&mut client, "SELECT count(*) FROM items WHERE id >= 1000").await.unwrap(), ["1"]);
    // A query runs with one row of values.
    let mut select = prepare(&mut client, "SELECT $1 + 1").await.unwrap();
    select.set_parameters(batch(vec![("a", whole(&[1, 2]))])).unwrap();
    assert_refused(select.execute().await.map_err(status), Code::InvalidArgument, &["2 rows"]);
}

async fn values_are_never_sql(server: Server) {
    let mut client = server.connect().await;
    table(&mut client).await;
    for attack in ["' OR '1' = '1", "x'; DROP TABLE items; --", "${name}", "$1", "?", "\u{0}\u{1}scan1", "\"; SELECT 1"] {
        let mut select = prepare(&mut client, "SELECT count(*), ? AS said FROM items WHERE name = ?").await.unwrap();
        select.set_parameters(batch(vec![("a", text(&[attack])), ("b", text(&[attack]))])).unwrap();
        let info = select.execute().await.map_err(status).unwrap();
        assert_eq!(as_text(&fetched(&mut client, info).await.unwrap()), [format!("0|{attack}")]);
    }
    assert_eq!(rows(&mut client, "SELECT count(*) FROM items").await.unwrap(), ["3"]);
    // Neither names nor what is kept can be parameters.
    assert!(prepare(&mut client, "SELECT * FROM ?").await.is_err());
    let view = prepare(&mut client, "CREATE VIEW v AS SELECT * FROM items WHERE id = ?").await;
    let kept = match view {
        Ok(mut view) => {
            view.set_parameters(batch(vec![("a", whole(&[1]))])).unwrap();
            view.execute_update().await.map_err(status)
        }
        Err(refused) => Err(refused),
    };
    assert_refused(kept, Code::InvalidArgument, &["view", "parameters"]);
}

async fn wrong_values_are_refused(server: Server) {
    let mut client = server.connect().await;
    table(&mut client).await;
    let mut select = prepare(&mut client, "SELECT name FROM items WHERE id = ?").await.unwrap();
    assert_refused(select.execute().await.map_err(status), Code::InvalidArgument, &["1 parameters, 0 values"]);
    select.set_parameters(batch(vec![("a", whole(&[1])), ("b", whole(&[1]))])).unwrap();
    assert_refused(select.execute().await.map_err(status), Code::InvalidArgument, &["1 parameters, 2 values"]);
    select.set_parameters(batch(vec![("a", text(&["one"]))])).unwrap();
    assert_refused(select.execute().await.map_err(status), Code::InvalidArgument, &["$1", "bigint", "one"]);
    select.set_parameters(batch(vec![("a", Arc::new(Date32Array::from(vec![1])))])).unwrap();
    assert_refused(select.execute().await.map_err(status), Code::InvalidArgument, &["$1", "date"]);
    for (sql, words) in [
        ("SELECT ?, $1", "another kind"),
        ("SELECT $1, $name", "not both"),
        ("SELECT 1; SELECT ?", "single statement"),
        ("SELECT $0", "no parameter"),
    ] {
        assert_refused(prepare(&mut client, sql).await.map(|_| ()), Code::InvalidArgument, &[words]);
    }
    assert_refused(rows(&mut client, "SELECT $1").await, Code::InvalidArgument, &["has no value"]);
    // A statement of another session.
    let mut other = server.connect().await;
    let handle = handle_of(&mut other, "SELECT 1").await;
    assert_refused(info_of(&mut client, handle.clone()).await, Code::NotFound, &["prepared"]);
    assert!(info_of(&mut other, handle).await.is_ok());
}

/// The handle of a prepared statement, which the client keeps to itself.
async fn handle_of(client: &mut Client, sql: &str) -> Bytes {
    let request = ActionCreatePreparedStatementRequest { query: sql.to_string(), transaction_id: None };
    let action = Action::new("CreatePreparedStatement", request.as_any().encode_to_vec());
    let answer = client.do_action(action).await.unwrap().message().await.unwrap().unwrap();
    let result: ActionCreatePreparedStatementResult = Any::decode(answer.body).unwrap().unpack().unwrap().unwrap();
    result.prepared_statement_handle
}

async fn info_of(client: &mut Client, handle: Bytes) -> Result<FlightInfo, Status> {
    let command = CommandPreparedStatementQuery { prepared_statement_handle: handle };
    let mut request = tonic::Request::new(FlightDescriptor::new_cmd(command.as_any().encode_to_vec()));
    request.metadata_mut().insert("authorization", format!("Bearer {}", client.token().unwrap()).parse().unwrap());
    client.inner_mut().get_flight_info(request).await.map(tonic::Response::into_inner)
}
