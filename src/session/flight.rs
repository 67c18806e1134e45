//! One refresh at a time for each session: a refresh token that rotates must not be used twice (RFC 9700 §4.14).
//!
//! A primitive: it knows nothing of tokens. The first who asks gets the turn, the others of this process wait for its end.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::id::Key;

pub enum Turn {
    /// Refresh, save, then drop the guard. A guard that is dropped without a save lets the next one try.
    Yours(Flight),
    /// Somebody else's turn is over: load the session again.
    Over,
}

#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<Key, watch::Receiver<()>>>);

/// The turn; given up on drop, also by a caller who leaves.
pub struct Flight {
    key: Key,
    flights: Arc<Flights>,
    /// Gives up the turn among nodes.
    release: Option<Box<dyn FnOnce() + Send>>,
    /// Those who wait see it go.
    _sender: watch::Sender<()>,
}

impl Flights {
    /// Cancel safe.
    pub(super) async fn turn(self: &Arc<Flights>, key: Key) -> Turn {
        let mut waiting = match self.lock().entry(key) {
            Entry::Occupied(taken) => taken.get().clone(),
            Entry::Vacant(free) => {
                let (sender, receiver) = watch::channel(());
                free.insert(receiver);
                return Turn::Yours(Flight { key, flights: self.clone(), release: None, _sender: sender });
            }
        };
        // Nothing is ever sent: this ends when the sender is dropped.
        while waiting.changed().await.is_ok() {}
        Turn::Over
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, watch::Receiver<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    pub(super) fn release_with(&mut self, release: Box<dyn FnOnce() + Send>) {
        self.release = Some(release);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if let Some(release) = self.release.take() {
            release();
        }
        self.flights.lock().remove(&self.key);
    }
}
