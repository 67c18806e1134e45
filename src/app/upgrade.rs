//! Taking a new program into service without losing a connection: it is started beside this process, takes the same
//! listening sockets, and says when it accepts. Only then does this process drain; where the new one fails, nothing happened.
//!
//! The program is looked up by the name this one was started with, so that what lies there now is what starts, with the same
//! arguments and the same environment. It reads the configuration anew.

use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::notify::{Notify, WATCHDOG_PID};
use crate::admin::Control;
use crate::admin::upgrades::{Outcome, Wish};
use crate::listen::handoff::{Legacy, Line, PREDECESSOR, Purpose};

/// A start reads files and asks issuers for their keys; longer than this and somebody should look.
pub const LIMIT: Duration = Duration::from_secs(30);
/// A program that closes its end of the line is about to exit.
const EXIT: Duration = Duration::from_secs(1);

/// What to start, and how.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// The one that runs. To be called before the working directory or the file can have changed.
    pub fn current() -> io::Result<Program> {
        let mut arguments = std::env::args_os();
        let running = std::env::current_exe()?;
        let path = match arguments.next() {
            Some(name) => named(&name, &std::fs::metadata("/proc/self/exe")?).unwrap_or(running),
            None => running,
        };
        Ok(Program { path, arguments: arguments.collect() })
    }
}

/// Where the program of this name lies. Symbolic links are kept: it is they that an installation changes.
fn named(name: &OsStr, running: &Metadata) -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    if name.as_encoded_bytes().contains(&b'/') {
        // May have been replaced already: what lies there is still what was meant.
        return Some(here.join(name)).filter(|path| path.is_file());
    }
    let path = std::env::var_os("PATH")?;
    let mut found = std::env::split_paths(&path).map(|dir| here.join(dir).join(name));
    found.find(|path| std::fs::metadata(path).is_ok_and(|it| (it.dev(), it.ino()) == (running.dev(), running.ino())))
}

pub struct Upgrader {
    pub program: Program,
    /// From the start of the new program until it accepts.
    pub limit: Duration,
    pub control: Arc<Control>,
    /// Where the admin listener is, as the configuration that it was opened for has it.
    pub admin: Option<(std::net::SocketAddr, std::net::TcpListener)>,
    pub notify: Notify,
}

/// A process that serves in our place.
struct Successor {
    pid: u32,
    /// Open until all has been said that must be said before it says anything itself.
    _line: Line,
}

/// Another process accepts on our sockets. It is told to the world when [`let_go`](TakenOver::let_go) says that we do not.
#[derive(Debug)]
pub struct TakenOver(oneshot::Sender<()>);

impl TakenOver {
    pub fn let_go(self) {
        let _ = self.0.send(());
    }
}

/// One upgrade after the other, until one has succeeded.
pub async fn serve(
    upgrader: Arc<Upgrader>,
    mut wishes: mpsc::UnboundedReceiver<Wish>,
    taken_over: oneshot::Sender<TakenOver>,
) {
    let mut taken_over = Some(taken_over);
    while let Some(first) = wishes.recv().await {
        let mut waiting = vec![first];
        while let Ok(more) = wishes.try_recv() {
            waiting.push(more);
        }
        let attempt = {
            let upgrader = upgrader.clone();
            tokio::task::spawn_blocking(move || upgrader.attempt())
        };
        let Ok(attempt) = attempt.await else { continue };
        let (outcome, successor) = match attempt {
            Ok(successor) => (Outcome::TakenOver { pid: successor.pid }, Some(successor)),
            Err(outcome) => (outcome, None),
        };
        upgrader.control.upgrades.note(&outcome);
        if let Some(successor) = &successor {
            upgrader.notify.main_process(successor.pid);
            let (told, let_go) = oneshot::channel();
            if let Some(taken_over) = taken_over.take() {
                let _ = taken_over.send(TakenOver(told));
            }
            let _ = let_go.await;
        }
        match &outcome {
            Outcome::TakenOver { pid } => eprintln!("upgrade: process {pid} has taken over"),
            Outcome::Failed { why } | Outcome::TimedOut { why } => {
                eprintln!("error: upgrade: {why}; process {} goes on serving", std::process::id());
            }
        }
        for answer in waiting.into_iter().flatten() {
            let _ = answer.send(outcome.clone());
        }
        if successor.is_some() {
            return;
        }
    }
}

impl Upgrader {
    /// Blocks until the new program accepts, or has failed and is gone.
    fn attempt(&self) -> Result<Successor, Outcome> {
        let failed = |why: String| Outcome::Failed { why };
        if std::process::id() == 1 {
            return Err(failed(
                "this is process 1 of a container, which ends with it: start a new container".to_owned(),
            ));
        }
        let (line, theirs) = Line::new().map_err(|error| failed(error.to_string()))?;
        let path = self.program.path.display();
        let begun = Instant::now();
        let mut child =
            self.start(theirs.into()).map_err(|error| failed(format!("{path} cannot be started: {error}")))?;
        let heard = self.pass(&line).and_then(|()| line.wait(self.limit.saturating_sub(begun.elapsed())));
        match heard {
            Ok(()) if self.control.draining.load(Ordering::Relaxed) => {
                let _ = child.kill().and_then(|()| child.wait());
                Err(failed("this process was told to stop meanwhile".to_owned()))
            }
            Ok(()) => Ok(Successor { pid: child.id(), _line: line }),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let _ = child.kill().and_then(|()| child.wait());
                let why = format!("{path} was not ready within {} s and was killed", self.limit.as_secs_f32());
                Err(Outcome::TimedOut { why })
            }
            Err(_) => Err(failed(format!("{path} ended before it was ready: {}", end(&mut child)))),
        }
    }

    fn start(&self, line: Stdio) -> io::Result<Child> {
        Command::new(&self.program.path)
            .args(&self.program.arguments)
            .stdin(line)
            .env(PREDECESSOR, std::process::id().to_string())
            .env_remove("LISTEN_PID")
            .env_remove("LISTEN_FDS")
            .env_remove("LISTEN_FDNAMES")
            .env_remove(WATCHDOG_PID)
            .spawn()
    }

    fn pass(&self, line: &Line) -> io::Result<()> {
        for listener in self.control.listeners.load().iter() {
            line.pass(&Purpose::Listener(listener.name().to_string(), listener.asked), &listener.sockets()?)?;
        }
        if let Some((asked, socket)) = &self.admin {
            line.pass(&Purpose::Admin(*asked), std::slice::from_ref(socket))?;
        }
        let upgrades = self.control.upgrades.passed_on();
        line.pass_legacy(Legacy { has_keys: self.control.has_keys(), upgrades })
    }
}

/// How it ended; it is helped to end if it does not by itself.
#[expect(clippy::disallowed_methods, reason = "on a thread that is there to block")]
fn end(child: &mut Child) -> String {
    let until = Instant::now() + EXIT;
    let ended = loop {
        match child.try_wait() {
            Ok(None) if Instant::now() < until => sleep(EXIT / 50),
            Ok(None) => break child.kill().and_then(|()| child.wait()),
            Ok(Some(status)) => break Ok(status),
            Err(error) => break Err(error),
        }
    };
    ended.map_or_else(|error| error.to_string(), |status| status.to_string())
}
