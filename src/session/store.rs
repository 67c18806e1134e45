//! Which store holds the sessions, and what outlives a reload with it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;

use super::flight::Flights;
use super::hub::Hub;
use super::ledger::Ledger;
use super::memory::Memory;
use super::seal::Sealer;
use super::sealed::Sealed;
use super::shared::Shared;
use super::stats::{Ended, Stats};
use super::watch::Watches;
use crate::clock::Clock;
use crate::config::model;

/// What outlives a reload.
pub(super) struct Common {
    pub(super) store: Store,
    pub(super) watches: Arc<Watches>,
    pub(super) flights: Arc<Flights>,
    pub(super) stats: Stats,
}

impl Common {
    /// `before`: what takes its place. `control`: where a store elsewhere is asked, and what is over is swept away; none where
    /// it is only looked at. Errors: roots that cannot be used.
    pub(super) fn new(
        settings: &model::SessionStore,
        sealer: &Arc<Sealer>,
        before: Option<&Common>,
        control: Option<(&Handle, &Clock)>,
    ) -> Result<Arc<Common>, String> {
        // Sessions in cookies go on when the place changes where their ends are told, and their streams with them.
        let watches = match (before, settings) {
            (Some(before), model::SessionStore::Cookie { .. }) if matches!(before.store, Store::Sealed(_)) => {
                before.watches.clone()
            }
            _ => Arc::default(),
        };
        let store = Store::new(settings, sealer, before.map(|before| &before.store), &watches, control)?;
        let common = Arc::new(Common { store, watches, flights: Arc::default(), stats: Stats::default() });
        if let Some((control, clock)) = control {
            control.spawn(sweep(Arc::downgrade(&common), clock.clone()));
        }
        Ok(common)
    }
}

pub(super) enum Store {
    Memory(Memory),
    Sealed(Sealed),
    Shared(Box<Shared>),
}

impl Store {
    fn new(
        settings: &model::SessionStore,
        sealer: &Arc<Sealer>,
        before: Option<&Store>,
        watches: &Arc<Watches>,
        control: Option<(&Handle, &Clock)>,
    ) -> Result<Store, String> {
        Ok(match (settings, control) {
            (model::SessionStore::Redis(server), Some((control, _))) => {
                Store::Shared(Box::new(Shared::open(server, watches, control)?))
            }
            (model::SessionStore::Cookie { shared }, _) => {
                let before = match before {
                    Some(Store::Sealed(before)) => Some(before),
                    _ => None,
                };
                let tell = |revoked: &_| {
                    let open = |(server, (control, clock))| {
                        Ledger::open(server, sealer.clone(), revoked, watches, control, clock)
                    };
                    shared.as_ref().zip(control).map(open).transpose()
                };
                Store::Sealed(Sealed::new(before, tell)?)
            }
            (model::SessionStore::Memory { max }, _) => Store::Memory(Memory::new(*max as usize)),
            // Only looked at.
            (model::SessionStore::Redis(_), None) => Store::Memory(Memory::new(1)),
        })
    }

    /// Whether it is the store that the settings name, so that sessions go on; if so it is adjusted to them.
    pub(super) fn is_still(&self, settings: &model::SessionStore, sealer: &Arc<Sealer>) -> bool {
        match (self, settings) {
            (Store::Memory(memory), model::SessionStore::Memory { max }) => {
                memory.resize(*max as usize);
                true
            }
            (Store::Sealed(sealed), model::SessionStore::Cookie { shared }) => match (&sealed.ledger, shared) {
                (None, None) => true,
                (Some(ledger), Some(server)) if ledger.hub().is_at(server) => {
                    ledger.seal_with(sealer.clone());
                    true
                }
                _ => false,
            },
            (Store::Shared(shared), model::SessionStore::Redis(server)) => shared.hub.is_at(server),
            _ => false,
        }
    }

    /// The Redis behind it.
    pub(super) fn hub(&self) -> Option<&Hub> {
        match self {
            Store::Memory(_) => None,
            Store::Sealed(sealed) => sealed.ledger.as_ref().map(Ledger::hub),
            Store::Shared(shared) => Some(&shared.hub),
        }
    }
}

/// Lets go, bit by bit, of what is over and was never asked for again. Ends with the store.
async fn sweep(common: Weak<Common>, clock: Clock) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(common) = common.upgrade() else { return };
        let Store::Memory(memory) = &common.store else { return };
        for key in memory.sweep(clock.now()) {
            common.stats.ended(Ended::Expired);
            common.watches.announce(&key);
        }
    }
}
