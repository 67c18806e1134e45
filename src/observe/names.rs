//! Routes have numbers that outlive a reload, so that counters do too. Names are never given out twice and never forgotten:
//! a counter that vanishes and comes back would look like a restart.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

/// A route's number for counters and log lines.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct StatId(pub u32);

impl StatId {
    /// Requests that met no route.
    pub const UNROUTED: StatId = StatId(0);
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteName {
    pub route: Arc<str>,
    pub agency: Arc<str>,
}

/// All names ever configured. Written at reload, read by the log writer and `/metrics`.
#[derive(Debug)]
pub struct Names(RwLock<Inner>);

#[derive(Debug, Default)]
struct Inner {
    names: Vec<RouteName>,
    ids: HashMap<(Arc<str>, Arc<str>), StatId>,
}

impl Default for Names {
    fn default() -> Names {
        let names = Names(RwLock::default());
        names.id("".into(), "".into());
        names
    }
}

impl Names {
    pub fn id(&self, route: Arc<str>, agency: Arc<str>) -> StatId {
        let mut inner = self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Inner { names, ids } = &mut *inner;
        *ids.entry((route.clone(), agency.clone())).or_insert_with(|| {
            names.push(RouteName { route, agency });
            StatId(u32::try_from(names.len() - 1).expect("fewer than 2^32 routes"))
        })
    }

    pub fn name(&self, id: StatId) -> Option<RouteName> {
        self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner).names.get(id.0 as usize).cloned()
    }
}
