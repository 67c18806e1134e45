//! What `/metrics` tells of agencies: how they answer, how well their endpoints are, and what they have under way.

use prometheus::proto::{MetricFamily, MetricType};

use super::Sums;
use super::family::{counter, family, gauge, histogram};
use crate::balance::Spent;
use crate::balance::bulkhead::Full as NoRoom;
use crate::balance::outlier::Reason;
use crate::live::Snapshot;

pub(super) fn upstreams(snapshot: &Snapshot, sums: &Sums) -> Vec<MetricFamily> {
    let mut durations =
        family("upstream_duration_seconds", MetricType::HISTOGRAM, "From sending to the head of the agency's answer.");
    for (agency, seen) in &sums.agencies {
        durations.mut_metric().push(histogram(&[("agency", agency)], seen));
    }
    let mut healthy = family(
        "upstream_endpoint_healthy",
        MetricType::GAUGE,
        "1 while an endpoint is used: its checks call it well, and it is not ejected.",
    );
    let mut checks = family("upstream_health_checks_total", MetricType::COUNTER, "Answers to health checks.");
    let mut ejections = family("upstream_ejections_total", MetricType::COUNTER, "Times an endpoint was ejected.");
    let mut stays = family(
        "upstream_near_ratio",
        MetricType::GAUGE,
        "Part of the requests that stay in the gateway's zone, by the endpoints that are used there.",
    );
    let mut spilled = family(
        "upstream_spilled_total",
        MetricType::COUNTER,
        "Requests that an endpoint got because endpoints in the gateway's zone were out.",
    );
    let mut addresses = family("upstream_addresses", MetricType::GAUGE, "Addresses of an endpoint's name.");
    let mut connections =
        family("upstream_connections_total", MetricType::COUNTER, "Exchanges by how their connection was had.");
    for agency in &snapshot.agencies {
        if let (Some(near), Some(percent)) = (&agency.near, agency.near_percent()) {
            let labels = [("agency", &*agency.name), ("zone", &*near.zone)];
            stays.mut_metric().push(gauge(&labels, f64::from(percent) / 100.0));
        }
        for (at, endpoint) in agency.endpoints.iter().enumerate() {
            let labels = [("agency", &*agency.name), ("endpoint", &*endpoint.endpoint.url)];
            let vitals = &endpoint.vitals;
            let is_used = vitals.health.is_healthy() && !vitals.ejection.is_ejected();
            healthy.mut_metric().push(gauge(&labels, f64::from(u8::from(is_used))));
            if agency.health.is_some() {
                let (passed, failed) = vitals.health.checks();
                for (outcome, count) in [("passed", passed), ("failed", failed)] {
                    checks.mut_metric().push(counter(&[labels[0], labels[1], ("outcome", outcome)], count));
                }
            }
            for reason in Reason::ALL {
                let labels = [labels[0], labels[1], ("reason", reason.as_str())];
                ejections.mut_metric().push(counter(&labels, vitals.ejection.total(reason)));
            }
            addresses.mut_metric().push(gauge(&labels, vitals.addresses.count() as f64));
            let seen = sums.endpoints.get(&endpoint.uid).copied().unwrap_or_default();
            if agency.near.as_ref().is_some_and(|near| !near.has(at)) {
                spilled.mut_metric().push(counter(&labels, seen.spilled));
            }
            for (outcome, count) in [("opened", seen.opened), ("reused", seen.reused), ("failed", seen.failed)] {
                let labels = [labels[0], labels[1], ("outcome", outcome)];
                connections.mut_metric().push(counter(&labels, count));
            }
        }
    }
    vec![durations, healthy, checks, ejections, stays, spilled, addresses, connections]
}

/// What agencies have under way of what they may, and what was spent on asking again.
pub(super) fn bulkheads(snapshot: &Snapshot, sums: &Sums) -> Vec<MetricFamily> {
    let mut under_way = family("upstream_in_flight", MetricType::GAUGE, "Requests that an agency has under way.");
    let mut limits = family("upstream_limit", MetricType::GAUGE, "How many it may have under way now.");
    let mut queued = family("upstream_queued", MetricType::GAUGE, "Requests that wait for a place at an agency.");
    let mut open = family("upstream_connections_open", MetricType::GAUGE, "Open connections to an agency.");
    let mut saturated =
        family("upstream_saturated", MetricType::GAUGE, "1 from when an agency was full until half of it is free.");
    let mut overloaded = family(
        "upstream_overloaded_total",
        MetricType::COUNTER,
        "Requests turned away because their agency had as much as it may.",
    );
    let mut retries = family("retries_total", MetricType::COUNTER, "Requests sent again, and those that could not be.");
    let mut hedges = family("hedges_total", MetricType::COUNTER, "Reads asked of a second endpoint, and those not.");
    for agency in &snapshot.agencies {
        let (name, bulkhead) = ([("agency", &*agency.name)], &agency.bulkhead);
        agency.settle();
        under_way.mut_metric().push(gauge(&name, f64::from(bulkhead.under_way())));
        limits.mut_metric().push(gauge(&name, f64::from(agency.limit())));
        queued.mut_metric().push(gauge(&name, f64::from(bulkhead.queued())));
        open.mut_metric().push(gauge(&name, f64::from(bulkhead.connections())));
        saturated.mut_metric().push(gauge(&name, f64::from(u8::from(bulkhead.is_saturated()))));
        for why in NoRoom::ALL {
            let labels = [name[0], ("reason", why.as_str())];
            overloaded.mut_metric().push(counter(&labels, bulkhead.turned_away(why)));
        }
        let spent = sums.ledgers.get(&agency.name).copied().unwrap_or_default();
        for of in Spent::RETRIES {
            retries.mut_metric().push(counter(&[name[0], ("outcome", of.as_str())], spent.of(of)));
        }
        for of in Spent::HEDGES.into_iter().filter(|_| agency.hedge.is_some()) {
            hedges.mut_metric().push(counter(&[name[0], ("outcome", of.as_str())], spent.of(of)));
        }
    }
    vec![under_way, limits, queued, open, saturated, overloaded, retries, hedges]
}
