//! From a checked config to a snapshot that serves. No socket is touched; what is unchanged since `previous` is carried over.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;

use super::snapshot::{BodyLimit, Fate, RouteLive, RouteRate, Snapshot};
use crate::answer::cors::CompiledCors;
use crate::auth::assertion::Signer;
use crate::auth::{Issuer, Requirement};
use crate::balance::AgencyLive;
use crate::clock::{Clock, UnixTime};
use crate::config::Config;
use crate::config::model::{self, JwksSource, Require, Rewrite, Timeouts, Via};
use crate::forward::Way;
use crate::limit::shared::Counting;
use crate::login::Login;
use crate::observe::{Lease, Names, StatId};
use crate::route::Table;
use crate::session::Sessions;
use crate::store::Server;

/// What a snapshot grows in.
#[derive(Clone)]
pub struct Surroundings {
    /// Where keys are refreshed.
    pub control: Handle,
    pub clock: Clock,
    pub names: Arc<Names>,
    /// Where the gateway stands, whatever the file says.
    pub zone: Option<Arc<str>>,
}

/// Makes `config` ready to serve. What `previous` has and the config leaves alone is carried over: keys, connections,
/// counters of rates, and with them every token verified so far. Errors: what no check of the file can see (an unusable
/// kept key, a TLS setting). `previous` is not touched: a failed compile changes nothing.
pub fn compile(config: Config, previous: Option<&Snapshot>, around: &Surroundings) -> Result<Snapshot, String> {
    let mut config = config;
    let signer = signer(&config, previous)?;
    let models: Vec<Arc<model::Issuer>> = std::mem::take(&mut config.issuers).into_iter().map(Arc::new).collect();
    let issuers = models.iter().map(|model| issuer(model, &config, previous, around));
    let issuers = issuers.collect::<Result<Vec<_>, String>>()?;
    let zone = around.zone.clone().or_else(|| config.zone.clone());
    let agencies = config.agencies.iter().map(|model| agency(model, zone.as_ref(), previous));
    let agencies = agencies.collect::<Result<Vec<_>, String>>()?;
    let rates = shared_rates(&config, &signer, previous)?;
    let routes = routes(&config, &issuers, rates.as_ref(), previous, &around.names);
    let sessions = sessions(&config, &issuers, previous, around)?;
    let login = Login::new(&config, &issuers, previous.map(|old| &*old.login), &around.control)?;
    let callers = (signer, rates, sessions, Arc::new(login));
    Ok(assemble(config, callers, issuers, agencies, routes, previous, around.clock.now()))
}

/// Makes `config` ready to be looked at and not to serve: nothing is fetched, nothing is written, no secret is read. For
/// `explain`.
pub fn offline(config: Config, clock: &Clock) -> Result<Snapshot, String> {
    let mut config = config;
    let signer = Signer::ephemeral(&config.assertion).map(Arc::new)?;
    let models = std::mem::take(&mut config.issuers).into_iter().map(Arc::new);
    let issuers: Vec<_> = models.map(|model| Issuer::offline(model, &config.state_dir, clock)).collect();
    let agencies = config.agencies.iter().map(|model| agency(model, None, None)).collect::<Result<Vec<_>, String>>()?;
    let routes = routes(&config, &issuers, None, None, &Names::default());
    let has_client = issuers.iter().any(|issuer| issuer.model.client.is_some());
    let sessions = Sessions::offline(&config.sessions).map(Arc::new)?;
    let callers = (signer, None, sessions, Arc::new(Login::offline(&config, has_client)));
    Ok(assemble(config, callers, issuers, agencies, routes, None, clock.now()))
}

/// What callers are known, counted and logged in by.
type Callers = (Arc<Signer>, Option<Arc<Counting>>, Arc<Sessions>, Arc<Login>);

fn assemble(
    config: Config,
    (signer, shared_rates, sessions, login): Callers,
    issuers: Vec<Arc<Issuer>>,
    agencies: Vec<Arc<AgencyLive>>,
    (lease, routes): (Lease, Vec<RouteLive>),
    previous: Option<&Snapshot>,
    loaded_at: UnixTime,
) -> Snapshot {
    let table = Table::compile(&config);
    // Each node counts by itself: it is the SSO that is spared, and not a budget that is shared out.
    let logins = RouteRate::carried(config.sessions.logins, "", None, previous.map(|old| (&old.logins, true)));
    let askers = config.agencies.iter().flat_map(|agency| &agency.verify).flat_map(|verify| verify.from.clone());
    let askers = askers.collect();
    Snapshot {
        table,
        routes,
        agencies,
        issuers,
        signer,
        shared_rates,
        sessions,
        login,
        logins,
        askers,
        loaded_at,
        lease,
        config: Arc::new(config),
        listeners: Vec::new(),
    }
}

