//! Routes have numbers that outlive a reload, so that counters do too. A number is given up when no configuration has its route
//! any more and no request that met it is left: however many names come and go, only those in use take room.
//!
//! A number is a slot and how often the slot was given out, so that a late count of a route that is gone is never taken for
//! its successor's. Written at reload, read by the log writer and `/metrics`.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, Weak};

/// A route's number for counters and log lines.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct StatId {
    pub slot: u32,
    /// Greater with each route that has the slot.
    pub epoch: u32,
}

impl StatId {
    /// Requests that met no route.
    pub const UNROUTED: StatId = StatId { slot: 0, epoch: 0 };
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteName {
    pub route: Arc<str>,
    pub agency: Arc<str>,
}

/// The numbers of one configuration's routes, in their order: they are kept as long as this is.
pub type Lease = Arc<[StatId]>;

#[derive(Debug)]
pub struct Names(RwLock<Inner>);

#[derive(Debug, Default)]
struct Inner {
    slots: Vec<Slot>,
    ids: HashMap<(Arc<str>, Arc<str>), StatId>,
    leases: Vec<Weak<[StatId]>>,
    free: Vec<u32>,
    /// Free from the next reload on: lines about them may still be on their way to the log.
    resting: Vec<u32>,
}

#[derive(Debug)]
struct Slot {
    name: RouteName,
    epoch: u32,
    is_used: bool,
}

impl Default for Names {
    fn default() -> Names {
        let mut inner = Inner::default();
        inner.id("".into(), "".into());
        Names(RwLock::new(inner))
    }
}

impl Names {
    /// Numbers for routes with their agencies: those that they have, else free ones.
    pub fn lease(&self, routes: impl Iterator<Item = (Arc<str>, Arc<str>)> + Clone) -> Lease {
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        inner.forget(routes.clone());
        let lease: Lease = routes.map(|(route, agency)| inner.id(route, agency)).collect();
        inner.leases.push(Arc::downgrade(&lease));
        lease
    }

    /// The name that a number stands for, or stood for last.
    pub fn name(&self, id: StatId) -> Option<RouteName> {
        self.read(id, |_| true)
    }

    /// The same, while there is such a route.
    pub fn name_in_use(&self, id: StatId) -> Option<RouteName> {
        self.read(id, |slot| slot.is_used)
    }

    fn read(&self, id: StatId, fits: impl Fn(&Slot) -> bool) -> Option<RouteName> {
        let inner = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let slot = inner.slots.get(id.slot as usize)?;
        (slot.epoch == id.epoch && fits(slot)).then(|| slot.name.clone())
    }
}

impl Inner {
    fn id(&mut self, route: Arc<str>, agency: Arc<str>) -> StatId {
        let Inner { slots, ids, free, .. } = self;
        let give = || {
            let name = RouteName { route: route.clone(), agency: agency.clone() };
            match free.pop() {
                Some(slot) => {
                    let old = &mut slots[slot as usize];
                    let epoch = old.epoch.wrapping_add(1);
                    *old = Slot { name, epoch, is_used: true };
                    StatId { slot, epoch }
                }
                None => {
                    slots.push(Slot { name, epoch: 0, is_used: true });
                    let slot = u32::try_from(slots.len() - 1).expect("fewer than 2^32 routes at a time");
                    StatId { slot, epoch: 0 }
                }
            }
        };
        *ids.entry((route.clone(), agency.clone())).or_insert_with(give)
    }

    /// Gives up the numbers that no lease holds, but those of `coming`.
    fn forget(&mut self, coming: impl Iterator<Item = (Arc<str>, Arc<str>)>) {
        let mut needed = vec![false; self.slots.len()];
        needed[StatId::UNROUTED.slot as usize] = true;
        let mut mark = |id: &StatId| needed[id.slot as usize] = true;
        self.leases.retain(|lease| match lease.upgrade() {
            Some(lease) => {
                lease.iter().for_each(&mut mark);
                true
            }
            None => false,
        });
        coming.filter_map(|name| self.ids.get(&name)).for_each(mark);
        self.free.append(&mut self.resting);
        let Inner { slots, ids, resting, .. } = self;
        ids.retain(|_, id| {
            let keep = needed[id.slot as usize];
            if !keep {
                slots[id.slot as usize].is_used = false;
                resting.push(id.slot);
            }
            keep
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(names: &Names, routes: &[&str]) -> Lease {
        let routes: Vec<(Arc<str>, Arc<str>)> = routes.iter().map(|route| ((*route).into(), "x".into())).collect();
        names.lease(routes.into_iter())
    }

    #[test]
    fn a_number_is_kept_while_anybody_needs_it() {
        let names = Names::default();
        let first = lease(&names, &["a", "b"]);
        let (a, b) = (first[0], first[1]);
        let second = lease(&names, &["b", "c"]);
        assert_eq!((second[0], names.name_in_use(a).is_some()), (b, true), "the first goes on");
        drop(first);
        // Only with this one `a` is found to be gone; its line may still be on its way to the log.
        let third = lease(&names, &["d"]);
        assert!(names.name_in_use(a).is_none() && names.name(a).is_some());
        assert!(names.name_in_use(b).is_some());
        let fourth = lease(&names, &["e"]);
        assert_eq!((fourth[0].slot, fourth[0].epoch), (a.slot, 1));
        assert!(names.name(a).is_none(), "nothing is taken for what came after it");
        drop((second, third));
    }

    #[test]
    fn a_route_that_comes_back_at_once_counts_on() {
        let names = Names::default();
        let a = lease(&names, &["a"])[0];
        assert_eq!(lease(&names, &["a"])[0], a);
    }

    #[test]
    fn names_that_come_and_go_take_no_more_room() {
        let names = Names::default();
        let mut held = lease(&names, &["first"]);
        for n in 0..100 {
            held = lease(&names, &[&format!("route-{n}")]);
        }
        assert!(held[0].slot <= 4, "{held:?}");
    }
}
