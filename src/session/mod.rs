//! Callers who logged in through the gateway: the state side of one login for every portal. Floor 2.
//!
//! ```text
//! Sessions ── known     decoded sessions of one worker: one look-up, no lock
//!    ├─────── cookies   found in a request, set in an answer, kept from agencies
//!    ├─────── memory    the store of one node          pack    a session as few bytes
//!    ├─────── sealed    the store of browsers           seal    under keys that rotate       revoked   what ended
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
mod pack;
mod revoked;
mod seal;
mod sealed;
mod state;
mod stats;
mod watch;

use std::cell::Cell;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use http::HeaderMap;
use tokio::runtime::Handle;

pub use cookies::{Jar, SetCookies};
pub use flight::{Flight, Turn};
pub use known::{Known, Loaded};
pub use seal::{OVERHEAD, Sealer};
pub use state::{Limits, MAX_CLAIMS, MAX_TEXT, Session, Standing, Tokens};
pub use stats::{Ended, Stats};
pub use watch::Watch;

use crate::clock::{Clock, UnixTime};
use crate::config::model;
use crate::words::Level;
use flight::Flights;
use id::{Id, Key};
use known::Kept;
use memory::Memory;
use sealed::{Opened, Sealed};
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
    /// Seconds between two writes of a session's use to a store elsewhere.
    touch_every: i64,
    /// Which configuration it was made for: what a worker knows of another is looked up anew.
    epoch: u64,
    sealer: Sealer,
    common: Arc<Common>,
}

/// What outlives a reload.
struct Common {
    store: Store,
    watches: Arc<Watches>,
    flights: Arc<Flights>,
    stats: Stats,
}

enum Store {
    Memory(Memory),
    Sealed(Sealed),
}

impl Store {
    fn new(settings: &model::SessionStore) -> Store {
        match settings {
            model::SessionStore::Memory { max } => Store::Memory(Memory::new(*max as usize)),
            model::SessionStore::Cookie => Store::Sealed(Sealed::new()),
        }
    }

    /// Whether it is the store that the settings name, so that sessions go on; if so it is adjusted to them.
    fn is_still(&self, settings: &model::SessionStore) -> bool {
        match (self, settings) {
            (Store::Memory(memory), model::SessionStore::Memory { max }) => {
                memory.resize(*max as usize);
                true
            }
            (Store::Sealed(_), model::SessionStore::Cookie) => true,
            _ => false,
        }
    }
}

impl Sessions {
    /// `previous`: the one in force, whose sessions go on if the store is still the same. `state_dir`: holds the key that
    /// is made when none is configured. `control`: where what is over is swept away.
    ///
    /// # Errors
    /// A kept key that cannot be read; a directory that cannot be written.
    pub fn new(
        settings: &model::Sessions,
        state_dir: &Path,
        previous: Option<&Sessions>,
        control: &Handle,
        clock: &Clock,
    ) -> Result<Sessions, String> {
        let sealer = Sealer::load_or_create(&settings.keys, state_dir)?;
        let kept = previous.filter(|previous| previous.common.store.is_still(&settings.store));
        let sessions = Sessions::of(settings, sealer, previous, kept.map(|kept| kept.common.clone()));
        if kept.is_none() {
            control.spawn(sweep(Arc::downgrade(&sessions.common), clock.clone()));
        }
        Ok(sessions)
    }

    /// To look at and not to serve: nothing is read or written.
    ///
    /// # Errors
    /// No randomness.
    pub fn offline(settings: &model::Sessions) -> Result<Sessions, String> {
        Ok(Sessions::of(settings, Sealer::ephemeral()?, None, None))
    }

    fn of(
        settings: &model::Sessions,
        sealer: Sealer,
        previous: Option<&Sessions>,
        common: Option<Arc<Common>>,
    ) -> Sessions {
        let fresh = || {
            let store = Store::new(&settings.store);
            Arc::new(Common { store, watches: Arc::default(), flights: Arc::default(), stats: Stats::default() })
        };
        let idle = settings.levels.iter().filter_map(|level| level.idle).min().map_or(600, |idle| idle.as_secs());
        Sessions {
            jar: Jar::new(settings.cookie.clone()),
            limits: Limits::new(&settings.levels),
            grace: settings.grace,
            per_subject: settings.per_subject as usize,
            touch_every: i64::try_from(idle / 10).unwrap_or(TOUCH_MOST).clamp(1, TOUCH_MOST),
            epoch: previous.map_or(0, |previous| previous.epoch + 1),
            sealer,
            common: common.unwrap_or_else(fresh),
        }
    }

