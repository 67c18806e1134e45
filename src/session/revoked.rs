//! Sessions that ended but whose sealed cookies may still be out there, and the news of ends for workers that know them.
//!
//! A sealed cookie proves itself, so that only a list can say that it is dead: by its id, or by issuer and `sub` or `sid`
//! with the time of the logout. Bounded: an entry costs some 100 bytes and lives as long as a session can; when the list
//! is full the oldest goes, which is counted.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::id::Key;
use crate::clock::UnixTime;

/// Some 10 MB when full. With 20 logouts and step-ups a second that is more than an hour of them.
pub(super) const MAX: usize = 100_000;
/// News that a worker may be behind before it forgets all it knows instead.
const NEWS: usize = 1024;

pub(super) struct Revoked {
    max: usize,
    list: Mutex<List>,
    /// How many ends were announced: workers look at the list only when it has moved.
    announced: AtomicU64,
    /// Entries that had to go before their time.
    lost: AtomicU64,
}

#[derive(Default)]
struct List {
    /// Sessions created until `.0` are dead; `.1`: when the entry is of no more use.
    entries: HashMap<Key, (UnixTime, UnixTime)>,
    order: VecDeque<Key>,
    news: VecDeque<Key>,
}

/// Sessions under `key` that were created until `before` are dead; nobody need remember after `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) key: Key,
    pub(super) before: UnixTime,
    pub(super) until: UnixTime,
}

/// What a worker has to forget.
pub(super) enum News {
    These(Vec<Key>),
    Everything,
}

impl Revoked {
    pub(super) fn new(max: usize) -> Revoked {
        Revoked { max, list: Mutex::default(), announced: AtomicU64::new(0), lost: AtomicU64::new(0) }
    }

    pub(super) fn add(&self, End { key, before, until }: End, now: UnixTime) {
        let mut list = self.lock();
        let entry = list.entries.entry(key).or_insert((before, until));
        *entry = (entry.0.max(before), entry.1.max(until));
        list.order.push_back(key);
        while let Some(first) = list.order.front().copied() {
            let is_over = list.entries.get(&first).is_none_or(|(_, until)| *until <= now);
            if !is_over && list.order.len() <= self.max {
                break;
            }
            list.order.pop_front();
            if list.order.len() < list.entries.len() || is_over {
                list.entries.remove(&first);
                self.lost.fetch_add(u64::from(!is_over), Ordering::Relaxed);
            }
        }
        self.announce(&mut list, key);
    }

    /// The same for what another node tells. False: it was known.
    pub(super) fn learn(&self, end: End, now: UnixTime) -> bool {
        let known = self.lock().entries.get(&end.key).copied();
        let is_new = known.is_none_or(|(before, until)| before < end.before || until < end.until);
        if is_new {
            self.add(end, now);
        }
        is_new
    }

    /// All that is remembered.
    pub(super) fn all(&self) -> Vec<End> {
        let end =
            |(key, (before, until)): (&Key, &(UnixTime, UnixTime))| End { key: *key, before: *before, until: *until };
        self.lock().entries.iter().map(end).collect()
    }

    /// What workers know under `key` is no longer the newest.
    pub(super) fn tell(&self, key: Key) {
        self.announce(&mut self.lock(), key);
    }

    /// Workers may know what is no longer so.
    pub(super) fn tell_all(&self) {
        let mut list = self.lock();
        list.news.clear();
        self.announced.fetch_add(1, Ordering::Release);
    }

    fn announce(&self, list: &mut List, key: Key) {
        list.news.push_back(key);
        if list.news.len() > NEWS {
            list.news.pop_front();
        }
        self.announced.fetch_add(1, Ordering::Release);
    }

    /// Whether a session with these keys is dead.
    pub(super) fn covers(&self, keys: &[Key], created: UnixTime) -> bool {
        let list = self.lock();
        keys.iter().any(|key| list.entries.get(key).is_some_and(|(before, _)| created <= *before))
    }

    /// How much was announced so far. One atomic read.
    pub(super) fn announced(&self) -> u64 {
        self.announced.load(Ordering::Acquire)
    }

    /// What was announced since `seen`, and the number to ask with next time.
    pub(super) fn since(&self, seen: u64) -> (News, u64) {
        let list = self.lock();
        let announced = self.announced();
        let behind = usize::try_from(announced.saturating_sub(seen)).unwrap_or(usize::MAX);
        let news = match list.news.len().checked_sub(behind) {
            Some(known) => News::These(list.news.iter().skip(known).copied().collect()),
            None => News::Everything,
        };
        (news, announced)
    }

    pub(super) fn len(&self) -> usize {
        self.lock().entries.len()
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u32) -> Key {
        Key::sid("test", &n.to_string())
    }

    fn end(n: u32, before: UnixTime, until: UnixTime) -> End {
        End { key: key(n), before, until }
    }

    #[test]
    fn what_is_known_is_not_learnt_again() {
        let revoked = Revoked::new(10);
        assert!(revoked.learn(end(1, 100, 1000), 100));
        assert!(!revoked.learn(end(1, 100, 1000), 100) && !revoked.learn(end(1, 50, 1000), 100));
        assert!(revoked.learn(end(1, 101, 1000), 100) && revoked.covers(&[key(1)], 101));
        assert_eq!(revoked.all(), [end(1, 101, 1000)]);
    }

    #[test]
    fn what_was_created_before_the_logout_is_dead_and_a_later_login_is_not() {
        let revoked = Revoked::new(10);
        revoked.add(end(1, 100, 1000), 100);
        assert!(revoked.covers(&[key(0), key(1)], 100));
        assert!(!revoked.covers(&[key(1)], 101) && !revoked.covers(&[key(2)], 1));
    }

    #[test]
    fn the_list_is_bounded_and_what_is_over_goes_first() {
        let revoked = Revoked::new(3);
        for n in 0..3 {
            revoked.add(end(n, 100, 200), 100);
        }
        revoked.add(end(3, 100, 400), 300);
        assert_eq!((revoked.len(), revoked.lost()), (1, 0), "three were of no more use");
        for n in 4..8 {
            revoked.add(end(n, 100, 900), 300);
        }
        assert_eq!((revoked.len(), revoked.lost()), (3, 2));
        assert!(revoked.covers(&[key(7)], 100) && !revoked.covers(&[key(3)], 100));
    }

    #[test]
    fn a_worker_hears_what_is_new_or_that_it_missed_too_much() {
        let revoked = Revoked::new(10_000);
        revoked.add(end(1, 1, 9), 0);
        revoked.add(end(2, 1, 9), 0);
        assert!(matches!(revoked.since(1), (News::These(keys), 2) if keys == [key(2)]));
        for n in 0..NEWS as u32 {
            revoked.add(end(n, 1, 9), 0);
        }
        assert!(matches!(revoked.since(1), (News::Everything, _)));
    }
}
