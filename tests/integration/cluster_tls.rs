//! Encrypted clusters: what they run, whom they refuse, and how they take new certificates.

use std::path::Path;

use orrery_proto::v1::JoinRequest;
use orrery_proto::v1::cluster_client::ClusterClient;
use orrery_transport::{ClientFiles, ClientTls, IdentityFiles, explain};
use tonic::transport::Endpoint;

use super::certificates::{Authority, Key};
use super::cluster::{Cluster, Options, free_port};
use super::orrery::{Ran, command, finished, rows};

/// Two executors whose nodes' certificates are of `nodes`, and a client port whose certificate is of `clients`.
fn options(nodes: &Authority, clients: &Authority) -> Options {
    nodes.node("scheduler", Key::Rsa);
    nodes.node("executor", Key::Ec);
    clients.node("port", Key::Pkcs8);
    let mut options = Options::of(2);
    options.scheduler_args.extend([nodes.of_node("scheduler"), clients.of_client_port("port")].concat());
    options.executor_args.extend(nodes.of_node("executor"));
    options.client_env.push(("ORRERY_TLS_CA", clients.text("root.pem")));
    options
}

const MAKE: &str = "CREATE OR REPLACE TABLE numbers AS SELECT value AS n, value % 97 AS k FROM generate_series(1, 200000) AS t(value);";
const SHUFFLE: &str =
    "SELECT a.k, count(*) AS c, sum(a.n + b.n) AS s FROM numbers AS a JOIN numbers AS b ON a.n = b.n GROUP BY a.k ORDER BY a.k";

/// Runs a client command with another authority or URL.
fn client(cluster: &Cluster, args: &[&str], ca: &Authority) -> Ran {
    let to = format!("https://127.0.0.1:{}", cluster.client_port());
    finished(command(&cluster.dir).args(args).args(["--to", &to, "--tls-ca", &ca.text("root.pem")]).output().unwrap())
}

#[test]
fn an_encrypted_cluster_runs_statements_and_takes_new_certificates_while_it_does() {
    let dir = tempfile::tempdir().unwrap();
    let (nodes, clients) = (Authority::new(dir.path(), "nodes"), Authority::new(dir.path(), "clients"));
    let cluster = Cluster::start(dir.path(), options(&nodes, &clients));
    cluster.sql(MAKE);
    let encrypted = cluster.rows(SHUFFLE);
    assert_eq!(encrypted.len(), 97);
    assert_eq!(encrypted, rows(dir.path(), SHUFFLE), "one process without a cluster gives the same");
    let busy: Vec<_> =
        (0..2).filter(|number| cluster.executor_page(*number, "/metrics").unwrap().contains("orrery_executor_tasks_total")).collect();
    assert_eq!(busy.len(), 2);

    // New certificates of the same authorities for the nodes, of another one for clients.
    let later = Authority::new(dir.path(), "later");
    later.node("port", Key::Ec);
    nodes.node("scheduler", Key::Pkcs8);
    nodes.node("executor", Key::Rsa);
    for end in ["key", "pem"] {
        std::fs::copy(later.at(&format!("port.{end}")), clients.at(&format!("port.{end}"))).unwrap();
    }
    cluster.wait(|cluster| client(cluster, &["runs"], &later).code == Some(0), "the client port to show its new certificate");
    cluster
        .wait(|cluster| cluster.scheduler.said().contains("this node's certificate changed"), "the scheduler to read its new certificate");
    let executors_read =
        |cluster: &Cluster| cluster.executors.iter().all(|executor| executor.said().contains("this node's certificate changed"));
    cluster.wait(executors_read, "the executors to read their new certificate");
    assert_eq!(cluster.alive(), 2, "{}", cluster.logs());
    let old = cluster.client(&["runs"]);
    assert_eq!(old.code, Some(1));
    assert!(old.stderr.contains("not signed by an authority that is trusted here"), "{}", old.stderr);
    let file = dir.path().join("again.sql");
    std::fs::write(&file, format!("{SHUFFLE};")).unwrap();
    let again = client(&cluster, &["submit", "--format", "csv", "--quiet", file.to_str().unwrap()], &later);
    assert_eq!(again.code, Some(0), "{}\n{}", again.stderr, cluster.logs());
    assert_eq!(again.stdout.lines().skip(1).collect::<Vec<_>>(), encrypted);

    let logs: String = [&cluster.scheduler].into_iter().chain(&cluster.executors).map(|process| process.said()).collect();
    let secrets = [nodes.secrets(), clients.secrets(), later.secrets()].concat();
    assert!(secrets.len() > 20 && secrets.iter().all(|line| !logs.contains(line.as_str())));
}

