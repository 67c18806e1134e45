//! Verified tokens of one worker. Read and written without a lock: each worker has its own.
//!
//! An entry lives as long as its `exp`, its key and its issuer; a refused or unproved token is never kept. Room is
//! distributed by S3-FIFO (Yang et al., SOSP 2023): what comes once passes through a small queue, so that a flood of
//! one-time tokens cannot drive out those that come again. Used by `auth::admit` alone.

use std::borrow::Borrow;
use std::cell::{Cell, RefCell};
use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Weak};

use super::jwk::KeyLife;
use super::keys::Issuer;
use super::permit::Verified;
use crate::clock::UnixTime;

/// Below this the small queue has no room to tell regulars from passers-by.
const CAPACITY_MIN: usize = 16;
/// Bytes per token that the cache may hold on average: a token of 1 to 2 KiB and what was proved of it.
const BYTES_PER_TOKEN: usize = 3 * 1024;
/// Claims and places in table and queue, roughly.
const OVERHEAD: usize = 768;
/// A scope: a short text of its own.
const SCOPE: usize = 48;
/// Times that an entry may pass the end of its queue without being asked for again.
const LIVES: u8 = 3;

/// Secret keys, drawn at start: nobody can aim for a collision. Of all workers, so that a hash means the same to each.
static KEYS: LazyLock<ahash::RandomState> = LazyLock::new(ahash::RandomState::new);

/// Counts that `/metrics` sums over workers (`token_cache_total{outcome}`).
#[derive(Debug, Default)]
pub struct CacheStats {
    pub hit: AtomicU64,
    pub miss: AtomicU64,
    /// Found, but past its `exp` or its key is gone.
    pub stale: AtomicU64,
    pub signatures: Signatures,
}

/// What came of the signatures of tokens that were not found (`token_signatures_total{outcome}`).
#[derive(Debug, Default)]
pub struct Signatures {
    pub good: AtomicU64,
    pub bad: AtomicU64,
    /// Not verified: too many of the address were bad.
    pub put_off: AtomicU64,
}

/// One writer, many readers: no read-modify-write is needed.
pub(super) fn count(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

pub struct TokenCache {
    shelf: RefCell<Shelf>,
    stats: Arc<CacheStats>,
}

/// Bytes at the end of a token that say where it is kept. They are of its signature, which tells those that were proved
/// apart; two that had them in common would only take each other's place, since what is found is compared whole.
const TELLING: usize = 64;

/// Where a token is kept, for [`TokenCache::insert`] after a miss.
#[derive(Clone, Copy)]
pub(super) struct Place(u64);

impl Place {
    fn of(token: &[u8]) -> Place {
        Place(KEYS.hash_one(&token[token.len().saturating_sub(TELLING)..]))
    }
}

/// The keyed hash of a whole token: no other can be made to have it.
pub(super) fn hash(token: &[u8]) -> u64 {
    KEYS.hash_one(token)
}

pub(super) enum Looked {
    Hit(Rc<Verified>),
    Miss(Place),
}

/// In one cache line: where tokens take turns, each of them is fetched from far.
#[repr(align(64))]
struct Entry {
    place: u64,
    token: Box<[u8]>,
    verified: Rc<Verified>,
    /// Weak, so that an issuer that was reloaded away is not kept running; compared by address, which a `Weak` reserves.
    issuer: Weak<Issuer>,
    key: Arc<KeyLife>,
    /// The first second in which it is no longer valid.
    ends: UnixTime,
    lives: Cell<u8>,
}

const _: () = assert!(size_of::<Entry>() == 64);

impl Entry {
    fn cost(&self) -> usize {
        self.token.len() + OVERHEAD + self.verified.scopes.len() * SCOPE
    }

    fn is_good(&self, issuer: &Arc<Issuer>, now: UnixTime) -> bool {
        now < self.ends && self.key.is_alive() && std::ptr::eq(self.issuer.as_ptr(), Arc::as_ptr(issuer))
    }
}

/// Found by its place.
impl Borrow<u64> for Entry {
    fn borrow(&self) -> &u64 {
        &self.place
    }
}

impl Hash for Entry {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.place.hash(state);
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.place == other.place
    }
}

impl Eq for Entry {}

impl TokenCache {
    /// `capacity`: tokens, at least 16.
    pub fn new(capacity: usize, stats: Arc<CacheStats>) -> TokenCache {
        let capacity = capacity.max(CAPACITY_MIN);
        TokenCache { shelf: RefCell::new(Shelf::new(capacity)), stats }
    }

