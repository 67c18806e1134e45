//! `/metrics`: the names and labels that operators build on, right counts, and nothing of what callers chose (PV-6).

use std::collections::BTreeSet;

use crate::support::agency::Agency;
use crate::support::client::{H2, bearer, connect, get, get_with, h2_get, request, send};
use crate::support::sso_server::SsoServer;
use crate::support::token::{token, unique};
use crate::support::verdict::{assert_passed, assert_refused};
use crate::support::world::{self, standard};

#[tokio::test]
async fn requests_are_counted_exactly_by_route_agency_method_and_code() {
    let agency = Agency::hello().await;
    let gateway = world::before(&agency.url()).await;
    let mut wire = connect(&gateway).await;
    let good = bearer(&token(2).sign());
    for _ in 0..5 {
        wire.send(get("/l2", &[&good])).await.expect("open");
        assert_passed(&wire.answer().await);
    }
    for _ in 0..3 {
        wire.send(get("/l2", &[])).await.expect("open");
        assert_refused(&wire.answer().await, 401, "token_missing");
    }
    for _ in 0..2 {
        wire.send(request("POST", "/open", &["Content-Length: 0"])).await.expect("open");
        assert_passed(&wire.answer().await);
    }
    wire.send(get("/nowhere", &[])).await.expect("open");
    assert_refused(&wire.answer().await, 404, "route_unknown");
    let h2 = H2::connect(&gateway).await;
    assert_eq!(h2.request(h2_get("/open").body(()).expect("good parts"), b"").await.status, 200);
    let metrics = gateway.metrics_when("12 requests", |m| m.sum("darvazeh_requests_total", &[]) >= 12.0).await;
    let count = |labels: &[&str]| metrics.sum("darvazeh_requests_total", labels);
    assert_eq!(count(&[]), 12.0, "{}", metrics.0);
    assert_eq!(count(&["route=\"l2\"", "agency=\"registry\"", "method=\"GET\""]), 8.0);
    assert_eq!(count(&["route=\"l2\"", "code=\"token_missing\""]), 3.0);
    assert_eq!(count(&["route=\"open\"", "method=\"POST\""]), 2.0);
    assert_eq!(count(&["route=\"open\"", "method=\"GET\""]), 1.0);
    assert_eq!(count(&["code=\"route_unknown\""]), 1.0);
    let durations = metrics.sum("darvazeh_request_duration_seconds_count", &["route=\"l2\""]);
    assert_eq!(durations, 8.0, "{}", metrics.0);
    let upstream = metrics.sum("darvazeh_upstream_duration_seconds_count", &["agency=\"registry\""]);
    assert_eq!(upstream, 8.0, "{}", metrics.0);
}

#[tokio::test]
async fn decisions_and_the_token_cache_are_counted() {
    let agency = Agency::hello().await;
    let gateway = world::before(&agency.url()).await;
    let mut wire = connect(&gateway).await;
    let good = bearer(&token(2).sign());
    for _ in 0..4 {
        wire.send(get("/l2", &[&good])).await.expect("open");
        assert_passed(&wire.answer().await);
    }
    wire.send(get("/l3", &[&good])).await.expect("open");
    assert_refused(&wire.answer().await, 401, "level_too_low");
    let metrics = gateway.metrics_when("5 decisions", |m| m.sum("darvazeh_auth_decisions_total", &[]) >= 5.0).await;
    assert_eq!(metrics.sum("darvazeh_auth_decisions_total", &["route=\"l2\""]), 4.0, "{}", metrics.0);
    assert_eq!(metrics.sum("darvazeh_auth_decisions_total", &["route=\"l3\"", "outcome=\"level_too_low\""]), 1.0);
    let asked = metrics.sum("darvazeh_token_cache_total", &[]);
    let outcomes: BTreeSet<&str> = metrics.samples("darvazeh_token_cache_total").map(|(labels, _)| labels).collect();
    assert!(asked >= 5.0 && outcomes.len() >= 2, "{}", metrics.0);
}