/// Starts an executor with these flags and returns what it said at its end.
fn executor(cluster: &Cluster, flags: &[String]) -> String {
    let ports = [cluster.internal_port(), free_port(), free_port()].map(|port| port.to_string());
    let mut process = command(&cluster.dir);
    process.args(["executor", "--http-port", "0", "--connect-timeout-s", "1"]);
    process.args(["--scheduler-port", &ports[0], "--flight-port", &ports[1], "--task-port", &ports[2]]).args(flags);
    let ran = finished(process.output().unwrap());
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    ran.stderr
}

/// Calls a port of a node; whether it answered, or why it did not.
fn call(port: u16, ca: &Authority, shown: Option<(&Authority, &str)>) -> Result<(), String> {
    let identity = shown.map(|(of, name)| IdentityFiles { certificate: of.at(&format!("{name}.pem")), key: of.at(&format!("{name}.key")) });
    let files = ClientFiles { ca: Some(ca.at("root.pem")), identity, server_name: Some("node.cluster".to_string()) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let endpoint = Endpoint::from_shared(format!("https://127.0.0.1:{port}")).unwrap();
        let endpoint = ClientTls::open("the caller's certificate", files).unwrap().secure(endpoint).unwrap();
        let channel = endpoint.connect().await.map_err(|error| explain(&error))?;
        let answer = ClusterClient::new(channel).join(JoinRequest { version: "0.0.1".to_string() }).await.unwrap_err();
        // Nobody takes that version, and executors do not know the question: both are answers.
        match answer.code() {
            tonic::Code::FailedPrecondition | tonic::Code::Unimplemented => Ok(()),
            _ => Err(explain(&answer)),
        }
    })
}

#[test]
fn who_is_no_node_of_an_encrypted_cluster_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (nodes, clients, strangers) =
        (Authority::new(dir.path(), "nodes"), Authority::new(dir.path(), "clients"), Authority::new(dir.path(), "strangers"));
    strangers.node("executor", Key::Ec);
    let cluster = Cluster::start(dir.path(), options(&nodes, &clients));

    let plain = executor(&cluster, &[]);
    assert!(plain.contains("this port speaks TLS"), "{plain}");
    let stranger = executor(&cluster, &strangers.of_node("executor"));
    assert!(stranger.contains("not signed by an authority that is trusted here"), "{stranger}");
    let mut pretender = strangers.of_node("executor");
    *pretender.last_mut().unwrap() = nodes.text("root.pem");
    let pretender = executor(&cluster, &pretender);
    assert!(pretender.contains("does not trust this client's certificate"), "{pretender}");
    let mut elsewhere = nodes.of_node("executor");
    elsewhere.extend(["--cluster-tls-name", "other.cluster"].map(String::from));
    let elsewhere = executor(&cluster, &elsewhere);
    assert!(elsewhere.contains("is for another name"), "{elsewhere}");
    assert_eq!(cluster.alive(), 2);
    assert!(cluster.scheduler.said().contains("refused a connection"), "{}", cluster.logs());

    let executors: serde_json::Value = serde_json::from_str(&cluster.http("/api/executors").unwrap()).unwrap();
    let mut ports = vec![cluster.internal_port()];
    ports.extend(executors["executors"].as_array().unwrap().iter().map(|executor| executor["port"].as_u64().unwrap() as u16));
    ports.extend((0..2).map(|started| cluster.task_port(started)));
    assert_eq!(ports.len(), 5);
    for port in ports {
        call(port, &nodes, Some((&nodes, "executor"))).unwrap();
        let without = call(port, &nodes, None).unwrap_err();
        assert!(without.contains("asks for a certificate of the client"), "port {port}: {without}");
        let foreign = call(port, &nodes, Some((&strangers, "executor"))).unwrap_err();
        assert!(foreign.contains("does not trust this client's certificate"), "port {port}: {foreign}");
    }

    let to = format!("http://127.0.0.1:{}", cluster.client_port());
    let plain = finished(command(dir.path()).args(["runs", "--to", &to]).output().unwrap());
    assert_eq!(plain.code, Some(1));
    assert!(plain.stderr.contains("this port speaks TLS"), "{}", plain.stderr);
    let pointless = finished(command(dir.path()).args(["runs", "--to", &to, "--tls-ca", &clients.text("root.pem")]).output().unwrap());
    assert_eq!(pointless.code, Some(2));
    assert!(pointless.stderr.contains("certificates are for https:// URLs"), "{}", pointless.stderr);
}

