//! The gateway as an installed service: a symbolic link that names its program, and processes that follow each other.

use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;

use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::support::gateway::{Lines, Metrics, directory, parse_ready};
use crate::support::wire::{Message, Wire};
use crate::support::within;

const REAL: &str = env!("CARGO_BIN_EXE_darvazeh");

pub struct Service {
    dir: TempDir,
    first: Mutex<Child>,
    /// Processes that took over, in their order.
    successors: Mutex<Vec<u32>>,
    pub address: SocketAddr,
    pub admin: SocketAddr,
    /// Of all processes: they inherit it from each other.
    pub stderr: Lines,
}

/// A directory with a configuration, and the program beside it.
pub fn installed(yaml: &str) -> TempDir {
    let dir = directory(yaml);
    symlink(REAL, dir.path().join("darvazeh")).expect("a fresh directory");
    dir
}

/// `darvazeh run` of what is [`installed`] there.
pub fn command(dir: &TempDir) -> Command {
    let mut command = Command::new(dir.path().join("darvazeh"));
    command.args(["run", "--config"]).arg(dir.path().join("routes.yaml"));
    quiet(&mut command, dir);
    command
}

/// What every start has in common, whoever starts it.
pub fn quiet(command: &mut Command, dir: &TempDir) {
    command.env("DARVAZEH_REAL", REAL).current_dir(dir.path()).stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(Stdio::piped());
}

impl Service {
    pub async fn start(yaml: &str) -> Service {
        let dir = installed(yaml);
        let command = command(&dir);
        Service::start_by(dir, command).await
    }

    pub async fn start_by(dir: TempDir, mut command: Command) -> Service {
        let mut child = command.spawn().expect("the program can be run");
        let stderr = Lines::follow(child.stderr.take().expect("it is piped"));
        let Some((listeners, admin)) = within("the gateway to be ready", stderr.find(parse_ready)).await else {
            let _ = child.wait();
            panic!("it did not start: {:?}", stderr.all());
        };
        let (first, successors, address) = (Mutex::new(child), Mutex::default(), listeners[0].1);
        Service { dir, first, successors, address, admin, stderr }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn configure(&self, yaml: &str) {
        std::fs::write(self.path().join("routes.yaml"), yaml).expect("our own directory");
    }

    /// Another program is installed under the same name, as package managers do it: by renaming over it.
    pub fn install(&self, program: &str) {
        let programs = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/restart/programs");
        let target = if program == "darvazeh" { REAL.into() } else { programs.join(program) };
        let new = self.path().join("new");
        symlink(target, &new).expect("our own directory");
        std::fs::rename(new, self.path().join("darvazeh")).expect("our own directory");
    }

    /// The process that serves.
    pub fn pid(&self) -> u32 {
        let last = self.successors.lock().expect("no panic while locked").last().copied();
        last.unwrap_or_else(|| self.first.lock().expect("no panic while locked").id())
    }

    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().expect("kill can be run").success());
    }

    /// Waits for the `n`th takeover; the process that serves since.
    pub async fn taken_over(&self, n: usize) -> u32 {
        let mut seen = 0;
        let found = self.stderr.find(|line| {
            let pid = line.strip_prefix("upgrade: process ")?.strip_suffix(" has taken over")?;
            seen += 1;
            (seen == n).then(|| pid.parse().expect("a process id"))
        });
        let pid = within("the new program to take over", found).await.expect("the log ended before");
        let mut successors = self.successors.lock().expect("no panic while locked");
        if successors.len() < n {
            successors.push(pid);
        }
        pid
    }

    /// SIGUSR2, and the process that serves after it.
    pub async fn upgrade(&self) -> u32 {
        let n = self.successors.lock().expect("no panic while locked").len() + 1;
        self.signal("USR2");
        self.taken_over(n).await
    }

    /// Waits until so many processes have ended well.
    pub async fn drained(&self, count: usize) {
        let mut seen = 0;
        let found = self.stderr.find(|line| {
            seen += usize::from(line == "drained");
            (seen == count).then_some(())
        });
        within("the old program to end", found).await.expect("the log ended before");
    }

    /// Waits for a line that contains `text`.
    pub async fn says(&self, text: &str) -> String {
        let found = self.stderr.find(|line| line.contains(text).then(|| line.to_owned()));
        within(text, found).await.unwrap_or_else(|| panic!("never said: {text}"))
    }

    /// `darvazeh upgrade` with these arguments, to its end.
    pub async fn cli(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(REAL);
        command.arg("upgrade").args(arguments);
        tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("it can be run")
    }

    pub async fn admin(&self, method: &str, path: &str) -> Message {
        let mut wire = Wire::plain(TcpStream::connect(self.admin).await.expect("the admin listener accepts"));
        let request = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.admin);
        wire.send(request).await.expect("the admin listener reads");
        wire.answer().await
    }

    pub async fn metrics(&self) -> Metrics {
        Metrics(self.admin("GET", "/metrics").await.text())
    }

    pub async fn upgrades(&self, outcome: &str) -> f64 {
        self.metrics().await.sum("darvazeh_upgrades_total", &[&format!("outcome=\"{outcome}\"")])
    }
}

/// True while there is a process of this id that has to do with `dir`.
pub fn runs(pid: u32, dir: &Path) -> bool {
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&command).contains(&*dir.to_string_lossy())
}

impl Drop for Service {
    fn drop(&mut self) {
        let first = self.first.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        let _ = first.kill();
        let _ = first.wait();
        for pid in self.successors.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner) {
            // One that has ended may have left its number to a stranger.
            if runs(*pid, self.dir.path()) {
                let _ = Command::new("kill").args(["-s", "KILL", &pid.to_string()]).status();
            }
        }
        let output = self.stderr.all().join("\n");
        if std::thread::panicking() {
            eprintln!("--- the gateway's output ---\n{output}");
        } else {
            assert!(!output.contains("panicked at"), "the gateway panicked:\n{output}");
        }
    }
}
