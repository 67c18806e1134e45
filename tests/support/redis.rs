//! A real `redis-server` on a Unix socket in a directory of its own; killed, restarted and stopped by its id.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::within;

pub struct Redis {
    dir: TempDir,
    child: Child,
}

impl Redis {
    /// `None`, and says so, where no `redis-server` is installed; `tests/all` installs it.
    pub async fn start() -> Option<Redis> {
        if Command::new("redis-server").arg("--version").output().is_err() {
            eprintln!("skipped: redis-server is not installed");
            return None;
        }
        let dir = tempfile::tempdir().expect("a directory");
        let child = spawn(&dir.path().join("redis.sock"));
        let redis = Redis { dir, child };
        redis.ready().await;
        Some(redis)
    }

    pub fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("redis.sock")
    }

    async fn ready(&self) {
        let accepts = async {
            while UnixStream::connect(self.socket()).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        within("redis-server accepts", accepts).await;
    }

    /// Without a word to its clients.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(self.socket());
    }

    /// `STOP` and `CONT`: it hangs with its sockets open, and goes on.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let done = Command::new("kill").args(["-s", name, &id]).status();
        assert!(done.is_ok_and(|status| status.success()), "kill -s {name}");
    }

    pub async fn restart(&mut self) {
        self.child = spawn(&self.socket());
        self.ready().await;
    }

    /// What it answers to one command line, as it came over the wire.
    pub async fn ask(&self, line: &str) -> String {
        let mut stream = UnixStream::connect(self.socket()).await.expect("redis-server accepts");
        stream.write_all(format!("{line}\r\nQUIT\r\n").as_bytes()).await.expect("written");
        let mut answer = String::new();
        within("redis-server answers", stream.read_to_string(&mut answer)).await.expect("read");
        answer
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(socket: &std::path::Path) -> Child {
    Command::new("redis-server")
        .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
        .arg(socket)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server starts")
}
