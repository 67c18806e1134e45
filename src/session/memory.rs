//! The store of one node: sessions in this process, found by id, subject and `sid`.
//!
//! Shared by workers. Locks are held for a look-up and never across an await.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::id::Key;
use super::state::{Limits, Session};
use super::stats::Ended;
use crate::clock::UnixTime;
use crate::words::Level;

/// Seconds between two writes of "used just now".
const TOUCH: i64 = 5;
const DEAD: u8 = 1 << 7;

/// One session, shared by the store and by the workers that know it.
pub(super) struct Record {
    key: Key,
    subject: Key,
    sid: Option<Key>,
    created: UnixTime,
    session: Mutex<Session>,
    version: AtomicU32,
    seen: AtomicI64,
    /// Bit n: level n was idle for too long. [`DEAD`]: the session ended.
    gone: AtomicU8,
}

impl Record {
    pub(super) fn session(&self) -> Session {
        self.session.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn replace(&self, session: &Session) {
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = session.clone();
        self.version.fetch_add(1, Ordering::Release);
    }

    pub(super) fn version(&self) -> u32 {
        self.version.load(Ordering::Acquire)
    }

    pub(super) fn is_live(&self) -> bool {
        self.gone.load(Ordering::Acquire) & DEAD == 0
    }

    pub(super) fn seen(&self) -> UnixTime {
        self.seen.load(Ordering::Acquire)
    }

    pub(super) fn level_at(&self, session: &Session, limits: &Limits, now: UnixTime) -> Level {
        // In this order: whoever sees a use sees what it found gone.
        let seen = self.seen();
        let gone = self.gone.load(Ordering::Acquire);
        if gone & DEAD != 0 { Level::NONE } else { session.level_seen(limits, seen, gone, now) }
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
        self.seen.store(now, Ordering::Release);
    }
}

pub(super) struct Memory {
    max: usize,
    shelves: Mutex<Shelves>,
}

#[derive(Default)]
struct Shelves {
    by_id: HashMap<Key, Arc<Record>>,
    by_subject: HashMap<Key, Vec<Key>>,
    by_sid: HashMap<Key, Vec<Key>>,
}

impl Memory {
    pub(super) fn new(max: usize) -> Memory {
        Memory { max, shelves: Mutex::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.lock().by_id.len()
    }

    pub(super) fn get(&self, key: &Key) -> Option<Arc<Record>> {
        self.lock().by_id.get(key).cloned()
    }

    /// Files a session. Returns those that had to go for it.
    pub(super) fn insert(
        &self,
        key: Key,
        session: &Session,
        _limits: &Limits,
        per_subject: usize,
        now: UnixTime,
    ) -> Vec<(Key, Ended)> {
        let subject = Key::subject(&session.issuer, &session.sub);
        let sid = session.sid.as_deref().map(|sid| Key::sid(&session.issuer, sid));
        let record = Arc::new(Record {
            key,
            subject,
            sid,
            created: session.created,
            session: Mutex::new(session.clone()),
            version: AtomicU32::new(0),
            seen: AtomicI64::new(now),
            gone: AtomicU8::new(0),
        });
        let mut shelves = self.lock();
        let mut gone = Vec::new();
        while shelves.by_subject.get(&subject).is_some_and(|list| list.len() >= per_subject.max(1)) {
            let age = |key: &&Key| shelves.by_id.get(key).map_or(0, |record| record.created);
            let Some(oldest) = shelves.by_subject[&subject].iter().min_by_key(age).copied() else { break };
            shelves.take(&oldest);
            gone.push((oldest, Ended::PerSubject));
        }
        while shelves.by_id.len() >= self.max {
            let Some(idle) = shelves.by_id.values().min_by_key(|record| record.seen()).map(|record| record.key) else {
                break;
            };
            shelves.take(&idle);
            gone.push((idle, Ended::Room));
        }
        shelves.by_subject.entry(subject).or_default().push(key);
        if let Some(sid) = sid {
            shelves.by_sid.entry(sid).or_default().push(key);
        }
        shelves.by_id.insert(key, record);
        gone
    }

    /// Whether it was there.
    pub(super) fn remove(&self, key: &Key) -> bool {
        self.lock().take(key)
    }

    pub(super) fn remove_sid(&self, sid: &Key) -> usize {
        let mut shelves = self.lock();
        let keys = shelves.by_sid.get(sid).cloned().unwrap_or_default();
        keys.iter().filter(|key| shelves.take(key)).count()
    }

    pub(super) fn remove_subject(&self, subject: &Key) -> usize {
        let mut shelves = self.lock();
        let keys = shelves.by_subject.get(subject).cloned().unwrap_or_default();
        keys.iter().filter(|key| shelves.take(key)).count()
    }

    fn lock(&self) -> MutexGuard<'_, Shelves> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelves {
    fn take(&mut self, key: &Key) -> bool {
        let Some(record) = self.by_id.remove(key) else { return false };
        record.gone.fetch_or(DEAD, Ordering::Release);
        forget(&mut self.by_subject, &record.subject, key);
        if let Some(sid) = &record.sid {
            forget(&mut self.by_sid, sid, key);
        }
        true
    }
}

fn forget(index: &mut HashMap<Key, Vec<Key>>, at: &Key, key: &Key) {
    if let Some(list) = index.get_mut(at) {
        list.retain(|k| k != key);
        if list.is_empty() {
            index.remove(at);
        }
    }
}
