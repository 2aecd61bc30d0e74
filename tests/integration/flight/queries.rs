//! Statements that are executed as they come.

use arrow_flight::sql::client::FlightSqlServiceClient;
use tonic::Code;

use super::on_both;
use super::served::{Server, assert_refused, batches, fetched, rows, status, update};

on_both!(
    every_layout_of_columns_comes_as_promised,
    statements_without_rows_tell_how_many_they_wrote,
    several_statements_follow_the_rules_of_scripts,
    errors_have_a_place_and_a_hint,
    rows_are_read_once_and_by_their_own_session_only,
    a_large_result_is_complete,
);

async fn every_layout_of_columns_comes_as_promised(server: Server) {
    let mut client = server.connect().await;
    let made = "CREATE TABLE t (id BIGINT NOT NULL, name STRING, price DECIMAL(10, 2), at TIMESTAMP, day DATE, flag BOOLEAN, part STRING)
                PARTITIONED BY (part);
                INSERT INTO t VALUES (1, 'a text of more than twelve bytes', 1.25, TIMESTAMP '2024-02-29 23:59:59.5', DATE '2024-02-29', true, 'x'),
                                     (2, NULL, NULL, NULL, NULL, NULL, 'y')";
    assert_eq!(update(&mut client, made).await.unwrap(), 2);
    assert_eq!(
        rows(&mut client, "SELECT * FROM t ORDER BY id").await.unwrap(),
        ["1|a text of more than twelve bytes|1.25|2024-02-29T23:59:59.500Z|2024-02-29|true|x", "2|NULL|NULL|NULL|NULL|NULL|y"]
    );
    // Text in lists and structs, text made of text, no rows, no text.
    let nested =
        rows(&mut client, "SELECT make_array(name, part) AS l, named_struct('n', name) AS s, upper(part) AS u FROM t WHERE id = 1");
    assert_eq!(nested.await.unwrap(), ["[a text of more than twelve bytes, x]|{n: a text of more than twelve bytes}|X"]);
    assert_eq!(rows(&mut client, "SELECT * FROM t WHERE id > 9").await.unwrap(), Vec::<String>::new());
    assert_eq!(rows(&mut client, "SELECT count(*), max(name), min(part) FROM t").await.unwrap().len(), 1);
    assert_eq!(rows(&mut client, "SELECT NULL AS nothing").await.unwrap(), ["NULL"]);
    for listing in ["SHOW TABLES", "DESCRIBE t", "DESCRIBE HISTORY t", "EXPLAIN SELECT * FROM t", "SUMMARIZE t", "SHOW FUNCTIONS"] {
        assert!(!rows(&mut client, listing).await.unwrap().is_empty(), "{listing}");
    }
}

async fn statements_without_rows_tell_how_many_they_wrote(server: Server) {
    let mut client = server.connect().await;
    assert_eq!(update(&mut client, "CREATE TABLE t AS SELECT value AS id FROM generate_series(1, 1000)").await.unwrap(), 1000);
    assert_eq!(update(&mut client, "INSERT INTO t SELECT id + 1000 FROM t WHERE id <= 10").await.unwrap(), 10);
    assert_eq!(update(&mut client, "INSERT INTO t VALUES (1); INSERT INTO t VALUES (2), (3)").await.unwrap(), 3);
    assert_eq!(update(&mut client, "CREATE VIEW v AS SELECT * FROM t").await.unwrap(), 0);
    assert_eq!(update(&mut client, "SELECT * FROM v").await.unwrap(), -1);
    // As a query, such a statement has no columns.
    let info = client.execute("INSERT INTO t SELECT * FROM t LIMIT 7".to_string(), None).await.unwrap();
    assert_eq!(info.total_records, 7);
    let nothing = fetched(&mut client, info).await.unwrap();
    assert_eq!((nothing.num_columns(), nothing.num_rows()), (0, 0));
    assert_eq!(rows(&mut client, "SELECT count(*) FROM t").await.unwrap(), ["1020"]);
}

