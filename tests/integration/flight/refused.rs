//! What is refused, clearly, by a server that goes on answering: calls without a token, what it does not do, and statements made to break it.

use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{Any, CommandStatementSubstraitPlan, ProstMessageExt as _};
use arrow_flight::{Action, Criteria, Empty, FlightData, FlightDescriptor, HandshakeRequest, Ticket};
use futures::stream::iter;
use prost::Message as _;
use tonic::{Code, Request};

use super::served::{Server, assert_refused, block_on, rows, serve, status, update};

fn on_a_server<F: Future<Output = ()>>(test: impl FnOnce(Server) -> F) {
    super::served::on_one_machine(test);
}

#[test]
fn every_call_needs_a_token() {
    on_a_server(|server| async move {
        for header in [None, Some("Bearer 0123"), Some("Basic YTpi")] {
            let mut client = FlightServiceClient::new(server.channel().await);
            macro_rules! call {
                ($name:ident, $message:expr) => {{
                    let mut request = Request::new($message);
                    if let Some(header) = header {
                        request.metadata_mut().insert("authorization", header.parse().unwrap());
                    }
                    let code = client.$name(request).await.err().map(|status| status.code());
                    assert_eq!(code, Some(Code::Unauthenticated), "{} {header:?}", stringify!($name));
                }};
            }
            call!(list_flights, Criteria::default());
            call!(get_flight_info, FlightDescriptor::default());
            call!(poll_flight_info, FlightDescriptor::default());
            call!(get_schema, FlightDescriptor::default());
            call!(do_get, Ticket::default());
            call!(do_put, iter([FlightData::default()]));
            call!(do_exchange, iter([FlightData::default()]));
            call!(do_action, Action::default());
            call!(list_actions, Empty {});
        }
        // And the handshake a name.
        let mut client = FlightServiceClient::new(server.channel().await);
        let nothing = client.handshake(iter([HandshakeRequest::default()])).await.map(|_| ());
        assert_refused(nothing, Code::Unauthenticated, &["user name"]);
        let mut request = Request::new(iter([HandshakeRequest::default()]));
        request.metadata_mut().insert("authorization", "Basic ???".parse().unwrap());
        assert_refused(client.handshake(request).await.map(|_| ()), Code::Unauthenticated, &[]);
    });
}

