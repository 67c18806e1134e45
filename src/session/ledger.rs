//! Which sealed sessions ended, told to all nodes: a stream in a Redis that each node writes its ends to and reads as it
//! grows, from the beginning when it starts (BL-12).
//!
//! What a request asks is still the list in this process (`revoked`): no request waits for the Redis. While it is away each
//! node goes by what it knows, and what it has to tell waits. Only a node that has never read the stream to its end cannot
//! know who is logged out, and says so. An entry is sealed: who reads it learns neither who nor when.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use redis::Value;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::hub::{HEARTBEAT, Hub, read_stream};
use super::id::Key;
use super::revoked::{End, MAX, Revoked};
use super::seal::Sealer;
use super::watch::Watches;
use crate::clock::{Clock, UnixTime};
use crate::config::model::RedisServer;
use crate::store::Store;

const STREAM: &str = "darvazeh:revoked";
const PURPOSE: &[u8] = b"revoked";
/// Seconds. No session stands longer (`levels` are bounded by 30 days), and neither need what is known of its end.
const LIFETIME: i64 = 31 * 86400;
/// Entries of one answer.
const BATCH: usize = 1000;

pub(super) struct Ledger {
    book: Arc<Book>,
    tasks: [AbortHandle; 2],
}

/// What the tasks know.
struct Book {
    hub: Arc<Hub>,
    /// Of the configuration in force.
    sealer: ArcSwap<Sealer>,
    /// What is to be told: as many as the list holds, the oldest goes.
    pending: Mutex<VecDeque<End>>,
    wake: Notify,
    is_read: AtomicBool,
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Ledger {
    /// Errors: roots that cannot be used.
    pub(super) fn open(
        model: &RedisServer,
        sealer: Arc<Sealer>,
        revoked: &Arc<Revoked>,
        watches: &Arc<Watches>,
        control: &Handle,
        clock: &Clock,
    ) -> Result<Ledger, String> {
        let hub = Hub::open(model, "logouts are known to the gateway that was told, and to others later", control)?;
        let pending = Mutex::new(revoked.all().into());
        let (wake, is_read) = (Notify::new(), AtomicBool::new(false));
        let book = Arc::new(Book { hub, sealer: ArcSwap::new(sealer), pending, wake, is_read });
        let _on_control = control.enter();
        let line = book.hub.line();
        let reading = read(book.clone(), line, revoked.clone(), watches.clone(), clock.clone());
        let tasks = [control.spawn(reading).abort_handle(), control.spawn(write(book.clone())).abort_handle()];
        Ok(Ledger { book, tasks })
    }

    pub(super) fn hub(&self) -> &Hub {
        &self.book.hub
    }

    /// Keys rotate with a reload.
    pub(super) fn seal_with(&self, sealer: Arc<Sealer>) {
        self.book.sealer.store(sealer);
    }

    /// Whether this node knows what ended before it started.
    pub(super) fn is_read(&self) -> bool {
        self.book.is_read.load(Ordering::Acquire)
    }

    pub(super) fn tell(&self, end: End) {
        let mut pending = self.book.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if pending.len() >= MAX {
            pending.pop_front();
        }
        pending.push_back(end);
        drop(pending);
        self.book.wake.notify_one();
    }
}

/// Tells what is to be told, in order, however long it takes.
async fn write(book: Arc<Book>) {
    loop {
        let next = book.pending.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(end) = next else {
            book.wake.notified().await;
            continue;
        };
        let mut add = redis::cmd("XADD");
        add.arg(STREAM).arg("MAXLEN").arg("~").arg(MAX).arg("*").arg("e").arg(sealed(&book.sealer.load(), end));
        let mut last = redis::cmd("EXPIRE");
        last.arg(STREAM).arg(LIFETIME);
        let told = book.hub.ask::<Value>(&add).await.is_ok() && book.hub.ask::<Value>(&last).await.is_ok();
        if !told {
            // Perhaps twice: it is the same end.
            book.pending.lock().unwrap_or_else(PoisonError::into_inner).push_front(end);
            tokio::time::sleep(HEARTBEAT).await;
        }
    }
}

/// Hears what others tell, for as long as the store lives.
async fn read(book: Arc<Book>, line: Store, revoked: Arc<Revoked>, watches: Arc<Watches>, clock: Clock) {
    let mut seen = "0-0".to_owned();
    loop {
        let Ok(entries) = read_stream(&line, STREAM, &seen, BATCH).await else {
            tokio::time::sleep(HEARTBEAT / 3).await;
            continue;
        };
        let now = clock.now();
        for (id, fields) in &entries {
            seen.clone_from(id);
            let end = fields.get(1).and_then(|text| opened(&book.sealer.load(), text));
            if let Some(end) = end.filter(|end| end.until > now)
                && revoked.learn(end, now)
            {
                watches.announce(&end.key);
            }
        }
        if entries.len() < BATCH {
            book.is_read.store(true, Ordering::Release);
        }
    }
}

fn sealed(sealer: &Sealer, end: End) -> Vec<u8> {
    sealer.seal(PURPOSE, &[&end.key.bytes()[..], &end.before.to_be_bytes(), &end.until.to_be_bytes()].concat())
}

/// `None`: of another fleet, or of a key that is gone.
fn opened(sealer: &Sealer, text: &[u8]) -> Option<End> {
    let plain = sealer.open(PURPOSE, text.to_vec())?;
    let (key, times) = plain.split_first_chunk::<16>()?;
    let (before, until) = times.split_first_chunk::<8>()?;
    let until = UnixTime::from_be_bytes(until.try_into().ok()?);
    Some(End { key: Key::from_bytes(*key), before: UnixTime::from_be_bytes(*before), until })
}

#[cfg(test)]
mod tests;
