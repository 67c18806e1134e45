//! A listener that a reload removes is drained: what is in flight is finished, then its connections end.

use std::net::SocketAddr;

use crate::apply;
use crate::support::agency::{ByHand, ok};
use crate::support::certs::{Trust, client_config};
use crate::support::client::{H2, HOST, connect_plain, get, h2_get, handshake, send};
use crate::support::gateway::Gateway;
use crate::support::within;
use crate::support::world::{Config, TLS, standard};

fn public() -> String {
    format!("{{ name: public, address: 127.0.0.1:0, {TLS} }}")
}

fn without(agency: &ByHand) -> Config {
    standard(&agency.url()).listeners(&[&public()])
}

/// With a second listener, `other`.
async fn start(agency: &ByHand, tls: &str) -> (Gateway, SocketAddr) {
    let other = format!("{{ name: other, address: 127.0.0.1:0{tls} }}");
    let gateway = standard(&agency.url()).listeners(&[&public(), &other]).start().await;
    let address = gateway.address_of("other");
    (gateway, address)
}

#[tokio::test]
async fn a_request_in_flight_is_finished_and_its_connection_closed() {
    let agency = ByHand::start().await;
    let (gateway, other) = start(&agency, "").await;
    let mut caller = connect_plain(other).await;
    caller.send(get("/open", &[])).await.expect("open");
    let (mut inside, _) = agency.request().await;
    apply(&gateway, &without(&agency)).await;
    inside.send(ok("finished")).await.expect("open");
    let answer = caller.answer().await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "finished"));
    assert_eq!(answer.head.get("connection"), Some("close"));
    assert!(caller.rest().await.is_empty());
    // The listener that stays serves on.
    assert_eq!(send(&gateway, get("/nothing", &[])).await.status(), 404);
}

#[tokio::test]
async fn an_idle_connection_ends() {
    let agency = ByHand::start().await;
    let (gateway, other) = start(&agency, "").await;
    let mut idle = connect_plain(other).await;
    idle.send(get("/nothing", &[])).await.expect("open");
    assert_eq!(idle.answer().await.status(), 404);
    apply(&gateway, &without(&agency)).await;
    assert!(within("the end of the idle connection", idle.rest()).await.is_empty());
}

#[tokio::test]
async fn a_request_in_flight_over_http2_is_finished_and_its_connection_ends() {
    let agency = ByHand::start().await;
    let (gateway, other) = start(&agency, &format!(", {TLS}")).await;
    let trust = Trust { alpn: &["h2"], ..Trust::default() };
    let (tls, _) = handshake(other, HOST, client_config(&trust)).await.expect("a handshake");
    let h2 = H2::over(tls).await;
    let asked = tokio::spawn(async move {
        let answer = h2.request(h2_get("/open").body(()).unwrap(), b"").await;
        let ended = within("the end of the connection", h2.driver).await.unwrap();
        (answer, ended)
    });
    let (mut inside, _) = agency.request().await;
    apply(&gateway, &without(&agency)).await;
    inside.send(ok("finished")).await.expect("open");
    let (answer, ended) = asked.await.unwrap();
    assert_eq!((answer.status, answer.body.as_slice(), answer.complete), (200, &b"finished"[..], true));
    ended.expect("a graceful end");
}

/// Another name at the same address is the same listener: the connection of a caller goes on, with the request it has under way,
/// and is told from others by the new name.
#[tokio::test]
async fn a_renamed_listener_keeps_its_connections() {
    let agency = ByHand::start().await;
    let named = |name: &str| {
        let other = format!("{{ name: {name}, address: 127.0.0.1:0 }}");
        let inside = format!(
            "name: inside, agency: registry, match: {{ prefix: /inside }}, require: {{ level: 0 }}, listeners: [{name}]"
        );
        standard(&agency.url()).listeners(&[&public(), &other]).route(&inside)
    };
    let gateway = named("other").start().await;
    let address = gateway.address_of("other");
    let mut caller = connect_plain(address).await;
    caller.send(get("/inside", &[])).await.expect("open");
    let (mut inside, _) = agency.request().await;
    apply(&gateway, &named("another")).await;
    inside.send(ok("finished")).await.expect("open");
    let answer = caller.answer().await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "finished"));
    assert_eq!(answer.head.get("connection"), None);
    // The same connection meets the routes of the new name, and its challenges have it as their realm.
    caller.send(get("/inside", &[])).await.expect("open");
    inside.request().await.expect("on the kept connection");
    inside.send(ok("again")).await.expect("open");
    assert_eq!(caller.answer().await.text(), "again");
    caller.send(get("/l1", &[])).await.expect("open");
    assert_eq!(caller.answer().await.head.get("www-authenticate"), Some("Bearer realm=\"another\""));
    let mut fresh = connect_plain(address).await;
    fresh.send(get("/l1", &[])).await.expect("open");
    assert_eq!(fresh.answer().await.head.get("www-authenticate"), Some("Bearer realm=\"another\""));
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.sum("darvazeh_connections_open", &["listener=\"another\""]), 2.0);
    let listeners = gateway.admin("GET", "/config").await.json()["listeners"].clone();
    assert_eq!((&listeners[1]["name"], &listeners[1]["address"]), (&"another".into(), &address.to_string().into()));
}

/// Two listeners may even exchange their names; the port that the system chose may be written out.
#[tokio::test]
async fn names_may_be_exchanged() {
    let agency = ByHand::start().await;
    let (gateway, other) = start(&agency, "").await;
    let first = gateway.address();
    let listeners =
        [format!("{{ name: public, address: {other} }}"), format!("{{ name: other, address: {first}, {TLS} }}")];
    let mut caller = connect_plain(other).await;
    apply(&gateway, &standard(&agency.url()).listeners(&[&listeners[0], &listeners[1]])).await;
    caller.send(get("/l1", &[])).await.expect("open");
    assert_eq!(caller.answer().await.head.get("www-authenticate"), Some("Bearer realm=\"public\""));
    assert_eq!(send(&gateway, get("/l1", &[])).await.head.get("www-authenticate"), Some("Bearer realm=\"other\""));
}
