//! The configuration in force: an immutable [`Snapshot`], swapped whole. Floor 3.

pub mod compile;
pub mod snapshot;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;

pub use compile::{Surroundings, compile, end_orphans};
pub use snapshot::{RouteLive, Snapshot};

use crate::balance::Watch;

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
