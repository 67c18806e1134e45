//! Idle connections to one endpoint that any worker may take over.
//!
//! Each worker keeps what it uses. What lies idle with it for a second or two it lays here as it tidies up, and a worker that
//! would have to open a connection looks here first: with few requests and many workers a connection is found where the
//! request is, and a lock is taken only where it saves a handshake. Used by `pool` alone.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::pool::{IDLE_CONNECTIONS, IDLE_TIME};
use crate::http1::client::{Parked, Upstream};

#[derive(Debug, Default)]
pub struct Shelf {
    /// The oldest first.
    parked: Mutex<Vec<Lying>>,
    /// The length of `parked`, to be seen without its lock.
    count: AtomicUsize,
    /// Workers that have a pool for the endpoint.
    workers: AtomicUsize,
}

#[derive(Debug)]
struct Lying {
    connection: Parked,
    /// Of the addresses, when it was laid here.
    generation: u32,
}

impl Shelf {
    pub fn count(&self) -> usize {
        self.count.load(Relaxed)
    }

    pub(super) fn join(&self) {
        self.workers.fetch_add(1, Relaxed);
    }

    pub(super) fn leave(&self) {
        self.workers.fetch_sub(1, Relaxed);
    }

    /// Whether there is anybody to share with.
    pub(super) fn is_shared(&self) -> bool {
        self.workers.load(Relaxed) > 1
    }

    /// Lays connections here for others, as many as there is room for; the rest close.
    pub(super) fn put(&self, connections: impl Iterator<Item = Parked>, generation: u32) {
        let mut parked = self.lock();
        parked.extend(connections.map(|connection| Lying { connection, generation }));
        parked.truncate(IDLE_CONNECTIONS);
        self.count.store(parked.len(), Relaxed);
    }

    /// The youngest that is still good, for the calling worker. `generation`: of the addresses now.
    pub(super) fn take(&self, generation: u32) -> Option<Upstream> {
        while self.count() > 0 {
            let lying = {
                let mut parked = self.lock();
                let lying = parked.pop();
                self.count.store(parked.len(), Relaxed);
                lying?
            };
            if lying.is_good(generation, Instant::now())
                && let Ok(connection) = Upstream::take_over(lying.connection)
            {
                return Some(connection);
            }
        }
        None
    }

    /// Closes what has been idle too long or may lead to an address that is gone.
    pub(super) fn tidy(&self, generation: u32, now: Instant) {
        if self.count() > 0 {
            let mut parked = self.lock();
            parked.retain(|lying| lying.is_good(generation, now));
            self.count.store(parked.len(), Relaxed);
        }
    }

    /// Closes the one that was idle for longest. False when there is none.
    pub(super) fn close_one(&self) -> bool {
        if self.count() == 0 {
            return false;
        }
        let mut parked = self.lock();
        let any = !parked.is_empty();
        parked.drain(..usize::from(any));
        self.count.store(parked.len(), Relaxed);
        any
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Lying>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lying {
    fn is_good(&self, generation: u32, now: Instant) -> bool {
        self.generation == generation && now.saturating_duration_since(self.connection.idle_since) < IDLE_TIME
    }
}
