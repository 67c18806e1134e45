//! What one agency may take of the gateway: requests under way, a line of those that wait, connections (`limits` of an
//! agency). One that hangs fills its own and nothing of the others'.
//!
//! One count for all workers, not a share for each: callers' connections fall on workers as chance has it, and an agency
//! with room would refuse those of the busy one. It costs two atomic additions a request; the line's lock is taken only
//! while the agency is full. `forward` takes a [`Slot`] before it sends; what it answers when there is none, it knows.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::adaptive::Adaptive;
use super::agency::AgencyLive;
use super::ledger::Ledger;
use super::moment;

/// Full again within so long is no news.
const CALM: Duration = Duration::from_secs(1);

/// The state of one agency's limits, shared by all workers. Outlives every change of the config that leaves its name alone.
#[derive(Debug, Default)]
pub struct Bulkhead {
    under_way: Apart<AtomicU32>,
    /// The length of `line`, to be seen without its lock.
    queued: AtomicU32,
    line: Mutex<Line>,
    connections: AtomicU32,
    /// It was full, and that was told.
    is_saturated: AtomicBool,
    /// When it was last full.
    full_at: AtomicU64,
    turned_away: [AtomicU64; 3],
    pub(super) adaptive: Adaptive,
    /// When the next retry beyond the budget may be sent.
    pub(super) spare_retry_at: AtomicU64,
}

/// Written by every request: nothing else is to share its cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Apart<T>(T);

#[derive(Debug, Default)]
struct Line {
    next: u64,
    /// By their numbers, ascending. A grant is sent while the line is locked.
    waiting: VecDeque<(u64, oneshot::Sender<()>)>,
}

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// As many wait as may.
    Queue,
    /// It waited as long as it may.
    QueueTime,
    Connections,
}

impl Full {
    pub const ALL: [Full; 3] = [Full::Queue, Full::QueueTime, Full::Connections];

    pub const fn as_str(self) -> &'static str {
        match self {
            Full::Queue => "queue",
            Full::QueueTime => "queue_time",
            Full::Connections => "connections",
        }
    }
}

impl Bulkhead {
    pub fn under_way(&self) -> u32 {
        self.under_way.0.load(Relaxed)
    }

    pub fn queued(&self) -> u32 {
        self.queued.load(Relaxed)
    }

    pub fn connections(&self) -> u32 {
        self.connections.load(Relaxed)
    }

    pub fn is_saturated(&self) -> bool {
        self.is_saturated.load(Relaxed)
    }

    /// How many requests were turned away for this, ever.
    pub fn turned_away(&self, why: Full) -> u64 {
        self.turned_away[why as usize].load(Relaxed)
    }

    /// Takes a place, if there is one.
    fn take(&self, limit: u32) -> bool {
        self.under_way.0.fetch_update(SeqCst, SeqCst, |n| (n < limit).then_some(n + 1)).is_ok()
    }

    fn give_back(&self, limit: u32) {
        // Whoever joins the line counts itself first and looks for a place then; here it is the other way round, so that
        // one of the two sees the other.
        self.under_way.0.fetch_sub(1, SeqCst);
        if self.queued.load(SeqCst) > 0 {
            self.admit(limit);
        }
    }

    /// Lets in who waits while there is room.
    fn admit(&self, limit: u32) {
        let mut line = self.line();
        while !line.waiting.is_empty() && self.take(limit) {
            let granted = loop {
                let Some((_, first)) = line.waiting.pop_front() else { break false };
                self.queued.fetch_sub(1, SeqCst);
                if first.send(()).is_ok() {
                    break true;
                }
            };
            if !granted {
                self.under_way.0.fetch_sub(1, SeqCst);
            }
        }
    }

    /// Joins the line. `None`: it is too long.
    fn join(&self, limit: u32, longest: u32) -> Option<Waiting<'_>> {
        let (grant, granted) = oneshot::channel();
        let id = {
            let mut line = self.line();
            if line.waiting.len() >= longest as usize {
                return None;
            }
            line.next += 1;
            let id = line.next;
            line.waiting.push_back((id, grant));
            self.queued.fetch_add(1, SeqCst);
            id
        };
        self.admit(limit);
        Some(Waiting { bulkhead: self, limit, id, granted, is_in: false })
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn_away(&self, why: Full) -> Full {
        self.turned_away[why as usize].fetch_add(1, Relaxed);
        why
    }
}

/// A place in the line; given up on drop, and with it what was granted and not taken.
struct Waiting<'a> {
    bulkhead: &'a Bulkhead,
    limit: u32,
    id: u64,
    granted: oneshot::Receiver<()>,
    is_in: bool,
}