/// Starts a server that ends by itself, and returns what it said.
fn refused(dir: &Path, args: &[&str]) -> String {
    let ports: Vec<String> = (0..3).map(|_| free_port().to_string()).collect();
    let mut server = command(dir);
    server.args(args);
    match args[0] {
        "scheduler" => server.args(["--internal-port", &ports[0], "--client-port", &ports[1], "--http-port", &ports[2]]),
        _ => server.args(["--flight-port", &ports[0], "--task-port", &ports[1], "--http-port", &ports[2]]),
    };
    let ran = finished(server.output().unwrap());
    assert_eq!(ran.code, Some(1), "{args:?}\n{}", ran.stderr);
    ran.stderr
}

#[test]
fn plain_ports_are_not_opened_to_other_machines_unasked() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path(), "authority");
    authority.node("node", Key::Ec);
    let open = ["--bind-host", "0.0.0.0"];
    let client = refused(dir.path(), &[&["scheduler"][..], &open].concat());
    assert!(
        client.contains("the client port would be open") && client.contains("--tls-cert and --tls-key") && client.contains("--insecure"),
        "{client}"
    );
    let port = authority.of_client_port("node");
    let port: Vec<&str> = port.iter().map(String::as_str).collect();
    let internal = refused(dir.path(), &[&["scheduler"][..], &open, &port].concat());
    assert!(internal.contains("the internal port would be open") && internal.contains("--cluster-tls-ca"), "{internal}");
    let executor = refused(dir.path(), &[&["executor"][..], &open].concat());
    assert!(executor.contains("the ports of this executor would be open") && executor.contains("--insecure"), "{executor}");
    let half = refused(dir.path(), &["scheduler", "--tls-cert", port[1]]);
    assert!(half.contains("needs --tls-cert and --tls-key"), "{half}");
    let mixed = refused(dir.path(), &["scheduler", "--tls-cert", port[1], "--tls-key", &authority.text("root.key")]);
    assert!(mixed.contains("does not belong to the first certificate"), "{mixed}");
    let missing = refused(dir.path(), &["scheduler", "--tls-cert", "nowhere.pem", "--tls-key", port[3]]);
    assert!(missing.contains("nowhere.pem cannot be read"), "{missing}");
    // Whoever insists gets it.
    let mut options = Options::of(1).with_administrator();
    let insecure = tempfile::tempdir().unwrap();
    for args in [&mut options.scheduler_args, &mut options.executor_args] {
        args.extend(["--bind-host", "0.0.0.0", "--insecure"].map(String::from));
    }
    let cluster = Cluster::start(insecure.path(), options);
    assert_eq!(cluster.rows("SELECT 1 AS one"), ["1"]);
}
