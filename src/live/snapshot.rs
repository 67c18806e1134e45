//! What one request needs to know, made ready: no name is looked up and no text formatted for it any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::HeaderValue;
use ipnet::IpNet;

use crate::answer::cors::CompiledCors;
use crate::auth::assertion::Signer;
use crate::auth::{Issuer, Requirement};
use crate::balance::AgencyLive;
use crate::clock::UnixTime;
use crate::config::Config;
use crate::config::model::{Priority, Rate, RateBy};
use crate::forward::Way;
use crate::limit::rate::{MAX_KEYS, RateLimiter};
use crate::limit::shared::{Counter, Counting};
use crate::login::Login;
use crate::observe::{Lease, StatId};
use crate::route::Table;
use crate::session::Sessions;
use crate::words::{AgencyId, ListenerId, RouteId};

pub struct Snapshot {
    pub config: Arc<Config>,
    pub table: Table,
    pub routes: Vec<RouteLive>,
    pub agencies: Vec<Arc<AgencyLive>>,
    pub issuers: Vec<Arc<Issuer>>,
    pub signer: Arc<Signer>,
    pub sessions: Arc<Sessions>,
    /// How often an address may begin a login.
    pub logins: Arc<RouteRate>,
    /// The gateway as a relying party; without a client at any SSO it is off.
    pub login: Arc<Login>,
    /// Every address that may ask for a verdict of some agency.
    pub askers: Vec<IpNet>,
    /// `None`: each node counts by itself.
    pub shared_rates: Option<Arc<Counting>>,
    pub loaded_at: UnixTime,
    /// The numbers of `routes`.
    pub lease: Lease,
    /// What the listeners are called now: a connection may have come in when its listener had another name. Empty where
    /// nothing listens.
    pub listeners: Vec<(ListenerId, Arc<str>)>,
}

/// A route as it runs, in one cache line: where thousands of routes take turns, each line is fetched anew for every request.
/// What many routes have alike is shared: a hundred thousand of them must stay small.
#[repr(align(64))]
pub struct RouteLive {
    pub stat: StatId,
    pub agency: AgencyId,
    pub requirement: Arc<Requirement>,
    pub way: Arc<Way>,
    pub body_limit: BodyLimit,
    pub rate: Option<Arc<RouteRate>>,
    pub priority: Priority,
    pub cors: Option<Arc<CompiledCors>>,
    pub fate: Fate,
}

const _: () = assert!(size_of::<RouteLive>() == 64);

/// How large a body may be, in bytes, where the route says so: an `Option` of it would take twice the room.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimit(u64);

impl BodyLimit {
    const LISTENERS: u64 = u64::MAX;

    pub fn of(own: Option<u64>) -> BodyLimit {
        BodyLimit(own.map_or(BodyLimit::LISTENERS, |limit| limit.min(BodyLimit::LISTENERS - 1)))
    }

    pub const fn or(self, listeners: u64) -> u64 {
        if self.0 == BodyLimit::LISTENERS { listeners } else { self.0 }
    }
}

pub struct RouteRate {
    pub limiter: RateLimiter,
    pub by: RateBy,
    /// Where all nodes count together; the limiter is for when that is away.
    /// Boxed: a hash begun is large, and most gateways count alone.
    pub shared: Option<Box<Counter>>,
    /// `RateLimit-Policy`.
    pub policy: HeaderValue,
}

impl RouteRate {
    /// That of `old` while rate and counting are the same: a reload gives nobody a fresh budget.
    pub(super) fn carried(
        rate: Rate,
        route: &str,
        shared: Option<&Arc<Counting>>,
        old: Option<(&Arc<RouteRate>, bool)>,
    ) -> Arc<RouteRate> {
        match old {
            Some((old, true)) if old.limiter.rate() == rate => old.clone(),
            _ => Arc::new(RouteRate {
                limiter: RateLimiter::new(rate, MAX_KEYS),
                by: rate.by,
                shared: shared.map(|shared| Box::new(shared.counter(route, rate))),
                policy: policy(rate),
            }),
        }
    }
}

/// draft-ietf-httpapi-ratelimit-headers: quota, and its window where that is whole seconds (RL).
fn policy(rate: Rate) -> HeaderValue {
    let window = Some(rate.per).filter(|per| per.subsec_nanos() == 0).map(|per| format!(";w={}", per.as_secs()));
    let text = format!("\"gateway\";q={}{}", rate.requests, window.unwrap_or_default());
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("\"gateway\""))
}

/// Whether streams that began on a route may go on. Carried from snapshot to snapshot while the route asks no more than
/// it did; ended when the route is gone or asks more.
#[derive(Clone, Debug, Default)]
pub struct Fate(Arc<AtomicBool>);

impl Fate {
    pub fn is_ended(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    pub(super) fn end(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(super) fn address(&self) -> *const AtomicBool {
        Arc::as_ptr(&self.0)
    }
}

impl Snapshot {
    pub fn route(&self, id: RouteId) -> &RouteLive {
        &self.routes[id.0 as usize]
    }

    /// The name of a listener; `None` when it is gone, and only its last connections are left.
    pub fn listener_name(&self, id: ListenerId) -> Option<&str> {
        self.listeners.iter().find(|(of, _)| *of == id).map(|(_, name)| &**name)
    }
}
