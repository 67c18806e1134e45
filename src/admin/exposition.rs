//! `/metrics`: the workers' counters summed, in Prometheus text.
//!
//! How to add one: count it in a worker's `Tally` (or in an atomic of the control plane), sum it here, and describe it in
//! `docs/operations.md`. Label values come from closed sets only: names of the configuration, codes, methods, statuses.

mod agencies;
mod family;
mod login;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::header::{self, HeaderValue};
use http_body_util::Full;
use prometheus::proto::{MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};

use self::family::{counter, family, gauge, histogram, single};
use super::control::Control;
use crate::auth::keys::RefreshOutcome;
use crate::balance::ledger::LedgerReport;
use crate::balance::pool::EndpointReport;
use crate::live::Snapshot;
use crate::observe::StatId;
use crate::observe::names::RouteName;
use crate::observe::tally::{Histogram, RouteTally};
use crate::session::{Ended, Sessions};
use crate::words::METHODS;

/// Sums of what all workers counted.
#[derive(Default)]
struct Sums {
    routes: HashMap<StatId, RouteTally>,
    agencies: HashMap<Arc<str>, Histogram>,
    endpoints: HashMap<u64, EndpointReport>,
    ledgers: HashMap<Arc<str>, LedgerReport>,
    log_dropped: u64,
    tunnels: u64,
    streams_ended: u64,
    refused: [u64; 3],
    /// Of the worker that has most to bear.
    shed_share: f64,
    queue_delay: Duration,
    handshake_failed: u64,
    rates_shared: u64,
    rates_alone: u64,
}

