//! Sessions that all nodes share, in a Redis: any node can end them, and a restart of a node loses none.
//!
//! What is stored is sealed and bound to its key, and what it is found by is a keyed digest: who reads the server learns
//! neither tokens nor who has a session. A stored session is a hash: `v` the session, `t` its use (written apart, so that it
//! never overwrites fresh tokens). `subject` and `sid` have a sorted set of ids each, by time of creation.
//!
//! Each end is appended to a stream that every node reads as it grows. A worker uses what it knows only while this node
//! has heard from the stream within the last second: an ended session is gone everywhere within that second, also when
//! the news cannot come through. One server or one with replicas: the scripts touch several keys, so no cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use redis::from_redis_value;
use tokio::runtime::Handle;

use super::StoreAway;
use super::hub::{Entries, HEARTBEAT, Hub, PATIENCE, read_stream};
use super::id::{Id, Key};
use super::pack::{pack, unpack};
use super::revoked::Revoked;
use super::seal::Sealer;
use super::state::{Limits, Session};
use super::watch::Watches;
use crate::chance;
use crate::clock::UnixTime;
use crate::config::model::RedisServer;
use crate::store::Store;
use crate::words::Level;

/// Silence after which what workers know counts for nothing.
const SILENCE: Duration = Duration::from_secs(1);
/// Ends that the stream holds: several minutes of a busy fleet, for a node that was cut off.
const STREAM: usize = 10_000;
/// Seconds until a worker looks again at a session it knows: how far `idle` may be behind what other nodes saw.
pub(super) const FRESH: i64 = 5;
const LOCK_POLL: Duration = Duration::from_millis(50);

const STREAM_KEY: &str = "darvazeh:ended";

/// Files a session and ends: the one it replaces, and the subject's oldest if there are too many. Returns how many of the
/// latter; -1 if the one it replaces is gone, or the SSO ended its subject or `sid` since the login began. KEYS: session,
/// subject, `sid` (or subject again), replaced (or session again), and for subject and `sid` when they ended. ARGV: value, TTL
/// in ms, created, id, bound, replaced id, stream, its length, the last end that came before the login.
const CREATE: &str = r"
if KEYS[4] ~= KEYS[1] and redis.call('EXISTS', KEYS[4]) == 0 then return -1 end
for _, over in ipairs({KEYS[5], KEYS[6]}) do
  local at = redis.call('GET', over)
  if at and tonumber(at) >= tonumber(ARGV[9]) then return -1 end
