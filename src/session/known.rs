//! Decoded sessions of one worker: a request that brings a cookie seen before costs one look-up and no lock.
//!
//! A hit is good while the store's own record of it says so, or, where the store is elsewhere, until news of its end come
//! or a few seconds have passed. Used by `Sessions` alone.

use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use super::id::{Id, Key};
use super::memory::Record;
use super::revoked::{News, Revoked};
use super::state::{Limits, Session};
use crate::clock::UnixTime;
use crate::words::Level;

/// A session that a request brought. Cheap to clone; one worker's.
#[derive(Clone)]
pub struct Loaded(Rc<Inner>);

struct Inner {
    id: Id,
    session: Session,
    limits: Limits,
    kept: Kept,
    /// By level: what the caller of [`Loaded::memo`] made of it.
    memo: [OnceCell<Rc<dyn Any>>; 4],
}

/// How this worker's copy stays true.
pub(super) enum Kept {
    /// The store is in this process: its record says.
    Here { record: Arc<Record>, version: u32 },
    /// The store is elsewhere.
    Copy {
        /// When it is to be looked up anew.
        until: UnixTime,
        /// When its use was written last.
        touched: Cell<UnixTime>,
        /// The browser's cookie is older than this.
        is_renewed: bool,
    },
}

impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.session.fmt(f)
    }
}

#[cfg(test)]
impl PartialEq for Loaded {
    fn eq(&self, other: &Loaded) -> bool {
        self.0.session == other.0.session
    }
}

impl Loaded {
    pub(super) fn new(id: Id, session: Session, limits: Limits, kept: Kept) -> Loaded {
        Loaded(Rc::new(Inner { id, session, limits, kept, memo: Default::default() }))
    }

    pub fn session(&self) -> &Session {
        &self.0.session
    }

    /// The level it has now (AS-8). `NONE`: it is over.
    pub fn level_at(&self, now: UnixTime) -> Level {
        match &self.0.kept {
            Kept::Here { record, .. } => record.level_at(&self.0.session, &self.0.limits, now),
            Kept::Copy { .. } => self.0.session.level_at(&self.0.limits, now),
        }
    }

    /// The levels that stand now, the highest first.
    pub fn levels_at(&self, now: UnixTime) -> impl Iterator<Item = Level> {
        let Inner { session, limits, kept, .. } = &*self.0;
        [Level::THREE, Level::TWO, Level::ONE].into_iter().filter(move |level| match kept {
            Kept::Here { record, .. } => record.stands(session, *level, limits, now),
            Kept::Copy { .. } => session.stands(*level, limits, session.seen, 0, now),
        })
    }

    /// Seconds until the level it has now ends if the session is not used again.
    pub fn left(&self, now: UnixTime) -> i64 {
        let seen = match &self.0.kept {
            Kept::Here { record, .. } => record.seen(),
            Kept::Copy { .. } => self.0.session.seen,
        };
        let level = self.level_at(now);
        let end = |standing: &super::Standing| self.0.limits.end(level, standing.reached_at, seen);
        self.0.session.standing(level).map_or(0, |standing| end(standing).saturating_sub(now).max(0))
    }

    /// What a form of this session's pages must send (RP-9); compare with [`Loaded::is_csrf`].
    pub fn csrf(&self) -> String {
        self.0.id.csrf()
    }

    pub fn is_csrf(&self, sent: &[u8]) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(self.csrf().as_bytes(), sent).is_ok()
    }

    /// What `make` makes of this session at `level`, made once for as long as this worker knows it.
    pub fn memo<T: Any>(&self, level: Level, make: impl FnOnce() -> T) -> Rc<T> {
        let place = &self.0.memo[usize::from(level.number())];
        if let Some(made) = place.get().and_then(|made| made.clone().downcast().ok()) {
            return made;
        }
        let made = Rc::new(make());
        // Taken by another type: then it is made anew each time.
        let _ = place.set(made.clone());
        made
    }

    pub(super) fn id(&self) -> &Id {
        &self.0.id
    }

    pub(super) fn kept(&self) -> &Kept {
        &self.0.kept
    }

    /// Whether what it says is still so, as far as can be told without asking.
    pub(super) fn is_good(&self, now: UnixTime) -> bool {
        match &self.0.kept {
            Kept::Here { record, version } => record.is_live() && record.version() == *version,
            Kept::Copy { until, .. } => now < *until,
        }
    }
}

/// What one worker knows.
pub struct Known {
    hasher: ahash::RandomState,
    shelf: RefCell<Shelf>,
    capacity: usize,
    /// How much of the news it has heard.
    heard: Cell<u64>,
}

#[derive(Default)]
struct Shelf {
    entries: HashMap<u64, Entry, ahash::RandomState>,
    order: VecDeque<u64>,
}

struct Entry {
    text: Box<[u8]>,
    epoch: u64,
    keys: Vec<Key>,
    loaded: Loaded,
}

impl Known {
    /// `capacity`: sessions, at least 16.
    pub fn new(capacity: usize) -> Known {
        let shelf = RefCell::default();
        Known { hasher: ahash::RandomState::new(), shelf, capacity: capacity.max(16), heard: Cell::new(0) }
    }

    /// `text`: of the first cookie. It holds the id, or a nonce and most of what was sealed: whoever has it has the session.
    pub(super) fn get(&self, text: &[u8], epoch: u64, now: UnixTime) -> Option<Loaded> {
        let shelf = self.shelf.borrow();
        let entry = shelf.entries.get(&self.hasher.hash_one(text))?;
        (entry.epoch == epoch && *entry.text == *text && entry.loaded.is_good(now)).then(|| entry.loaded.clone())
    }

    pub(super) fn put(&self, text: &[u8], epoch: u64, loaded: Loaded) -> Loaded {
        let hash = self.hasher.hash_one(text);
        let keys = super::keys(loaded.id().filed(), loaded.session());
        let mut shelf = self.shelf.borrow_mut();
        if shelf.entries.insert(hash, Entry { text: text.into(), epoch, keys, loaded: loaded.clone() }).is_none() {
            shelf.order.push_back(hash);
        }
        if shelf.order.len() > self.capacity
            && let Some(oldest) = shelf.order.pop_front()
        {
            shelf.entries.remove(&oldest);
        }
        loaded
    }

    /// Forgets what ended since it last heard. One atomic read when nothing did.
    pub(super) fn hear(&self, revoked: &Revoked) {
        if self.heard.get() == revoked.announced() {
            return;
        }
        let (news, heard) = revoked.since(self.heard.get());
        self.heard.set(heard);
        let mut shelf = self.shelf.borrow_mut();
        match news {
            // Few, and seldom: looking at all that is known is cheaper than an index kept for each.
            News::These(keys) => shelf.entries.retain(|_, entry| !entry.keys.iter().any(|key| keys.contains(key))),
            News::Everything => shelf.entries.clear(),
        }
        let Shelf { entries, order } = &mut *shelf;
        order.retain(|hash| entries.contains_key(hash));
    }
}
