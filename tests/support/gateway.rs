//! The real binary as a child process: started from YAML text, awaited until it says `ready`, ended by its id.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::wire::{Message, Wire};
use super::{PATIENCE, certs, within};

/// What a child wrote so far, line by line.
#[derive(Clone)]
pub struct Lines {
    lines: Arc<Mutex<Vec<String>>>,
    count: watch::Receiver<(usize, bool)>,
}

impl Lines {
    /// Follows `source` on a thread until it ends.
    pub fn follow(source: impl Read + Send + 'static) -> Lines {
        let (sender, count) = watch::channel((0, false));
        let lines = Arc::new(Mutex::new(Vec::new()));
        let ours = lines.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(source).lines().map_while(Result::ok) {
                let mut lines = ours.lock().expect("no panic while locked");
                lines.push(line);
                sender.send_replace((lines.len(), false));
            }
            sender.send_modify(|state| state.1 = true);
        });
        Lines { lines, count }
    }

    pub fn all(&self) -> Vec<String> {
        self.lines.lock().expect("no panic while locked").clone()
    }

    /// Waits for a line that `wanted` makes something of; `None` when the child ended without one.
    pub async fn find<T>(&self, mut wanted: impl FnMut(&str) -> Option<T>) -> Option<T> {
        let mut count = self.count.clone();
        let mut seen = 0;
        loop {
            let (_, ended) = *count.borrow_and_update();
            let lines = self.all();
            if let Some(found) = lines[seen..].iter().find_map(|line| wanted(line)) {
                return Some(found);
            }
            seen = lines.len();
            if ended {
                return None;
            }
            let _ = count.changed().await;
        }
    }

    pub async fn ended(&self) {
        let mut count = self.count.clone();
        let _ = count.wait_for(|(_, ended)| *ended).await;
    }
}

/// A directory with a config and everything the config names, and the gateway that serves it.
pub struct Gateway {
    child: Mutex<Child>,
    dir: Arc<TempDir>,
    listeners: Vec<(String, SocketAddr)>,
    pub admin: SocketAddr,
    pub stdout: Lines,
    pub stderr: Lines,
}

/// A run that did not come to `ready`.
#[derive(Debug)]
pub struct Failed {
    pub status: ExitStatus,
    pub stderr: String,
}

/// The directory every config of these tests is relative to.
pub fn directory(yaml: &str) -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let certs = dir.path().join("certs");
    std::fs::create_dir(&certs).expect("a fresh directory");
    let write = |name: &str, text: &str| std::fs::write(certs.join(name), text).expect("a file in our own directory");
    write("ca.pem", &certs::ca().pem);
    write("gateway.pem", &certs::server().cert);
    write("gateway.key", &certs::server().key);
    write("sso.jwks.json", &super::sso::jwks_text());
    std::fs::write(dir.path().join("routes.yaml"), yaml).expect("a file in our own directory");
    dir
}

impl Gateway {
    pub async fn start(yaml: &str) -> Gateway {
        Gateway::start_in(directory(yaml)).await
    }

    pub async fn start_in(dir: TempDir) -> Gateway {
        Gateway::try_start_in(Arc::new(dir)).await.unwrap_or_else(|f| panic!("the gateway did not start: {}", f.stderr))
    }

    /// Starts, or says with what status and words it ended.
    pub async fn try_start_in(dir: Arc<TempDir>) -> Result<Gateway, Failed> {
        Gateway::try_start_with(dir, &[]).await
    }

    /// With these variables in its environment.
    pub async fn try_start_with(dir: Arc<TempDir>, env: &[(&str, &str)]) -> Result<Gateway, Failed> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_darvazeh"))
            .args(["run", "--config"])
            .arg(dir.path().join("routes.yaml"))
            .env("DARVAZEH_WORKERS", "2")
            .envs(env.iter().copied())
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary can be run");
        let stdout = Lines::follow(child.stdout.take().expect("it is piped"));
        let stderr = Lines::follow(child.stderr.take().expect("it is piped"));
        let ready = within("the gateway to be ready", stderr.find(parse_ready)).await;
        let Some((listeners, admin)) = ready else {
            let status = child.wait().expect("a child can be awaited");
            return Err(Failed { status, stderr: stderr.all().join("\n") });
        };
        Ok(Gateway { child: Mutex::new(child), dir, listeners, admin, stdout, stderr })
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn config_file(&self) -> PathBuf {
        self.path().join("routes.yaml")
    }

    pub fn address(&self) -> SocketAddr {
        self.listeners.first().expect("there is a listener").1
    }