/// Everything the contract names is there, with the labels it names, from the first scrape after a first request on.
#[tokio::test]
async fn every_metric_of_the_contract_is_exposed() {
    let agency = Agency::hello().await;
    let sso = SsoServer::start().await;
    let keys = format!("jwks: {{ uri: {} }}, ca: certs/ca.pem", sso.jwks_uri());
    let gateway = standard(&agency.url()).issuers(&[&world::issuer("sso", &keys)]).start().await;
    gateway.metrics_when("keys in use", |m| m.sum("darvazeh_jwks_keys", &[]) >= 1.0).await;
    assert_passed(&get_with(&gateway, "/l1", &token(1).sign(), &[]).await);
    let metrics = gateway.metrics_when("a request", |m| m.sum("darvazeh_requests_total", &[]) >= 1.0).await;
    let table: [(&str, &[&str]); 12] = [
        ("darvazeh_requests_total", &["route", "agency", "method", "code"]),
        ("darvazeh_request_duration_seconds_bucket", &["route", "le"]),
        ("darvazeh_upstream_duration_seconds_bucket", &["agency", "le"]),
        ("darvazeh_auth_decisions_total", &["route", "outcome"]),
        ("darvazeh_token_cache_total", &["outcome"]),
        ("darvazeh_jwks_refresh_total", &["issuer", "outcome"]),
        ("darvazeh_upstream_endpoint_healthy", &["agency", "endpoint"]),
        ("darvazeh_connections_open", &["listener"]),
        ("darvazeh_in_flight", &["route"]),
        ("darvazeh_config_reloads_total", &["outcome"]),
        ("darvazeh_config_info", &["sha256"]),
        ("darvazeh_tls_certificate_expiry_seconds", &["listener", "subject"]),
    ];
    let mut missing = Vec::new();
    for (name, labels) in table {
        let Some((found, _)) = metrics.samples(name).next() else {
            missing.push(name);
            continue;
        };
        let found: BTreeSet<&str> = found.split(',').filter_map(|l| l.split('=').next()).collect();
        let wanted: BTreeSet<&str> = labels.iter().copied().collect();
        assert!(found.is_superset(&wanted), "{name}: {found:?}");
    }
    assert!(missing.is_empty(), "not exposed: {missing:?}\n{}", metrics.0);
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let agency = Agency::hello().await;
    let gateway = world::before(&agency.url()).await;
    assert_passed(&send(&gateway, get("/open", &[])).await);
    let answer = gateway.admin("GET", "/metrics").await;
    assert_eq!(answer.status(), 200);
    assert!(
        answer.head.get("content-type").is_some_and(|t| t.starts_with("text/plain; version=0.0.4")),
        "{:?}",
        answer.head
    );
    let mut typed = BTreeSet::new();
    for line in answer.text().lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let name = rest.split(' ').next().expect("a name").to_owned();
            assert!(typed.insert(name.clone()), "{name} is typed twice");
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().expect("a name");
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            assert!(typed.contains(name) || typed.contains(family), "{line} has no TYPE before it");
            assert!(name.starts_with("darvazeh_") || name.starts_with("process_"), "{name}");
        }
    }
}

/// PV-6: no label holds what a caller chose.
#[tokio::test]
async fn pv6_no_label_holds_what_a_caller_chose() {
    let agency = Agency::hello().await;
    let gateway = world::before(&agency.url()).await;
    let canary = unique("canary");
    let method = canary.to_ascii_uppercase();
    for text in [
        get(&format!("/{canary}"), &[]),
        get(&format!("/open/{canary}?{canary}={canary}"), &[&format!("User-Agent: {canary}")]),
        request(&method, "/open", &[]),
        format!("GET /open HTTP/1.1\r\nHost: {canary}.example.ir\r\n\r\n"),
        get(
            "/l1",
            &[&bearer(
                &token(1).subject(&canary).claim("acr", canary.clone()).claim("client_id", canary.clone()).sign(),
            )],
        ),
        get("/l1", &[&bearer(&token(1).header("kid", canary.clone()).sign())]),
        get("/open", &[&format!("X-Request-Id: {canary}"), &format!("Accept-Language: {canary}")]),
    ] {
        send(&gateway, text).await;
    }
    let metrics = gateway.metrics_when("7 requests", |m| m.sum("darvazeh_requests_total", &[]) >= 7.0).await;
    assert!(!metrics.0.to_ascii_lowercase().contains(&canary.to_ascii_lowercase()), "{}", metrics.0);
    assert_eq!(metrics.sum("darvazeh_requests_total", &["method=\"OTHER\""]), 1.0);
}

/// Gauges come back to where they were.
#[tokio::test]
async fn open_connections_and_requests_in_flight_are_gauges() {
    let agency = crate::support::agency::ByHand::start().await;
    let gateway = world::before(&agency.url()).await;
    let mut caller = connect(&gateway).await;
    caller.send(get("/open", &[])).await.expect("open");
    let (mut inside, _) = agency.request().await;
    let of = |name: &'static str, label: &'static str, value: f64| {
        move |m: &crate::support::gateway::Metrics| m.sum(name, &[label]) == value
    };
    gateway.metrics_when("one in flight", of("darvazeh_in_flight", "route=\"open\"", 1.0)).await;
    gateway.metrics_when("one connection", of("darvazeh_connections_open", "listener=\"public\"", 1.0)).await;
    inside.send(crate::support::agency::ok("x")).await.expect("open");
    assert_passed(&caller.answer().await);
    gateway.metrics_when("none in flight", of("darvazeh_in_flight", "route=\"open\"", 0.0)).await;
    caller.close().await;
    gateway.metrics_when("no connection", of("darvazeh_connections_open", "listener=\"public\"", 0.0)).await;
}
