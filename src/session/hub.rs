//! The Redis behind sessions, as all that use it see it: one connection of the control runtime, and patience of its own.
//!
//! Besides what the stores ask of it, it keeps what a login needs at whichever node the browser comes back to: that a value
//! was used, and forms that wait for a step-up, which are sealed before they come here. Used by `shared`, `ledger`, and
//! through `Sessions::hub` by the login's steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::{Cmd, FromRedisValue, Value, from_redis_value};
use tokio::runtime::Handle;

use super::StoreAway;
use crate::config::model::RedisServer;
use crate::store::{Server, Store};

/// Two questions in a row still leave a caller waiting for less than a second.
pub(super) const PATIENCE: Duration = Duration::from_millis(400);
/// A reader of a stream says at least this often that it still listens.
pub(super) const HEARTBEAT: Duration = Duration::from_millis(300);

/// Gives a value and takes it away. KEYS: it. (GETDEL is of Redis 6.2.)
const TAKE: &str = r"
local value = redis.call('GET', KEYS[1])
redis.call('DEL', KEYS[1])
return value";

pub struct Hub {
    model: RedisServer,
    server: Arc<Server>,
    store: Store,
    failures: AtomicU64,
}

impl Hub {
    /// `without`: what becomes of callers while it is away, for the log. Errors: roots that cannot be used.
    pub(super) fn open(model: &RedisServer, without: &'static str, control: &Handle) -> Result<Arc<Hub>, String> {
        let server = Server::new(model.clone(), without)?;
        let _on_control = control.enter();
        let store = Store::open(server.clone());
        Ok(Arc::new(Hub { model: model.clone(), server, store, failures: AtomicU64::new(0) }))
    }

    pub(super) fn is_at(&self, model: &RedisServer) -> bool {
        self.model == *model
    }

    /// A connection of its own, for who waits on it. On a tokio runtime.
    pub(super) fn line(&self) -> Store {
        Store::open(self.server.clone())
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    pub(super) fn is_up(&self) -> bool {
        self.server.is_up()
    }

    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    pub(super) async fn ask<T: FromRedisValue>(&self, cmd: &Cmd) -> Result<T, StoreAway> {
        let answer = self.store.ask(cmd, PATIENCE).await.ok().and_then(|value| from_redis_value(value).ok());
        answer.ok_or_else(|| {
            self.failures.fetch_add(1, Ordering::Relaxed);
            StoreAway
        })
    }

    /// Whether no node has seen `name` within the last `seconds` of its time. `name`: says nothing to who reads it.
    pub async fn is_first(&self, name: &str, seconds: i64) -> Result<bool, StoreAway> {
        let mut cmd = redis::cmd("SET");
        cmd.arg(once(name)).arg("").arg("NX").arg("EX").arg(seconds.max(1));
        Ok(self.ask::<Option<String>>(&cmd).await?.is_some())
    }

    /// Then some node may see it first again. A server that is away has not heard of it either.
    pub async fn forget(&self, name: &str) {
        let mut cmd = redis::cmd("DEL");
        cmd.arg(once(name));
        drop(self.ask::<Value>(&cmd).await);
    }

    /// Keeps what is sealed already, for any node to find by `name`.
    pub async fn keep(&self, name: &str, sealed: &[u8], seconds: i64) -> Result<(), StoreAway> {
        let mut cmd = redis::cmd("SET");
        cmd.arg(kept(name)).arg(sealed).arg("EX").arg(seconds.max(1));
        self.ask::<Value>(&cmd).await.map(drop)
    }

    /// Lets go of what was kept. A server that is away lets go by itself when its time is over.
    pub async fn drop_kept(&self, name: &str) {
        let mut cmd = redis::cmd("DEL");
        cmd.arg(kept(name));
        drop(self.ask::<Value>(&cmd).await);
    }

    pub async fn look(&self, name: &str) -> Result<Option<Vec<u8>>, StoreAway> {
        let mut cmd = redis::cmd("GET");
        cmd.arg(kept(name));
        self.ask(&cmd).await
    }

    /// Of two that take it at once, one gets it.
    pub async fn take(&self, name: &str) -> Result<Option<Vec<u8>>, StoreAway> {
        let mut cmd = redis::cmd("EVAL");
        cmd.arg(TAKE).arg(1).arg(kept(name));
        self.ask(&cmd).await
    }
}

fn once(name: &str) -> String {
    format!("darvazeh:once:{name}")
}

fn kept(name: &str) -> String {
    format!("darvazeh:form:{name}")
}

/// Ids and fields of a stream's entries.
pub(super) type Entries = Vec<(String, Vec<Vec<u8>>)>;

/// What came into a stream behind `seen`, at most `count`; none after a heartbeat without any.
pub(super) async fn read_stream(store: &Store, key: &str, seen: &str, count: usize) -> Result<Entries, ()> {
    let mut cmd = redis::cmd("XREAD");
    cmd.arg("COUNT").arg(count).arg("BLOCK").arg(HEARTBEAT.as_millis() as u64).arg("STREAMS").arg(key).arg(seen);
    let answer = store.ask(&cmd, HEARTBEAT + PATIENCE).await.map_err(drop)?;
    if answer == Value::Nil {
        return Ok(Vec::new());
    }
    let streams: Vec<(String, Entries)> = from_redis_value(answer).map_err(drop)?;
    Ok(streams.into_iter().flat_map(|(_, entries)| entries).collect())
}
