//! The store of one node: sessions in this process, found by id, by subject and by the SSO's `sid`.
//!
//! Made for a million: a session waits packed (`pack`), and each of the three indexes costs a pointer. Shared by workers;
//! a lock guards one of 256 shards and is held for a look-up, never across an await. What is asked at every request (does
//! it stand, when was it used) is atomic and asked of the [`Record`] itself.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::HashTable;

use super::id::Key;
use super::pack::{pack_in, unpack_in};
use super::revoked::Revoked;
use super::shape::Shapes;
use super::state::{Limits, Session};
use super::stats::Ended;
use crate::clock::UnixTime;
use crate::words::Level;

/// Seconds between two writes of "used just now": idle limits are minutes.
const TOUCH: i64 = 5;
/// In `Record::gone`: the session ended. Bit n stands for level n.
const DEAD: u8 = 1 << 7;
const SHARDS: usize = 256;
/// Of a full shard's sessions, one in so many goes at once: finding the longest idle looks at all of them.
const BATCH: usize = 64;
/// Ends by the SSO that are remembered, some 1 MB: in a quarter of an hour that is ten a second.
const ENDED: usize = 10_000;

/// One session, shared by the store and by the workers that know it.
pub(super) struct Record {
    key: Key,
    subject: u64,
    /// 0: the SSO named none.
    sid: u64,
    packed: Mutex<Box<[u8]>>,
    created: u32,
    seen: AtomicU32,
    /// When it is over unless it is used again, as of the last use.
    ends: AtomicU32,
    version: AtomicU32,
    /// Levels that were idle for too long; [`DEAD`].
    gone: AtomicU8,
}

/// In a piece of memory of its very size: one that grew stays up to twice as large when it is shrunk (mimalloc).
fn packed(session: &Session, shapes: &Shapes) -> Box<[u8]> {
    Box::from(&*pack_in(session, Some(shapes)))
}

/// Good until 2106.
fn short(time: UnixTime) -> u32 {
    u32::try_from(time.max(0)).unwrap_or(u32::MAX)
}

impl Record {
    fn new(key: Key, session: &Session, limits: &Limits, shapes: &Shapes) -> Record {
        Record {
            key,
            subject: Key::subject(&session.issuer, &session.sub).short(),
            sid: session.sid.as_deref().map_or(0, |sid| Key::sid(&session.issuer, sid).short()),
            packed: Mutex::new(packed(session, shapes)),
            created: short(session.created),
            seen: AtomicU32::new(short(session.seen)),
            ends: AtomicU32::new(short(session.end(limits))),
            version: AtomicU32::new(0),
            gone: AtomicU8::new(0),
        }
    }

    pub(super) fn version(&self) -> u32 {
        self.version.load(Ordering::Acquire)
    }

    pub(super) fn is_live(&self) -> bool {
        self.gone.load(Ordering::Acquire) & DEAD == 0
    }

    pub(super) fn seen(&self) -> UnixTime {
        i64::from(self.seen.load(Ordering::Acquire))
    }

    pub(super) fn level_at(&self, session: &Session, limits: &Limits, now: UnixTime) -> Level {
        // In this order: whoever sees a use sees what it found gone.
        let seen = self.seen();
        let gone = self.gone.load(Ordering::Acquire);
        if gone & DEAD != 0 { Level::NONE } else { session.level_seen(limits, seen, gone, now) }
    }

    /// Whether this level stands, whatever others do.
    pub(super) fn stands(&self, session: &Session, level: Level, limits: &Limits, now: UnixTime) -> bool {
        let seen = self.seen();
        let gone = self.gone.load(Ordering::Acquire);
        gone & DEAD == 0 && session.stands(level, limits, seen, gone, now)
    }

    pub(super) fn touch(&self, session: &Session, limits: &Limits, now: UnixTime) {
        let seen = self.seen();
        if now < seen.saturating_add(TOUCH) {
            return;
        }
        let over = session.levels_over(limits, seen, now);
        if over != 0 {
            self.gone.fetch_or(over, Ordering::Release);
        }
        self.seen.store(short(now), Ordering::Release);
        self.ends.store(short(session.end_seen(limits, now)), Ordering::Relaxed);
    }
}

type Shard = Mutex<HashTable<Arc<Record>>>;

pub(super) struct Memory {
    max: AtomicUsize,
    count: AtomicUsize,
    /// The shard to be looked through next.
    hand: AtomicUsize,
    by_id: Box<[Shard]>,
    by_subject: Box<[Shard]>,
    by_sid: Box<[Shard]>,
    shapes: Shapes,
    /// What the SSO ended just now, for logins that were under way.
    pub(super) ended: Revoked,
}

impl Memory {
    pub(super) fn new(max: usize) -> Memory {
        let shards = || (0..SHARDS).map(|_| Shard::default()).collect();
        Memory {
            max: AtomicUsize::new(max.max(1)),
            count: AtomicUsize::new(0),
            hand: AtomicUsize::new(0),
            by_id: shards(),
            by_subject: shards(),
            by_sid: shards(),
            shapes: Shapes::default(),
            ended: Revoked::new(ENDED),
        }
    }

    pub(super) fn resize(&self, max: usize) {
        self.max.store(max.max(1), Ordering::Relaxed);
    }

    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    pub(super) fn get(&self, key: &Key) -> Option<Arc<Record>> {
        let hash = key.short();
        shard(&self.by_id, hash).find(hash, |record| record.key == *key).filter(|record| record.is_live()).cloned()
    }