fn signer(config: &Config, previous: Option<&Snapshot>) -> Result<Arc<Signer>, String> {
    match previous {
        Some(old) if old.config.assertion == config.assertion && old.config.state_dir == config.state_dir => {
            Ok(old.signer.clone())
        }
        _ => Signer::load_or_create(&config.assertion, &config.state_dir).map(Arc::new),
    }
}

/// The same while its settings and all issuers are: a new one makes every worker look its sessions up anew, and judge their
/// callers by what the issuers' claims mean now.
fn sessions(
    config: &Config,
    issuers: &[Arc<Issuer>],
    previous: Option<&Snapshot>,
    around: &Surroundings,
) -> Result<Arc<Sessions>, String> {
    let same_issuers = |old: &Snapshot| old.issuers.iter().map(Arc::as_ptr).eq(issuers.iter().map(Arc::as_ptr));
    let same = |old: &Snapshot| old.config.sessions == config.sessions && old.config.state_dir == config.state_dir;
    match previous {
        Some(old) if same(old) && same_issuers(old) => Ok(old.sessions.clone()),
        _ => {
            let old = previous.map(|old| &*old.sessions);
            let Surroundings { control, clock, .. } = around;
            Sessions::new(&config.sessions, &config.state_dir, old, control, clock).map(Arc::new)
        }
    }
}

/// Its secret comes from the pairwise key: nodes that give citizens the same subjects count them together.
fn shared_rates(
    config: &Config,
    signer: &Arc<Signer>,
    previous: Option<&Snapshot>,
) -> Result<Option<Arc<Counting>>, String> {
    let Some(rates) = &config.shared_rates else { return Ok(None) };
    if let Some(old) = previous
        && old.config.shared_rates.as_ref() == Some(rates)
        && Arc::ptr_eq(&old.signer, signer)
    {
        return Ok(old.shared_rates.clone());
    }
    let server = Server::new(rates.server.clone(), "each node counts rates by itself until it is back")?;
    let secret = signer.derived("rates");
    Ok(Some(Arc::new(Counting::new(server, rates.timeout, secret.expose()))))
}

fn issuer(
    model: &Arc<model::Issuer>,
    config: &Config,
    previous: Option<&Snapshot>,
    around: &Surroundings,
) -> Result<Arc<Issuer>, String> {
    let old = previous.filter(|old| old.config.state_dir == config.state_dir);
    if let Some(same) = old.and_then(|old| old.issuers.iter().find(|issuer| *issuer.model == **model)) {
        return Ok(same.clone());
    }
    let issuer = Issuer::start(model.clone(), &config.state_dir, &around.control, &around.clock);
    match &model.jwks {
        JwksSource::File(file) if !issuer.has_keys() => {
            Err(format!("issuer {}: no key in {} can be used", model.name, file.display()))
        }
        _ => Ok(issuer),
    }
}

fn agency(
    model: &model::Agency,
    zone: Option<&Arc<str>>,
    previous: Option<&Snapshot>,
) -> Result<Arc<AgencyLive>, String> {
    let at = previous.and_then(|old| {
        let at = old.config.agencies.iter().position(|agency| agency.name == model.name)?;
        Some((&old.config.agencies[at], &old.agencies[at]))
    });
    match at {
        Some((old, live)) if old == model && live.zone.as_ref() == zone => Ok(live.clone()),
        Some((old, live)) => AgencyLive::new(model, zone, Some(live), old.tls == model.tls).map(Arc::new),
        None => AgencyLive::new(model, zone, None, false).map(Arc::new),
    }
}

