//! Servers and clients of this crate that talk to each other, with certificates made for the occasion.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use orrery_proto::v1::cluster_client::ClusterClient;
use orrery_proto::v1::cluster_server::{Cluster, ClusterServer};
use orrery_proto::v1::{JoinRequest, JoinResponse, ReportUnreachableRequest, ReportUnreachableResponse};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_ED25519};
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};

use crate::{ClientFiles, ClientPortSettings, ClientTls, ClusterSettings, IdentityFiles, Incoming, ServerFiles, ServerTls, explain};

/// Who signs certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate with its key.
pub(crate) struct Leaf {
    pub certificate: CertificateDer<'static>,
    pub pem: String,
    pub key: String,
}

fn authority_named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

impl Authority {
    /// One that nobody has signed.
    pub fn new(name: &str) -> Self {
        let (params, key) = (authority_named(name), KeyPair::generate().unwrap());
        let certificate = params.self_signed(&key).unwrap();
        Self { pem: certificate.pem(), issuer: Issuer::new(params, key) }
    }

    /// One that this one has signed.
    fn intermediate(&self, name: &str) -> Self {
        let (params, key) = (authority_named(name), KeyPair::generate().unwrap());
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Self { pem: certificate.pem(), issuer: Issuer::new(params, key) }
    }

    /// For `localhost` and 127.0.0.1.
    pub fn leaf(&self, name: &str) -> Leaf {
        self.leaf_with(name, KeyPair::generate().unwrap())
    }

    fn leaf_with(&self, name: &str, key: KeyPair) -> Leaf {
        let mut params = CertificateParams::new(vec!["localhost".to_string(), "127.0.0.1".to_string()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Leaf { certificate: certificate.der().clone(), pem: certificate.pem(), key: key.serialize_pem() }
    }
}

/// A folder for files of certificates.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        // Whole files only, as those do who mean it.
        let beside = self.0.path().join(format!("{name}.new"));
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(&beside, &path).unwrap();
        path
    }

    fn identity(&self, name: &str, leaf: &Leaf, between: &str) -> IdentityFiles {
        let certificate = self.write(&format!("{name}.pem"), &format!("{}{between}", leaf.pem));
        IdentityFiles { certificate, key: self.write(&format!("{name}.key"), &leaf.key) }
    }
}

/// Answers with the address of who asks.
struct Echo;

#[tonic::async_trait]
impl Cluster for Echo {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        let instance_id = request.remote_addr().map(|address| address.ip().to_string()).unwrap_or_default();
        Ok(Response::new(JoinResponse { version: request.into_inner().version, instance_id }))
    }

    async fn report_unreachable(&self, _: Request<ReportUnreachableRequest>) -> Result<Response<ReportUnreachableResponse>, Status> {
        Ok(Response::new(ReportUnreachableResponse {}))
    }
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn serve(incoming: Incoming) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        Server::builder().add_service(ClusterServer::new(Echo)).serve_with_incoming(incoming).await.unwrap();
    }))
}

async fn served(tls: Option<ServerTls>) -> (SocketAddr, AbortOnDropHandle<()>) {
    let (listener, address) = listener().await;
    (address, serve(Incoming::new(listener, tls)))
}

async fn connect(tls: &ClientTls, address: SocketAddr) -> Result<Channel, String> {
    let endpoint = Endpoint::from_shared(format!("https://{address}")).unwrap();
    tls.secure(endpoint).unwrap().connect().await.map_err(|error| explain(&error))
}

/// Asks once; the answer, or why there is none.
async fn ask(tls: &ClientTls, address: SocketAddr) -> Result<JoinResponse, String> {
    ask_over(connect(tls, address).await?).await
}

async fn ask_over(channel: Channel) -> Result<JoinResponse, String> {
    let answer = ClusterClient::new(channel).join(JoinRequest { version: "1".to_string() }).await;
    answer
        .map(Response::into_inner)
        .map_err(|status| if status.message().contains("TLS") { status.message().to_string() } else { explain(&status) })
}

fn client(files: ClientFiles) -> ClientTls {
    ClientTls::open("the client's certificates", files).unwrap()
}

fn server(identity: IdentityFiles, client_ca: Option<PathBuf>) -> ServerTls {
    ServerTls::open("the server's certificate", ServerFiles { identity, client_ca }).unwrap()
}

#[tokio::test]
async fn a_chain_is_trusted_through_its_root_and_the_address_is_known() {
    let (files, root) = (Files::new(), Authority::new("root"));
    let between = root.intermediate("between");
    let identity = files.identity("node", &between.leaf("node"), &between.pem);
    let (address, _serving) = served(Some(server(identity.clone(), None))).await;
    let trusting = |ca: &str, name: Option<&str>| {
        client(ClientFiles { ca: Some(files.write("ca.pem", ca)), identity: None, server_name: name.map(str::to_string) })
    };
    assert_eq!(ask(&trusting(&root.pem, None), address).await.unwrap().instance_id, "127.0.0.1");
    assert!(ask(&trusting(&root.pem, Some("localhost")), address).await.is_ok());
    let other_name = ask(&trusting(&root.pem, Some("elsewhere.example")), address).await.unwrap_err();
    assert!(other_name.contains("is for another name") && other_name.contains("localhost"), "{other_name}");
    let stranger = ask(&trusting(&Authority::new("stranger").pem, None), address).await.unwrap_err();
    assert!(stranger.contains("not signed by an authority that is trusted here"), "{stranger}");
    // A server that leaves out what is between cannot be trusted.
    let alone = files.identity("alone", &between.leaf("node"), "");
    let (address, _serving) = served(Some(server(alone, None))).await;
    let broken = ask(&trusting(&root.pem, None), address).await.unwrap_err();
    assert!(broken.contains("does not come with the certificates between"), "{broken}");
}