end
local function ended(id) redis.call('XADD', ARGV[7], 'MAXLEN', '~', ARGV[8], '*', 'k', id) end
redis.call('HSET', KEYS[1], 'v', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
if KEYS[4] ~= KEYS[1] then redis.call('DEL', KEYS[4]) ended(ARGV[6]) end
for _, index in ipairs({KEYS[2], KEYS[3]}) do
  redis.call('ZADD', index, ARGV[3], ARGV[4])
  if redis.call('PTTL', index) < tonumber(ARGV[2]) then redis.call('PEXPIRE', index, ARGV[2]) end
  for _, id in ipairs(redis.call('ZRANGE', index, 0, -1)) do
    if redis.call('EXISTS', 'darvazeh:session:' .. id) == 0 then redis.call('ZREM', index, id) end
  end
end
local count = 0
while redis.call('ZCARD', KEYS[2]) > tonumber(ARGV[5]) do
  local id = redis.call('ZPOPMIN', KEYS[2])[1]
  redis.call('DEL', 'darvazeh:session:' .. id)
  ended(id)
  count = count + 1
end
return count";

/// Ends one session. KEYS: session. ARGV: id, stream, its length.
const END: &str = r"
redis.call('XADD', ARGV[2], 'MAXLEN', '~', ARGV[3], '*', 'k', ARGV[1])
return redis.call('DEL', KEYS[1])";

/// Ends all of an index. KEYS: index, when it ended. ARGV: stream, its length, now, seconds for which that is remembered or 0.
const END_ALL: &str = r"
if tonumber(ARGV[4]) > 0 then redis.call('SET', KEYS[2], ARGV[3], 'EX', ARGV[4]) end
local count = 0
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  count = count + redis.call('DEL', 'darvazeh:session:' .. id)
  redis.call('XADD', ARGV[1], 'MAXLEN', '~', ARGV[2], '*', 'k', id)
end
redis.call('DEL', KEYS[1])
return count";

/// Writes one field of a session that is still there. KEYS: session. ARGV: field, value, and for fresh tokens: id, stream,
/// its length.
const WRITE: &str = r"
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
if ARGV[3] then redis.call('XADD', ARGV[4], 'MAXLEN', '~', ARGV[5], '*', 'k', ARGV[3]) end
return 1";

/// Gives a lock up, if it is still the one that was taken. KEYS: lock. ARGV: mark.
const UNLOCK: &str = r"
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0";

pub(super) struct Shared {
    pub(super) hub: Arc<Hub>,
    control: Handle,
    pub(super) revoked: Arc<Revoked>,
    heard: Arc<Heard>,
    reader: tokio::task::AbortHandle,
}

/// When the stream was heard last.
struct Heard {
    since: Instant,
    /// Milliseconds since then, and one; 0: never.
    at: AtomicU64,
}

impl Heard {
    fn now(&self) {
        self.at.store(self.since.elapsed().as_millis() as u64 + 1, Ordering::Release);
    }

    fn is_recent(&self) -> bool {
        let at = self.at.load(Ordering::Acquire);
        at > 0 && self.since.elapsed().as_millis() as u64 + 1 - at < SILENCE.as_millis() as u64
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Shared {
    /// Errors: roots that cannot be used.
    pub(super) fn open(model: &RedisServer, watches: &Arc<Watches>, control: &Handle) -> Result<Shared, String> {
        let hub = Hub::open(model, "callers who logged in get 503 and keep their cookies", control)?;
        let _on_control = control.enter();
        let revoked = Arc::new(Revoked::new(0));
        let heard = Arc::new(Heard { since: Instant::now(), at: AtomicU64::new(0) });
        let reading = read(hub.line(), revoked.clone(), watches.clone(), heard.clone());
        let reader = control.spawn(reading).abort_handle();
        Ok(Shared { hub, control: control.clone(), revoked, heard, reader })
    }

    /// Whether what workers know may be used.
    pub(super) fn is_heard(&self) -> bool {
        self.heard.is_recent()
    }

    pub(super) async fn load(&self, sealer: &Sealer, id: &Id) -> Result<Option<Session>, StoreAway> {
        let key = id.filed();
        let mut cmd = redis::cmd("HMGET");
        cmd.arg(session_key(&key)).arg("v").arg("t");
        let (value, used): (Option<Vec<u8>>, Option<Vec<u8>>) = self.hub.ask(&cmd).await?;
        let open = |purpose: &str, sealed| sealer.open(&bound(purpose, &key), sealed);
        let Some(mut session) = value.and_then(|value| unpack(&open("session", value)?)) else { return Ok(None) };
        if let Some(used) = used.and_then(|used| open("used", used))
            && let Some((seen, gone)) = used.split_first_chunk::<8>()
        {
            session.seen = session.seen.max(UnixTime::from_be_bytes(*seen));
            session.forget(gone.first().copied().unwrap_or(0));
        }
        Ok(Some(session))
    }

    /// How many sessions of the subject had to go. `None`: it did not begin, since the SSO ended it at or behind `since`, or
    /// since `replaced` is gone.
    pub(super) async fn create(
        &self,
        sealer: &Sealer,
        id: &Id,
        session: &Session,
        replaced: Option<&Id>,
        (limits, per_subject, since, now): (&Limits, usize, UnixTime, UnixTime),
    ) -> Result<Option<usize>, StoreAway> {
        let key = id.filed();
        let subject = sealer.blind(&Key::subject(&session.issuer, &session.sub));
        let sid = session.sid.as_deref().map_or(subject, |sid| sealer.blind(&Key::sid(&session.issuer, sid)));
        let replaced = replaced.map(Id::filed).unwrap_or(key);
        let left = session.absolute_end(limits).saturating_sub(now).max(1).saturating_mul(1000);
        let mut cmd = redis::cmd("EVAL");
        cmd.arg(CREATE).arg(6).arg(session_key(&key)).arg(index_key(&subject)).arg(index_key(&sid));
        cmd.arg(session_key(&replaced)).arg(over_key(&subject)).arg(over_key(&sid));
        cmd.arg(sealer.seal(&bound("session", &key), &pack(session))).arg(left);
        cmd.arg(session.created)
            .arg(text(&key))
            .arg(per_subject.max(1))
            .arg(text(&replaced))
            .arg(STREAM_KEY)
            .arg(STREAM)
            .arg(since);
        Ok(usize::try_from(self.hub.ask::<i64>(&cmd).await?).ok())
    }

    /// Keeps fresh tokens, and tells every node that what it knows is old.
    pub(super) async fn save(&self, sealer: &Sealer, id: &Id, session: &Session) -> Result<(), StoreAway> {
        let key = id.filed();
        let mut cmd = redis::cmd("EVAL");
        cmd.arg(WRITE).arg(1).arg(session_key(&key)).arg("v").arg(sealer.seal(&bound("session", &key), &pack(session)));
        // `~`: no end, only news.
        cmd.arg(format!("~{}", text(&key))).arg(STREAM_KEY).arg(STREAM);
        self.hub.ask::<i64>(&cmd).await?;
        self.revoked.tell(key);
        Ok(())
    }

    /// In the background: nobody waits for it, and one that is lost costs a little idle time.
    pub(super) fn touch(&self, sealer: &Sealer, id: &Id, session: &Session) {
        let key = id.filed();
        let used = [&session.seen.to_be_bytes()[..], &[session.gone()]].concat();
        let mut cmd = redis::cmd("EVAL");
        cmd.arg(WRITE).arg(1).arg(session_key(&key)).arg("t").arg(sealer.seal(&bound("used", &key), &used));
        let store = self.hub.store().clone();
        self.control.spawn(async move { drop(store.ask(&cmd, PATIENCE).await) });
    }

    pub(super) async fn end(&self, id: &Id) -> Result<bool, StoreAway> {
        let key = id.filed();
        let mut cmd = redis::cmd("EVAL");
        cmd.arg(END).arg(1).arg(session_key(&key)).arg(text(&key)).arg(STREAM_KEY).arg(STREAM);
        let ended: usize = self.hub.ask(&cmd).await?;
        self.revoked.tell(key);
        Ok(ended > 0)
    }

    /// `key`: of a subject or a `sid`. Looked for under every key that may have filed it. `known_for`: seconds for which logins
    /// that were under way hear of it.
    pub(super) async fn end_all(
        &self,
        sealer: &Sealer,
        key: &Key,
        known_for: i64,
        now: UnixTime,
    ) -> Result<usize, StoreAway> {
        let mut ended = 0;
        for blind in sealer.blinds(key) {
            let mut cmd = redis::cmd("EVAL");
            cmd.arg(END_ALL).arg(2).arg(index_key(&blind)).arg(over_key(&blind));
            cmd.arg(STREAM_KEY).arg(STREAM).arg(now).arg(known_for);
            ended += self.hub.ask::<usize>(&cmd).await?;
        }
        self.revoked.tell(*key);
        Ok(ended)
    }

    /// The turn among nodes; `None`: another node had it, and its turn is over. `longest`: the lock of a node that died ends.
    pub(super) async fn lock(
        &self,
        key: &Key,
        longest: Duration,
    ) -> Result<Option<Box<dyn FnOnce() + Send>>, StoreAway> {
        let name = format!("darvazeh:refresh:{}", text(key));
        let mark = chance::bits().to_be_bytes().to_vec();
        let mut take = redis::cmd("SET");
        take.arg(&name).arg(&mark).arg("NX").arg("PX").arg(longest.as_millis() as u64);
        if self.hub.ask::<Option<String>>(&take).await?.is_some() {
            let mut give = redis::cmd("EVAL");
            give.arg(UNLOCK).arg(1).arg(&name).arg(mark);
            let (store, control) = (self.hub.store().clone(), self.control.clone());
            return Ok(Some(Box::new(move || {
                control.spawn(async move { drop(store.ask(&give, PATIENCE).await) });
            })));
        }
        let mut look = redis::cmd("EXISTS");
        look.arg(&name);
        let until = Instant::now() + longest;
        while self.hub.ask::<i64>(&look).await? == 1 && Instant::now() < until {
            tokio::time::sleep(LOCK_POLL).await;
        }
        // What this node knows is older than what the other one saved.
        self.revoked.tell(*key);
        Ok(None)
    }
}

/// Reads of ends as they come, for as long as the process lives.
async fn read(store: Store, revoked: Arc<Revoked>, watches: Arc<Watches>, heard: Arc<Heard>) {
    let mut last: Option<String> = None;
    loop {
        let Ok(news) = next(&store, &mut last).await else {
            tokio::time::sleep(HEARTBEAT / 3).await;
            continue;
        };
        if !heard.is_recent() {
            // What came in between may have left the stream already.
            revoked.tell_all();
        }
        for (is_end, key) in news {
            revoked.tell(key);
            if is_end {
                watches.announce(&key);
            }
        }
        heard.now();
    }
}

/// The next ends; none after a heartbeat without any.
async fn next(store: &Store, last: &mut Option<String>) -> Result<Vec<(bool, Key)>, ()> {
    let Some(seen) = last else {
        let mut cmd = redis::cmd("XREVRANGE");
        cmd.arg(STREAM_KEY).arg("+").arg("-").arg("COUNT").arg(1);
        let newest: Entries = from_redis_value(store.ask(&cmd, PATIENCE).await.map_err(drop)?).map_err(drop)?;
        *last = Some(newest.into_iter().next().map_or_else(|| "0-0".to_owned(), |(id, _)| id));
        return Ok(Vec::new());
    };
    let entries = read_stream(store, STREAM_KEY, seen, 1000).await?;
    if let Some((id, _)) = entries.last() {
        *seen = id.clone();
    }
    Ok(entries.iter().filter_map(|(_, fields)| told(fields.get(1)?)).collect())
}

fn told(text: &[u8]) -> Option<(bool, Key)> {
    let (is_end, text) = text.strip_prefix(b"~").map_or((true, text), |text| (false, text));
    let key: [u8; 16] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
    Some((is_end, Key::from_bytes(key)))
}

fn text(key: &Key) -> String {
    URL_SAFE_NO_PAD.encode(key.bytes())
}

fn session_key(key: &Key) -> String {
    format!("darvazeh:session:{}", text(key))
}

fn index_key(blind: &Key) -> String {
    format!("darvazeh:index:{}", text(blind))
}

fn over_key(blind: &Key) -> String {
    format!("darvazeh:over:{}", text(blind))
}

/// Bound to its place: what is moved to another key opens nowhere.
fn bound(purpose: &str, key: &Key) -> Vec<u8> {
    [purpose.as_bytes(), b":", key.bytes()].concat()
}

impl Session {
    /// Bits of the levels it has not, or no more.
    fn gone(&self) -> u8 {
        let missing = |at: &usize| self.standings[*at].is_none();
        (0..self.standings.len()).filter(missing).fold(0, |bits, at| bits | 2 << at)
    }

    fn forget(&mut self, gone: u8) {
        for level in [Level::ONE, Level::TWO, Level::THREE] {
            if gone & (1 << level.number()) != 0 {
                self.standings[usize::from(level.number()) - 1] = None;
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