    /// The session of a request, if it brings one that stands. Waits only for a store that is elsewhere, at most a second.
    pub async fn load(&self, known: &Known, headers: &HeaderMap, now: UnixTime) -> Result<Option<Loaded>, StoreAway> {
        let Some(text) = self.jar.first(headers) else { return Ok(None) };
        if let Store::Sealed(sealed) = &self.common.store {
            known.hear(&sealed.revoked);
        }
        let found = known.get(text, self.epoch, now).or_else(|| {
            let loaded = self.look_up(text, headers, now)?;
            Some(known.put(text, self.epoch, loaded))
        });
        let Some(loaded) = found else { return Ok(None) };
        if loaded.level_at(now) == Level::NONE {
            self.remove_here(&loaded.id().filed(), Ended::Expired);
            return Ok(None);
        }
        Ok(Some(loaded))
    }

    fn look_up(&self, text: &[u8], headers: &HeaderMap, now: UnixTime) -> Option<Loaded> {
        match &self.common.store {
            Store::Memory(memory) => {
                let id = Id::parse(text)?;
                let record = memory.get(&id.filed())?;
                let version = record.version();
                let session = record.session()?;
                Some(Loaded::new(id, session, self.limits, Kept::Here { record, version }))
            }
            Store::Sealed(sealed) => {
                let Opened { id, session, is_renewed } = sealed.open(&self.sealer, &self.jar, text, headers, now)?;
                let kept = Kept::Copy { until: UnixTime::MAX, touched: Cell::new(session.seen), is_renewed };
                Some(Loaded::new(id, session, self.limits, kept))
            }
        }
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
        let (id, session) = (Id::draw(), bounded(session));
        if let Some(replaced) = replaced {
            self.over(replaced, Ended::Replaced, now);
        }
        self.common.stats.created();
        match &self.common.store {
            Store::Memory(memory) => {
                for (key, reason) in memory.insert(id.filed(), &session, &self.limits, self.per_subject) {
                    self.common.stats.ended(reason);
                    self.common.watches.announce(&key);
                }
                Ok(self.jar.set(&id.text(), Some(headers)).unwrap_or_default())
            }
            Store::Sealed(sealed) => Ok(sealed.seal(&self.sealer, &self.jar, &id, &session, headers)),
        }
    }

    /// Keeps what changed in a session under the id it has: new tokens after a refresh. Not for levels, which come with a
    /// new id.
    pub async fn save(
        &self,
        loaded: &Loaded,
        session: Session,
        headers: &HeaderMap,
        now: UnixTime,
    ) -> Result<SetCookies, StoreAway> {
        let session = bounded(session);
        match &self.common.store {
            Store::Memory(memory) => {
                if let Some(record) = memory.get(&loaded.id().filed()) {
                    record.replace(&session);
                }
                Ok(SetCookies::default())
            }
            Store::Sealed(sealed) => {
                sealed.remember(loaded.id(), &session, now);
                sealed.revoked.tell(loaded.id().filed());
                Ok(sealed.seal(&self.sealer, &self.jar, loaded.id(), &session, headers))
            }
        }
    }

    /// The session is used: its levels are idle from now on. Cheap to call with each request; what it returns, if
    /// anything, is to be set with the answer. Not called for what a page asks by itself, like the time that is left.
    pub fn touch(&self, loaded: &Loaded, headers: &HeaderMap, now: UnixTime) -> Option<SetCookies> {
        match (&self.common.store, loaded.kept()) {
            (_, Kept::Here { record, .. }) => {
                record.touch(loaded.session(), &self.limits, now);
                None
            }
            (Store::Sealed(sealed), Kept::Copy { touched, is_renewed, .. }) => {
                let is_due = now >= touched.get().saturating_add(self.touch_every);
                if !is_due && !is_renewed {
                    return None;
                }
                touched.set(now);
                let mut session = loaded.session().clone();
                session.touch(&self.limits, now);
                Some(sealed.seal(&self.sealer, &self.jar, loaded.id(), &session, headers))
            }
            (Store::Memory(_), Kept::Copy { .. }) => None,
        }
    }

