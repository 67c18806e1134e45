//! What survives a reload because what it belongs to did not change.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::apply;
use crate::support::agency::{Agency, ByHand, ok};
use crate::support::certs::{Trust, client_config};
use crate::support::client::{HOST, bearer, connect, get, handshake, send};
use crate::support::token::token;
use crate::support::verdict::{assert_passed, assert_refused};
use crate::support::world::{Config, standard};

#[tokio::test]
async fn a_verified_token_is_still_known() {
    let agency = Agency::hello().await;
    let gateway = standard(&agency.url()).start().await;
    let mut caller = connect(&gateway).await;
    let asked = get("/l2", &[&bearer(&token(2).sign())]);
    caller.send(&asked).await.expect("open");
    assert_passed(&caller.answer().await);
    apply(&gateway, &standard(&agency.url()).simple("new", "registry", 2)).await;
    // The same connection, so the same worker and its cache.
    caller.send(&asked).await.expect("open");
    assert_passed(&caller.answer().await);
    let metrics = gateway.metrics().await;
    let count = |outcome: &str| metrics.sum("darvazeh_token_cache_total", &[&format!("outcome=\"{outcome}\"")]);
    assert_eq!((count("miss"), count("hit")), (1.0, 1.0));
}

#[tokio::test]
async fn a_spent_budget_stays_spent() {
    let agency = Agency::hello().await;
    let rated = |requests: u32| {
        let limits = format!("limits: {{ rate: {{ requests: {requests}, per: 1h, by: address }} }}");
        let route = "name: few, agency: registry, match: { prefix: /few }, require: { level: 0 }";
        standard(&agency.url()).route(&format!("{route}, {limits}"))
    };
    let gateway = rated(1).start().await;
    assert_passed(&send(&gateway, get("/few", &[])).await);
    apply(&gateway, &rated(1).simple("new", "registry", 0)).await;
    assert_refused(&send(&gateway, get("/few", &[])).await, 429, "rate_limited");
    // Another rate is another budget.
    apply(&gateway, &rated(2)).await;
    assert_passed(&send(&gateway, get("/few", &[])).await);
}

/// One endpoint changes, the other's connections stay.
#[tokio::test]
async fn connections_to_an_endpoint_that_stays_are_kept() {
    let (stays, goes, comes) = (ByHand::start().await, ByHand::start().await, ByHand::start().await);
    let both = |other: &ByHand| {
        Config::new()
            .agency_at("registry", &[&stays.url(), &other.url()], "balance: round_robin")
            .simple("open", "registry", 0)
    };
    let gateway = both(&goes).start().await;
    let mut caller = connect(&gateway).await;
    caller.send(get("/open", &[])).await.expect("open");
    let (mut inside, _) = stays.request().await;
    inside.send(ok("1")).await.expect("open");
    assert_eq!(caller.answer().await.text(), "1");
    apply(&gateway, &both(&comes)).await;
    caller.send(get("/open", &[])).await.expect("open");
    // The connection that was opened before carries it: nobody is let in anew.
    inside.request().await.expect("on the kept connection");
    inside.send(ok("2")).await.expect("open");
    assert_eq!(caller.answer().await.text(), "2");
    assert!(stays.is_untouched().await);
}

#[tokio::test]
async fn a_tls_session_can_still_be_resumed() {
    let agency = Agency::hello().await;
    let gateway = standard(&agency.url()).start().await;
    let config = client_config(&Trust::default());
    let kind = async |config: Arc<rustls::ClientConfig>| {
        let (mut tls, _) = handshake(gateway.address(), HOST, config).await.expect("a handshake");
        // Tickets come with the first answer.
        tls.write_all(get("/open", &["Connection: close"]).as_bytes()).await.expect("open");
        let _ = tls.read_to_end(&mut Vec::new()).await;
        tls.get_ref().1.handshake_kind().expect("it is over")
    };
    assert_eq!(kind(config.clone()).await, rustls::HandshakeKind::Full);
    apply(&gateway, &standard(&agency.url()).simple("new", "registry", 0)).await;
    assert_eq!(kind(config).await, rustls::HandshakeKind::Resumed);
}

/// A new listener whose port is taken refuses the whole: the routes of that file are not taken up either.
#[tokio::test]
async fn a_port_that_is_taken_refuses_the_whole() {
    let agency = Agency::hello().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gateway = standard(&agency.url()).start().await;
    let public = format!("{{ name: public, address: 127.0.0.1:0, {} }}", crate::support::world::TLS);
    let other = format!("{{ name: other, address: {} }}", taken.local_addr().unwrap());
    let config = standard(&agency.url()).listeners(&[&public, &other]).simple("new", "registry", 0);
    crate::replace(&gateway.config_file(), &config.yaml());
    let answer = gateway.admin("POST", "/reload").await;
    assert_eq!(answer.status(), 422, "{}", answer.text());
    assert!(answer.json()["faults"][0]["message"].as_str().unwrap().contains("other"), "{}", answer.text());
    assert_refused(&send(&gateway, get("/new", &[])).await, 404, "route_unknown");
    assert_passed(&send(&gateway, get("/open", &[])).await);
}

/// The limit of the file in force counts, not that of the start: with ten minutes this would not end in time.
#[tokio::test]
async fn a_changed_drain_counts_at_the_end() {
    let agency = ByHand::start().await;
    let gateway = standard(&agency.url()).top("drain: 10m").start().await;
    let mut caller = connect(&gateway).await;
    caller.send(get("/open", &[])).await.expect("open");
    let (_inside, _) = agency.request().await;
    apply(&gateway, &standard(&agency.url()).top("drain: 100ms")).await;
    assert!(gateway.stop().await.success());
}