#[tokio::test]
async fn a_client_without_a_certificate_of_the_authority_is_refused() {
    let (files, root, stranger) = (Files::new(), Authority::new("root"), Authority::new("stranger"));
    let ca = files.write("ca.pem", &root.pem);
    let (address, _serving) = served(Some(server(files.identity("server", &root.leaf("server"), ""), Some(ca.clone())))).await;
    let showing = |identity| client(ClientFiles { ca: Some(ca.clone()), identity, server_name: None });
    let known = showing(Some(files.identity("client", &root.leaf("client"), "")));
    assert!(ask(&known, address).await.is_ok());
    let nothing = ask(&showing(None), address).await.unwrap_err();
    assert!(nothing.contains("asks for a certificate of the client"), "{nothing}");
    let foreign = ask(&showing(Some(files.identity("foreign", &stranger.leaf("client"), ""))), address).await.unwrap_err();
    assert!(foreign.contains("does not trust this client's certificate"), "{foreign}");
    assert!(ask(&known, address).await.is_ok());
}

#[tokio::test]
async fn new_connections_use_new_files_and_old_ones_go_on() {
    let (files, first, second) = (Files::new(), Authority::new("first"), Authority::new("second"));
    let identity = files.identity("server", &first.leaf("server"), "");
    let tls = server(identity, None);
    let (address, _serving) = served(Some(tls)).await;
    let old = client(ClientFiles { ca: Some(files.write("first.pem", &first.pem)), ..ClientFiles::default() });
    let new = client(ClientFiles { ca: Some(files.write("second.pem", &second.pem)), ..ClientFiles::default() });
    let opened_before = connect(&old, address).await.unwrap();
    assert!(ask_over(opened_before.clone()).await.is_ok());
    assert!(ask(&new, address).await.is_err());
    // The key first: for a moment, the two files do not belong together.
    let leaf = second.leaf("server");
    files.write("server.key", &leaf.key);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(ask(&old, address).await.is_ok(), "what was read before stays in use");
    files.write("server.pem", &leaf.pem);
    for attempt in 0.. {
        if ask(&new, address).await.is_ok() {
            break;
        }
        assert!(attempt < 200, "the new certificate is never used");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(ask(&old, address).await.is_err());
    assert!(ask_over(opened_before).await.is_ok(), "a connection outlives the certificate that it was made with");
    // A client's files are read again too.
    assert_eq!(old.generation(), 0);
    files.write("first.pem", &second.pem);
    for attempt in 0.. {
        if old.generation() == 1 {
            break;
        }
        assert!(attempt < 200, "the client's files are never read again");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(ask(&old, address).await.is_ok());
}

#[tokio::test]
async fn who_speaks_the_wrong_way_is_told_so() {
    let (files, root) = (Files::new(), Authority::new("root"));
    let (address, _serving) = served(Some(server(files.identity("server", &root.leaf("server"), ""), None))).await;
    let plain = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let told = ask_over(plain).await.unwrap_err();
    assert!(told.contains("this port speaks TLS") && told.contains("https://"), "{told}");
    let mut browser = TcpStream::connect(address).await.unwrap();
    browser.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    browser.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("this port speaks TLS"), "{answer}");
    let (address, _serving) = served(None).await;
    let tls = client(ClientFiles { ca: Some(files.write("ca.pem", &root.pem)), ..ClientFiles::default() });
    let told = ask(&tls, address).await.unwrap_err();
    assert!(told.contains("does not speak TLS"), "{told}");
}

#[tokio::test]
async fn silence_and_garbage_hold_nobody_up() {
    let (files, root) = (Files::new(), Authority::new("root"));
    let tls = server(files.identity("server", &root.leaf("server"), ""), None);
    let (listener, address) = listener().await;
    let _serving = serve(Incoming::with_few_handshakes(listener, tls, 8));
    let mut held = Vec::new();
    for number in 0..40 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        match number % 4 {
            0 => {}
            1 => stream.write_all(&[22, 3, 1]).await.unwrap(),
            2 => stream.write_all(&[0; 100]).await.unwrap(),
            _ => stream.write_all(&[22, 3, 1, 0, 10, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9]).await.unwrap(),
        }
        held.push(stream);
    }
    let trusting = client(ClientFiles { ca: Some(files.write("ca.pem", &root.pem)), ..ClientFiles::default() });
    assert!(ask(&trusting, address).await.is_ok());
    // The first of the silent ones had to make room.
    let mut byte = [0];
    let read = tokio::time::timeout(Duration::from_secs(5), held[0].read(&mut byte)).await.unwrap();
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}

