//! Callers who logged in through the gateway: the state side of one login for every portal. Floor 2.
//!
//! ```text
//! Sessions ── known     decoded sessions of one worker: one look-up, no lock
//!    ├─────── shared    the store of many nodes: a Redis
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
mod shared;
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
use shared::{FRESH, Shared};
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

impl Common {
    /// Errors: roots that cannot be used.
    fn new(settings: &model::SessionStore, control: Option<&Handle>) -> Result<Arc<Common>, String> {
        let watches = Arc::default();
        let store = Store::new(settings, &watches, control)?;
        Ok(Arc::new(Common { store, watches, flights: Arc::default(), stats: Stats::default() }))
    }
}

enum Store {
    Memory(Memory),
    Sealed(Sealed),
    Shared(Box<Shared>),
}

impl Store {
    fn new(settings: &model::SessionStore, watches: &Arc<Watches>, control: Option<&Handle>) -> Result<Store, String> {
        Ok(match (settings, control) {
            (model::SessionStore::Redis(server), Some(control)) => {
                Store::Shared(Box::new(Shared::open(server, watches, control)?))
            }
            (model::SessionStore::Cookie, _) => Store::Sealed(Sealed::new()),
            (model::SessionStore::Memory { max }, _) => Store::Memory(Memory::new(*max as usize)),
            // Only looked at.
            (model::SessionStore::Redis(_), None) => Store::Memory(Memory::new(1)),
        })
    }

    /// Whether it is the store that the settings name, so that sessions go on; if so it is adjusted to them.
    fn is_still(&self, settings: &model::SessionStore) -> bool {
        match (self, settings) {
            (Store::Memory(memory), model::SessionStore::Memory { max }) => {
                memory.resize(*max as usize);
                true
            }
            (Store::Sealed(_), model::SessionStore::Cookie) => true,
            (Store::Shared(shared), model::SessionStore::Redis(server)) => shared.is_at(server),
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
        let common = match kept {
            Some(kept) => kept.common.clone(),
            None => {
                let common = Common::new(&settings.store, Some(control))?;
                control.spawn(sweep(Arc::downgrade(&common), clock.clone()));
                common
            }
        };
        Ok(Sessions::of(settings, sealer, previous, common))
    }

    /// To look at and not to serve: nothing is read or written.
    ///
    /// # Errors
    /// No randomness.
    pub fn offline(settings: &model::Sessions) -> Result<Sessions, String> {
        Ok(Sessions::of(settings, Sealer::ephemeral()?, None, Common::new(&settings.store, None)?))
    }

    fn of(settings: &model::Sessions, sealer: Sealer, previous: Option<&Sessions>, common: Arc<Common>) -> Sessions {
        let idle = settings.levels.iter().filter_map(|level| level.idle).min().map_or(600, |idle| idle.as_secs());
        Sessions {
            jar: Jar::new(settings.cookie.clone()),
            limits: Limits::new(&settings.levels),
            grace: settings.grace,
            per_subject: settings.per_subject as usize,
            touch_every: i64::try_from(idle / 10).unwrap_or(TOUCH_MOST).clamp(1, TOUCH_MOST),
            epoch: previous.map_or(0, |previous| previous.epoch + 1),
            sealer,
            common,
        }
    }

    /// The session of a request, if it brings one that stands. Waits only for a store that is elsewhere, at most a second.
    pub async fn load(&self, known: &Known, headers: &HeaderMap, now: UnixTime) -> Result<Option<Loaded>, StoreAway> {
        let Some(text) = self.jar.first(headers) else { return Ok(None) };
        let may_know = match &self.common.store {
            Store::Memory(_) => true,
            Store::Sealed(sealed) => {
                known.hear(&sealed.revoked);
                true
            }
            Store::Shared(shared) => {
                known.hear(&shared.revoked);
                shared.is_heard()
            }
        };
        let found = known.get(text, self.epoch, now).filter(|loaded| may_know && !self.is_in_doubt(loaded, now));
        let loaded = match found {
            Some(loaded) => loaded,
            None => match self.look_up(text, headers, now).await? {
                Some(loaded) => known.put(text, self.epoch, loaded),
                None => return Ok(None),
            },
        };
        if loaded.level_at(now) == Level::NONE {
            self.expire(loaded.id());
            return Ok(None);
        }
        Ok(Some(loaded))
    }

    /// A level seems to have been idle for too long, but another node may have seen it used.
    fn is_in_doubt(&self, loaded: &Loaded, now: UnixTime) -> bool {
        let session = loaded.session();
        matches!(self.common.store, Store::Shared(_)) && session.levels_over(&self.limits, session.seen, now) != 0
    }

    async fn look_up(&self, text: &[u8], headers: &HeaderMap, now: UnixTime) -> Result<Option<Loaded>, StoreAway> {
        let copy = |id, session: Session, until, is_renewed| {
            let kept = Kept::Copy { until, touched: Cell::new(session.seen), is_renewed };
            Loaded::new(id, session, self.limits, kept)
        };
        Ok(match &self.common.store {
            Store::Memory(memory) => Id::parse(text).and_then(|id| {
                let record = memory.get(&id.filed())?;
                let version = record.version();
                Some(Loaded::new(id, record.session()?, self.limits, Kept::Here { record, version }))
            }),
            Store::Sealed(sealed) => sealed
                .open(&self.sealer, &self.jar, text, headers, now)
                .map(|Opened { id, session, is_renewed }| copy(id, session, UnixTime::MAX, is_renewed)),
            Store::Shared(shared) => {
                let Some(id) = Id::parse(text) else { return Ok(None) };
                // Boxed: a rare wait would otherwise be part of every request's future.
                let session = Box::pin(shared.load(&self.sealer, &id)).await?;
                session.map(|session| copy(id, session, now.saturating_add(FRESH), false))
            }
        })
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
        let cookies = match &self.common.store {
            Store::Memory(memory) => {
                if let Some(replaced) = replaced {
                    self.over(replaced, Ended::Replaced, now).await?;
                }
                for (key, reason) in memory.insert(id.filed(), &session, &self.limits, self.per_subject) {
                    self.common.stats.ended(reason);
                    self.common.watches.announce(&key);
                }
                self.jar.set(&id.text(), Some(headers)).unwrap_or_default()
            }
            Store::Sealed(sealed) => {
                if let Some(replaced) = replaced {
                    self.over(replaced, Ended::Replaced, now).await?;
                }
                sealed.seal(&self.sealer, &self.jar, &id, &session, headers)
            }
            Store::Shared(shared) => {
                let bounds = (&self.limits, self.per_subject, now);
                let old = replaced.map(Loaded::id);
                let crowd = shared.create(&self.sealer, &id, &session, old, bounds).await?;
                (0..crowd).for_each(|_| self.common.stats.ended(Ended::PerSubject));
                if let Some(old) = old {
                    shared.revoked.tell(old.filed());
                    self.common.stats.ended(Ended::Replaced);
                    self.common.watches.announce(&old.filed());
                }
                self.jar.set(&id.text(), Some(headers)).unwrap_or_default()
            }
        };
        self.common.stats.created();
        Ok(cookies)
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
            Store::Shared(shared) => {
                shared.save(&self.sealer, loaded.id(), &session).await?;
                Ok(SetCookies::default())
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
            (store, Kept::Copy { touched, is_renewed, .. }) => {
                let is_due = now >= touched.get().saturating_add(self.touch_every);
                if !is_due && !is_renewed {
                    return None;
                }
                touched.set(now);
                let mut session = loaded.session().clone();
                session.touch(&self.limits, now);
                match store {
                    Store::Memory(_) => None,
                    Store::Sealed(sealed) => Some(sealed.seal(&self.sealer, &self.jar, loaded.id(), &session, headers)),
                    Store::Shared(shared) => {
                        shared.touch(&self.sealer, loaded.id(), &session);
                        None
                    }
                }
            }
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
        self.over(loaded, reason, now).await?;
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
            (Store::Memory(memory), Whose::Sid(_)) => self.tell_all(memory.remove_sid(&key)),
            (Store::Memory(memory), Whose::Sub(_)) => self.tell_all(memory.remove_subject(&key)),
            (Store::Sealed(sealed), _) => {
                sealed.revoked.add(key, now, self.limits.longest(now), now);
                0
            }
            (Store::Shared(shared), _) => shared.end_all(&self.sealer, &key).await?,
        };
        (0..ended).for_each(|_| self.common.stats.ended(Ended::BySso));
        self.common.watches.announce(&key);
        Ok(ended)
    }

    fn tell_all(&self, ended: Vec<Key>) -> usize {
        ended.iter().for_each(|key| self.common.watches.announce(key));
        ended.len()
    }

    /// Clears the browser's cookies without a session.
    pub fn clear(&self, headers: &HeaderMap) -> SetCookies {
        self.jar.clear(headers)
    }

    /// Whose turn it is to use the session's refresh token. Of all that ask at once, on any worker, one gets
    /// [`Turn::Yours`]; the others wait until it is done and get [`Turn::Over`]: they load the session again.
    pub async fn refresh_turn(&self, loaded: &Loaded) -> Result<Turn, StoreAway> {
        let key = loaded.id().filed();
        let Turn::Yours(mut flight) = self.common.flights.turn(key).await else { return Ok(Turn::Over) };
        let Store::Shared(shared) = &self.common.store else { return Ok(Turn::Yours(flight)) };
        Ok(match shared.lock(&key).await? {
            Some(release) => {
                flight.release_with(release);
                Turn::Yours(flight)
            }
            None => Turn::Over,
        })
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
            Store::Sealed(_) | Store::Shared(_) => None,
        }
    }