    /// `None`: never, short of a fault of ours.
    pub(super) fn session(&self, record: &Record) -> Option<Session> {
        unpack_in(&record.packed.lock().unwrap_or_else(PoisonError::into_inner), Some(&self.shapes))
    }

    /// Keeps its tokens and claims anew. Its levels and what it is found by are not changed by this.
    pub(super) fn replace(&self, record: &Record, session: &Session) {
        *record.packed.lock().unwrap_or_else(PoisonError::into_inner) = packed(session, &self.shapes);
        record.version.fetch_add(1, Ordering::Release);
    }

    /// Files a session. Returns those that had to go for it.
    pub(super) fn insert(&self, key: Key, session: &Session, limits: &Limits, per_subject: usize) -> Vec<(Key, Ended)> {
        let record = Arc::new(Record::new(key, session, limits, &self.shapes));
        self.count.fetch_add(1, Ordering::Relaxed);
        let crowd = self.enrol(&record, per_subject.max(1));
        if record.sid != 0 {
            put(&self.by_sid, record.sid, &record, |record| record.sid);
        }
        put(&self.by_id, key.short(), &record, |record| record.key.short());
        if !record.is_live() {
            // Ended by its subject or `sid` before it could be found by its id.
            self.unfile(&record);
        }
        let crowd = crowd.into_iter().filter(|record| self.take(record)).map(|record| (record.key, Ended::PerSubject));
        let mut gone: Vec<_> = crowd.collect();
        if self.len() > self.max.load(Ordering::Relaxed) {
            gone.extend(self.make_room(&record));
        }
        gone
    }

    /// Whether it was there.
    pub(super) fn remove(&self, key: &Key) -> bool {
        self.get(key).is_some_and(|record| self.take(&record))
    }

    /// The keys of the sessions that ended.
    pub(super) fn remove_sid(&self, sid: &Key) -> Vec<Key> {
        let hash = sid.short();
        let found: Vec<_> = shard(&self.by_sid, hash).iter_hash(hash).filter(|r| r.sid == hash).cloned().collect();
        self.take_all(found)
    }

    pub(super) fn remove_subject(&self, subject: &Key) -> Vec<Key> {
        let hash = subject.short();
        let all = shard(&self.by_subject, hash);
        let found: Vec<_> = all.iter_hash(hash).filter(|r| r.subject == hash).cloned().collect();
        drop(all);
        self.take_all(found)
    }

    /// Looks through one more shard for sessions that are over.
    pub(super) fn sweep(&self, now: UnixTime) -> Vec<Key> {
        let at = self.hand.fetch_add(1, Ordering::Relaxed) % SHARDS;
        let over = |record: &&Arc<Record>| i64::from(record.ends.load(Ordering::Relaxed)) <= now;
        let found: Vec<_> = lock(&self.by_id[at]).iter().filter(over).cloned().collect();
        self.take_all(found)
    }

    /// Adds it to its subject's sessions. Returns the oldest of them, as many as there are too many.
    fn enrol(&self, record: &Arc<Record>, per_subject: usize) -> Vec<Arc<Record>> {
        let subject = record.subject;
        let mut table = shard(&self.by_subject, subject);
        let mut others: Vec<_> =
            table.iter_hash(subject).filter(|r| r.subject == subject && r.is_live()).cloned().collect();
        table.insert_unique(subject, record.clone(), |record| record.subject);
        others.sort_by_key(|record| record.created);
        others.truncate((others.len() + 1).saturating_sub(per_subject));
        others
    }

    /// Ends the longest idle of one shard that is not empty, `newest` excepted.
    fn make_room(&self, newest: &Arc<Record>) -> Vec<(Key, Ended)> {
        for _ in 0..SHARDS {
            let at = self.hand.fetch_add(1, Ordering::Relaxed) % SHARDS;
            let others = |record: &&Arc<Record>| !Arc::ptr_eq(record, newest);
            let mut found: Vec<_> = lock(&self.by_id[at]).iter().filter(others).cloned().collect();
            if found.is_empty() {
                continue;
            }
            let goes = found.len().div_ceil(BATCH);
            found.select_nth_unstable_by_key(goes - 1, |record| record.seen());
            found.truncate(goes);
            return self.take_all(found).into_iter().map(|key| (key, Ended::Room)).collect();
        }
        Vec::new()
    }

    fn take_all(&self, records: Vec<Arc<Record>>) -> Vec<Key> {
        records.into_iter().filter(|record| self.take(record)).map(|record| record.key).collect()
    }

    /// Ends a session. False: somebody else did.
    fn take(&self, record: &Arc<Record>) -> bool {
        if record.gone.fetch_or(DEAD, Ordering::AcqRel) & DEAD != 0 {
            return false;
        }
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.unfile(record);
        true
    }

    fn unfile(&self, record: &Arc<Record>) {
        for (index, hash) in
            [(&self.by_id, record.key.short()), (&self.by_subject, record.subject), (&self.by_sid, record.sid)]
        {
            if let Ok(found) = shard(index, hash).find_entry(hash, |other| Arc::ptr_eq(other, record)) {
                found.remove();
            }
        }
    }
}

fn put(index: &[Shard], hash: u64, record: &Arc<Record>, of: impl Fn(&Arc<Record>) -> u64) {
    shard(index, hash).insert_unique(hash, record.clone(), of);
}

/// By bits in the middle: the table itself uses the lowest and the highest.
fn shard(index: &[Shard], hash: u64) -> MutexGuard<'_, HashTable<Arc<Record>>> {
    lock(&index[(hash >> 40) as usize % SHARDS])
}

fn lock(shard: &Shard) -> MutexGuard<'_, HashTable<Arc<Record>>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
