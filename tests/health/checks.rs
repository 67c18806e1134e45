//! Endpoints are asked whether they are well.

use std::time::Duration;

use crate::moody::{Moody, QUICK, endpoint, endpoint_when, metric, over, said, said_once, until};
use crate::support::agency::{Agency, ByHand};
use crate::support::certs::{self, Authority};
use crate::support::client::{connect, get, send};
use crate::support::h2c::{H2Agency, Manner};
use crate::support::verdict::{assert_passed, assert_refused};

#[tokio::test]
async fn an_endpoint_is_left_out_while_it_is_ill_and_comes_back() {
    let (ill, well) = (Moody::well().await, Moody::well().await);
    let gateway = over(&[&ill.url(), &well.url()], QUICK).start().await;
    until("checks of a well endpoint", async || ill.checks().len() > 3).await;
    assert_eq!(metric(&gateway, "darvazeh_upstream_endpoint_healthy", &ill.url()).await, 1.0);

    ill.answers_checks(503);
    endpoint_when(&gateway, 0, "healthy", false).await;
    assert_eq!(endpoint(&gateway, 0).await["ejected"], false);
    assert_eq!(metric(&gateway, "darvazeh_upstream_endpoint_healthy", &ill.url()).await, 0.0);
    assert_eq!(metric(&gateway, "darvazeh_upstream_endpoint_healthy", &well.url()).await, 1.0);
    let before = ill.requests();
    let mut wire = connect(&gateway).await;
    for _ in 0..10 {
        wire.send(get("/open", &[])).await.expect("open");
        assert_passed(&wire.answer().await);
    }
    assert_eq!((ill.requests(), well.requests()), (before, 10));

    ill.answers_checks(200);
    endpoint_when(&gateway, 0, "healthy", true).await;
    until("its share of the requests", async || {
        assert_passed(&send(&gateway, get("/open", &[])).await);
        ill.requests() > before
    })
    .await;
    let line = format!("agency registry endpoint {}: ", ill.url());
    said_once(&gateway, &["warn", &line, "unhealthy (status 503)"]).await;
    said_once(&gateway, &["info", &line, "healthy again"]).await;
    assert_eq!(said(&gateway, &[&well.url()]), 0, "nothing is said of what does not change");
}

/// A page that says "maintenance" with status 200 is no good answer.
#[tokio::test]
async fn the_body_counts_where_a_text_is_given() {
    let (ill, well) = (Moody::well().await, Agency::start(|_| crate::support::agency::ok("status: up")).await);
    let health = "health: { path: /healthz, body: 'status: up', interval: 20ms, unhealthy_after: 3 }";
    let well = format!("http://{}", well.address);
    let gateway = over(&[&ill.url(), &well], health).start().await;
    said_once(&gateway, &["warn", &ill.url(), "unhealthy (its answer lacks the text)"]).await;
    assert_eq!(endpoint(&gateway, 1).await["healthy"], true);
    assert_eq!(said(&gateway, &[&well]), 0);
}

/// A check that fails now and then changes nothing.
#[tokio::test]
async fn it_takes_some_bad_answers_in_a_row() {
    let agency = Agency::start({
        let asked = std::sync::atomic::AtomicU32::new(0);
        move |_| {
            let odd = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 2;
            format!("HTTP/1.1 {} X\r\nContent-Length: 0\r\n\r\n", 200 + 300 * odd).into_bytes()
        }
    });
    let agency = agency.await;
    let gateway = over(&[&format!("http://{}", agency.address)], QUICK).start().await;
    until("many checks", async || agency.seen().len() > 12).await;
    assert_eq!(endpoint(&gateway, 0).await["healthy"], true);
    assert_eq!(said(&gateway, &["unhealthy"]), 0);
}

#[tokio::test]
async fn without_a_healthy_endpoint_it_is_said_and_when_to_come_back() {
    let agency = Moody::well().await;
    let gateway = over(&[&agency.url()], QUICK).start().await;
    agency.answers_checks(500);
    endpoint_when(&gateway, 0, "healthy", false).await;
    let answer = send(&gateway, get("/open", &[])).await;
    assert_refused(&answer, 503, "no_healthy_endpoint");
    assert!(answer.head.get("retry-after").is_some_and(|after| after.parse::<u32>().is_ok_and(|s| s > 0)));
    assert_eq!(agency.requests(), 0, "what its own checks call ill is never tried");
    agency.answers_checks(204);
    endpoint_when(&gateway, 0, "healthy", true).await;
    assert_passed(&send(&gateway, get("/open", &[])).await);
}

/// Endpoints are taken for healthy until some checks say otherwise.
#[tokio::test]
async fn a_start_is_no_outage() {
    let agency = Moody::well().await;
    agency.answers_checks(503);
    let gateway = over(&[&agency.url()], "health: { path: /healthz, interval: 1h }").start().await;
    until("the first check", async || !agency.checks().is_empty()).await;
    assert_passed(&send(&gateway, get("/open", &[])).await);
}