#[test]
fn others_than_this_machine_are_not_listened_to_in_plain_text() {
    let dir = tempfile::tempdir().unwrap();
    let ran = crate::orrery::run(dir.path(), &["serve", "--bind-host", "0.0.0.0", "--client-port", "0"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("in plain text") && ran.stderr.contains("--insecure"), "{}", ran.stderr);
}

#[test]
fn what_it_does_not_do_is_said() {
    on_a_server(|server| async move {
        let mut client = server.connect().await;
        assert_refused(client.begin_transaction().await.map_err(status), Code::Unimplemented, &["commits by itself"]);
        let within = client.execute("SELECT 1".to_string(), Some("tx".into())).await.map_err(status);
        assert_refused(within, Code::Unimplemented, &["transactions"]);
        let within = client.execute_update("SELECT 1".to_string(), Some("tx".into())).await.map_err(status);
        assert_refused(within, Code::Unimplemented, &["transactions"]);
        for (action, words) in
            [("BeginSavepoint", "commits by itself"), ("CreatePreparedSubstraitPlan", "Substrait"), ("RenewFlightEndpoint", "once")]
        {
            let answer = client.do_action(Action::new(action, vec![])).await.map_err(status).map(|_| ());
            assert_refused(answer, Code::Unimplemented, &[words]);
        }
        let unknown = client.do_action(Action::new("Dance", vec![])).await.map_err(status).map(|_| ());
        assert_refused(unknown, Code::InvalidArgument, &["'Dance'"]);
        let token = format!("Bearer {}", client.token().unwrap());
        let mut raw = FlightServiceClient::new(server.channel().await);
        let mut ask = async |descriptor: FlightDescriptor| {
            let mut request = Request::new(descriptor);
            request.metadata_mut().insert("authorization", token.parse().unwrap());
            raw.get_flight_info(request).await.map(|_| ())
        };
        let substrait = CommandStatementSubstraitPlan::default().as_any().encode_to_vec();
        assert_refused(ask(FlightDescriptor::new_cmd(substrait)).await, Code::Unimplemented, &["Substrait"]);
        assert_refused(ask(FlightDescriptor::new_path(vec!["t".to_string()])).await, Code::InvalidArgument, &["command"]);
        assert_refused(ask(FlightDescriptor::new_cmd(vec![0xff, 0xff])).await, Code::InvalidArgument, &["cannot be read"]);
        let strange = Any { type_url: "type.googleapis.com/strange".to_string(), value: vec![1].into() };
        assert_refused(ask(FlightDescriptor::new_cmd(strange.encode_to_vec())).await, Code::InvalidArgument, &["strange"]);
        let truncated = Any {
            type_url: "type.googleapis.com/arrow.flight.protocol.sql.CommandStatementQuery".to_string(),
            value: vec![10, 200].into(),
        };
        assert_refused(ask(FlightDescriptor::new_cmd(truncated.encode_to_vec())).await, Code::InvalidArgument, &["cannot be read"]);
    });
}

#[test]
fn statements_made_to_break_it_are_refused() {
    on_a_server(|server| async move {
        let mut client = server.connect().await;
        update(&mut client, "CREATE TABLE t AS SELECT 1 AS id").await.unwrap();
        let deep =
            |open: &str, middle: &str, close: &str, times: usize| format!("SELECT {}{middle}{}", open.repeat(times), close.repeat(times));
        let attacks = [
            deep("(", "1", ")", 100_000),
            deep("(SELECT ", "1", ")", 100_000),
            deep("CASE WHEN ", "TRUE", " THEN 1 END", 100_000),
            deep("NOT ", "TRUE", "", 100_000),
            deep("- ", "1", "", 100_000),
            deep("", "1", " + 1", 1_000_000),
            deep("", "TRUE", " AND TRUE", 500_000),
            deep("", "1", "::BIGINT", 500_000),
            deep("make_array(", "1", ")", 100_000),
            deep("(", "1", &format!("){}", " + 1".repeat(1_900)), 100),
            deep("", "1", " + CASE WHEN TRUE THEN 1 END", 20_000),
            deep("", "1", " + then", 100_000),
            deep("", "TRUE", " IS DISTINCT FROM TRUE", 50_000),
            deep("", "now()", " AT TIME ZONE 'UTC'", 50_000),
            format!("SELECT CAST(NULL AS INT{})", "[]".repeat(50_000)),
            format!("SELECT CAST(NULL AS {}INT{})", "Nullable(".repeat(50_000), ")".repeat(50_000)),
            format!("SELECT CAST(NULL AS {}INT{})", "ARRAY<".repeat(50_000), ">".repeat(50_000)),
            format!("SELECT 1 FROM t{}", ", t".repeat(50_000)),
            deep("", "1", " UNION ALL SELECT 1", 300_000),
            format!("SELECT 1 FROM t{}", " JOIN t USING (id)".repeat(200_000)),
            format!("SELECT {}", "[".repeat(100_000)),
            format!("SELECT '{}'", "x".repeat(11 << 20)),
            format!("{}SELECT 1", "/*".repeat(100_000)),
            "SELECT 1;".repeat(20_000) + "SELEC",
        ];
        for attack in attacks {
            let shown: String = attack.chars().take(40).collect();
            let result = client.execute(attack, None).await.map_err(status).map(|_| ());
            let refused = result.expect_err(&shown);
            assert_eq!(refused.code(), Code::InvalidArgument, "{shown}: {}", refused.message());
            assert!(refused.message().len() < 5_000, "{shown}");
        }
        assert_eq!(rows(&mut client, "SELECT 1").await.unwrap(), ["1"]);
    });
}

/// Each doubles what it has with every step, or with every call.
#[test]
fn statements_that_stand_for_far_more_than_they_say_are_refused() {
    on_a_server(|server| async move {
        let mut client = server.connect().await;
        let nested = |first: &str, next: &str, times: usize| {
            (0..times).fold(format!("SELECT {first} AS x"), |query, _| format!("SELECT {next} AS x FROM ({query})"))
        };
        for statement in [
            "CREATE FUNCTION twice(x BIGINT) RETURNS BIGINT RETURN x + x".to_string(),
            format!("CREATE FUNCTION far(x BIGINT) RETURNS BIGINT RETURN x{}", " + 1".repeat(900)),
            "CREATE VIEW v0 AS SELECT 1 AS x".to_string(),
        ] {
            update(&mut client, &statement).await.unwrap();
        }
        let mut refused = None;
        for i in 1..40 {
            let view = format!("CREATE VIEW v{i} AS SELECT x FROM v{0} UNION ALL SELECT x FROM v{0}", i - 1);
            refused = update(&mut client, &view).await.err();
            if refused.is_some() {
                break;
            }
        }
        let refused = refused.expect("views of views are limited");
        assert!(refused.message().contains("more than 100000 steps"), "{}", refused.message());
        let ctes: Vec<String> = (1..60).map(|i| format!("a{i} AS (SELECT x FROM a{0} UNION ALL SELECT x FROM a{0})", i - 1)).collect();
        let columns: Vec<String> = (0..40).map(|i| format!("{i} AS c{i}")).collect();
        let cube: Vec<String> = (0..40).map(|i| format!("c{i}")).collect();
        let sum = vec!["INTERVAL '1' DAY"; 1_500].join(" + ");
        for (statement, words) in [
            (format!("WITH a0 AS (SELECT 1 AS x), {} SELECT count(*) FROM a59", ctes.join(", ")), "more than 300000 parts"),
            (nested("1", "struct(x, x)", 60), "a type of more than 10000 fields"),
            (nested("1", "{'a': x, 'b': x}", 60), "a type of more than 10000 fields"),
            (nested("1", "MAP {x: x}", 60), "a type of more than 10000 fields"),
            (nested("[1]", "array_concat(x, x)", 60), "a call may make 256 MB"),
            (nested("'x'", "x || x", 60), "a call may make 256 MB"),
            (nested("'x'", "concat(x, x)", 60), "a call may make 256 MB"),
            ("SELECT repeat('x', 5000000 + value) || value FROM generate_series(1, 100)".to_string(), "a call may make 256 MB"),
            ("SELECT max(repeat('x', 5000000)) OVER () FROM generate_series(1, 100)".to_string(), "arguments of a window function"),
            (format!("SELECT count(*) FROM (SELECT {}) GROUP BY CUBE ({})", columns.join(", "), cube.join(", ")), "at most 12 columns"),
            (format!("SELECT {}1{}", "twice(".repeat(60), ")".repeat(60)), "is too large"),
            (format!("SELECT {}1{}", "far(".repeat(60), ")".repeat(60)), "nests too deeply"),
            (
                format!("SELECT {} FROM t GROUP BY window(t + {sum}, '1 hour')", vec!["window"; 5_000].join(", ")),
                "too large to be written so often",
            ),
            ("SELECT 1 FROM t GROUP BY window(a, window(b, '1 hour'))(b, '1 hour')".to_string(), "is not supported"),
        ] {
            let shown: String = statement.chars().take(60).collect();
            let error = rows(&mut client, &statement).await.expect_err(&shown);
            assert!(error.message().contains(words), "{shown}: {}", error.message());
        }
        // What a column stands for may be as large if it is not written out.
        let doubled = nested("1", "x + x", 36);
        assert_eq!(rows(&mut client, &format!("SELECT x FROM ({doubled}) WHERE x > 7")).await.unwrap(), [(1_u64 << 36).to_string()]);
        assert_eq!(rows(&mut client, "SELECT twice(twice(3))").await.unwrap(), ["12"]);
    });
}

#[test]
fn statements_that_are_only_long_are_carried_out() {
    on_a_server(|server| async move {
        let mut client = server.connect().await;
        let ands = format!("SELECT {} AS x", vec!["1 < 2"; 600].join(" AND "));
        assert_eq!(rows(&mut client, &ands).await.unwrap(), ["true"]);
        let sum = format!("SELECT {} AS x", vec!["1"; 1_900].join(" + "));
        assert_eq!(rows(&mut client, &sum).await.unwrap(), ["1900"]);
        let union = vec!["SELECT 1 AS x"; 200].join(" UNION ALL ");
        assert_eq!(rows(&mut client, &format!("SELECT count(*) FROM ({union})")).await.unwrap(), ["200"]);
        let long = "x".repeat(9 << 20);
        assert_eq!(rows(&mut client, &format!("SELECT length('{long}') AS n")).await.unwrap(), [(9 << 20).to_string()]);
    });
}

#[test]
fn a_list_of_a_million_values_is_carried_out_or_refused_in_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let (_process, server) = serve(dir.path(), &[]);
    block_on(async {
        let mut client = server.connect().await;
        update(&mut client, "CREATE TABLE t AS SELECT value AS id FROM generate_series(1, 10)").await.unwrap();
        let list: Vec<String> = (5..1_000_005).map(|i| i.to_string()).collect();
        let sql = format!("SELECT count(*) FROM t WHERE id IN ({})", list.join(","));
        assert_eq!(rows(&mut client, &sql).await.unwrap(), ["6"]);
    });
}
