//! Networks that break between nodes, and nodes that must not work together.

use std::process::Command;
use std::time::Duration;

use orrery_proto::v1::cluster_server::{Cluster as ClusterService, ClusterServer};
use orrery_proto::v1::{JoinRequest, JoinResponse, ReportUnreachableRequest, ReportUnreachableResponse};
use tonic::{Request, Response, Status};

use super::cluster::{Cluster, Host, Options, Place, free_port};
use super::cluster_faults::Undisturbed;
use super::orrery::{command, finished};

/// Two hosts behind a switch of this one, made of network namespaces; gone with the test.
struct Network {
    hosts: Vec<Host>,
    bridge: String,
}

impl Network {
    /// `None`, with a note, where namespaces cannot be made.
    fn make() -> Option<Self> {
        let id = std::process::id() % 200;
        let gateway = format!("10.213.{id}.1");
        let bridge = format!("orr{id}");
        let mut network = Self { hosts: Vec::new(), bridge: bridge.clone() };
        let made = ip(&["link", "add", &bridge, "type", "bridge"])
            && ip(&["addr", "add", &format!("{gateway}/24"), "dev", &bridge])
            && ip(&["link", "set", &bridge, "up"])
            && (2..=3).all(|number| network.add_host(number, &format!("10.213.{id}.{number}"), &gateway));
        if made {
            return Some(network);
        }
        eprintln!("skipped: network namespaces cannot be made here");
        None
    }

    fn add_host(&mut self, number: u32, address: &str, gateway: &str) -> bool {
        let namespace = format!("{}n{number}", self.bridge);
        let (outside, inside) = (format!("{}v{number}", self.bridge), format!("{}w{number}", self.bridge));
        self.hosts.push(Host { namespace: namespace.clone(), address: address.to_string(), gateway: gateway.to_string() });
        let within = |args: &[&str]| ip(&[&["-n", &namespace], args].concat());
        ip(&["netns", "add", &namespace])
            && ip(&["link", "add", &outside, "type", "veth", "peer", "name", &inside, "netns", &namespace])
            && ip(&["link", "set", &outside, "master", &self.bridge, "up"])
            && within(&["addr", "add", &format!("{address}/24"), "dev", &inside])
            && within(&["link", "set", &inside, "up"])
            && within(&["link", "set", "lo", "up"])
    }

    /// From now on the two hosts do not reach each other; both still reach this one.
    fn cut(&self) {
        let [a, b] = self.hosts.as_slice() else { panic!("two hosts") };
        for (here, there) in [(a, b), (b, a)] {
            assert!(ip(&["-n", &here.namespace, "route", "add", "blackhole", &format!("{}/32", there.address)]));
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for host in &self.hosts {
            ip(&["netns", "del", &host.namespace]);
        }
        ip(&["link", "del", &self.bridge]);
    }
}

fn ip(args: &[&str]) -> bool {
    Command::new("ip").args(args).stderr(std::process::Stdio::null()).status().is_ok_and(|status| status.success())
}

#[test]
fn a_cut_between_two_executors_leaves_the_work_to_one() {
    let Some(network) = Network::make() else { return };
    let undisturbed = Undisturbed::run();
    let mut options = Options::of(0).with_administrator();
    options.scheduler_args.extend(["--bind-host", "0.0.0.0", "--insecure", "--external-host", &network.hosts[0].gateway].map(String::from));
    let mut cluster = Cluster::start(&undisturbed.home("cluster"), options);
    for host in &network.hosts {
        cluster.add_executor_at(Place { host: Some(host.clone()), ..Place::default() });
    }
    cluster.wait_for_executors(2);
    let client = undisturbed.submit(&cluster);
    std::thread::sleep(Duration::from_secs(2));
    network.cut();
    undisturbed.assert_unharmed(&cluster, client, "the network is cut");
    assert_eq!(cluster.alive(), 2, "both are alive all the time");
    assert!(cluster.scheduler.said().contains("cannot be reached by another"), "{}", cluster.logs());
}

#[tokio::test]
async fn a_scheduler_refuses_executors_of_another_version() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path(), Options::of(0));
    cluster.wait(|cluster| cluster.http("/healthz").is_some(), "the scheduler to answer");
    let address = format!("http://127.0.0.1:{}", cluster.internal_port());
    let mut client = orrery_proto::v1::cluster_client::ClusterClient::connect(address).await.unwrap();
    let refused = client.join(JoinRequest { version: "0.0.1".to_string() }).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
    assert!(refused.message().contains("version 0.0.1"), "{refused}");
    assert!(cluster.scheduler.said().contains("refused an executor of another version"), "{}", cluster.logs());
}

/// A scheduler of a version to come.
struct Newer;

#[tonic::async_trait]
impl ClusterService for Newer {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        Err(Status::failed_precondition(format!("it is version {}, the scheduler is 99.0.0", request.into_inner().version)))
    }

    async fn report_unreachable(&self, _: Request<ReportUnreachableRequest>) -> Result<Response<ReportUnreachableResponse>, Status> {
        Ok(Response::new(ReportUnreachableResponse {}))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executor_that_is_refused_ends_and_says_why() {
    let port = free_port();
    let server = tonic::transport::Server::builder().add_service(ClusterServer::new(Newer));
    let served = tokio::spawn(server.serve(([127, 0, 0, 1], port).into()));
    let ended = tokio::task::spawn_blocking(move || {
        let dir = tempfile::tempdir().unwrap();
        finished(command(dir.path()).args(["executor", "--http-port", "0", "--scheduler-port", &port.to_string()]).output().unwrap())
    });
    let ended = ended.await.unwrap();
    served.abort();
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("the scheduler is 99.0.0") && ended.stderr.contains(env!("CARGO_PKG_VERSION")), "{}", ended.stderr);
}
