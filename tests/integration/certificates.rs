//! Certificates as an operator makes them: by `openssl`, from a root over an intermediate authority to those that servers and clients show.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const CONFIGURATION: &str = "\
[req]
distinguished_name = name
prompt = no
[name]
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[node]
basicConstraints = CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth,clientAuth
subjectAltName = DNS:localhost,DNS:node.cluster,IP:127.0.0.1
";

/// Kinds of keys, by what the program that makes them writes.
#[derive(Clone, Copy)]
pub enum Key {
    /// RSA in PKCS#1.
    Rsa,
    /// On a curve, in SEC1.
    Ec,
    /// On a curve, in PKCS#8.
    Pkcs8,
}

/// A root, an intermediate authority, and a folder for them and what they sign.
pub struct Authority {
    dir: PathBuf,
}

impl Authority {
    /// Makes both in a folder of this name.
    pub fn new(dir: &Path, name: &str) -> Self {
        let authority = Self { dir: dir.join(name) };
        std::fs::create_dir_all(&authority.dir).unwrap();
        std::fs::write(authority.at("openssl.cnf"), CONFIGURATION).unwrap();
        authority.key("root", Key::Ec);
        let root = "-days 30 -config openssl.cnf -extensions authority -out root.pem";
        authority.openssl(&format!("req -x509 -new -key root.key -subj /CN=root-of-{name} {root}"));
        authority.key("between", Key::Rsa);
        authority.sign("between", "root", "authority");
        authority
    }

    /// A file in its folder.
    pub fn at(&self, file: &str) -> PathBuf {
        self.dir.join(file)
    }

    /// The same as text, for a flag.
    pub fn text(&self, file: &str) -> String {
        self.at(file).display().to_string()
    }

    fn openssl(&self, arguments: &str) {
        let made = Command::new("openssl").args(arguments.split(' ')).current_dir(&self.dir).stdin(Stdio::null()).output().unwrap();
        assert!(made.status.success(), "openssl {arguments}\n{}", String::from_utf8_lossy(&made.stderr));
    }

    fn key(&self, name: &str, kind: Key) {
        match kind {
            Key::Rsa => self.openssl(&format!("genrsa -traditional -out {name}.key 2048")),
            Key::Ec => self.openssl(&format!("ecparam -name prime256v1 -genkey -out {name}.key")),
            Key::Pkcs8 => self.openssl(&format!("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out {name}.key")),
        }
    }

    fn sign(&self, name: &str, by: &str, kind: &str) {
        self.openssl(&format!("req -new -key {name}.key -subj /CN={name} -config openssl.cnf -out {name}.csr"));
        let options = "-CAcreateserial -days 30 -extfile openssl.cnf";
        self.openssl(&format!("x509 -req -in {name}.csr -CA {by}.pem -CAkey {by}.key {options} -extensions {kind} -out {name}.pem"));
    }

    /// A certificate of a node with the one that signed it behind it. An earlier one of that name is replaced as a whole.
    pub fn node(&self, name: &str, kind: Key) {
        let made = format!("{name}-made");
        self.key(&made, kind);
        self.sign(&made, "between", "node");
        let chain = [made.as_str(), "between"].map(|part| std::fs::read_to_string(self.at(&format!("{part}.pem"))).unwrap()).concat();
        std::fs::write(self.at(&format!("{made}.pem")), chain).unwrap();
        for end in ["key", "pem"] {
            std::fs::rename(self.at(&format!("{made}.{end}")), self.at(&format!("{name}.{end}"))).unwrap();
        }
    }

    /// Flags that have a node show the certificate of this name.
    pub fn of_node(&self, name: &str) -> Vec<String> {
        let flags = [("cert", format!("{name}.pem")), ("key", format!("{name}.key")), ("ca", "root.pem".to_string())];
        flags.iter().flat_map(|(flag, file)| [format!("--cluster-tls-{flag}"), self.text(file)]).collect()
    }

    /// Flags that have a server show the certificate of this name on its client port.
    pub fn of_client_port(&self, name: &str) -> Vec<String> {
        ["--tls-cert".to_string(), self.text(&format!("{name}.pem")), "--tls-key".to_string(), self.text(&format!("{name}.key"))].to_vec()
    }

    /// Lines of the secret keys in the folder.
    pub fn secrets(&self) -> Vec<String> {
        let keys = std::fs::read_dir(&self.dir).unwrap().map(|entry| entry.unwrap().path());
        let keys = keys.filter(|path| path.extension().is_some_and(|end| end == "key"));
        keys.flat_map(|path| std::fs::read_to_string(path).unwrap().lines().map(str::to_string).collect::<Vec<_>>())
            .filter(|line| !line.starts_with("-----") && line.len() > 30)
            .collect()
    }
}