    /// The session ends here and now; its streams too, after their grace. The cookies to set clear the browser's.
    pub async fn end(
        &self,
        loaded: &Loaded,
        reason: Ended,
        headers: &HeaderMap,
        now: UnixTime,
    ) -> Result<SetCookies, StoreAway> {
        self.over(loaded, reason, now);
        Ok(self.jar.clear(headers))
    }

    /// The SSO ends sessions: those of a `sid` (one on every portal), or all of a `sub`. How many there were, as far as is
    /// known (BL-9, BL-11).
    pub async fn end_by(&self, issuer: &str, whose: Whose<'_>, now: UnixTime) -> Result<usize, StoreAway> {
        let key = match whose {
            Whose::Sid(sid) => Key::sid(issuer, sid),
            Whose::Sub(sub) => Key::subject(issuer, sub),
        };
        let ended = match (&self.common.store, whose) {
            (Store::Memory(memory), Whose::Sid(_)) => memory.remove_sid(&key),
            (Store::Memory(memory), Whose::Sub(_)) => memory.remove_subject(&key),
            (Store::Sealed(sealed), _) => {
                sealed.revoked.add(key, now, self.limits.longest(now), now);
                Vec::new()
            }
        };
        for key in &ended {
            self.common.stats.ended(Ended::BySso);
            self.common.watches.announce(key);
        }
        self.common.watches.announce(&key);
        Ok(ended.len())
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
    pub fn watch(&self, loaded: &Loaded, level: Level, now: UnixTime) -> Watch {
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

    /// For other values that leave this process and come back: the login's own state.
    pub fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    pub fn stats(&self) -> &Stats {
        &self.common.stats
    }

    /// Sessions of this node; `None` where they are not on this node.
    pub fn open(&self) -> Option<usize> {
        match &self.common.store {
            Store::Memory(memory) => Some(memory.len()),
            Store::Sealed(_) => None,
        }
    }

    /// Ended sessions that are remembered, and how many had to be forgotten too early; `None` where none need be.
    pub fn revocations(&self) -> Option<(usize, u64)> {
        match &self.common.store {
            Store::Memory(_) => None,
            Store::Sealed(sealed) => Some((sealed.revoked.len(), sealed.revoked.lost())),
        }
    }

    fn over(&self, loaded: &Loaded, reason: Ended, now: UnixTime) {
        let key = loaded.id().filed();
        match &self.common.store {
            Store::Memory(_) => self.remove_here(&key, reason),
            Store::Sealed(sealed) => {
                sealed.revoked.add(key, UnixTime::MAX, loaded.session().absolute_end(&self.limits), now);
                self.common.stats.ended(reason);
                self.common.watches.announce(&key);
            }
        }
    }

    fn remove_here(&self, key: &Key, reason: Ended) {
        if let Store::Memory(memory) = &self.common.store
            && memory.remove(key)
        {
            self.common.stats.ended(reason);
            self.common.watches.announce(key);
        }
    }
}

/// At most a minute behind: what `idle` is counted from is written that often to a store elsewhere.
const TOUCH_MOST: i64 = 60;

/// Lets go, bit by bit, of what is over and was never asked for again. Ends with the store.
async fn sweep(common: Weak<Common>, clock: Clock) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(common) = common.upgrade() else { return };
        let Store::Memory(memory) = &common.store else { return };
        for key in memory.sweep(clock.now()) {
            common.stats.ended(Ended::Expired);
            common.watches.announce(&key);
        }
    }
}

/// Without what is larger than a session may be. What an SSO sends is bounded before; this holds for every caller.
fn bounded(mut session: Session) -> Session {
    let is_long = |text: &mut String| text.len() > MAX_TEXT;
    session.sid.take_if(is_long);
    session.name.take_if(is_long);
    if serde_json::to_vec(&session.claims).map_or(usize::MAX, |json| json.len()) > MAX_CLAIMS {
        session.claims.clear();
    }
    session
}

/// What an end of this session may be announced under.
fn keys(filed: Key, session: &Session) -> Vec<Key> {
    let sid = session.sid.as_deref().map(|sid| Key::sid(&session.issuer, sid));
    [Some(filed), Some(Key::subject(&session.issuer, &session.sub)), sid].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests;
