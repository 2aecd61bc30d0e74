//! `orrery serve` with certificates: who trusts them is served, whoever does not or speaks plain text is told why he is refused, and new ones are shown
//! without a restart.

use std::path::Path;
use std::time::{Duration, Instant};

use arrow_flight::sql::client::FlightSqlServiceClient;
use orrery_transport::explain;
use tonic::Code;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use super::served::{Client, Server, assert_refused, block_on, rows, serve_with, update};
use crate::certificates::{Authority, Key};
use crate::cluster::Process;
use crate::data;
use crate::orrery::{Ran, command, finished};
use crate::python::{interpreter, python};

/// How long a new certificate may take to be shown; it is looked for every two seconds.
const SHOWN_WITHIN: Duration = Duration::from_secs(60);

/// What a client says of a server whose authority it does not know.
const NOT_TRUSTED: &str = "not signed by an authority that is trusted here";
/// What a server says to clients that speak plain text.
const SPEAKS_TLS: &str = "this port speaks TLS";

/// A server with the certificate `port` of an authority.
fn serve_tls(dir: &Path, authority: &Authority, more: &[&str]) -> (Process, Server) {
    let flags = authority.of_client_port("port");
    let mut arguments: Vec<&str> = flags.iter().map(String::as_str).collect();
    arguments.extend(more);
    serve_with(dir, &arguments, &[])
}

/// An encrypted connection of a client that trusts this authority, or why there is none.
async fn channel(server: &Server, trusted: &Authority) -> Result<Channel, String> {
    let trusted = Certificate::from_pem(std::fs::read(trusted.at("root.pem")).unwrap());
    let endpoint = Endpoint::from_shared(format!("https://127.0.0.1:{}", server.port)).unwrap();
    let endpoint = endpoint.tls_config(ClientTlsConfig::new().ca_certificate(trusted)).unwrap();
    endpoint.connect().await.map_err(|error| explain(&error))
}

/// Such a client, let in.
async fn connect(server: &Server, trusted: &Authority) -> Result<Client, String> {
    let mut client = FlightSqlServiceClient::new(channel(server, trusted).await?);
    client.handshake("analyst", "any").await.map_err(|error| error.to_string())?;
    Ok(client)
}

/// Asks in the shell, by a URL of this scheme.
fn shell(server: &Server, dir: &Path, scheme: &str, flags: &[&str]) -> Ran {
    let to = format!("{scheme}://127.0.0.1:{}", server.port);
    let mut shell = command(dir);
    shell.args(["sql", "--to", &to, "--format", "csv", "-c", "SELECT 42 AS answer"]).args(flags);
    finished(shell.output().unwrap())
}

#[track_caller]
fn assert_answered(ran: &Ran) {
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "answer\n42\n"), "{}", ran.stderr);
}

#[track_caller]
fn assert_not_answered(ran: &Ran, why: &str) {
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{}", ran.stderr);
    assert!(ran.stderr.contains(why), "{}", ran.stderr);
}

#[test]
fn who_trusts_the_certificate_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path(), "authority");
    authority.node("port", Key::Pkcs8);
    let (_process, server) = serve_tls(dir.path(), &authority, &[]);
    block_on(async {
        let mut client = connect(&server, &authority).await.unwrap();
        let made = update(&mut client, "CREATE TABLE t AS SELECT value AS a FROM generate_series(1, 20000)").await;
        assert_eq!(made.unwrap(), 20_000);
        assert_eq!(rows(&mut client, "SELECT count(*) AS n, sum(a) AS s FROM t").await.unwrap(), ["20000|200010000"]);
    });
    let ca = authority.text("root.pem");
    for scheme in ["https", "grpc+tls"] {
        assert_answered(&shell(&server, dir.path(), scheme, &["--tls-ca", &ca]));
    }
}

