//! From a checked config to a snapshot that serves. No socket is touched; what is unchanged since `previous` is carried over.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;

use super::snapshot::{RouteLive, RouteRate, Snapshot};
use crate::answer::cors::CompiledCors;
use crate::auth::assertion::Signer;
use crate::auth::{Issuer, Requirement};
use crate::balance::AgencyLive;
use crate::clock::Clock;
use crate::config::Config;
use crate::config::model::{self, Require, Rewrite, Timeouts};
use crate::forward::Way;
use crate::limit::rate::{MAX_KEYS, RateLimiter};
use crate::observe::Names;
use crate::route::Table;

/// What a snapshot grows in.
#[derive(Clone)]
pub struct Surroundings {
    /// Where keys are refreshed.
    pub control: Handle,
    pub clock: Clock,
    pub names: Arc<Names>,
}

/// Makes `config` ready to serve. Errors: what no check of the file can see (an unusable kept key, a TLS setting).
pub fn compile(config: Config, around: &Surroundings) -> Result<Snapshot, String> {
    let signer = Arc::new(Signer::load_or_create(&config.assertion, &config.state_dir)?);
    let mut config = config;
    let models: Vec<Arc<model::Issuer>> = std::mem::take(&mut config.issuers).into_iter().map(Arc::new).collect();
    let issuers: Vec<Arc<Issuer>> = models
        .iter()
        .map(|issuer| Issuer::start(issuer.clone(), &config.state_dir, &around.control, &around.clock))
        .collect();
    let agencies = config.agencies.iter().map(|agency| AgencyLive::new(agency).map(Arc::new));
    let agencies: Vec<Arc<AgencyLive>> = agencies.collect::<Result<_, String>>()?;
    let routes = routes(&config, &issuers, &around.names);
    Ok(Snapshot {
        table: Table::compile(&config),
        routes,
        agencies,
        issuers,
        signer,
        loaded_at: around.clock.now(),
        config: Arc::new(config),
    })
}

fn routes(config: &Config, issuers: &[Arc<Issuer>], names: &Names) -> Vec<RouteLive> {
    let mut shared = Shared::default();
    let compiled = config.routes.iter().map(|route| {
        let agency = &config.agencies[route.agency.0 as usize];
        RouteLive {
            stat: names.id(route.name.clone(), agency.name.clone()),
            agency: route.agency,
            requirement: shared.requirement(&route.require, issuers),
            way: shared.way(&route.rewrite, route.timeouts, route.retry),
            body_limit: route.body_limit,
            rate: route
                .rate
                .map(|rate| Arc::new(RouteRate { limiter: RateLimiter::new(rate, MAX_KEYS), by: rate.by })),
            cors: route.cors.as_ref().map(|cors| Arc::new(CompiledCors::compile(cors, &route.methods))),
        }
    });
    compiled.collect()
}

/// Requirements and ways, each distinct one made once.
#[derive(Default)]
struct Shared {
    requirements: HashMap<RequirementKey, Arc<Requirement>>,
    ways: HashMap<WayKey, Arc<Way>>,
}

type RequirementKey = (u8, Option<u32>, Vec<String>, Option<u64>);
type WayKey = (Option<String>, Option<String>, [u128; 3], bool);

impl Shared {
    fn requirement(&mut self, require: &Require, issuers: &[Arc<Issuer>]) -> Arc<Requirement> {
        let max_age = require.max_age.map(|age| age.as_secs());
        let key =
            (require.level.number(), require.issuer.map(|issuer| issuer.0), require.scopes.clone(), max_age);
        let make = || {
            let issuer = require.issuer.map(|id| issuers[id.0 as usize].clone());
            let values = issuer.as_ref().map(|issuer| issuer.model.values_reaching(require.level).join(" "));
            Arc::new(Requirement {
                level: require.level,
                acr_values: values.unwrap_or_default(),
                scope: require.scopes.join(" "),
                scopes: require.scopes.clone(),
                max_age: require.max_age,
                issuer,
            })
        };
        self.requirements.entry(key).or_insert_with(make).clone()
    }

    fn way(&mut self, rewrite: &Rewrite, timeouts: Timeouts, retry: bool) -> Arc<Way> {
        let times = [timeouts.connect, timeouts.response, timeouts.idle].map(|time| time.as_nanos());
        let key = (rewrite.strip_prefix.clone(), rewrite.add_prefix.clone(), times, retry);
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
