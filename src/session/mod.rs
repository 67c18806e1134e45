//! Callers who logged in through the gateway: the state side of one login for every portal. Floor 2.
//!
//! ```text
//! Sessions ── known     decoded sessions of one worker: one look-up, no lock
//!    ├─────── cookies   found in a request, set in an answer, kept from agencies
//!    ├─────── memory    the store of one node
//!    ├─────── watch     long-lived streams learn that their session ended
//!    ╰─────── flight    one refresh at a time for each session
//! state                 what a session is; levels by time        id    what it is called, and filed under
//! ```
//!
//! It knows no SSO, no page and no route: the login's steps in `pipeline` are built on top. Whoever holds a [`Loaded`] has
//! a session that stands; which level it has is asked with the time.

mod cookies;
mod flight;
mod id;
mod known;
mod memory;
mod state;
mod stats;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;

pub use cookies::{Jar, SetCookies};
pub use flight::{Flight, Turn};
pub use known::{Known, Loaded};
pub use state::{Limits, MAX_CLAIMS, Session, Standing, Tokens};
pub use stats::{Ended, Stats};
pub use watch::Watch;

use crate::clock::UnixTime;
use crate::config::model;
use flight::Flights;
use id::{Id, Key};
use memory::Memory;
use watch::Watches;

/// The store cannot be asked: answer 503 and leave the caller's cookie as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreAway;

