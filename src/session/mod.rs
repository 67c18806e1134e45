//! Callers who logged in through the gateway: the state side of one login for every portal. Floor 2.
//!
//! ```text
//! Sessions ── known     decoded sessions of one worker: one look-up, no lock
//!    ├─────── life      how a session begins, is used and ends
//!    ├─────── store     which of the three holds them:
//!    │   memory    in this process                     pack    a session as few bytes     shape   what many have alike
//!    │   sealed    in the browsers' cookies            seal    under keys that rotate
//!    │   shared    in a Redis, for many nodes          revoked what ended         ledger  told to other nodes
//!    ├─────── hub       the Redis, where there is one, also for what is no session
//!    ├─────── cookies   found in a request, set in an answer, kept from agencies
//!    ├─────── watch     long-lived streams learn that their session ended
//!    ╰─────── flight    one refresh at a time for each session
//! state                 what a session is; levels by time        id    what it is called, and filed under
//! ```
//!
//! It knows no SSO, no page and no route: the login's steps in `pipeline` are built on top. Whoever holds a [`Loaded`] has
//! a session that stands; which level it has is asked with the time.

mod cookies;
mod flight;
mod hub;
mod id;
mod known;
mod ledger;
mod life;
mod memory;
mod pack;
mod revoked;
mod seal;
mod sealed;
mod shape;
mod shared;
mod state;
mod stats;
mod store;
mod watch;

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

pub use cookies::{Jar, SetCookies};
pub use flight::{Flight, Turn};
pub use hub::Hub;
pub use known::{Known, Loaded};
pub use seal::{OVERHEAD, Sealer};
pub use state::{Limits, MAX_CLAIMS, MAX_TEXT, Session, Standing, Tokens};
pub use stats::{Ended, Stats};
pub use watch::Watch;

use crate::clock::{Clock, UnixTime};
use crate::config::model;
use crate::fields::Fields;
use crate::words::Level;
use id::{Id, Key};
use known::Kept;
use sealed::Opened;
use shared::FRESH;
use store::{Common, Store};
use watch::Watches;

/// The store cannot be asked: answer 503 and leave the caller's cookie as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreAway;

/// Why a session did not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotBegun {
    StoreAway,
    /// While the login was under way the SSO ended what it is of, or the session that it was to take the place of ended.
    Over,
}

impl From<StoreAway> for NotBegun {
    fn from(_: StoreAway) -> NotBegun {
        NotBegun::StoreAway
    }
}

