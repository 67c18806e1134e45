//! The rate of a route: whose request it is, where it is counted, and what the caller is told of the budget.
//!
//! All nodes count together where the config says so. When that is away or late, this node counts by itself, and the metric
//! `rate_counts_total` says so: no request waits longer than the time-out, and none fails of it.

use std::fmt::Write;
use std::net::IpAddr;
use std::time::Instant;

use http::header::{HeaderName, HeaderValue};

use super::refusal::{Refusal, whole_seconds};
use super::worker::{View, Worker};
use crate::apart::apart;
use crate::auth::Permit;
use crate::config::model::RateBy;
use crate::fields::Fields;
use crate::limit::rate::{Allowed, Limited};
use crate::limit::shared::Counter;
use crate::live::RouteLive;
use crate::live::snapshot::RouteRate;
use crate::observe::tally::count;
use crate::store::Store;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// What is left to a caller whose request passed.
pub struct Budget<'a> {
    allowed: Allowed,
    policy: &'a HeaderValue,
}

impl Budget<'_> {
    pub fn tell(&self, headers: &mut Fields) {
        tell(headers, self.policy, self.allowed.remaining, whole_seconds(self.allowed.whole_after));
    }
}

/// The fields of draft-ietf-httpapi-ratelimit-headers (RL): `remaining` requests now, more after `seconds`. They are lists of
/// policies: what an agency says of its own stands beside the gateway's, which is named `gateway`.
pub fn tell(headers: &mut Fields, policy: &HeaderValue, remaining: u32, seconds: u64) {
    let mut text = String::with_capacity(48);
    let _ = write!(text, "\"gateway\";r={remaining};t={seconds}");
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.append(RATE_LIMIT_POLICY, policy.clone());
        headers.append(RATE_LIMIT, value);
    }
}

/// Counts a request of a caller who was admitted; `None` on a route without a rate. Cancel: it may have been counted.
pub async fn take<'a>(
    worker: &Worker,
    view: &View,
    route: &'a RouteLive,
    client: IpAddr,
    permit: &Permit,
) -> Result<Option<Budget<'a>>, Refusal> {
    let Some(rate) = route.rate.as_deref() else { return Ok(None) };
    // By subject or client without a token: a fault of config on level 0, and there is a token on every other.
    let Some(key) = key(rate, client, permit) else { return Ok(None) };
    let counted = match (&rate.shared, view.rates()) {
        // Boxed: few routes ask another server, and none should carry the wait for it.
        (Some(counter), Some(store)) => apart(shared(counter, store, rate.by, client, permit)).await,
        _ => None,
    };
    let alone = || rate.limiter.check(key, Instant::now());
    let tally = &worker.books.tally;
    let outcome = match counted {
        Some(outcome) => {
            count(&tally.rates_shared);
            // Here too, so that nobody has a fresh budget at each node in the moment when the shared count is lost.
            let _ = outcome.is_ok().then(alone);
            outcome
        }
        None => {
            if rate.shared.is_some() {
                count(&tally.rates_alone);
            }
            alone()
        }
    };
    match outcome {
        Ok(allowed) => Ok(Some(Budget { allowed, policy: &rate.policy })),
        Err(limited) => Err(Refusal::RateLimited(limited.retry_after, rate.policy.clone())),
    }
}

/// Counts the beginning of a login, by a caller of whom nothing else is known.
pub fn take_login(view: &View, client: IpAddr) -> Result<(), Refusal> {
    let RouteRate { limiter, policy, .. } = &*view.snapshot.logins;
    let counted = limiter.check(limiter.key_for_address(client), Instant::now());
    counted.map(drop).map_err(|limited| Refusal::RateLimited(limited.retry_after, policy.clone()))
}

/// What this node counts under.
fn key(rate: &RouteRate, client: IpAddr, permit: &Permit) -> Option<u64> {
    Some(match rate.by {
        RateBy::Address => rate.limiter.key_for_address(client),
        RateBy::Route => rate.limiter.key(()),
        RateBy::Subject => rate.limiter.key(permit.token()?.subject_key),
        // A token that names no client shares one budget with all such tokens.
        RateBy::Client => rate.limiter.key(permit.token()?.client_key),
    })
}

/// `None`: it could not be counted there.
async fn shared(
    counter: &Counter,
    store: &Store,
    by: RateBy,
    client: IpAddr,
    permit: &Permit,
) -> Option<Result<Allowed, Limited>> {
    let counted = match by {
        RateBy::Address => match client.to_canonical() {
            IpAddr::V4(address) => counter.check(store, &[&address.octets()]).await,
            // Whoever has an IPv6 address has its /64.
            IpAddr::V6(address) => counter.check(store, &[&address.octets()[..8]]).await,
        },
        RateBy::Route => counter.check(store, &[]).await,
        RateBy::Subject => {
            let token = permit.token()?;
            counter.check(store, &[token.issuer.as_bytes(), token.subject.as_bytes()]).await
        }
        RateBy::Client => {
            let token = permit.token()?;
            let client = token.client.as_deref().unwrap_or_default();
            counter.check(store, &[token.issuer.as_bytes(), client.as_bytes()]).await
        }
    };
    counted.ok()
}