#[tokio::test]
async fn the_log_says_why() {
    let gone = ByHand::start().await.url();
    let silent = ByHand::start().await;
    let garbage = Agency::start(|_| b"SSH-2.0-OpenSSH\r\n\r\n".to_vec()).await;
    let foreign = Authority::new("Another CA").sign(&["localhost"]);
    let untrusted = Agency::tls(&foreign, None).await;
    let health = "health: { path: /, interval: 20ms, timeout: 200ms, unhealthy_after: 2 }";
    let config = over(&[&gone, &silent.url()], health)
        .agency_at("garbage", &[&garbage.url()], health)
        .agency_at("untrusted", &[&untrusted.url()], &format!("{health}, tls: {{ ca: certs/ca.pem }}"))
        .simple("garbage", "garbage", 0)
        .simple("untrusted", "untrusted", 0);
    let gateway = config.start().await;
    said_once(&gateway, &[&gone, "unhealthy (connection refused)"]).await;
    said_once(&gateway, &[&silent.url(), "unhealthy (no answer in time)"]).await;
    until("garbage", async || said(&gateway, &[&garbage.url(), "unhealthy"]) > 0).await;
    until("an unknown CA", async || said(&gateway, &[&untrusted.url(), "unhealthy (TLS: "]) > 0).await;
    assert_refused(&send(&gateway, get("/untrusted", &[])).await, 503, "no_healthy_endpoint");
}

/// As requests: over the agency's TLS, in the version it speaks, to its name.
#[tokio::test]
async fn checks_are_asked_as_requests_are() {
    let (clear, tls) = (H2Agency::clear(Manner::Echo).await, H2Agency::tls(Manner::Echo).await);
    let http1 = Agency::tls(certs::server(), Some(certs::ca())).await;
    let pair = certs::ca().sign(&["gateway"]);
    let keys = "health: { path: '/up?deep=1', interval: 20ms }";
    let ca = "tls: { ca: certs/ca.pem";
    let config = over(&[&clear.url()], keys)
        .agency_at("h2", &[&tls.url()], &format!("{keys}, {ca} }}"))
        .agency_at("mutual", &[&http1.url()], &format!("{keys}, {ca}, client_cert: own.pem, client_key: own.key }}"))
        .simple("h2", "h2", 0)
        .simple("mutual", "mutual", 0);
    let dir = crate::support::gateway::directory(&config.yaml());
    std::fs::write(dir.path().join("own.pem"), &pair.cert).unwrap();
    std::fs::write(dir.path().join("own.key"), &pair.key).unwrap();
    let gateway = crate::support::gateway::Gateway::start_in(dir).await;
    for seen in [clear.nth(2).await, tls.nth(2).await] {
        assert_eq!((seen.method.as_str(), seen.uri.path(), seen.uri.query()), ("GET", "/up", Some("deep=1")));
        let agent = seen.headers["user-agent"].to_str().unwrap();
        assert!(agent.starts_with("darvazeh/") && agent.ends_with("(health check)"), "{agent}");
    }
    until("checks over mutual TLS", async || http1.seen().len() > 2).await;
    assert_eq!(http1.last().head.get("host"), Some(&*format!("localhost:{}", http1.address.port())));
    let metrics = gateway.metrics().await;
    assert!(metrics.sum("darvazeh_upstream_health_checks_total", &["outcome=\"passed\""]) >= 6.0);
    assert_eq!(said(&gateway, &["unhealthy ("]), said(&gateway, &["address "]));
}

#[tokio::test]
async fn the_statuses_of_a_good_answer_can_be_named() {
    let agency = Moody::well().await;
    agency.answers_checks(401);
    let named = QUICK.replace("path: /healthz", "path: /healthz, status: [200, 401]");
    let gateway = over(&[&agency.url()], &named).start().await;
    until("some checks", async || agency.checks().len() > 6).await;
    assert_eq!(endpoint(&gateway, 0).await["healthy"], true);
    agency.answers_checks(204);
    endpoint_when(&gateway, 0, "healthy", false).await;
}

/// Caller by caller the requests that are under way end as they would; only new ones go elsewhere.
#[tokio::test]
async fn what_is_under_way_at_an_ill_endpoint_is_not_cut() {
    let agency = ByHand::start().await;
    let keys = "health: { path: /healthz, interval: 20ms, timeout: 50ms, unhealthy_after: 1 }, outlier: off";
    let gateway = over(&[&agency.url()], keys).start().await;
    let mut caller = connect(&gateway).await;
    caller.send(get("/open", &[])).await.expect("open");
    let mut held = Vec::new();
    let mut inside = loop {
        let (wire, request) = agency.request().await;
        match request.head.target() {
            "/open" => break wire,
            // A check that gets no answer.
            _ => held.push(wire),
        }
    };
    endpoint_when(&gateway, 0, "healthy", false).await;
    // The exchange under way has outlived the verdict by some checks: there is no event that would say so.
    tokio::time::sleep(Duration::from_millis(50)).await;
    inside.send(crate::support::agency::ok("late")).await.expect("open");
    assert_eq!(caller.answer().await.text(), "late");
}
