//! The configuration in force: an immutable [`Snapshot`], swapped whole. Floor 3.

pub mod asked;
pub mod compile;
pub mod expect;
pub mod snapshot;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

pub use compile::{Surroundings, compile, end_orphans};
pub use snapshot::{RouteLive, Snapshot};

use crate::clock::UnixTime;
use crate::config::{self, Fault, LastGood, Loaded};

/// The way of a file into force, for `check` and start-up: its own rules first, then its expectations. Errors: every fault,
/// warnings included.
pub fn load_checked(file: &Path, now: UnixTime) -> Result<Loaded, Vec<Fault>> {
    load_checked_with(file, now, &LastGood::default())
}

/// The same for a reload, which may fall back on what included files were.
pub fn load_checked_with(file: &Path, now: UnixTime, last_good: &LastGood) -> Result<Loaded, Vec<Fault>> {
    let mut loaded = config::load_with(file, now, last_good)?;
    let broken = expect::judge(&loaded.config);
    if broken.is_empty() {
        return Ok(loaded);
    }
    loaded.warnings.extend(broken);
    Err(loaded.warnings)
}

/// The one place where "what runs now" is kept.
pub struct Live {
    current: ArcSwap<Snapshot>,
    /// Read by every request, written by a reload: workers look at the snapshot itself only when it has moved.
    generation: AtomicU64,
}

impl Live {
    pub fn new(first: Snapshot) -> Live {
        Live { current: ArcSwap::from_pointee(first), generation: AtomicU64::new(1) }
    }

    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub fn load(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Puts `next` in force for every request that begins from now on.
    pub fn replace(&self, next: Snapshot) {
        self.current.store(Arc::new(next));
        self.generation.fetch_add(1, Ordering::Release);
    }
}