    pub(super) fn signatures(&self) -> &Signatures {
        &self.stats.signatures
    }

    /// What was proved of `token` for `issuer`, if that still holds. Hashes a part of it, compares all, allocates nothing.
    pub(super) fn look(&self, token: &[u8], issuer: &Arc<Issuer>, now: UnixTime) -> Looked {
        let place = Place::of(token);
        let shelf = self.shelf.borrow();
        let Some(entry) = shelf.entries.get(&place.0) else {
            count(&self.stats.miss);
            return Looked::Miss(place);
        };
        // Before the comparison: what was proved lies elsewhere, and both are fetched at once.
        let verified = entry.verified.clone();
        if *entry.token != *token {
            count(&self.stats.miss);
        } else if entry.is_good(issuer, now) {
            entry.lives.set((entry.lives.get() + 1).min(LIVES));
            count(&self.stats.hit);
            return Looked::Hit(verified);
        } else {
            count(&self.stats.stale);
        }
        Looked::Miss(place)
    }

    /// Keeps what was proved of `token` with a key until `ends`. An entry in its place is replaced.
    pub(super) fn insert(
        &self,
        Place(place): Place,
        token: &[u8],
        verified: Rc<Verified>,
        proof: (&Arc<Issuer>, &Arc<KeyLife>, UnixTime),
    ) {
        let (issuer, key, ends) = proof;
        let (issuer, key) = (Arc::downgrade(issuer), key.clone());
        let entry = Entry { place, token: token.into(), verified, issuer, key, ends, lives: Cell::new(0) };
        self.shelf.borrow_mut().put(entry);
    }
}

/// The entries and the queues that decide who goes. Every entry stands in exactly one of `small` and `main`.
struct Shelf {
    capacity: usize,
    bytes: usize,
    entries: HashSet<Entry, BuildHasherDefault<Already>>,
    small: VecDeque<u64>,
    main: VecDeque<u64>,
    /// Hashes of those that left `small` unasked for: who comes back is a regular.
    ghosts: VecDeque<u64>,
    is_ghost: HashSet<u64, BuildHasherDefault<Already>>,
}

impl Shelf {
    fn new(capacity: usize) -> Shelf {
        Shelf {
            capacity,
            bytes: 0,
            entries: HashSet::default(),
            small: VecDeque::new(),
            main: VecDeque::new(),
            ghosts: VecDeque::new(),
            is_ghost: HashSet::default(),
        }
    }

    fn put(&mut self, entry: Entry) {
        let hash = entry.place;
        self.bytes += entry.cost();
        let new = match self.entries.replace(entry) {
            Some(old) => {
                self.bytes -= old.cost();
                false
            }
            None => true,
        };
        if new {
            let queue = if self.is_ghost.remove(&hash) { &mut self.main } else { &mut self.small };
            queue.push_back(hash);
        }
        while self.entries.len() > self.capacity || self.bytes > self.capacity * BYTES_PER_TOKEN {
            if !self.let_one_go() {
                break;
            }
        }
    }

    /// Moves one entry on: out, or to the end of `main` when it was asked for. False when there is none.
    fn let_one_go(&mut self) -> bool {
        let from_small = self.main.is_empty() || self.small.len() * 10 >= self.capacity;
        let Some(hash) = (if from_small { self.small.pop_front() } else { self.main.pop_front() }) else {
            return false;
        };
        let Some(entry) = self.entries.get(&hash) else { return true };
        let lives = entry.lives.get();
        if lives > 0 {
            entry.lives.set(if from_small { 0 } else { lives - 1 });
            self.main.push_back(hash);
            return true;
        }
        self.bytes -= entry.cost();
        self.entries.remove(&hash);
        if from_small {
            self.remember(hash);
        }
        true
    }

    fn remember(&mut self, hash: u64) {
        if self.is_ghost.insert(hash) {
            self.ghosts.push_back(hash);
        }
        if self.ghosts.len() > self.capacity
            && let Some(oldest) = self.ghosts.pop_front()
        {
            self.is_ghost.remove(&oldest);
        }
    }
}

/// A keyed hash needs no hashing again.
#[derive(Default)]
struct Already(u64);

impl Hasher for Already {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Only `u64`s are ever hashed; this is what `Hasher` asks to exist.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests;