pub async fn answer(control: &Control) -> Response<Full<Bytes>> {
    let sums = sum(control).await;
    let snapshot = control.live.load();
    let mut families = requests(control, &sums);
    families.extend(connections(control, &sums));
    families.extend(shared_rates(&snapshot, &sums));
    families.extend(tokens(control, &snapshot));
    families.extend(sessions(&snapshot.sessions));
    families.extend(agencies::upstreams(&snapshot, &sums));
    families.extend(agencies::bulkheads(&snapshot, &sums));
    families.extend(configuration(control, &snapshot));
    if snapshot.login.is_on() {
        families.extend(login::families(snapshot.login.stats()));
    }
    families.retain(|family| !family.get_metric().is_empty());
    let mut text = Vec::new();
    let encoder = TextEncoder::new();
    // Writing to memory fails only on a family without metrics, and those are gone.
    let _ = encoder.encode(&families, &mut text);
    let mut response = Response::new(Full::new(Bytes::from(text)));
    let kind = HeaderValue::from_str(encoder.format_type()).unwrap_or(HeaderValue::from_static("text/plain"));
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

async fn sum(control: &Control) -> Sums {
    let mut sums = Sums::default();
    for report in control.reports().await {
        for (id, route) in report.tally.routes {
            let sum = sums.routes.entry(id).or_default();
            sum.in_flight += route.in_flight;
            sum.duration.add(&route.duration);
            merge(&mut sum.requests, route.requests);
            merge(&mut sum.decisions, route.decisions);
            merge(&mut sum.verdicts, route.verdicts);
        }
        for (agency, histogram) in report.tally.agencies {
            sums.agencies.entry(agency).or_default().add(&histogram);
        }
        for seen in report.endpoints {
            sums.endpoints.entry(seen.uid).or_default().add(&seen);
        }
        for (agency, ledger) in report.ledgers {
            sums.ledgers.entry(agency).or_default().add(&ledger);
        }
        sums.log_dropped += report.tally.log_dropped;
        sums.tunnels += report.tally.tunnels;
        sums.streams_ended += report.tally.streams_ended;
        for (sum, count) in sums.refused.iter_mut().zip(report.tally.refused) {
            *sum += count;
        }
        sums.shed_share = sums.shed_share.max(report.tally.shed_share);
        sums.queue_delay = sums.queue_delay.max(report.tally.queue_delay);
        sums.handshake_failed += report.tally.handshake_failed;
        sums.rates_shared += report.tally.rates_shared;
        sums.rates_alone += report.tally.rates_alone;
    }
    sums
}

fn merge<K: PartialEq>(into: &mut Vec<(K, u64)>, from: Vec<(K, u64)>) {
    for (key, count) in from {
        match into.iter_mut().find(|(k, _)| *k == key) {
            Some((_, sum)) => *sum += count,
            None => into.push((key, count)),
        }
    }
}

fn requests(control: &Control, sums: &Sums) -> Vec<MetricFamily> {
    let mut totals = family(
        "requests_total",
        MetricType::COUNTER,
        "Requests answered. `code`: the gateway's own reason, else the status.",
    );
    let mut durations =
        family("request_duration_seconds", MetricType::HISTOGRAM, "From the request's head to the end of its answer.");
    let mut decisions = family("auth_decisions_total", MetricType::COUNTER, "Callers admitted or refused.");
    let mut verdicts = family("verdicts_total", MetricType::COUNTER, "Answers to proxies that asked for a verdict.");
    let mut in_flight = family("in_flight", MetricType::GAUGE, "Requests under way.");
    let mut ids: Vec<&StatId> = sums.routes.keys().collect();
    ids.sort_unstable();
    for id in ids {
        let (Some(name), Some(route)) = (control.names.name_in_use(*id), sums.routes.get(id)) else { continue };
        let RouteName { route: label, agency } = &name;
        for (outcome, count) in &route.requests {
            let status = outcome.status.to_string();
            let code = outcome.code.map_or(status.as_str(), |code| code.as_str());
            let method = METHODS[usize::from(outcome.method)];
            let labels =
                [("route", &**label), ("agency", agency), ("method", method), ("code", code), ("status", &status)];
            totals.mut_metric().push(counter(&labels, *count));
        }
        for (decision, count) in &route.decisions {
            let outcome = decision.map_or("admitted", |code| code.as_str());
            decisions.mut_metric().push(counter(&[("route", label), ("outcome", outcome)], *count));
        }
        for (verdict, count) in &route.verdicts {
            let outcome = verdict.map_or("allowed", |code| code.as_str());
            verdicts.mut_metric().push(counter(&[("route", label), ("outcome", outcome)], *count));
        }
        durations.mut_metric().push(histogram(&[("route", label)], &route.duration));
        in_flight.mut_metric().push(gauge(&[("route", label)], route.in_flight as f64));
    }
    vec![totals, durations, decisions, verdicts, in_flight]
}

/// Nothing where each node counts by itself.
fn shared_rates(snapshot: &Snapshot, sums: &Sums) -> Vec<MetricFamily> {
    let Some(shared) = &snapshot.shared_rates else { return Vec::new() };
    let mut up = family("redis_up", MetricType::GAUGE, "Whether every worker is connected to this Redis.");
    up.mut_metric().push(gauge(&[("server", &shared.server.model().url)], f64::from(u8::from(shared.server.is_up()))));
    let mut counted =
        family("rate_counts_total", MetricType::COUNTER, "Requests counted by all nodes, or by one alone.");
    counted.mut_metric().push(counter(&[("by", "shared")], sums.rates_shared));
    counted.mut_metric().push(counter(&[("by", "alone")], sums.rates_alone));
    vec![up, counted]
}

fn connections(control: &Control, sums: &Sums) -> Vec<MetricFamily> {
    let mut open = family("connections_open", MetricType::GAUGE, "Connections of callers.");
    for listener in control.listeners.load().iter() {
        open.mut_metric().push(gauge(&[("listener", &*listener.name())], listener.addresses.open() as f64));
    }
    let mut refused = family("connections_refused_total", MetricType::COUNTER, "Connections closed as they came.");
    for (reason, count) in ["address", "listener", "overload"].into_iter().zip(sums.refused) {
        refused.mut_metric().push(counter(&[("reason", reason)], count));
    }
    let mut shed = family("overload_shed_share", MetricType::GAUGE, "Share of requests that the busiest worker sheds.");
    shed.mut_metric().push(gauge(&[], sums.shed_share));
    let mut delay = family("queue_delay_seconds", MetricType::GAUGE, "How long the queue of the busiest worker is.");
    delay.mut_metric().push(gauge(&[], sums.queue_delay.as_secs_f64()));
    vec![
        open,
        refused,
        shed,
        delay,
        single("handshakes_failed_total", "TLS handshakes that failed or took too long.", sums.handshake_failed),
        single("tunnels_total", "Exchanges upgraded to WebSocket.", sums.tunnels),
        single(
            "streams_ended_total",
            "Streams ended by a reload, or with the session or token that opened them.",
            sums.streams_ended,
        ),
        single(
            "access_log_dropped_total",
            "Access-log lines lost because the log could not keep up.",
            sums.log_dropped,
        ),
    ]
}

fn tokens(control: &Control, snapshot: &Snapshot) -> Vec<MetricFamily> {
    let mut cache = family("token_cache_total", MetricType::COUNTER, "Look-ups of tokens among those verified before.");
    let sum = |pick: &dyn Fn(&crate::auth::cache::CacheStats) -> u64| control.caches.iter().map(|c| pick(c)).sum();
    let hits = sum(&|c| c.hit.load(Ordering::Relaxed));
    let misses = sum(&|c| c.miss.load(Ordering::Relaxed));
    let stale = sum(&|c| c.stale.load(Ordering::Relaxed));
    for (outcome, count) in [("hit", hits), ("miss", misses), ("stale", stale)] {
        cache.mut_metric().push(counter(&[("outcome", outcome)], count));
    }
    let mut signatures =
        family("token_signatures_total", MetricType::COUNTER, "Signatures of tokens that were not among those.");
    let good = sum(&|c| c.signatures.good.load(Ordering::Relaxed));
    let bad = sum(&|c| c.signatures.bad.load(Ordering::Relaxed));
    let put_off = sum(&|c| c.signatures.put_off.load(Ordering::Relaxed));
    for (outcome, count) in [("good", good), ("bad", bad), ("put_off", put_off)] {
        signatures.mut_metric().push(counter(&[("outcome", outcome)], count));
    }
    let mut refreshes = family("jwks_refresh_total", MetricType::COUNTER, "Attempts to fetch an issuer's keys.");
    let mut keys = family("jwks_keys", MetricType::GAUGE, "Usable keys of an issuer.");
    let mut kept = family(
        "jwks_on_kept_keys",
        MetricType::GAUGE,
        "1 while the issuer cannot be reached and its last good keys are used.",
    );
    let mut unknown = family(
        "assurance_unknown_acr_total",
        MetricType::COUNTER,
        "Tokens whose level claim is missing or unknown: level 0.",
    );
    for issuer in &snapshot.issuers {
        let name = ("issuer", &*issuer.model.name);
        for of in RefreshOutcome::ALL {
            refreshes.mut_metric().push(counter(&[name, ("outcome", of.as_str())], issuer.stats.refreshes(of)));
        }
        keys.mut_metric().push(gauge(&[name], issuer.key_count() as f64));
        kept.mut_metric().push(gauge(&[name], f64::from(u8::from(issuer.stats.is_on_kept_keys()))));
        unknown.mut_metric().push(counter(&[name], issuer.unknown_levels.load(Ordering::Relaxed)));
    }
    vec![cache, signatures, refreshes, keys, kept, unknown]
}

fn sessions(sessions: &Sessions) -> Vec<MetricFamily> {
    let stats = sessions.stats();
    let mut open = family("sessions_open", MetricType::GAUGE, "Sessions of this node.");
    open.mut_metric().extend(sessions.open().map(|count| gauge(&[], count as f64)));
    let mut ended = family("sessions_ended_total", MetricType::COUNTER, "Sessions that ended.");
    for reason in Ended::ALL {
        ended.mut_metric().push(counter(&[("reason", reason.as_str())], stats.sessions_ended(reason)));
    }
    let mut revoked =
        family("sessions_revoked", MetricType::GAUGE, "Ended sessions whose sealed cookies are remembered.");
    let mut lost =
        family("sessions_revocations_lost_total", MetricType::COUNTER, "Ended sessions forgotten before their time.");
    if let Some((count, forgotten)) = sessions.revocations() {
        revoked.mut_metric().push(gauge(&[], count as f64));
        lost.mut_metric().push(counter(&[], forgotten));
    }
    let mut up = family("sessions_store_up", MetricType::GAUGE, "1 while the store that nodes share is there.");
    let mut failures = family("sessions_store_errors_total", MetricType::COUNTER, "Times that it did not answer.");
    if let Some((is_up, count)) = sessions.store_health() {
        up.mut_metric().push(gauge(&[], f64::from(u8::from(is_up))));
        failures.mut_metric().push(counter(&[], count));
    }
    let created = single("sessions_created_total", "Sessions that began.", stats.sessions_created());
    vec![open, created, ended, revoked, lost, up, failures]
}

fn configuration(control: &Control, snapshot: &Snapshot) -> Vec<MetricFamily> {
    let mut info = family("config_info", MetricType::GAUGE, "The configuration in force, by the SHA-256 of its file.");
    info.mut_metric().push(gauge(&[("sha256", &snapshot.config.sha256)], 1.0));
    let mut expiry =
        family("tls_certificate_expiry_seconds", MetricType::GAUGE, "Seconds until a certificate expires.");
    let now = control.clock.now();
    for listener in control.listeners.load().iter() {
        let name = listener.name();
        for certificate in listener.settings.load().certificates.iter() {
            let labels = [("listener", &*name), ("subject", &*certificate.subject)];
            expiry.mut_metric().push(gauge(&labels, (certificate.not_after - now) as f64));
        }
    }
    let mut reloads = family("config_reloads_total", MetricType::COUNTER, "Configurations applied or refused.");
    for (outcome, count) in control.reloads.counts() {
        reloads.mut_metric().push(counter(&[("outcome", outcome)], count));
    }
    let mut upgrades = family("upgrades_total", MetricType::COUNTER, "New programs that took over, or did not.");
    for (outcome, count) in control.upgrades.counts() {
        upgrades.mut_metric().push(counter(&[("outcome", outcome)], count));
    }
    let mut refused =
        family("config_refused", MetricType::GAUGE, "1 while the file was refused and an older configuration runs.");
    refused.mut_metric().push(gauge(&[], f64::from(u8::from(control.reloads.is_refused()))));
    let mut kept = family(
        "config_kept_files",
        MetricType::GAUGE,
        "Included files that are faulty: their last good versions are in force.",
    );
    kept.mut_metric().push(gauge(&[], control.reloads.kept().len() as f64));
    let mut waiting = family(
        "config_waits_for_restart",
        MetricType::GAUGE,
        "Keys of the configuration in force that take effect at the next start.",
    );
    waiting.mut_metric().push(gauge(&[], control.reloads.waiting().len() as f64));
    vec![info, expiry, reloads, upgrades, refused, kept, waiting]
}