/// Whose sessions a message of the SSO ends (BL-9).
#[derive(Clone, Copy)]
pub enum Whose<'a> {
    Sid(&'a str),
    Sub(&'a str),
    /// A `sid` that is named without proof (FL-1).
    Named(&'a str),
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
    sealer: Arc<Sealer>,
    common: Arc<Common>,
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
        let sealer = Arc::new(Sealer::load_or_create(&settings.keys, state_dir)?);
        let kept = previous.filter(|previous| previous.common.store.is_still(&settings.store, &sealer));
        let common = match kept {
            Some(kept) => kept.common.clone(),
            None => {
                let before = previous.map(|previous| &*previous.common);
                Common::new(&settings.store, &sealer, before, Some((control, clock)))?
            }
        };
        Ok(Sessions::of(settings, sealer, previous, common))
    }

    /// To look at and not to serve: nothing is read or written.
    ///
    /// # Errors
    /// No randomness.
    pub fn offline(settings: &model::Sessions) -> Result<Sessions, String> {
        let sealer = Arc::new(Sealer::ephemeral()?);
        let common = Common::new(&settings.store, &sealer, None, None)?;
        Ok(Sessions::of(settings, sealer, None, common))
    }

    fn of(
        settings: &model::Sessions,
        sealer: Arc<Sealer>,
        previous: Option<&Sessions>,
        common: Arc<Common>,
    ) -> Sessions {
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

    /// The session of a request, if it brings one that stands, on the host where it began: who gets to see a portal's cookie,
    /// its agency's own proxy, opens no other portal with it. Waits only for a store that is elsewhere, at most a second.
    pub async fn load(
        &self,
        known: &Known,
        headers: &Fields,
        host: &[u8],
        now: UnixTime,
    ) -> Result<Option<Loaded>, StoreAway> {
        let Some(text) = self.jar.first(headers) else { return Ok(None) };
        let may_know = match &self.common.store {
            Store::Memory(_) => true,
            Store::Sealed(sealed) => {
                if !sealed.can_tell() {
                    return Err(StoreAway);
                }
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
        if loaded.session().host.as_bytes() != host {
            return Ok(None);
        }
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

    async fn look_up(&self, text: &[u8], headers: &Fields, now: UnixTime) -> Result<Option<Loaded>, StoreAway> {
        let copy = |id, session: Session, until, is_renewed| {
            let kept = Kept::Copy { until, touched: Cell::new(session.seen), is_renewed };
            Loaded::new(id, session, self.limits, kept)
        };
        Ok(match &self.common.store {
            Store::Memory(memory) => Id::parse(text).and_then(|id| {
                let record = memory.get(&id.filed())?;
                let version = record.version();
                Some(Loaded::new(id, memory.session(&record)?, self.limits, Kept::Here { record, version }))
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

    /// Clears the browser's cookies without a session.
    pub fn clear(&self, headers: &Fields) -> SetCookies {
        self.jar.clear(headers)
    }

    /// Whose turn it is to use the session's refresh token. Of all that ask at once, on any worker, one gets
    /// [`Turn::Yours`]; the others wait until it is done and get [`Turn::Over`]: they load the session again. `longest`: no
    /// turn lasts longer; only by then may another node believe that this one died.
    pub async fn refresh_turn(&self, loaded: &Loaded, longest: Duration, now: UnixTime) -> Result<Turn, StoreAway> {
        let key = loaded.id().filed();
        let Turn::Yours(mut flight) = self.common.flights.turn(key).await else { return Ok(Turn::Over) };
        if let Store::Shared(shared) = &self.common.store {
            match shared.lock(&key, longest).await? {
                Some(release) => flight.release_with(release),
                None => return Ok(Turn::Over),
            }
        }
        // Somebody's turn may have begun and ended since the session was looked up: then its token is used up.
        Ok(if self.is_newest(loaded, now).await? { Turn::Yours(flight) } else { Turn::Over })
    }

    /// Whether the store has these tokens still.
    async fn is_newest(&self, loaded: &Loaded, now: UnixTime) -> Result<bool, StoreAway> {
        let key = loaded.id().filed();
        let known = &loaded.session().tokens;
        let same = |Session { tokens, .. }: &Session| {
            (&tokens.access, &tokens.refresh, tokens.expires) == (&known.access, &known.refresh, known.expires)
        };
        Ok(match &self.common.store {
            Store::Memory(_) => loaded.is_good(now),
            Store::Sealed(sealed) => sealed.renewed(&key, now).is_none_or(|newest| same(&newest)),
            Store::Shared(shared) => {
                let is_newest = Box::pin(shared.load(&self.sealer, loaded.id())).await?.is_some_and(|s| same(&s));
                if !is_newest {
                    shared.revoked.tell(key);
                }
                is_newest
            }
        })
    }

    /// For a stream that was opened by a session for a route that demands `level`: learns that it may not go on.
    pub fn watch(&self, loaded: &Loaded, level: Level, now: UnixTime) -> Watch {
        let session = loaded.session();
        let reached_at = session.standing(level).map_or(now, |standing| standing.reached_at);
        let keys = keys(loaded.id().filed(), session);
        Watches::watch(&self.common.watches, keys, (level, reached_at), &self.limits, now)
    }

    /// Call it once this is in force in the place of `previous`: streams end with the sessions that another store does not
    /// have, and go by the limits as they are now.
    pub fn take_over(&self, previous: &Sessions, now: UnixTime) {
        let (watches, before) = (&self.common.watches, &previous.common.watches);
        if !Arc::ptr_eq(watches, before) {
            before.announce_all();
        } else if self.limits != previous.limits {
            watches.limit(&self.limits, now);
        }
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
            Store::Sealed(sealed) => Some(sealed.revocations()),
        }
    }

    /// Whether the Redis of sessions is there, and how often it was not; `None` where there is none.
    pub fn store_health(&self) -> Option<(bool, u64)> {
        self.hub().map(|hub| (hub.is_up(), hub.failures()))
    }

    /// Where nodes share what is no session; `None`: this is the only one.
    pub fn hub(&self) -> Option<&Hub> {
        self.common.store.hub()
    }
}

/// At most a minute behind: what `idle` is counted from is written that often to a store elsewhere.
const TOUCH_MOST: i64 = 60;

/// Seconds that an end by the SSO is remembered for logins that were under way: as long as they may be, and a slow answer.
const UNDER_WAY: i64 = 900;

/// What an end of this session may be announced under.
fn keys(filed: Key, session: &Session) -> Vec<Key> {
    let sid = session.sid.as_deref().map(|sid| Key::sid(&session.issuer, sid));
    [Some(filed), Some(Key::subject(&session.issuer, &session.sub)), sid].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests;
