//! An issuer's keys: fetched in the background, kept while the SSO is away, shared by all routes.
//!
//! Here is what requests and metrics see of an issuer; `refresh` brings the keys, on the control runtime. Keys are never
//! fetched on a worker: a request waits at most for a refresh that is due.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::runtime::Handle;

use super::demand::{Allowance, Demand};
use super::jwk::{Key, KeySet, Lookup};
use super::refresh::{Pace, Refresher};
use crate::clock::{Clock, UnixTime};
use crate::config::model::{self, Algorithm};

/// One issuer as it runs. Dropping the last one ends its refresh.
pub struct Issuer {
    pub model: Arc<model::Issuer>,
    /// `iss`, shared by everything that was verified.
    pub(super) iss: Arc<str>,
    pub stats: KeyStats,
    /// Tokens whose level claim was missing, unknown or no string (AS-2, `assurance_unknown_acr_total{issuer}`).
    pub unknown_levels: AtomicU64,
    pub(super) demand: Demand,
    keys: ArcSwapOption<KeySet>,
    ever_had_keys: AtomicBool,
}

/// How an issuer's keys came and went; counters for `/metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshOutcome {
    Ok,
    Failed,
}

impl RefreshOutcome {
    pub const ALL: [RefreshOutcome; 2] = [RefreshOutcome::Ok, RefreshOutcome::Failed];

    pub const fn as_str(self) -> &'static str {
        match self {
            RefreshOutcome::Ok => "ok",
            RefreshOutcome::Failed => "failed",
        }
    }
}

#[derive(Debug, Default)]
pub struct KeyStats {
    ok: AtomicU64,
    failed: AtomicU64,
    last_ok: AtomicI64,
    on_kept_keys: AtomicBool,
}

impl KeyStats {
    /// `jwks_refresh_total{issuer,outcome}`
    pub fn refreshes(&self, outcome: RefreshOutcome) -> u64 {
        match outcome {
            RefreshOutcome::Ok => self.ok.load(Ordering::Relaxed),
            RefreshOutcome::Failed => self.failed.load(Ordering::Relaxed),
        }
    }

    /// When the keys in use were fetched, also if by a process before this one. `None`: never.
    pub fn last_success(&self) -> Option<UnixTime> {
        Some(self.last_ok.load(Ordering::Relaxed)).filter(|at| *at != 0)
    }

    /// True while the keys in use could not be fetched anew.
    pub fn is_on_kept_keys(&self) -> bool {
        self.on_kept_keys.load(Ordering::Relaxed)
    }

    pub(super) fn count(&self, outcome: RefreshOutcome) {
        let counter = match outcome {
            RefreshOutcome::Ok => &self.ok,
            RefreshOutcome::Failed => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn set_last_success(&self, at: UnixTime) {
        self.last_ok.store(at, Ordering::Relaxed);
    }

    pub(super) fn set_on_kept_keys(&self, yes: bool) {
        self.on_kept_keys.store(yes, Ordering::Relaxed);
    }
}

/// Why a token's key is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// The issuer has none at all.
    NoKeys,
    /// It has others.
    Unknown,
}

impl Issuer {
    /// Loads keys from file or `state_dir`, and starts the background refresh on `control`.
    pub fn start(model: Arc<model::Issuer>, state_dir: &Path, control: &Handle, clock: &Clock) -> Arc<Issuer> {
        Issuer::start_at_pace(model, state_dir, control, clock, Pace::DEFAULT)
    }

    /// With the keys that can be had without a network: those of the file, or those that an earlier run kept. Nothing is
    /// ever fetched, and no key is waited for: for `explain`.
    pub fn offline(model: Arc<model::Issuer>, state_dir: &Path, clock: &Clock) -> Arc<Issuer> {
        let demand = Allowance { wait: Duration::ZERO, ..Allowance::DEFAULT };
        Issuer::loaded(model, state_dir, clock, Pace { demand, ..Pace::DEFAULT }).0
    }

    pub(super) fn start_at_pace(
        model: Arc<model::Issuer>,
        state_dir: &Path,
        control: &Handle,
        clock: &Clock,
        pace: Pace,
    ) -> Arc<Issuer> {
        let (issuer, refresher) = Issuer::loaded(model, state_dir, clock, pace);
        control.spawn(refresher.run(Arc::downgrade(&issuer)));
        issuer
    }

    fn loaded(model: Arc<model::Issuer>, state_dir: &Path, clock: &Clock, pace: Pace) -> (Arc<Issuer>, Refresher) {
        let issuer = Arc::new(Issuer {
            iss: Arc::from(model.issuer.as_str()),
            model,
            stats: KeyStats::default(),
            unknown_levels: AtomicU64::new(0),
            demand: Demand::new(pace.demand),
            keys: ArcSwapOption::empty(),
            ever_had_keys: AtomicBool::new(false),
        });
        let mut refresher = Refresher::new(&issuer, state_dir, clock.clone(), pace);
        refresher.load(&issuer);
        (issuer, refresher)
    }

    /// Its `iss`, shared by everything that was verified.
    pub fn iss(&self) -> &Arc<str> {
        &self.iss
    }

    /// True once usable keys were ever obtained (`/readyz`).
    pub fn has_keys(&self) -> bool {
        self.ever_had_keys.load(Ordering::Relaxed)
    }

    /// How many keys are in use.
    pub fn key_count(&self) -> usize {
        self.keys.load().as_ref().map_or(0, |set| set.len())
    }

    /// The key for a token. An unknown `kid` may wait, a bounded time, for a refresh.
    pub(super) async fn key(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<Arc<Key>, Missing> {
        let Some(set) = self.keys.load_full() else {
            self.demand.want();
            return Err(Missing::NoKeys);
        };
        match (set.find(kid, algorithm), kid) {
            (Lookup::Found(key), _) => return Ok(key.clone()),
            (Lookup::Unknown, Some(kid)) => {
                // Looked up again in any case: a refresh may have ended just now.
                let refreshed = self.demand.refresh_for(kid).await;
                let found = self.keys.load().as_ref().is_some_and(|set| set.has_kid(kid));
                // A fetch that failed says nothing of the `kid`.
                if refreshed && !found && !self.stats.is_on_kept_keys() {
                    self.demand.remember_unknown(kid);
                }
            }
            _ => return Err(Missing::Unknown),
        }
        let Some(set) = self.keys.load_full() else { return Err(Missing::NoKeys) };
        match set.find(kid, algorithm) {
            Lookup::Found(key) => Ok(key.clone()),
            _ => Err(Missing::Unknown),
        }
    }

    pub(super) fn key_set(&self) -> Option<Arc<KeySet>> {
        self.keys.load_full()
    }

    /// Puts a set in force. What was verified with keys that are not in it dies at once (JB-10).
    pub(super) fn install(&self, next: Option<KeySet>) {
        let next = next.filter(|set| !set.is_empty()).map(Arc::new);
        self.ever_had_keys.fetch_or(next.is_some(), Ordering::Relaxed);
        if let Some(previous) = self.keys.swap(next.clone()) {
            previous.end_all_but(next.as_deref());
        }
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.demand.wake.notify_one();
    }
}

/// The name alone: an issuer holds much that nobody wants to read in a log.
impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Issuer({})", self.model.name)
    }
}
