//! Decoded sessions of one worker: a request that brings a cookie seen before costs one look-up and no lock.
//!
//! A hit is good only while the store's own record of it says so (one atomic read). Used by `Sessions` alone.

use std::any::Any;
use std::cell::{OnceCell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use super::id::Id;
use super::memory::Record;
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
    record: Option<Arc<Record>>,
    version: u32,
    /// By level: what the caller of [`Loaded::memo`] made of it.
    memo: [OnceCell<Arc<dyn Any + Send + Sync>>; 4],
}

impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.session.fmt(f)
    }
}

impl Loaded {
    pub(super) fn new(id: Id, session: Session, limits: Limits, record: Option<Arc<Record>>) -> Loaded {
        let version = record.as_ref().map_or(0, |record| record.version());
        Loaded(Rc::new(Inner { id, session, limits, record, version, memo: Default::default() }))
    }

    pub fn session(&self) -> &Session {
        &self.0.session
    }

    /// The level it has now (AS-8). `NONE`: it is over.
    pub fn level_at(&self, now: UnixTime) -> Level {
        match &self.0.record {
            Some(record) => record.level_at(&self.0.session, &self.0.limits, now),
            None => self.0.session.level_at(&self.0.limits, now),
        }
    }

    /// Seconds until the level it has now ends if the session is not used again.
    pub fn left(&self, now: UnixTime) -> i64 {
        let level = self.level_at(now);
        let seen = self.0.record.as_ref().map_or(self.0.session.seen, |record| record.seen());
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
    pub fn memo<T: Any + Send + Sync>(&self, level: Level, make: impl FnOnce() -> T) -> Arc<T> {
        let place = &self.0.memo[usize::from(level.number())];
        if let Some(made) = place.get().and_then(|made| made.clone().downcast().ok()) {
            return made;
        }
        let made = Arc::new(make());
        // Taken by another type: then it is made anew each time.
        let _ = place.set(made.clone());
        made
    }

    pub(super) fn id(&self) -> &Id {
        &self.0.id
    }

    pub(super) fn touch(&self, now: UnixTime) {
        if let Some(record) = &self.0.record {
            record.touch(&self.0.session, &self.0.limits, now);
        }
    }

    fn is_good(&self) -> bool {
        self.0.record.as_ref().is_none_or(|record| record.is_live() && record.version() == self.0.version)
    }
}

/// What one worker knows.
pub struct Known {
    keys: ahash::RandomState,
    shelf: RefCell<Shelf>,
    capacity: usize,
}

#[derive(Default)]
struct Shelf {
    entries: HashMap<u64, Entry, ahash::RandomState>,
    order: VecDeque<u64>,
}

struct Entry {
    text: Box<[u8]>,
    epoch: u64,
    loaded: Loaded,
}

impl Known {
    /// `capacity`: sessions, at least 16.
    pub fn new(capacity: usize) -> Known {
        Known { keys: ahash::RandomState::new(), shelf: RefCell::default(), capacity: capacity.max(16) }
    }

    pub(super) fn get(&self, text: &[u8], epoch: u64) -> Option<Loaded> {
        let shelf = self.shelf.borrow();
        let entry = shelf.entries.get(&self.keys.hash_one(text))?;
        (entry.epoch == epoch && *entry.text == *text && entry.loaded.is_good()).then(|| entry.loaded.clone())
    }

    pub(super) fn put(&self, text: &[u8], epoch: u64, loaded: Loaded) -> Loaded {
        let hash = self.keys.hash_one(text);
        let mut shelf = self.shelf.borrow_mut();
        if shelf.entries.insert(hash, Entry { text: text.into(), epoch, loaded: loaded.clone() }).is_none() {
            shelf.order.push_back(hash);
        }
        if shelf.order.len() > self.capacity
            && let Some(oldest) = shelf.order.pop_front()
        {
            shelf.entries.remove(&oldest);
        }
        loaded
    }
}
