//! The configuration in force: an immutable [`Snapshot`], swapped whole. Floor 3.

pub mod asked;
pub mod compile;
pub mod expect;
pub mod snapshot;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;

pub use compile::{Surroundings, compile, end_orphans};
pub use snapshot::{RouteLive, Snapshot};

use crate::balance::Watch;
use crate::clock::UnixTime;
use crate::config::{self, Fault, LastGood, Loaded};

/// The way of a file into force, for `check` and start-up: its own rules first, then its expectations. Errors: every fault,
/// warnings included.
pub fn load_checked(file: &Path, now: UnixTime) -> Result<Loaded, Vec<Fault>> {
    load_checked_with(file, now, &LastGood::default())
}

/// The same for a reload, which may fall back on what included files were.
pub fn load_checked_with(file: &Path, now: UnixTime, last_good: &LastGood) -> Result<Loaded, Vec<Fault>> {
    config::load_with(file, now, last_good, &expect::judge)
}

/// The same for the config in force, when a file that it names has changed: an edit of its own text waits.
pub fn load_anew(file: &Path, now: UnixTime, in_force: &LastGood) -> Result<Loaded, Vec<Fault>> {
    config::load_anew(file, now, in_force, &expect::judge)
}

/// The one place where "what runs now" is kept.
pub struct Live {
    current: ArcSwap<Snapshot>,
    /// Read by every request, written by a reload: workers look at the snapshot itself only when it has moved.
    generation: AtomicU64,
    /// Checks the agencies in force, and no others.
    watch: Watch,
}

impl Live {
    /// `control`: where its agencies are watched from.
    pub fn new(first: Snapshot, control: Handle) -> Live {
        let watch = Watch::new(control);
        watch.follow(&first.agencies);
        Live { current: ArcSwap::from_pointee(first), generation: AtomicU64::new(1), watch }
    }

    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub fn load(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Puts `next` in force for every request that begins from now on.
    pub fn replace(&self, next: Snapshot) {
        self.watch.follow(&next.agencies);
        self.current.store(Arc::new(next));
        self.generation.fetch_add(1, Ordering::Release);
    }
}