#[test]
fn plain_text_and_who_does_not_trust_the_certificate_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (authority, strangers) = (Authority::new(dir.path(), "authority"), Authority::new(dir.path(), "strangers"));
    authority.node("port", Key::Ec);
    let (_process, server) = serve_tls(dir.path(), &authority, &[]);
    assert_not_answered(&shell(&server, dir.path(), "http", &[]), SPEAKS_TLS);
    assert_not_answered(&shell(&server, dir.path(), "https", &["--tls-ca", &strangers.text("root.pem")]), NOT_TRUSTED);
    // Without a file of authorities, those of the machine are asked, if it has any.
    let of_the_machine = shell(&server, dir.path(), "https", &[]);
    assert_ne!(of_the_machine.code, Some(0));
    assert!(of_the_machine.stderr.contains("authorit") && of_the_machine.stdout.is_empty(), "{of_the_machine:?}");
    block_on(async {
        let mut plain = FlightSqlServiceClient::new(server.channel().await);
        plain.set_token("0".repeat(48));
        assert_refused(rows(&mut plain, "SELECT 1 AS one").await, Code::FailedPrecondition, &[SPEAKS_TLS]);
        let refused = channel(&server, &strangers).await.unwrap_err();
        assert!(refused.contains(NOT_TRUSTED), "{refused}");
        let mut client = connect(&server, &authority).await.unwrap();
        assert_eq!(rows(&mut client, "SELECT 1 AS one").await.unwrap(), ["1"], "who is refused is in nobody's way");
    });
}

#[test]
fn adbc_is_served_if_it_trusts_the_certificate() {
    let Some(interpreter) = interpreter() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (authority, strangers) = (Authority::new(dir.path(), "authority"), Authority::new(dir.path(), "strangers"));
    authority.node("port", Key::Rsa);
    let (_process, server) = serve_tls(dir.path(), &authority, &[]);
    let script = data::root().join("tests/flight/adbc_tls.py");
    let (ca, other) = (authority.text("root.pem"), strangers.text("root.pem"));
    let ran = python(&interpreter, &[script.to_str().unwrap(), &server.port.to_string(), &ca, &other]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
}

#[test]
fn clients_show_certificates_where_they_are_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let [authority, clients, strangers] = ["authority", "clients", "strangers"].map(|name| Authority::new(dir.path(), name));
    authority.node("port", Key::Ec);
    clients.node("client", Key::Rsa);
    strangers.node("client", Key::Ec);
    let (_process, server) = serve_tls(dir.path(), &authority, &["--tls-client-ca", &clients.text("root.pem")]);
    let ca = authority.text("root.pem");
    let showing = |of: &Authority| {
        let (certificate, key) = (of.text("client.pem"), of.text("client.key"));
        shell(&server, dir.path(), "https", &["--tls-ca", &ca, "--tls-cert", &certificate, "--tls-key", &key])
    };
    assert_answered(&showing(&clients));
    // Whether the client still reads why, or only that the connection is closed, depends on who is faster.
    assert_not_answered(&shell(&server, dir.path(), "https", &["--tls-ca", &ca]), "cluster error");
    assert_not_answered(&showing(&strangers), "cluster error");
}

#[test]
fn a_new_certificate_is_shown_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (first, later) = (Authority::new(dir.path(), "first"), Authority::new(dir.path(), "later"));
    first.node("port", Key::Ec);
    later.node("port", Key::Rsa);
    let (process, server) = serve_tls(dir.path(), &first, &[]);
    block_on(async {
        let mut early = connect(&server, &first).await.unwrap();
        for file in ["port.key", "port.pem"] {
            std::fs::copy(later.at(file), first.at(file)).unwrap();
        }
        let mut late = in_time(async || connect(&server, &later).await).await;
        assert_eq!(rows(&mut late, "SELECT 1 AS one").await.unwrap(), ["1"]);
        let refused = channel(&server, &first).await.unwrap_err();
        assert!(refused.contains(NOT_TRUSTED), "{refused}");
        assert_eq!(rows(&mut early, "SELECT 2 AS two").await.unwrap(), ["2"], "connections that are open go on");

        // What cannot be used does not replace what can.
        std::fs::write(first.at("port.pem"), "not a certificate").unwrap();
        let complains = async || {
            let said = process.said();
            if said.contains("holds no certificate") { Ok(()) } else { Err(said) }
        };
        in_time(complains).await;
        let mut still = connect(&server, &later).await.unwrap();
        assert_eq!(rows(&mut still, "SELECT 3 AS three").await.unwrap(), ["3"]);
    });
}

/// Tries again until it succeeds.
async fn in_time<T>(mut attempt: impl AsyncFnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + SHOWN_WITHIN;
    loop {
        match attempt().await {
            Ok(value) => return value,
            Err(reason) => assert!(Instant::now() < deadline, "waited too long: {reason}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
