//! A cluster on loopback for tests: a scheduler and executors as processes of their own, on ports of their own, ended by their process ids.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::orrery::{Ran, command, finished};

/// How long anything may take to come up or go away; far more than it needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that ends with the test.
pub struct Process {
    child: Child,
    /// Where its log is.
    pub log: PathBuf,
}

impl Process {
    /// Starts the program under test with a log of this name.
    pub fn start(dir: &Path, name: &str, args: &[String], env: &[(&str, &str)]) -> Self {
        Self::start_by(command(dir), dir, name, args, env)
    }

    fn start_by(mut process: std::process::Command, dir: &Path, name: &str, args: &[String], env: &[(&str, &str)]) -> Self {
        let log = dir.join(format!("{name}.log"));
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        process.args(args).envs(env.iter().copied()).stdout(Stdio::null()).stderr(file);
        Self { child: process.spawn().unwrap(), log }
    }

    /// Sends a signal such as `TERM`, `KILL`, `STOP` or `CONT`.
    pub fn signal(&self, signal: &str) {
        let sent = std::process::Command::new("kill").args([&format!("-{signal}"), &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success(), "{signal} cannot be sent");
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for its end and returns its exit code.
    pub fn wait(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "the process did not end:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its log.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal_quietly("CONT");
        self.kill();
    }
}

impl Process {
    fn signal_quietly(&self, signal: &str) {
        let _ =
            std::process::Command::new("kill").args([&format!("-{signal}"), &self.child.id().to_string()]).stderr(Stdio::null()).status();
    }
}

/// Password of the user `admin`, where there is one.
pub const ADMIN_PASSWORD: &str = "correct horse";

/// How a cluster is made.
#[derive(Clone)]
pub struct Options {
    /// Executors at the start.
    pub executors: usize,
    /// Vcores of each.
    pub vcores: usize,
    /// More arguments for the scheduler.
    pub scheduler_args: Vec<String>,
    /// More arguments for executors.
    pub executor_args: Vec<String>,
    /// The warehouse; `warehouse` in the folder unless it is set.
    pub warehouse: Option<String>,
    /// Environment of all processes.
    pub env: Vec<(&'static str, String)>,
    /// Environment of clients.
    pub client_env: Vec<(&'static str, String)>,
}

impl Options {
    /// So many executors. Several of them share the work of every statement; to a lone one whole plans are sent.
    pub fn of(executors: usize) -> Self {
        // Everything that reads a file goes to the executors: the test data are small.
        let mut scheduler_args = ["--local-limit", "0B", "--executor-timeout-s", "6"].map(String::from).to_vec();
        if executors != 1 {
            scheduler_args.extend(in_stages());
        }
        Self {
            executors,
            vcores: 2,
            scheduler_args,
            executor_args: ["--heartbeat-s", "1"].map(String::from).to_vec(),
            warehouse: None,
            env: Vec::new(),
            client_env: Vec::new(),
        }
    }

    /// With the user `admin`, whom a scheduler makes when others can reach it, and as whom clients log in.
    pub fn with_administrator(mut self) -> Self {
        self.env.push(("ORRERY_ADMIN_PASSWORD", ADMIN_PASSWORD.to_string()));
        self.client_env.extend([("ORRERY_USER", "admin".to_string()), ("ORRERY_PASSWORD", ADMIN_PASSWORD.to_string())]);
        self
    }

    /// As by default: a plan that reads little is not cut into stages.
    pub fn small_plans_whole(mut self) -> Self {
        self.scheduler_args.retain(|arg| !in_stages().contains(arg));
        self
    }
}

/// Has every plan cut into stages, however little it reads.
pub fn in_stages() -> [String; 1] {
    ["--one-task-limit=0B".to_string()]
}

/// Where an executor runs; on this host with a folder of its own unless something else is said.
#[derive(Default)]
pub struct Place {
    /// Its folder.
    pub work_dir: Option<PathBuf>,
    /// Its host.
    pub host: Option<Host>,
}

/// A network namespace that passes for a machine of its own.
#[derive(Debug, Clone)]
pub struct Host {
    /// Its name.
    pub namespace: String,
    /// Its address.
    pub address: String,
    /// Where it reaches this host.
    pub gateway: String,
}

/// The same command inside a network namespace.
fn inside(namespace: &str, process: &std::process::Command) -> std::process::Command {
    let mut wrapped = std::process::Command::new("ip");
    wrapped.args(["netns", "exec", namespace]).arg(process.get_program()).args(process.get_args()).stdin(Stdio::null());
    wrapped.current_dir(process.get_current_dir().unwrap());
    for (key, value) in process.get_envs() {
        match value {
            Some(value) => wrapped.env(key, value),
            None => wrapped.env_remove(key),
        };
    }
    wrapped
}

/// See the module documentation.
pub struct Cluster {
    pub dir: PathBuf,
    options: Options,
    pub scheduler: Process,
    pub executors: Vec<Process>,
    executor_pages: Vec<u16>,
    task_ports: Vec<u16>,
    internal_port: u16,
    client_port: u16,
    http_port: u16,
    started: usize,
}

/// A port that was free a moment ago, below those that the system gives to outgoing connections, which come and go all the time.
pub fn free_port() -> u16 {
    let random = || RandomState::new().build_hasher().finish();
    let mut candidates = std::iter::repeat_with(|| 10_000 + (random() % 22_000) as u16);
    candidates.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

impl Cluster {
    /// Starts a cluster in `dir` and waits until all executors have joined.
    pub fn start(dir: &Path, options: Options) -> Self {
        let (internal_port, client_port, http_port) = (free_port(), free_port(), free_port());
        let scheduler = start_scheduler(dir, &options, internal_port, client_port, http_port);
        let mut cluster = Self {
            dir: dir.to_path_buf(),
            executors: Vec::new(),
            executor_pages: Vec::new(),
            task_ports: Vec::new(),
            scheduler,
            internal_port,
            client_port,
            http_port,
            started: 0,
            options,
        };
        for _ in 0..cluster.options.executors {
            cluster.add_executor();
        }
        cluster.wait_for_executors(cluster.options.executors);
        cluster
    }

    /// Starts one more executor; returns its place in `executors`.
    pub fn add_executor(&mut self) -> usize {
        self.add_executor_at(Place::default())
    }

    /// Starts one more executor somewhere else.
    pub fn add_executor_at(&mut self, place: Place) -> usize {
        let name = format!("executor{}", self.started);
        self.started += 1;
        let (page, task_port) = (free_port(), free_port());
        self.executor_pages.push(page);
        self.task_ports.push(task_port);
        let work_dir = place.work_dir.unwrap_or_else(|| self.dir.join(&name));
        let mut all = executor_args(self.internal_port, task_port, page, self.options.vcores, &work_dir);
        all.extend(self.options.executor_args.iter().cloned());
        let mut process = command(&self.dir);
        if let Some(host) = place.host {
            all.extend(
                ["--scheduler-host", &host.gateway, "--bind-host", "0.0.0.0", "--insecure", "--external-host", &host.address]
                    .map(String::from),
            );
            process = inside(&host.namespace, &process);
        }
        let env: Vec<(&str, &str)> = self.options.env.iter().map(|(key, value)| (*key, value.as_str())).collect();
        self.executors.push(Process::start_by(process, &self.dir, &name, &all, &env));
        self.executors.len() - 1
    }

    /// Starts the scheduler again on the same ports and folder.
    pub fn restart_scheduler(&mut self) {
        self.scheduler.kill();
        self.scheduler = start_scheduler(&self.dir, &self.options, self.internal_port, self.client_port, self.http_port);
        self.wait(|cluster| cluster.http("/healthz").is_some(), "the scheduler to answer");
    }

    /// Waits until just so many executors are alive.
    pub fn wait_for_executors(&self, count: usize) {
        self.wait(|cluster| cluster.alive() == count, &format!("{count} executors to be alive"));
    }

    /// Executors that the scheduler counts as alive.
    pub fn alive(&self) -> usize {
        self.http("/api/executors").map_or(0, |body| body.matches("\"vcores\"").count())
    }

    /// Waits for a condition.
    pub fn wait(&self, condition: impl Fn(&Self) -> bool, what: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !condition(self) {
            assert!(Instant::now() < deadline, "waited too long for {what}\n{}", self.logs());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The body of a page of the scheduler, if it answers with success.
    pub fn http(&self, path: &str) -> Option<String> {
        get(self.http_port, path)
    }

    /// The body of a page of the executor that was started as the so-manieth, if it answers with success.
    pub fn executor_page(&self, started: usize, path: &str) -> Option<String> {
        get(*self.executor_pages.get(started)?, path)
    }

    /// What every process said, for failures.
    pub fn logs(&self) -> String {
        let mut text = format!("== scheduler\n{}", tail(&self.scheduler.said()));
        for executor in &self.executors {
            text.push_str(&format!("== {}\n{}", executor.log.display(), tail(&executor.said())));
        }
        text
    }

    /// Runs a client command to its end.
    pub fn client(&self, args: &[&str]) -> Ran {
        finished(self.client_command(args).output().unwrap())
    }

    /// A client command that goes on beside the test.
    pub fn client_in_background(&self, args: &[&str]) -> Child {
        self.client_command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn client_command(&self, args: &[&str]) -> std::process::Command {
        let mut client = command(&self.dir);
        let scheme = if self.options.scheduler_args.iter().any(|arg| arg == "--tls-cert") { "https" } else { "http" };
        client.args(args).env("ORRERY_SCHEDULER", format!("{scheme}://127.0.0.1:{}", self.client_port));
        client.envs(self.options.client_env.iter().map(|(key, value)| (*key, value.as_str())));
        client
    }

    /// Submits SQL text and returns what the client said; asserts success.
    pub fn sql(&self, sql: &str) -> Ran {
        let ran = self.try_sql(sql);
        assert_eq!(ran.code, Some(0), "{sql}\n{}\n{}", ran.stderr, self.logs());
        ran
    }

    /// Submits SQL text and returns what the client said.
    pub fn try_sql(&self, sql: &str) -> Ran {
        let file = tempfile::Builder::new().suffix(".sql").tempfile_in(&self.dir).unwrap();
        std::fs::write(file.path(), sql).unwrap();
        self.client(&["submit", "--format", "csv", "--quiet", file.path().to_str().unwrap()])
    }

    /// The rows of a query as CSV without the header.
    pub fn rows(&self, query: &str) -> Vec<String> {
        self.sql(query).stdout.lines().skip(1).map(str::to_string).collect()
    }

    /// The port for clients.
    pub fn client_port(&self) -> u16 {
        self.client_port
    }

    /// The port for tasks of the executor that was started as the so-manieth.
    pub fn task_port(&self, started: usize) -> u16 {
        self.task_ports[started]
    }

    /// The scheduler's internal port.
    pub fn internal_port(&self) -> u16 {
        self.internal_port
    }
}

/// An executor for a scheduler that is not a process of its own.
pub fn executor_of(dir: &Path, number: usize, internal_port: u16, vcores: usize) -> Process {
    let name = format!("executor-{number}");
    Process::start(dir, &name, &executor_args(internal_port, free_port(), free_port(), vcores, &dir.join(&name)), &[])
}

fn executor_args(internal_port: u16, task_port: u16, page: u16, vcores: usize, work_dir: &Path) -> Vec<String> {
    let mut args: Vec<String> = vec!["executor".to_string()];
    let ports = [("--scheduler-port", internal_port), ("--flight-port", free_port()), ("--task-port", task_port), ("--http-port", page)];
    for (flag, port) in ports {
        args.extend([flag.to_string(), port.to_string()]);
    }
    args.extend(["--vcores".to_string(), vcores.to_string(), "--work-dir".to_string(), work_dir.display().to_string()]);
    args
}

fn start_scheduler(dir: &Path, options: &Options, internal_port: u16, client_port: u16, http_port: u16) -> Process {
    let mut args: Vec<String> = vec!["scheduler".to_string()];
    for (flag, port) in [("--internal-port", internal_port), ("--client-port", client_port), ("--http-port", http_port)] {
        args.extend([flag.to_string(), port.to_string()]);
    }
    let warehouse = options.warehouse.clone().unwrap_or_else(|| dir.join("warehouse").display().to_string());
    args.extend(["--warehouse".to_string(), warehouse, "--state-dir".to_string(), dir.join("state").display().to_string()]);
    args.extend(options.scheduler_args.iter().cloned());
    let env: Vec<(&str, &str)> = options.env.iter().map(|(key, value)| (*key, value.as_str())).collect();
    Process::start(dir, "scheduler", &args, &env)
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].iter().map(|line| format!("{line}\n")).collect()
}

/// The body of a page, if it is there.
pub fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.lines().next()?.contains(" 200 ").then(|| body.to_string())
}
