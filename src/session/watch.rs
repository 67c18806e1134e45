//! How a stream that lasts for hours learns that its session ended: by logout on this node or another, or by its limits.
//!
//! Only those who watch cost anything: an end is announced under a key, and whoever registered under it is woken. Idle
//! limits are about requests; an open stream is use, so that only logout and the absolute limit of its level end it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::id::Key;
use super::state::Limits;
use crate::clock::UnixTime;
use crate::words::Level;

#[derive(Default)]
pub(super) struct Watches(Mutex<HashMap<Key, Vec<Arc<Bell>>>>);

struct Bell {
    rung: AtomicBool,
    wake: Notify,
    /// What the stream's route demanded, and when the session reached it.
    level: Level,
    reached_at: UnixTime,
    until: Mutex<Instant>,
}

/// Given up on drop.
pub struct Watch {
    keys: Vec<Key>,
    bell: Arc<Bell>,
    home: Arc<Watches>,
}

impl Watches {
    /// `reached`: the level that the stream's route demands, and when the session reached it.
    pub(super) fn watch(
        home: &Arc<Watches>,
        keys: Vec<Key>,
        (level, reached_at): (Level, UnixTime),
        limits: &Limits,
        now: UnixTime,
    ) -> Watch {
        let until = Mutex::new(end(limits, level, reached_at, now));
        let bell = Arc::new(Bell { rung: AtomicBool::new(false), wake: Notify::new(), level, reached_at, until });
        let mut lists = home.lock();
        for key in &keys {
            lists.entry(*key).or_default().push(bell.clone());
        }
        drop(lists);
        Watch { keys, bell, home: home.clone() }
    }

    /// Whoever watches under `key` may not go on.
    pub(super) fn announce(&self, key: &Key) {
        for bell in self.lock().get(key).into_iter().flatten() {
            bell.ring();
        }
    }

    /// Nobody may go on: their sessions are no more.
    pub(super) fn announce_all(&self) {
        self.lock().values().flatten().for_each(|bell| bell.ring());
    }

    /// Other limits are in force.
    pub(super) fn limit(&self, limits: &Limits, now: UnixTime) {
        for bell in self.lock().values().flatten() {
            *bell.until() = end(limits, bell.level, bell.reached_at, now);
            bell.wake.notify_waiters();
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Vec<Arc<Bell>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The absolute limit of a level, on the clock of timers. A month at most: beyond that it may not reach.
fn end(limits: &Limits, level: Level, reached_at: UnixTime, now: UnixTime) -> Instant {
    let left = limits.absolute_end(level, reached_at).saturating_sub(now);
    Instant::now() + Duration::from_secs(u64::try_from(left).unwrap_or(0).min(40 * 86400))
}

impl Bell {
    fn ring(&self) {
        self.rung.store(true, Ordering::Release);
        self.wake.notify_waiters();
    }

    fn until(&self) -> MutexGuard<'_, Instant> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    pub fn is_ended(&self) -> bool {
        self.bell.rung.load(Ordering::Acquire) || Instant::now() >= *self.bell.until()
    }

    /// Waits for the end. Cancel safe.
    pub async fn ended(&self) {
        loop {
            let woken = self.bell.wake.notified();
            tokio::pin!(woken);
            // Enabled before the flag is read: an announcement in between is not missed.
            woken.as_mut().enable();
            if self.is_ended() {
                return;
            }
            let until = *self.bell.until();
            let _ = tokio::time::timeout_at(until, woken).await;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut lists = self.home.lock();
        for key in &self.keys {
            if let Some(list) = lists.get_mut(key) {
                list.retain(|bell| !Arc::ptr_eq(bell, &self.bell));
                if list.is_empty() {
                    lists.remove(key);
                }
            }
        }
    }
}