async fn several_statements_follow_the_rules_of_scripts(server: Server) {
    let mut client = server.connect().await;
    let script = "SET least = 3; CREATE TABLE a AS SELECT value AS id FROM generate_series(1, 5); SELECT 'dropped'; -- a comment; with one
                  SELECT count(*) FROM a WHERE id >= ${least};";
    assert_eq!(rows(&mut client, script).await.unwrap(), ["3"]);
    // A slip in the last one is found before the first one runs.
    let slip = rows(&mut client, "CREATE TABLE b AS SELECT 1 AS x; SELEC 2").await;
    assert_refused(slip, Code::InvalidArgument, &["statement 2", "line 1, column 34", "hint"]);
    assert_refused(rows(&mut client, "SELECT * FROM b").await, Code::InvalidArgument, &["does not exist"]);
    // What ran before a failure stays done.
    let failed =
        update(&mut client, "CREATE TABLE c AS SELECT 1 AS x; ASSERT (SELECT count(*) FROM c) = 2 AS 'two rows'; DROP TABLE c").await;
    assert_refused(failed, Code::FailedPrecondition, &["statement 2", "two rows"]);
    assert_eq!(rows(&mut client, "SELECT * FROM c").await.unwrap(), ["1"]);
}

async fn errors_have_a_place_and_a_hint(server: Server) {
    let mut client = server.connect().await;
    update(&mut client, "CREATE TABLE numbers AS SELECT value AS id FROM generate_series(0, 9)").await.unwrap();
    let query = |sql: &'static str| {
        let mut client = client.clone();
        async move { rows(&mut client, sql).await }
    };
    assert_refused(query("SELECT\n  idd FROM numbers").await, Code::InvalidArgument, &["idd", "line 2, column 3"]);
    assert_refused(query("SELECT * FROM number").await, Code::InvalidArgument, &["'numbers'", "hint"]);
    assert_refused(query("SELECT 1 FROM").await, Code::InvalidArgument, &["end of the statement"]);
    assert_refused(query("SELECT 'open").await, Code::InvalidArgument, &["never closed"]);
    assert_refused(query(" -- nothing\n;").await, Code::InvalidArgument, &["no statement"]);
    // Found while rows flow.
    assert_refused(query("SELECT 10 / id FROM numbers").await, Code::FailedPrecondition, &["ivide by zero"]);
    assert_refused(query("SELECT * FROM read_parquet('nowhere/*.parquet')").await, Code::FailedPrecondition, &["no file matches"]);
}

async fn rows_are_read_once_and_by_their_own_session_only(server: Server) {
    let mut owner = server.connect().await;
    let mut other = server.connect().await;
    let info = owner.execute("SELECT 42".to_string(), None).await.unwrap();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    assert_refused(batches(&mut other, ticket.clone()).await, Code::NotFound, &["another session"]);
    // A ticket is no use with a token that was never given.
    let mut stranger = FlightSqlServiceClient::new(server.channel().await);
    stranger.set_token("0".repeat(48));
    assert_refused(batches(&mut stranger, ticket.clone()).await, Code::Unauthenticated, &["connect"]);
    let mut forged = ticket.clone();
    let mut bytes = forged.ticket.to_vec();
    let last = bytes.len() - 1;
    bytes[last] = if bytes[last] == b'0' { b'1' } else { b'0' };
    forged.ticket = bytes.into();
    assert_refused(batches(&mut owner, forged).await, Code::NotFound, &[]);
    assert_eq!(batches(&mut owner, ticket.clone()).await.unwrap().0.len(), 1);
    assert_refused(batches(&mut owner, ticket).await, Code::NotFound, &["were read"]);
}

async fn a_large_result_is_complete(server: Server) {
    let mut client = server.connect().await;
    update(&mut client, "CREATE TABLE wide AS SELECT value AS id, 'row ' || value AS name FROM generate_series(1, 300000)").await.unwrap();
    let info = client.execute("SELECT id, name FROM wide".to_string(), None).await.map_err(status).unwrap();
    let batch = fetched(&mut client, info).await.unwrap();
    assert_eq!(batch.num_rows(), 300_000);
    let ids = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Int64).unwrap();
    let sum = arrow::compute::sum(arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(&ids));
    assert_eq!(sum, Some(300_000 * 300_001 / 2));
}
