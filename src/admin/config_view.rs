//! What runs now, as JSON: the configuration without secrets (`/config`), its routes (`/routes`) and the agencies' endpoints
//! (`/agencies`).

use std::collections::HashMap;

use serde_json::{Value, json};

use super::control::Control;
use crate::balance::outlier::Reason;
use crate::balance::pool::EndpointReport;
use crate::config::Config;
use crate::config::model::{Agency, HostPattern, Issuer, JwksSource, PathPattern, Route, Segment};

pub fn config(control: &Control) -> Value {
    let snapshot = control.live.load();
    let config = &snapshot.config;
    let listeners = control.listeners.load();
    let listeners = listeners.iter().map(|listener| {
        let tls = listener.settings.load().tls.is_some();
        json!({"name": &*listener.name(), "address": listener.address.to_string(), "tls": tls})
    });
    json!({
        "file": config.file.display().to_string(),
        "sha256": config.sha256,
        "loaded_at": snapshot.loaded_at,
        "listeners": listeners.collect::<Vec<_>>(),
        "last_reload": control.reloads.last(),
        "waits_for_restart": control.reloads.waiting(),
        "issuers": snapshot.issuers.iter().map(|i| issuer(&i.model)).collect::<Vec<_>>(),
        "agencies": config.agencies.iter().map(agency).collect::<Vec<_>>(),
        "routes": config.routes.iter().map(|r| route(r, config)).collect::<Vec<_>>(),
    })
}

fn issuer(issuer: &Issuer) -> Value {
    let keys = match &issuer.jwks {
        JwksSource::File(path) => path.display().to_string(),
        JwksSource::Uri(uri) | JwksSource::Discovery(uri) => uri.to_string(),
    };
    let levels: serde_json::Map<String, Value> =
        issuer.levels.iter().map(|(value, level)| (value.clone(), level.number().into())).collect();
    json!({
        "name": &*issuer.name,
        "issuer": issuer.issuer,
        "audiences": issuer.audiences,
        "keys": keys,
        "algorithms": issuer.algorithms.iter().map(|a| a.as_str()).collect::<Vec<_>>(),
        "max_level": issuer.max_level.number(),
        "level_claim": issuer.level_claim,
        "levels": levels,
        "client": issuer.client.as_ref().map(|client| json!({
            "id": client.id,
            "auth": client.auth.as_str(),
            "scopes": client.scopes,
            "claims": client.claims,
        })),
    })
}

fn agency(agency: &Agency) -> Value {
    let verify = agency.verify.as_ref();
    json!({
        "name": &*agency.name,
        "verify": verify.map(|v| json!({"from": v.from.iter().map(ToString::to_string).collect::<Vec<_>>(), "client": v.client})),
        "title": {"fa": agency.title.fa, "en": agency.title.en},
        "endpoints": agency.endpoints.iter().map(|e| json!({"url": &*e.url, "weight": e.weight})).collect::<Vec<_>>(),
    })
}

/// `/routes`: every route with its place in the file.
pub fn routes(control: &Control) -> Value {
    let snapshot = control.live.load();
    let config = &snapshot.config;
    json!({"routes": config.routes.iter().map(|r| route(r, config)).collect::<Vec<_>>()})
}

/// A route as `/config`, `/routes` and `darvazeh routes` show it.
pub fn route(route: &Route, config: &Config) -> Value {
    let (kind, segments) = match &route.path {
        PathPattern::Exact(segments) => ("path", segments),
        PathPattern::Prefix(segments) => ("prefix", segments),
    };
    let agency = &config.agencies[route.agency.0 as usize];
    json!({
        "name": &*route.name,
        "agency": &*agency.name,
        "team": agency.team.as_deref(),
        "hosts": route.hosts.iter().map(host).collect::<Vec<_>>(),
        kind: path(segments),
        "methods": route.methods.iter().map(http::Method::as_str).collect::<Vec<_>>(),
        "level": route.require.level.number(),
        "via": route.require.via.as_str(),
        "scopes": route.require.scopes,
        "max_age": route.require.max_age.map(|age| age.as_secs()),
        "file": &*route.at.file,
        "line": route.at.line,
    })
}

/// A host pattern as it is written.
pub fn host(host: &HostPattern) -> String {
    match host {
        HostPattern::Exact(name) => name.clone(),
        HostPattern::Wildcard(rest) => format!("*.{rest}"),
    }
}

/// A path pattern as it is written, in canonical form.
pub fn path(segments: &[Segment]) -> String {
    let each = segments.iter().map(|segment| match segment {
        Segment::Literal(text) => format!("/{text}"),
        Segment::Any(name) => format!("/{{{name}}}"),
    });
    let path: String = each.collect();
    if path.is_empty() { "/".to_owned() } else { path }
}

pub async fn agencies(control: &Control) -> Value {
    let endpoints = endpoints(control).await;
    let snapshot = control.live.load();
    let agencies: Vec<Value> = snapshot
        .agencies
        .iter()
        .map(|agency| {
            let each = agency.endpoints.iter().map(|endpoint| {
                let seen = endpoints.get(&endpoint.uid).copied().unwrap_or_default();
                let vitals = &endpoint.vitals;
                json!({
                    "url": &*endpoint.endpoint.url,
                    "healthy": vitals.health.is_healthy(),
                    "ejected": vitals.ejection.is_ejected(),
                    "ejected_for": vitals.ejection.why().map(Reason::as_str),
                    "zone": endpoint.endpoint.zone.as_deref(),
                    "resting": vitals.rest.is_on_now(),
                    "addresses": vitals.addresses.count(),
                    "in_flight": seen.in_flight,
                    "idle": seen.idle,
                    "shared": endpoint.shelf.count(),
                    "opened": seen.opened,
                    "reused": seen.reused,
                    "failed": seen.failed,
                    "spilled": seen.spilled,
                })
            });
            let near = agency.near.as_ref().map(|near| json!({"zone": &*near.zone, "percent": agency.near_percent()}));
            let bulkhead = &agency.bulkhead;
            agency.settle();
            json!({
                "name": &*agency.name,
                "forwarded": !agency.endpoints.is_empty(),
                "in_flight": bulkhead.under_way(),
                "limit": agency.limit(),
                "queued": bulkhead.queued(),
                "connections": bulkhead.connections(),
                "saturated": bulkhead.is_saturated(),
                "near": near,
                "endpoints": each.collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({"agencies": agencies})
}

/// What all workers counted of each endpoint.
pub async fn endpoints(control: &Control) -> HashMap<u64, EndpointReport> {
    let mut sums: HashMap<u64, EndpointReport> = HashMap::new();
    for report in control.reports().await {
        for seen in report.endpoints {
            sums.entry(seen.uid).or_default().add(&seen);
        }
    }
    sums
}
