//! What one request needs to know, made ready: no name is looked up and no text formatted for it any more.

use std::sync::Arc;

use crate::answer::cors::CompiledCors;
use crate::auth::assertion::Signer;
use crate::auth::{Issuer, Requirement};
use crate::balance::AgencyLive;
use crate::clock::UnixTime;
use crate::config::Config;
use crate::config::model::RateBy;
use crate::forward::Way;
use crate::limit::rate::RateLimiter;
use crate::observe::StatId;
use crate::route::Table;
use crate::words::{AgencyId, RouteId};

pub struct Snapshot {
    pub config: Arc<Config>,
    pub table: Table,
    pub routes: Vec<RouteLive>,
    pub agencies: Vec<Arc<AgencyLive>>,
    pub issuers: Vec<Arc<Issuer>>,
    pub signer: Arc<Signer>,
    pub loaded_at: UnixTime,
}

/// A route as it runs. What many routes have alike is shared: a hundred thousand of them must stay small.
pub struct RouteLive {
    pub stat: StatId,
    pub agency: AgencyId,
    pub requirement: Arc<Requirement>,
    pub way: Arc<Way>,
    /// Bytes; `None`: the listener's.
    pub body_limit: Option<u64>,
    pub rate: Option<Arc<RouteRate>>,
    pub cors: Option<Arc<CompiledCors>>,
}

pub struct RouteRate {
    pub limiter: RateLimiter,
    pub by: RateBy,
}

impl Snapshot {
    pub fn route(&self, id: RouteId) -> &RouteLive {
        &self.routes[id.0 as usize]
    }
}
