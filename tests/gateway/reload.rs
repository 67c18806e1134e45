//! A changed file takes effect without an outage, and a bad one takes no effect at all.

use std::path::Path;

use crate::support::agency::{Agency, ByHand, ok};
use crate::support::client::{self, H2, bearer, connect, get, h2_get, send};
use crate::support::gateway::Gateway;
use crate::support::token::token;
use crate::support::verdict::{assert_passed, assert_refused};
use crate::support::world::{Config, standard};

/// Puts another file in place of the gateway's, at once and whole.
fn replace(gateway: &Gateway, config: &Config) {
    write(&gateway.config_file(), &config.yaml());
}

fn write(file: &Path, text: &str) {
    let fresh = file.with_extension("new");
    std::fs::write(&fresh, text).expect("our own directory");
    std::fs::rename(&fresh, file).expect("our own directory");
}

async fn applied(gateway: &Gateway) {
    let answer = gateway.admin("POST", "/reload").await;
    assert_eq!((answer.status(), &answer.json()["outcome"]), (200, &"applied".into()), "{}", answer.text());
}

#[tokio::test]
async fn a_reload_changes_routes_on_connections_that_are_open() {
    let agency = Agency::hello().await;
    let gateway = standard(&agency.url()).start().await;
    let (mut wire, h2) = (connect(&gateway).await, H2::connect(&gateway).await);
    wire.send(get("/new", &[])).await.expect("open");
    assert_refused(&wire.answer().await, 404, "route_unknown");
    assert_eq!(h2.request(h2_get("/new").body(()).expect("good parts"), b"").await.status, 404);
    replace(&gateway, &standard(&agency.url()).simple("new", "registry", 0));
    applied(&gateway).await;
    wire.send(get("/new", &[])).await.expect("still open");
    assert_passed(&wire.answer().await);
    assert_eq!(h2.request(h2_get("/new").body(()).expect("good parts"), b"").await.status, 200);
}

/// 422 with `check`'s faults; what ran goes on running, and `/config` says so.
#[tokio::test]
async fn a_bad_file_never_replaces_a_good_one() {
    let agency = Agency::hello().await;
    let gateway = standard(&agency.url()).start().await;
    let before = gateway.admin("GET", "/config").await.json()["sha256"].clone();
    replace(&gateway, &standard(&agency.url()).simple("x", "registri", 1));
    let answer = gateway.admin("POST", "/reload").await;
    assert_eq!((answer.status(), &answer.json()["outcome"]), (422, &"refused".into()), "{}", answer.text());
    let faults = answer.json()["faults"].clone();
    let named = |fault: &serde_json::Value| fault["message"].as_str().is_some_and(|m| m.contains("registri"));
    assert!(faults.as_array().is_some_and(|all| all.iter().any(named)), "{faults}");
    assert_eq!(gateway.admin("GET", "/config").await.json()["sha256"], before);
    assert_passed(&send(&gateway, get("/open", &[])).await);
    assert_eq!(gateway.admin("GET", "/readyz").await.status(), 200);
    let refused =
        |m: &crate::support::gateway::Metrics| m.sum("darvazeh_config_reloads_total", &["outcome=\"refused\""]) >= 1.0;
    gateway.metrics_when("a refused reload", refused).await;
}

/// SIGHUP is the same.
#[tokio::test]
async fn sighup_reloads() {
    let agency = Agency::hello().await;
    let gateway = standard(&agency.url()).start().await;
    replace(&gateway, &standard(&agency.url()).simple("new", "registry", 0));
    gateway.signal("HUP");
    let counted =
        |m: &crate::support::gateway::Metrics| m.sum("darvazeh_config_reloads_total", &["outcome=\"applied\""]) >= 1.0;
    gateway.metrics_when("an applied reload", counted).await;
    assert_passed(&send(&gateway, get("/new", &[])).await);
}

/// A requirement that is raised counts from the next request on, for tokens that are remembered too.
#[tokio::test]
async fn a_raised_level_counts_at_once() {
    let agency = Agency::hello().await;
    let route = |level: u8| {
        let one =
            format!("name: moving, agency: registry, match: {{ prefix: /moving }}, require: {{ level: {level} }}");
        standard(&agency.url()).route(&one)
    };
    let gateway = route(1).start().await;
    let mut wire = connect(&gateway).await;
    let asked = get("/moving", &[&bearer(&token(2).sign())]);
    wire.send(&asked).await.expect("open");
    assert_passed(&wire.answer().await);
    replace(&gateway, &route(3));
    applied(&gateway).await;
    wire.send(&asked).await.expect("open");
    assert_refused(&wire.answer().await, 401, "level_too_low");
}

/// What is in flight is finished under the rules it began with.
#[tokio::test]
async fn a_request_in_flight_outlives_its_route() {
    let agency = ByHand::start().await;
    let gateway = standard(&agency.url()).simple("gone", "registry", 0).start().await;
    let mut wire = connect(&gateway).await;
    wire.send(get("/gone", &[])).await.expect("open");
    let (mut inside, _) = agency.request().await;
    replace(&gateway, &standard(&agency.url()));
    applied(&gateway).await;
    inside.send(ok("finished")).await.expect("open");
    assert_eq!(wire.answer().await.text(), "finished");
    wire.send(get("/gone", &[])).await.expect("open");
    assert_refused(&wire.answer().await, 404, "route_unknown");
}

/// Kept connections to an agency that has not changed are kept.
#[tokio::test]
async fn a_reload_does_not_cut_kept_connections_to_agencies() {
    let agency = ByHand::start().await;
    let gateway = standard(&agency.url()).start().await;
    let mut wire = connect(&gateway).await;
    wire.send(get("/open/1", &[])).await.expect("open");
    let (mut inside, _) = agency.request().await;
    inside.send(ok("1")).await.expect("open");
    assert_eq!(wire.answer().await.text(), "1");
    replace(&gateway, &standard(&agency.url()).simple("new", "registry", 0));
    applied(&gateway).await;
    wire.send(get("/new", &[])).await.expect("open");
    assert_eq!(inside.request().await.expect("on the kept connection").head.target(), "/new");
    inside.send(ok("2")).await.expect("open");
    assert_eq!(wire.answer().await.text(), "2");
}

/// Contract section 5: a reload may add listeners and remove them.
#[tokio::test]
async fn a_reload_adds_and_removes_listeners() {
    let agency = Agency::hello().await;
    let one = "{ name: one, address: 127.0.0.1:0 }";
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("it is bound").port();
    let two = format!("{{ name: two, address: '127.0.0.1:{port}' }}");
    let gateway = standard(&agency.url()).listeners(&[one]).start().await;
    let second: std::net::SocketAddr = ([127, 0, 0, 1], port).into();
    assert!(tokio::net::TcpStream::connect(second).await.is_err());
    replace(&gateway, &standard(&agency.url()).listeners(&[one, &two]));
    applied(&gateway).await;
    for address in [gateway.address(), second] {
        let mut wire = client::connect_plain(address).await;
        wire.send(get("/open", &[])).await.expect("open");
        assert_passed(&wire.answer().await);
    }
    replace(&gateway, &standard(&agency.url()).listeners(&[one]));
    applied(&gateway).await;
    let closed = async {
        while tokio::net::TcpStream::connect(second).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    crate::support::within("the listener to be gone", closed).await;
    let mut wire = client::connect_plain(gateway.address()).await;
    wire.send(get("/open", &[])).await.expect("open");
    assert_passed(&wire.answer().await);
}