impl Waiting<'_> {
    async fn grant(&mut self) {
        // The other half is dropped with the bulkhead alone, which we hold.
        let _ = (&mut self.granted).await;
        self.is_in = true;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.is_in {
            return;
        }
        let waits = {
            let mut line = self.bulkhead.line();
            let at = line.waiting.binary_search_by_key(&self.id, |(id, _)| *id);
            at.map(|at| line.waiting.remove(at)).is_ok()
        };
        if waits {
            self.bulkhead.queued.fetch_sub(1, SeqCst);
        } else if self.granted.try_recv().is_ok() {
            self.bulkhead.give_back(self.limit);
        }
    }
}

/// One worker's way in to an agency.
pub struct Entrance {
    pub(super) agency: Arc<AgencyLive>,
    pub ledger: Rc<Ledger>,
}

impl Entrance {
    /// A place for one request; waits for it in the agency's line, at most `patience` and what the agency allows.
    pub async fn enter(self: &Rc<Self>, patience: Duration) -> Result<Slot, Full> {
        if let Some(slot) = self.enter_now() {
            return Ok(slot);
        }
        let limits = &self.agency.limits;
        self.agency.note_full();
        let bulkhead = &self.agency.bulkhead;
        let waiting = bulkhead.join(self.agency.limit(), limits.queue);
        let mut waiting = waiting.ok_or_else(|| bulkhead.turn_away(Full::Queue))?;
        let granted = tokio::time::timeout(limits.queue_time.min(patience), waiting.grant()).await;
        granted.map_err(|_| bulkhead.turn_away(Full::QueueTime))?;
        Ok(Slot { entrance: self.clone() })
    }

    /// A place if there is one now, and nobody waits for it.
    pub fn enter_now(self: &Rc<Self>) -> Option<Slot> {
        let bulkhead = &self.agency.bulkhead;
        let room = bulkhead.queued.load(SeqCst) == 0 && bulkhead.take(self.agency.limit());
        room.then(|| Slot { entrance: self.clone() })
    }

    /// Counts a connection that is about to be opened.
    pub fn open(&self) -> Option<Opened> {
        self.agency.open()
    }
}

/// A request's place at an agency, given back on drop.
pub struct Slot {
    entrance: Rc<Entrance>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let agency = &self.entrance.agency;
        agency.bulkhead.give_back(agency.limit());
        if agency.bulkhead.is_saturated() {
            agency.settle();
        }
    }
}

/// A connection that is counted, until it is dropped.
pub struct Opened(Arc<Bulkhead>);

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
    }
}

impl AgencyLive {
    /// How many requests may be under way now.
    pub fn limit(&self) -> u32 {
        match self.limits.adaptive {
            true => self.bulkhead.adaptive.allowed(self.limits.concurrent),
            false => self.limits.concurrent,
        }
    }

    fn open(&self) -> Option<Opened> {
        let limit = self.limits.connections;
        let connections = &self.bulkhead.connections;
        let counted = connections.fetch_update(Relaxed, Relaxed, |n| (n < limit).then_some(n + 1));
        counted.is_ok().then(|| Opened(self.bulkhead.clone()))
    }

    /// No connection could be had for a request.
    pub fn note_no_connection(&self) {
        self.bulkhead.turn_away(Full::Connections);
        self.saturated(&format!("all its {} connections are open", self.limits.connections));
    }

    fn note_full(&self) {
        self.bulkhead.full_at.store(moment::now(), Relaxed);
        if !self.bulkhead.is_saturated() {
            self.saturated(&format!("{} requests are under way, and more wait", self.limit()));
        }
    }

    fn saturated(&self, what: &str) {
        self.bulkhead.full_at.store(moment::now(), Relaxed);
        if !self.bulkhead.is_saturated.swap(true, Relaxed) {
            self.say_of_all("warn", &format!("saturated: {what}"));
        }
    }

    /// Takes note that it is no longer full, once half of its places are free and have been for a while.
    pub fn settle(&self) {
        self.settle_at(moment::now());
    }

    fn settle_at(&self, now: u64) {
        let bulkhead = &self.bulkhead;
        let calm = now.saturating_sub(bulkhead.full_at.load(Relaxed)) >= moment::millis(CALM);
        let (under_way, connections) = (bulkhead.under_way(), bulkhead.connections());
        let room = under_way <= self.limit() / 2 && bulkhead.queued() == 0 && connections < self.limits.connections;
        if calm && room && bulkhead.is_saturated.swap(false, Relaxed) {
            self.say_of_all("info", &format!("no longer saturated: {under_way} requests are under way"));
        }
    }
}

#[cfg(test)]
mod tests;
