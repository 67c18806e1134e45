//! The upgrades there were, and the way to ask for one: from a signal, or the admin listener.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

/// How an upgrade ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The process of this id serves now.
    TakenOver { pid: u32 },
    /// The new program ended, or could not be started: in words for the operator. We go on.
    Failed { why: String },
    /// The new program was not ready in time. We go on.
    TimedOut { why: String },
}

/// In the order of their counts.
const LABELS: [&str; 3] = ["taken_over", "failed", "timed_out"];

impl Outcome {
    fn index(&self) -> usize {
        match self {
            Outcome::TakenOver { .. } => 0,
            Outcome::Failed { .. } => 1,
            Outcome::TimedOut { .. } => 2,
        }
    }

    pub fn as_json(&self) -> Value {
        let outcome = LABELS[self.index()];
        match self {
            Outcome::TakenOver { pid } => json!({"outcome": outcome, "pid": pid}),
            Outcome::Failed { why } | Outcome::TimedOut { why } => json!({"outcome": outcome, "why": why}),
        }
    }
}

/// An upgrade is asked for; somebody may wait for its outcome.
pub type Wish = Option<oneshot::Sender<Outcome>>;

pub struct Upgrades {
    wishes: mpsc::UnboundedSender<Wish>,
    counts: [AtomicU64; 3],
}

impl Upgrades {
    /// `before`: the counts of the processes that served before this one.
    pub fn new(before: [u64; 3]) -> (Upgrades, mpsc::UnboundedReceiver<Wish>) {
        let (wishes, inbox) = mpsc::unbounded_channel();
        (Upgrades { wishes, counts: before.map(AtomicU64::new) }, inbox)
    }

    /// Asks for an upgrade and waits for its end; `None` when none can be had: we are on our way out, or not `run`.
    pub async fn ask(&self) -> Option<Outcome> {
        let (answer, outcome) = oneshot::channel();
        self.wishes.send(Some(answer)).ok()?;
        outcome.await.ok()
    }

    /// Asks for an upgrade without waiting.
    pub fn wish(&self) {
        let _ = self.wishes.send(None);
    }

    pub fn note(&self, outcome: &Outcome) {
        self.counts[outcome.index()].fetch_add(1, Ordering::Relaxed);
    }

    /// As this process would pass them on if it were taken over now.
    pub fn passed_on(&self) -> [u64; 3] {
        let mut counts = [0, 1, 2].map(|index| self.counts[index].load(Ordering::Relaxed));
        counts[0] += 1;
        counts
    }

    pub fn counts(&self) -> [(&'static str, u64); 3] {
        [0, 1, 2].map(|index| (LABELS[index], self.counts[index].load(Ordering::Relaxed)))
    }
}