    /// Ended sessions that are remembered, and how many had to be forgotten too early; `None` where none need be.
    pub fn revocations(&self) -> Option<(usize, u64)> {
        match &self.common.store {
            Store::Memory(_) | Store::Shared(_) => None,
            Store::Sealed(sealed) => Some((sealed.revoked.len(), sealed.revoked.lost())),
        }
    }

    /// Whether a store elsewhere is there, and how often it was not; `None` where there is none.
    pub fn store_health(&self) -> Option<(bool, u64)> {
        match &self.common.store {
            Store::Memory(_) | Store::Sealed(_) => None,
            Store::Shared(shared) => Some((shared.is_up(), shared.failures())),
        }
    }

    async fn over(&self, loaded: &Loaded, reason: Ended, now: UnixTime) -> Result<(), StoreAway> {
        let key = loaded.id().filed();
        let was_there = match &self.common.store {
            Store::Memory(memory) => memory.remove(&key),
            Store::Sealed(sealed) => {
                sealed.revoked.add(key, UnixTime::MAX, loaded.session().absolute_end(&self.limits), now);
                true
            }
            Store::Shared(shared) => shared.end(loaded.id()).await?,
        };
        if was_there {
            self.common.stats.ended(reason);
        }
        self.common.watches.announce(&key);
        Ok(())
    }

    /// No level stands. A store elsewhere lets it go by itself.
    fn expire(&self, id: &Id) {
        if let Store::Memory(memory) = &self.common.store
            && memory.remove(&id.filed())
        {
            self.common.stats.ended(Ended::Expired);
            self.common.watches.announce(&id.filed());
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
