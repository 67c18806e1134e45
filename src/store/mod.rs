//! State that the nodes share: one Redis (6 or later, or what speaks its protocol) as the config names it. Floor 1.
//!
//! A [`Store`] is one connection, on which requests that come at once are pipelined. Each worker opens its own, so that
//! nothing is locked and no thread is woken; it lives on the runtime that it was opened on. While the server is away it
//! says so at once instead of making each request wait, and comes back by itself. It knows nothing of what is kept there,
//! nor what to do without: both are its callers' (`limit`, for shared rates).

mod server;
mod stream;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, ErrorKind, RedisError, ServerErrorKind, Value};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

pub use self::server::Server;
use crate::chance;

/// Time for a connection to be made: TCP, TLS, password and a first answer.
const CONNECT: Duration = Duration::from_secs(1);
/// Between two tries, doubled each time; up to half as much again is added, so that nodes do not come all at once.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// Answers missed in a row until a connection counts as dead: one may be a hiccup, and every further one is a request's wait.
const MISSES: u32 = 3;
/// Requests that may wait for an answer at once; what comes beyond waits for its turn, within its time.
const PIPELINE: usize = 1024;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// There is no connection; another is being made. Nothing was sent.
    Away,
    /// Not within the time. It may have been done all the same.
    Late,
    /// The server refused, or the connection broke. It may have been done in the latter case.
    Failed,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Missing::Away => "the store is away",
            Missing::Late => "the store did not answer in time",
            Missing::Failed => "the store could not do it",
        })
    }
}

/// A Lua script that the server knows by its SHA-1 once it has seen it.
pub struct Script {
    text: &'static str,
    sha1: String,
}

impl Script {
    pub fn new(text: &'static str) -> Script {
        Script { text, sha1: redis::Script::new(text).get_hash().to_owned() }
    }

    /// The call of the script on one key. Further arguments are added to it.
    fn call(&self, key: &[u8], arguments: &[i64], known: bool) -> Cmd {
        let mut cmd = redis::cmd(if known { "EVALSHA" } else { "EVAL" });
        cmd.arg(if known { &self.sha1 } else { self.text }).arg(1).arg(key).arg(arguments);
        cmd
    }
}

/// One connection to a [`Server`]. Clones share it; it closes when the last of them is dropped.
#[derive(Clone)]
pub struct Store(Arc<Held>);

struct Held {
    line: Arc<Line>,
    keeper: AbortHandle,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// What the keeper and the askers share.
#[derive(Default)]
struct Line {
    connection: ArcSwapOption<MultiplexedConnection>,
    missed: AtomicU32,
    stuck: Notify,
}

impl Line {
    /// An answer over `held` was missed. What was asked of a connection that was left already says nothing of the next.
    fn miss(&self, held: &Arc<MultiplexedConnection>) {
        let is_current = self.connection.load().as_ref().is_some_and(|current| Arc::ptr_eq(current, held));
        if is_current && self.missed.fetch_add(1, Ordering::Relaxed) + 1 >= MISSES {
            // At once, not when the keeper comes to it: whoever asks next must not wait.
            let left = self.connection.compare_and_swap(held, None);
            if left.as_ref().is_some_and(|left| Arc::ptr_eq(left, held)) {
                self.stuck.notify_one();
            }
        }
    }
}

impl Store {
    /// Begins to connect, and keeps connected. Must be called on a tokio runtime; costs nothing but a task until the
    /// connection is there.
    pub fn open(server: Arc<Server>) -> Store {
        let line = Arc::new(Line::default());
        let keeper = tokio::spawn(keep(server, line.clone())).abort_handle();
        Store(Arc::new(Held { line, keeper }))
    }

    /// Whether there is a connection at this moment.
    pub fn is_up(&self) -> bool {
        self.0.line.connection.load().is_some()
    }

    /// Asks one command, for no longer than `limit`. Cancel: the command may have been done.
    pub async fn ask(&self, cmd: &Cmd, limit: Duration) -> Result<Value, Missing> {
        self.send(cmd, limit).await.map_err(|(missing, _)| missing)
    }

    /// Runs a script on one key: one round trip, but for the first time after the server has forgotten it. It must be
    /// written so that `limit` passing in the middle does no harm.
    pub async fn run(&self, script: &Script, key: &[u8], arguments: &[i64], limit: Duration) -> Result<Value, Missing> {
        let begun = Instant::now();
        match self.send(&script.call(key, arguments, true), limit).await {
            Err((_, Some(error))) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.ask(&script.call(key, arguments, false), limit.saturating_sub(begun.elapsed())).await
            }
            other => other.map_err(|(missing, _)| missing),
        }
    }

    async fn send(&self, cmd: &Cmd, limit: Duration) -> Result<Value, (Missing, Option<RedisError>)> {
        let line = &self.0.line;
        let Some(held) = line.connection.load_full() else { return Err((Missing::Away, None)) };
        let mut connection = MultiplexedConnection::clone(&held);
        match timeout(limit, connection.send_packed_command(cmd)).await {
            Ok(Ok(value)) => {
                line.missed.store(0, Ordering::Relaxed);
                value.extract_error().map_err(|error| (Missing::Failed, Some(error)))
            }
            Ok(Err(error)) => Err((Missing::Failed, Some(error))),
            Err(_) => {
                line.miss(&held);
                Err((Missing::Late, None))
            }
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("up", &self.is_up()).finish()
    }
}

/// Connects, waits for the end of the connection, and begins again.
async fn keep(server: Arc<Server>, line: Arc<Line>) {
    let seat = server.seat();
    let mut wait = FIRST_WAIT;
    loop {
        let begun = Instant::now();
        let why = match timeout(CONNECT, connect(&server)).await {
            Ok(Ok((connection, driver))) => {
                line.missed.store(0, Ordering::Relaxed);
                line.connection.store(Some(Arc::new(connection)));
                let _up = seat.up();
                let why = tokio::select! {
                    biased;
                    () = line.stuck.notified() => "it does not answer in time",
                    () = driver => "the connection broke",
                };
                line.connection.store(None);
                why.to_owned()
            }
            Ok(Err(why)) => why,
            Err(_) => "no connection could be made in time".to_owned(),
        };
        seat.away(&why);
        if begun.elapsed() > LONGEST_WAIT {
            wait = FIRST_WAIT;
        }
        let jitter = wait.as_millis() as u64 / 2 + 1;
        sleep(wait + Duration::from_millis(chance::bits() as u64 % jitter)).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

type Connected = (MultiplexedConnection, std::pin::Pin<Box<dyn Future<Output = ()> + Send>>);

/// Errors: why not, for the log; no secret is in it.
async fn connect(server: &Server) -> Result<Connected, String> {
    let stream = stream::open(server).await?;
    let config = AsyncConnectionConfig::new().set_response_timeout(None).set_pipeline_buffer_size(PIPELINE);
    let made = MultiplexedConnection::new_with_config(&server.login(), stream, config).await;
    let (mut connection, driver) = made.map_err(|error| told(&error))?;
    let mut driver = Box::pin(driver);
    // Without a password nothing was said yet, and a system accepts connections for a server that hangs.
    let ping = redis::cmd("PING");
    tokio::select! {
        answer = connection.send_packed_command(&ping) => {
            answer.and_then(Value::extract_error).map_err(|error| told(&error))?;
        }
        () = &mut driver => return Err("the connection broke".to_owned()),
    }
    Ok((connection, driver))
}

/// What a server says may be long, and of several lines.
fn told(error: &RedisError) -> String {
    error.to_string().chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests;