    pub fn address_of(&self, listener: &str) -> SocketAddr {
        let found = self.listeners.iter().find(|(name, _)| name == listener);
        found.unwrap_or_else(|| panic!("no listener {listener} in {:?}", self.listeners)).1
    }

    /// One request to the admin listener.
    pub async fn admin(&self, method: &str, path: &str) -> Message {
        let tcp = TcpStream::connect(self.admin).await.expect("the admin listener accepts");
        let mut wire = Wire::plain(tcp);
        let admin = self.admin;
        let request = format!("{method} {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
        wire.send(request).await.expect("the admin listener reads");
        wire.answer_to(method).await
    }

    pub async fn metrics(&self) -> Metrics {
        Metrics(self.admin("GET", "/metrics").await.text())
    }

    /// Asks for metrics until `wanted` holds: counters are written when a body has ended, a moment after the client has it.
    pub async fn metrics_when(&self, what: &str, wanted: impl Fn(&Metrics) -> bool) -> Metrics {
        let asked = async {
            loop {
                let metrics = self.metrics().await;
                if wanted(&metrics) {
                    return metrics;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(metrics) => metrics,
            Err(_) => panic!("never in the metrics: {what}\n{}", self.metrics().await.0),
        }
    }

    /// The access-log line of a request, found by its id.
    pub async fn log_of(&self, request_id: &str) -> Value {
        let found = self.stdout.find(|line| {
            let value: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("not JSON ({e}): {line}"));
            (value["request_id"] == request_id).then_some(value)
        });
        within("the access-log line", found).await.expect("the log ended without that line")
    }

    /// SIGTERM or another, by the child's own id.
    pub fn signal(&self, name: &str) {
        let id = self.child.lock().expect("no panic while locked").id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status().expect("kill can be run");
        assert!(status.success(), "kill -s {name} {id}");
    }

    /// Resident memory now (`VmRSS`).
    pub fn resident_kib(&self) -> u64 {
        let id = self.child.lock().expect("no panic while locked").id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux says so");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Waits for the end of the process.
    pub async fn exit(&self) -> ExitStatus {
        within("the gateway to end", async {
            self.stdout.ended().await;
            self.stderr.ended().await;
        })
        .await;
        self.child.lock().expect("no panic while locked").wait().expect("a child can be awaited")
    }

    /// SIGTERM, and the status it ends with.
    pub async fn stop(&self) -> ExitStatus {
        self.signal("TERM");
        self.exit().await
    }

    /// Stops, and starts again in the same directory.
    pub async fn restart(self) -> Gateway {
        assert!(self.stop().await.success());
        let dir = self.dir.clone();
        Gateway::try_start_in(dir).await.unwrap_or_else(|f| panic!("the gateway did not start again: {}", f.stderr))
    }

    /// Everything it ever wrote.
    pub fn output(&self) -> String {
        format!("{}\n{}", self.stdout.all().join("\n"), self.stderr.all().join("\n"))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        let _ = child.kill();
        let _ = child.wait();
        let output = self.output();
        if std::thread::panicking() {
            eprintln!("--- the gateway's output ---\n{output}");
        } else {
            assert!(!output.contains("panicked at"), "the gateway panicked:\n{output}");
        }
    }
}

/// `ready listeners=public=127.0.0.1:8443,other=… admin=127.0.0.1:9901`
pub fn parse_ready(line: &str) -> Option<(Vec<(String, SocketAddr)>, SocketAddr)> {
    let (listeners, admin) = line.split_once("ready listeners=")?.1.split_once(" admin=")?;
    let listener = |one: &str| one.split_once('=').map(|(n, a)| (n.to_owned(), a.parse().expect("an address")));
    let listeners = listeners.split(',').map(|one| listener(one).expect("name=address")).collect();
    Some((listeners, admin.trim().parse().expect("an address")))
}

/// Prometheus text.
#[derive(Debug)]
pub struct Metrics(pub String);

impl Metrics {
    /// The sum over all samples of `name` whose labels hold each of `labels` (`code="ok"`).
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let samples = self.samples(name);
        samples
            .filter(|(l, _)| labels.iter().all(|wanted| l.split(',').any(|one| one == *wanted)))
            .map(|(_, v)| v)
            .sum()
    }

    /// `(labels, value)` of each sample.
    pub fn samples<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.0.lines().filter_map(move |line| {
            let rest = line.strip_prefix(name)?;
            let (labels, value) = match rest.strip_prefix('{') {
                Some(rest) => rest.split_once("} ")?,
                None => ("", rest.strip_prefix(' ')?),
            };
            Some((labels, value.trim().parse().expect("a number")))
        })
    }
}
