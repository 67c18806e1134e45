//! The reloads there were, and the way to ask for one: from a signal, the admin listener, or a file that changed.

use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use crate::clock::UnixTime;
use crate::config::{Fault, KeptFile};

/// How a reload ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    Applied {
        sha256: String,
        at: UnixTime,
        warnings: Vec<Fault>,
        kept: Vec<KeptFile>,
        /// What of it waits for the next start.
        waiting: Vec<Fault>,
    },
    /// The configuration before it is still in force.
    Refused { sha256: String, at: UnixTime, faults: Vec<Fault> },
}

impl Outcome {
    pub fn is_applied(&self) -> bool {
        matches!(self, Outcome::Applied { .. })
    }

    /// As the contract has it (section 5, "JSON"). `sha256` is of what is in force.
    pub fn as_json(&self) -> Value {
        match self {
            Outcome::Applied { sha256, at, warnings, kept, waiting } => {
                let faults: Vec<&Fault> = waiting.iter().chain(warnings).collect();
                let kept = kept.iter().map(|k| json!({"file": k.file, "in_use": k.in_use, "faults": k.faults}));
                let kept: Vec<Value> = kept.collect();
                json!({"outcome": "applied", "sha256": sha256, "faults": faults, "at": at, "kept": kept})
            }
            Outcome::Refused { sha256, at, faults } => {
                json!({"outcome": "refused", "sha256": sha256, "faults": faults, "at": at})
            }
        }
    }
}

/// What is asked for.
pub enum Wish {
    /// A reload; somebody may wait for its outcome.
    Reload(Option<oneshot::Sender<Outcome>>),
    /// Certificates, keys and CAs read anew, without taking up an edit of the file.
    Renew,
}

pub struct Reloads {
    wishes: mpsc::UnboundedSender<Wish>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    applied: u64,
    refused: u64,
    last: Option<Outcome>,
    /// Of the configuration in force, as the next.
    waiting: Vec<Fault>,
    kept: Vec<KeptFile>,
}

impl Reloads {
    pub fn new() -> (Reloads, mpsc::UnboundedReceiver<Wish>) {
        let (wishes, inbox) = mpsc::unbounded_channel();
        (Reloads { wishes, seen: Mutex::default() }, inbox)
    }

    /// Asks for a reload and waits for its end; `None` when none can be had any more.
    pub async fn ask(&self) -> Option<Outcome> {
        let (answer, outcome) = oneshot::channel();
        self.wishes.send(Wish::Reload(Some(answer))).ok()?;
        outcome.await.ok()
    }

    /// Asks for a reload without waiting.
    pub fn wish(&self) {
        let _ = self.wishes.send(Wish::Reload(None));
    }

    /// Asks for certificates, keys and CAs to be read anew.
    pub fn wish_renewal(&self) {
        let _ = self.wishes.send(Wish::Renew);
    }

    /// Included files whose last good version is in force instead of what is on disk.
    pub fn kept(&self) -> Vec<KeptFile> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).kept.clone()
    }

    /// What of the configuration in force waits for the next start, whatever became of the reloads since.
    pub fn waiting(&self) -> Vec<Fault> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).waiting.clone()
    }

    pub fn note(&self, outcome: &Outcome) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Outcome::Applied { waiting, kept, .. } => {
                seen.applied += 1;
                seen.kept.clone_from(kept);
                seen.waiting.clone_from(waiting);
            }
            Outcome::Refused { .. } => seen.refused += 1,
        }
        seen.last = Some(outcome.clone());
    }

    /// How the last reload ended; stays visible until the next.
    pub fn last(&self) -> Option<Value> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).last.as_ref().map(Outcome::as_json)
    }

    pub fn is_refused(&self) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.last.as_ref().is_some_and(|last| !last.is_applied())
    }

    pub fn counts(&self) -> [(&'static str, u64); 2] {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        [("applied", seen.applied), ("refused", seen.refused)]
    }
}
