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

#[derive(Default)]
pub(super) struct Watches(Mutex<HashMap<Key, Vec<Arc<Bell>>>>);

#[derive(Default)]
struct Bell {
    rung: AtomicBool,
    wake: Notify,
}

/// Given up on drop.
pub struct Watch {
    keys: Vec<Key>,
    bell: Arc<Bell>,
    until: Instant,
    home: Arc<Watches>,
}

impl Watches {
    pub(super) fn watch(home: &Arc<Watches>, keys: Vec<Key>, left: Duration) -> Watch {
        let bell = Arc::new(Bell::default());
        let mut lists = home.lock();
        for key in &keys {
            lists.entry(*key).or_default().push(bell.clone());
        }
        drop(lists);
        // A month at most: beyond that a clock of this kind may not reach.
        let until = Instant::now() + left.min(Duration::from_secs(40 * 86400));
        Watch { keys, bell, until, home: home.clone() }
    }

    /// Whoever watches under `key` may not go on.
    pub(super) fn announce(&self, key: &Key) {
        for bell in self.lock().get(key).into_iter().flatten() {
            bell.rung.store(true, Ordering::Release);
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

impl Watch {
    pub fn is_ended(&self) -> bool {
        self.bell.rung.load(Ordering::Acquire) || Instant::now() >= self.until
    }

    /// Waits for the end. Cancel safe.
    pub async fn ended(&self) {
        let woken = self.bell.wake.notified();
        tokio::pin!(woken);
        // Enabled before the flag is read: an announcement in between is not missed.
        woken.as_mut().enable();
        if !self.is_ended() {
            let _ = tokio::time::timeout_at(self.until, woken).await;
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