fn routes(
    config: &Config,
    issuers: &[Arc<Issuer>],
    rates: Option<&Arc<Counting>>,
    previous: Option<&Snapshot>,
    names: &Names,
) -> (Lease, Vec<RouteLive>) {
    let agency = |route: &model::Route| config.agencies[route.agency.0 as usize].name.clone();
    let lease = names.lease(config.routes.iter().map(|route| (route.name.clone(), agency(route))));
    let same_rates = previous.is_some_and(|old| old.shared_rates.as_ref().map(Arc::as_ptr) == rates.map(Arc::as_ptr));
    let mut shared = Shared::default();
    let old: HashMap<StatId, &RouteLive> =
        previous.map(|old| old.routes.iter().map(|route| (route.stat, route)).collect()).unwrap_or_default();
    let compiled = config.routes.iter().zip(lease.iter()).map(|(route, &stat)| {
        let requirement = shared.requirement(&route.require, issuers);
        let old = old.get(&stat);
        RouteLive {
            stat,
            agency: route.agency,
            way: shared.way(&route.rewrite, *route.timeouts, route.retry),
            body_limit: BodyLimit::of(route.body_limit),
            priority: route.priority,
            rate: route.rate.map(|rate| {
                let old = old.and_then(|old| Some((old.rate.as_ref()?, same_rates)));
                RouteRate::carried(rate, &route.name, rates, old)
            }),
            cors: route.cors.as_ref().map(|cors| Arc::new(CompiledCors::compile(cors, &route.methods))),
            fate: match old {
                Some(old) if !tightens(&old.requirement, &requirement) => old.fate.clone(),
                _ => Fate::default(),
            },
            requirement,
        }
    });
    let routes = compiled.collect();
    (lease, routes)
}

/// True when somebody whom `old` let in might not be let in by `new`.
fn tightens(old: &Requirement, new: &Requirement) -> bool {
    let issuer_moved = match (&old.issuer, &new.issuer) {
        (_, None) => false,
        (Some(old), Some(new)) => !Arc::ptr_eq(old, new),
        (None, Some(_)) => true,
    };
    let younger = match (old.max_age, new.max_age) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(old), Some(new)) => new < old,
    };
    let other_way = new.via != old.via && new.via != Via::Either;
    other_way
        || new.level > old.level
        || issuer_moved
        || younger
        || new.scopes.iter().any(|scope| !old.scopes.contains(scope))
}

/// Ends the streams of routes that `next` has no more, or demands more for, and of sessions that it has no more. Call it once
/// `next` is in force.
pub fn end_orphans(previous: &Snapshot, next: &Snapshot) {
    next.sessions.take_over(&previous.sessions, next.loaded_at);
    let kept: HashSet<*const _> = next.routes.iter().map(|route| route.fate.address()).collect();
    for route in &previous.routes {
        if !kept.contains(&route.fate.address()) {
            route.fate.end();
        }
    }
}

/// Requirements and ways, each distinct one made once.
#[derive(Default)]
struct Shared {
    requirements: HashMap<RequirementKey, Arc<Requirement>>,
    ways: HashMap<WayKey, Arc<Way>>,
}

type RequirementKey = (u8, Option<u32>, Vec<String>, Option<u64>, Via);
type WayKey = (Option<String>, Option<String>, Timeouts, bool);

impl Shared {
    fn requirement(&mut self, require: &Require, issuers: &[Arc<Issuer>]) -> Arc<Requirement> {
        let max_age = require.max_age.map(|age| age.as_secs());
        let issuer = require.issuer.map(|issuer| issuer.0);
        let key = (require.level.number(), issuer, require.scopes.clone(), max_age, require.via);
        let make = || {
            let issuer = require.issuer.map(|id| issuers[id.0 as usize].clone());
            Arc::new(Requirement::new(require, issuer))
        };
        self.requirements.entry(key).or_insert_with(make).clone()
    }

    fn way(&mut self, rewrite: &Rewrite, timeouts: Timeouts, retry: bool) -> Arc<Way> {
        let key = (rewrite.strip_prefix.clone(), rewrite.add_prefix.clone(), timeouts, retry);
        let bytes = |text: &Option<String>| text.as_ref().map(|text| Bytes::copy_from_slice(text.as_bytes()));
        let make = || {
            Arc::new(Way {
                strip_prefix: bytes(&rewrite.strip_prefix),
                add_prefix: bytes(&rewrite.add_prefix),
                timeouts,
                retry,
            })
        };
        self.ways.entry(key).or_insert_with(make).clone()
    }
}