/// What is said of a certificate and a key in files of these texts.
fn refused(files: &Files, certificate: &str, key: &str) -> String {
    let identity = IdentityFiles { certificate: files.write("bad.pem", certificate), key: files.write("bad.key", key) };
    let error = crate::identity::Identity::load(&identity).err().expect("it is not refused").to_string();
    assert!(!error.contains("MII") && error.contains("bad."), "it names the file, and shows nothing of it: {error}");
    error
}

#[test]
fn files_that_cannot_be_used_are_told_apart() {
    let (files, root) = (Files::new(), Authority::new("root"));
    let (leaf, other) = (root.leaf("node"), root.leaf("other"));
    let cases = [
        (leaf.pem.as_str(), other.key.as_str(), "does not belong to the first certificate"),
        ("", leaf.key.as_str(), "bad.pem holds no certificate"),
        (leaf.key.as_str(), leaf.key.as_str(), "bad.pem holds no certificate"),
        (leaf.pem.as_str(), leaf.pem.as_str(), "bad.key holds no private key"),
        (&leaf.pem[..leaf.pem.len() / 2], leaf.key.as_str(), "has no END line"),
        (leaf.pem.as_str(), &leaf.key[..leaf.key.len() / 2], "has no END line"),
        (
            leaf.pem.as_str(),
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n",
            "protected by a passphrase",
        ),
        (
            leaf.pem.as_str(),
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nMIIB\n-----END RSA PRIVATE KEY-----\n",
            "protected by a passphrase",
        ),
        (leaf.pem.as_str(), "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n", "cannot be used"),
        ("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", leaf.key.as_str(), "certificate 1 in"),
        ("-----BEGIN CERTIFICATE-----\n***\n-----END CERTIFICATE-----\n", leaf.key.as_str(), "is not base64"),
    ];
    for (certificate, key, expected) in cases {
        let said = refused(&files, certificate, key);
        assert!(said.contains(expected), "{said}\nis expected to say: {expected}");
    }
    let missing = crate::identity::authorities(Path::new("/nowhere/ca.pem")).err().unwrap().to_string();
    assert!(missing.starts_with("/nowhere/ca.pem cannot be read: No such file"), "{missing}");
}

#[tokio::test]
async fn keys_of_other_kinds_and_files_with_both_can_be_used() {
    let (files, root) = (Files::new(), Authority::new("root"));
    let leaf = root.leaf_with("node", KeyPair::generate_for(&PKCS_ED25519).unwrap());
    let both = files.write("both.pem", &format!("# ours\n{}{}", leaf.key, leaf.pem));
    let tls = server(IdentityFiles { certificate: both.clone(), key: both }, None);
    let (address, _serving) = served(Some(tls)).await;
    // A bundle of authorities of which one is the right one.
    let bundle = format!("{}{}", Authority::new("another").pem, root.pem);
    let trusting = client(ClientFiles { ca: Some(files.write("ca.pem", &bundle)), ..ClientFiles::default() });
    assert!(ask(&trusting, address).await.is_ok());
}

#[tokio::test]
async fn settings_that_belong_together_are_asked_for_together() {
    let (files, root) = (Files::new(), Authority::new("root"));
    let identity = files.identity("node", &root.leaf("node"), "");
    let none = ClusterSettings::default();
    assert!(none.open().unwrap().is_none());
    let half = ClusterSettings { cluster_tls_cert: Some(identity.certificate.clone()), ..none.clone() };
    let told = half.open().err().unwrap().to_string();
    assert!(told.contains("--cluster-tls-cert, --cluster-tls-key and --cluster-tls-ca"), "{told}");
    let whole =
        ClusterSettings { cluster_tls_key: Some(identity.key), cluster_tls_ca: Some(files.write("ca.pem", &root.pem)), ..half.clone() };
    let tls = whole.open().unwrap().unwrap();
    let (address, _serving) = served(Some(tls.server)).await;
    assert!(ask(&tls.client, address).await.is_ok());
}

#[test]
fn plain_text_is_for_this_machine_or_for_those_who_insist() {
    let (plain, encrypted) =
        (ClientPortSettings::default(), ClientPortSettings { tls_cert: Some("cert.pem".into()), ..ClientPortSettings::default() });
    let open = |settings: &ClientPortSettings, address: &str, insecure| settings.refuse_exposed(address.parse().unwrap(), insecure);
    for address in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
        assert!(open(&plain, address, false).is_ok(), "{address}");
    }
    for address in ["0.0.0.0", "::", "10.0.0.1", "::ffff:10.0.0.1"] {
        let told = open(&plain, address, false).unwrap_err().to_string();
        for part in ["the client port", address, "--tls-cert and --tls-key", "--insecure"] {
            assert!(told.contains(part), "{told}");
        }
        assert!(open(&encrypted, address, false).is_ok() && open(&plain, address, true).is_ok(), "{address}");
    }
}