/// Whose sessions a message of the SSO ends (BL-9).
#[derive(Clone, Copy)]
pub enum Whose<'a> {
    Sid(&'a str),
    Sub(&'a str),
}

/// The sessions of this gateway. Shared by all workers; a reload makes a new one on the same store.
pub struct Sessions {
    jar: Jar,
    limits: Limits,
    grace: Duration,
    per_subject: usize,
    /// Which configuration it was made for: what a worker knows of another is looked up anew.
    epoch: u64,
    common: Arc<Common>,
}

/// What outlives a reload.
struct Common {
    memory: Memory,
    watches: Arc<Watches>,
    flights: Arc<Flights>,
    stats: Stats,
}

impl Sessions {
    /// `previous`: the one in force, whose sessions go on.
    ///
    /// # Errors
    /// Keys that cannot be read.
    pub fn new(settings: &model::Sessions, previous: Option<&Sessions>) -> Result<Sessions, String> {
        let max = match settings.store {
            model::SessionStore::Memory { max } => max as usize,
            model::SessionStore::Cookie => return Err("sessions.store: cookie is not there yet".to_owned()),
        };
        let common = match previous {
            Some(previous) => previous.common.clone(),
            None => Arc::new(Common {
                memory: Memory::new(max),
                watches: Arc::default(),
                flights: Arc::default(),
                stats: Stats::default(),
            }),
        };
        Ok(Sessions {
            jar: Jar::new(settings.cookie.clone()),
            limits: Limits::new(&settings.levels),
            grace: settings.grace,
            per_subject: settings.per_subject as usize,
            epoch: previous.map_or(0, |previous| previous.epoch + 1),
            common,
        })
    }

    /// The session of a request, if it brings one that stands. Waits only for a store that is elsewhere, at most a second.
    pub async fn load(&self, known: &Known, headers: &HeaderMap, now: UnixTime) -> Result<Option<Loaded>, StoreAway> {
        let Some(text) = self.jar.first(headers) else { return Ok(None) };
        let found = known.get(text, self.epoch).or_else(|| {
            let id = Id::parse(text)?;
            let record = self.common.memory.get(&id.filed())?;
            let session = record.session();
            Some(known.put(text, self.epoch, Loaded::new(id, session, self.limits, Some(record))))
        });
        let Some(loaded) = found else { return Ok(None) };
        if loaded.level_at(now) == crate::words::Level::NONE {
            self.over(&loaded.id().filed(), Ended::Expired);
            return Ok(None);
        }
        Ok(Some(loaded))
    }

    /// A session begins, under a new id, and the one it takes the place of is dead at once (RP-8). For each login and each
    /// step-up. `headers`: of the request, for stale cookies.
    pub async fn create(
        &self,
        session: Session,
        replaced: Option<&Loaded>,
        headers: &HeaderMap,
        now: UnixTime,
    ) -> Result<SetCookies, StoreAway> {
        let id = Id::draw();
        if let Some(replaced) = replaced {
            self.over(&replaced.id().filed(), Ended::Replaced);
        }
        let crowded = self.common.memory.insert(id.filed(), &session, &self.limits, self.per_subject, now);
        self.common.stats.created();
        for (key, reason) in crowded {
            self.common.stats.ended(reason);
            self.common.watches.announce(&key);
        }
        Ok(self.jar.set(&id.text(), Some(headers)).unwrap_or_default())
    }

    /// Keeps what changed in a session under the id it has: new tokens after a refresh.
    pub async fn save(
        &self,
        loaded: &Loaded,
        session: Session,
        _headers: &HeaderMap,
        _now: UnixTime,
    ) -> Result<SetCookies, StoreAway> {
        if let Some(record) = self.common.memory.get(&loaded.id().filed()) {
            record.replace(&session);
        }
        Ok(SetCookies::default())
    }

    /// The session is used: its levels are idle from now on. Cheap to call with each request; what it returns, if
    /// anything, is to be set with the answer.
    pub fn touch(&self, loaded: &Loaded, _headers: &HeaderMap, now: UnixTime) -> Option<SetCookies> {
        loaded.touch(now);
        None
    }

    /// The session ends here and now; its streams too, after their grace. The cookies to set clear the browser's.
    pub async fn end(
        &self,
        loaded: &Loaded,
        reason: Ended,
        headers: &HeaderMap,
        _now: UnixTime,
    ) -> Result<SetCookies, StoreAway> {
        self.over(&loaded.id().filed(), reason);
        Ok(self.jar.clear(headers))
    }

    /// The SSO ends sessions: the one of a `sid` (on every portal), or all of a `sub`. How many there were, as far as is
    /// known (BL-9, BL-11).
    pub async fn end_by(&self, issuer: &str, whose: Whose<'_>, _now: UnixTime) -> Result<usize, StoreAway> {
        let key = match whose {
            Whose::Sid(sid) => Key::sid(issuer, sid),
            Whose::Sub(sub) => Key::subject(issuer, sub),
        };
        let ended = match whose {
            Whose::Sid(_) => self.common.memory.remove_sid(&key),
            Whose::Sub(_) => self.common.memory.remove_subject(&key),
        };
        for _ in 0..ended {
            self.common.stats.ended(Ended::BySso);
        }
        self.common.watches.announce(&key);
        Ok(ended)
    }

    /// Clears the browser's cookies without a session.
    pub fn clear(&self, headers: &HeaderMap) -> SetCookies {
        self.jar.clear(headers)
    }

    /// Whose turn it is to use the session's refresh token. Of all that ask at once, on any worker, one gets
    /// [`Turn::Yours`]; the others wait until it is done and get [`Turn::Over`]: they load the session again.
    pub async fn refresh_turn(&self, loaded: &Loaded) -> Result<Turn, StoreAway> {
        Ok(self.common.flights.turn(loaded.id().filed()).await)
    }

    /// For a stream that was opened by a session for a route that demands `level`: learns that it may not go on.
    pub fn watch(&self, loaded: &Loaded, level: crate::words::Level, now: UnixTime) -> Watch {
        let session = loaded.session();
        let reached_at = session.standing(level).map_or(now, |standing| standing.reached_at);
        let left = self.limits.absolute_end(level, reached_at).saturating_sub(now);
        let keys = keys(loaded.id().filed(), session);
        Watches::watch(&self.common.watches, keys, Duration::from_secs(u64::try_from(left).unwrap_or(0)))
    }

    /// How long a stream may go on once its watch says so.
    pub fn grace(&self) -> Duration {
        self.grace
    }

    pub fn jar(&self) -> &Jar {
        &self.jar
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    pub fn stats(&self) -> &Stats {
        &self.common.stats
    }

    /// Sessions of this node; `None` where they are not on this node.
    pub fn open(&self) -> Option<usize> {
        Some(self.common.memory.len())
    }

    fn over(&self, key: &Key, reason: Ended) {
        if self.common.memory.remove(key) {
            self.common.stats.ended(reason);
            self.common.watches.announce(key);
        }
    }
}

/// What an end of this session may be announced under.
fn keys(filed: Key, session: &Session) -> Vec<Key> {
    let sid = session.sid.as_deref().map(|sid| Key::sid(&session.issuer, sid));
    [Some(filed), Some(Key::subject(&session.issuer, &session.sub)), sid].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests;
