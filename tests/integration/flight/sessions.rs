//! What a session keeps, for whom, and until when.

use std::collections::HashMap;

use arrow_flight::Action;
use arrow_flight::sql::client::FlightSqlServiceClient;
use prost::Message;
use tonic::{Code, Status};

use super::on_both;
use super::served::{Client, Server, assert_refused, block_on, rows, serve, update};

on_both!(each_client_has_its_own_state, options_are_set_read_and_refused, closed_sessions_are_gone);

/// Flight's session messages, as Arrow's own clients have them.
#[derive(Clone, PartialEq, Message)]
struct OptionValue {
    #[prost(oneof = "Held", tags = "1, 2, 3, 4")]
    held: Option<Held>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Held {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(bool, tag = "2")]
    Flag(bool),
    #[prost(sfixed64, tag = "3")]
    Whole(i64),
    #[prost(double, tag = "4")]
    Real(f64),
}

#[derive(Clone, PartialEq, Message)]
struct Options {
    #[prost(map = "string, message", tag = "1")]
    options: HashMap<String, OptionValue>,
}

#[derive(Clone, PartialEq, Message)]
struct OneNumber {
    #[prost(int32, tag = "1")]
    number: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Errors {
    #[prost(map = "string, message", tag = "1")]
    errors: HashMap<String, OneNumber>,
}

async fn act<A: Message + Default>(client: &mut Client, name: &str, body: impl Message) -> Result<A, Status> {
    let mut answers = client.do_action(Action::new(name, body.encode_to_vec())).await.map_err(super::served::status)?;
    let answer = answers.message().await?.expect("an answer");
    Ok(A::decode(answer.body).unwrap())
}

fn text(value: &str) -> OptionValue {
    OptionValue { held: Some(Held::Text(value.to_string())) }
}

async fn each_client_has_its_own_state(server: Server) {
    let mut first = server.connect().await;
    let mut second = server.connect().await;
    update(
        &mut first,
        "CREATE SCHEMA a; USE SCHEMA a; CREATE TABLE t AS SELECT 1 AS x; SET limit_of = 5; CREATE TEMP VIEW v AS SELECT 7 AS seven",
    )
    .await
    .unwrap();
    assert_eq!(rows(&mut first, "SELECT x, ${limit_of} AS l, seven FROM t, v").await.unwrap(), ["1|5|7"]);
    assert_refused(rows(&mut second, "SELECT * FROM t").await, Code::InvalidArgument, &["does not exist"]);
    assert_refused(rows(&mut second, "SELECT * FROM v").await, Code::InvalidArgument, &["does not exist"]);
    assert_refused(rows(&mut second, "SELECT ${limit_of}").await, Code::InvalidArgument, &["is not set"]);
    // Another connection with the same token is in the same session.
    let mut again = FlightSqlServiceClient::new(server.channel().await);
    again.set_token(first.token().unwrap().clone());
    assert_eq!(rows(&mut again, "SELECT seven FROM v").await.unwrap(), ["7"]);
    // So is one of the same user with its cookie, as far as there is a session of that name.
    let mut cookie = server.connect().await;
    cookie.set_header("cookie", "arrow_flight_session_id=000000");
    assert_refused(rows(&mut cookie, "SELECT 1").await, Code::Unauthenticated, &["cookie"]);
}

async fn options_are_set_read_and_refused(server: Server) {
    let mut client = server.connect().await;
    update(&mut client, "CREATE CATALOG other; CREATE SCHEMA other.s").await.unwrap();
    let options = HashMap::from([
        ("schema".to_string(), text("s")),
        ("catalog".to_string(), text("other")),
        ("name".to_string(), text("o'k")),
        ("least".to_string(), OptionValue { held: Some(Held::Whole(-3)) }),
        ("share".to_string(), OptionValue { held: Some(Held::Real(0.5)) }),
        ("flag".to_string(), OptionValue { held: Some(Held::Flag(true)) }),
        ("datafusion.execution.batch_size".to_string(), text("1024")),
    ]);
    let errors: Errors = act(&mut client, "SetSessionOptions", Options { options }).await.unwrap();
    assert_eq!(errors.errors, HashMap::new());
    update(&mut client, "CREATE TABLE here AS SELECT 1 AS x").await.unwrap();
    assert_eq!(
        rows(&mut client, "SELECT x, ${name} AS n, ${least} + 1 AS l, ${share} AS s FROM other.s.here").await.unwrap(),
        ["1|o'k|-2|0.5"]
    );
    let told: Options = act(&mut client, "GetSessionOptions", Options::default()).await.unwrap();
    assert_eq!(told.options["catalog"], text("other"));
    assert_eq!(told.options["schema"], text("s"));
    assert_eq!(told.options["least"].held, Some(Held::Whole(-3)));
    assert_eq!(told.options["flag"].held, Some(Held::Flag(true)));
    let wrong = HashMap::from([
        ("catalog".to_string(), text("none; DROP TABLE here")),
        ("not a name".to_string(), text("x")),
        ("datafusion.execution.parquet.pushdown_filters".to_string(), text("true")),
        ("still".to_string(), text("set")),
    ]);
    let errors: Errors = act(&mut client, "SetSessionOptions", Options { options: wrong }).await.unwrap();
    let mut errors: Vec<(String, i32)> = errors.errors.into_iter().map(|(name, error)| (name, error.number)).collect();
    errors.sort();
    let expected = [("catalog", 2), ("datafusion.execution.parquet.pushdown_filters", 1), ("not a name", 1)];
    assert_eq!(errors, expected.map(|(name, error)| (name.to_string(), error)));
    assert_eq!(rows(&mut client, "SELECT ${still} AS s, x FROM here").await.unwrap(), ["set|1"]);
}

async fn closed_sessions_are_gone(server: Server) {
    let mut client = server.connect().await;
    let info = client.execute("SELECT 1".to_string(), None).await.unwrap();
    let closed: OneNumber = act(&mut client, "CloseSession", Options::default()).await.unwrap();
    assert_eq!(closed.number, 1);
    assert_refused(rows(&mut client, "SELECT 1").await, Code::Unauthenticated, &["connect again"]);
    assert_refused(super::served::fetched(&mut client, info).await, Code::Unauthenticated, &[]);
    assert_eq!(rows(&mut server.connect().await, "SELECT 1").await.unwrap(), ["1"]);
}

#[test]
fn idle_sessions_and_rows_that_nobody_fetches_have_their_time() {
    let dir = tempfile::tempdir().unwrap();
    let (_process, server) = serve(dir.path(), &["--session-timeout-s", "3", "--result-timeout-s", "1"]);
    block_on(async {
        let mut client = server.connect().await;
        let info = client.execute("SELECT value FROM generate_series(1, 10000000)".to_string(), None).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(2_500)).await;
        assert_refused(super::served::fetched(&mut client, info).await, Code::NotFound, &["in time"]);
        tokio::time::sleep(std::time::Duration::from_millis(4_500)).await;
        assert_refused(rows(&mut client, "SELECT 1").await, Code::Unauthenticated, &["has ended"]);
    });
}
