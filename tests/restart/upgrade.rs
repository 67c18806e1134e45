//! A new program takes over.

use crate::load::Load;
use crate::service::{Service, runs};
use crate::support::agency::{Agency, ByHand, ok};
use crate::support::certs::{Trust, client_config};
use crate::support::client::{H2, HOST, get, h2_get, handshake};
use crate::support::verdict::assert_passed;
use crate::support::wire::Wire;
use crate::support::{within, world};

/// `drain` is what an old process may take for connections that are idle.
fn yaml(agency: &str, workers: usize) -> String {
    world::standard(agency).top(&format!("workers: {workers}\ndrain: 4s")).yaml()
}

async fn connect(service: &Service) -> Wire {
    let (tls, socket) =
        handshake(service.address, HOST, client_config(&Trust::default())).await.expect("a TLS handshake");
    Wire::over(tls, socket)
}

async fn connect_h2(service: &Service) -> H2 {
    let config = client_config(&Trust { alpn: &["h2"], ..Trust::default() });
    H2::over(handshake(service.address, HOST, config).await.expect("a TLS handshake").0).await
}

/// The promise itself. The number of workers changes on the way, so sockets have to find other hands.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upgrades_in_a_row_lose_no_request_and_refuse_no_connection() {
    let upgrades = if std::env::var_os("DARVAZEH_FULL").is_some() { 10 } else { 3 };
    let agency = Agency::hello().await;
    let service = Service::start(&yaml(&agency.url(), 2)).await;
    let load = Load::start(service.address);
    load.more(100).await;
    for n in 1..=upgrades {
        service.configure(&yaml(&agency.url(), [2, 3, 1][n % 3]));
        let before = service.pid();
        let after = service.upgrade().await;
        assert_ne!(before, after);
        load.more(200).await;
    }
    service.drained(upgrades).await;
    let tally = load.stop().await;
    let failed = tally.failed.len();
    println!(
        "{upgrades} upgrades: {} requests on {} connections, {failed} failed, {} refused; {} told close, {} GOAWAY, {} again",
        tally.requests, tally.connections, tally.refused, tally.closed, tally.went_away, tally.again
    );
    assert_eq!((failed, tally.refused), (0, 0), "{:#?}", tally.failed);
    assert_eq!(tally.again, 0, "a request that crossed the first GOAWAY was turned away");
    assert_eq!(agency.seen().len(), tally.requests, "each request reached the agency once");
    assert!(tally.closed > 0 && tally.went_away > 0, "nobody noticed: {tally:?}");
    assert_eq!(service.upgrades("taken_over").await, upgrades as f64, "the count goes on from process to process");
}

#[tokio::test]
async fn what_lies_on_the_disk_now_is_what_starts() {
    let agency = Agency::hello().await;
    let service = Service::start(&yaml(&agency.url(), 2)).await;
    service.install("wraps.sh");
    let pid = service.upgrade().await;
    assert!(service.stderr.all().iter().any(|line| line == "the wrapper runs"));
    service.install("darvazeh");
    assert_ne!(service.upgrade().await, pid, "and so does what lies there later");
    let mut wire = connect(&service).await;
    wire.send(get("/open", &[])).await.expect("open");
    assert_passed(&wire.answer().await);
}

#[tokio::test]
async fn a_request_in_flight_is_finished_by_the_process_that_began_it() {
    let agency = ByHand::start().await;
    let service = Service::start(&yaml(&agency.url(), 2)).await;
    let mut caller = connect(&service).await;
    caller.send(get("/open", &[])).await.expect("open");
    let (mut inside, _) = agency.request().await;
    service.upgrade().await;
    inside.send(ok("finished")).await.expect("open");
    let answer = caller.answer().await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "finished"));
    assert_eq!(answer.head.get("connection"), Some("close"));
    service.drained(1).await;
}

/// RFC 9112 §9.6: nobody's request crosses the end of its connection.
#[tokio::test]
async fn an_idle_connection_may_ask_once_more_and_is_told_then() {
    let agency = Agency::hello().await;
    let service = Service::start(&yaml(&agency.url(), 1)).await;
    let (mut used, mut fresh) = (connect(&service).await, connect(&service).await);
    used.send(get("/open", &[])).await.expect("open");
    assert_eq!(used.answer().await.head.get("connection"), None);
    service.upgrade().await;
    for wire in [&mut used, &mut fresh] {
        wire.send(get("/open", &[])).await.expect("open");
        let answer = wire.answer().await;
        assert_passed(&answer);
        assert_eq!(answer.head.get("connection"), Some("close"));
    }
    service.drained(1).await;
}

/// RFC 9113 §6.8
#[tokio::test]
async fn http2_connections_are_told_to_go_away_once_they_have_asked() {
    let agency = Agency::hello().await;
    let service = Service::start(&yaml(&agency.url(), 1)).await;
    let (used, fresh) = (connect_h2(&service).await, connect_h2(&service).await);
    let request = || h2_get("/open").body(()).expect("good parts");
    assert_eq!(used.request(request(), b"").await.status, 200);
    service.upgrade().await;
    within("the used connection to end", used.driver).await.expect("no panic").expect("a graceful end");
    assert_eq!(fresh.request(request(), b"").await.status, 200);
    within("the fresh connection to end", fresh.driver).await.expect("no panic").expect("a graceful end");
    service.drained(1).await;
}

#[tokio::test]
async fn probes_and_scrapers_meet_the_new_process_at_once() {
    let agency = Agency::hello().await;
    let service = Service::start(&yaml(&agency.url(), 1)).await;
    let old = service.pid();
    // It keeps the old process alive.
    let mut idle = connect(&service).await;
    service.upgrade().await;
    for _ in 0..20 {
        assert_eq!(service.admin("GET", "/readyz").await.status(), 200);
    }
    assert!(runs(old, service.path()), "the old process has ended too soon to tell");
    idle.send(get("/open", &[])).await.expect("open");
    assert_passed(&idle.answer().await);
}

#[tokio::test]
async fn the_command_says_who_serves_now() {
    let agency = Agency::hello().await;
    let service = Service::start(&yaml(&agency.url(), 1)).await;
    let done = service.cli(&["--admin", &format!("http://{}", service.admin)]).await;
    let pid = service.taken_over(1).await;
    assert_eq!(String::from_utf8_lossy(&done.stdout), format!("process {pid} has taken over\n"), "{done:?}");
    assert!(done.status.success());
    let done = service.cli(&["--pid", &pid.to_string()]).await;
    assert!(done.status.success(), "{done:?}");
    assert_ne!(service.taken_over(2).await, pid);
}

/// The configuration is read anew: what a reload could do, an upgrade does too.
#[tokio::test]
async fn the_new_process_serves_what_the_configuration_says_now() {
    let agency = Agency::hello().await;
    let service = Service::start(&yaml(&agency.url(), 1)).await;
    let config = world::standard(&agency.url()).simple("late", "registry", 0).top("drain: 4s");
    let renamed = config.yaml().replace("name: public", "name: citizens");
    service.configure(&renamed.replace("127.0.0.1:0,", &format!("{},", service.address)));
    service.upgrade().await;
    let mut wire = connect(&service).await;
    wire.send(get("/late", &[])).await.expect("open");
    assert_passed(&wire.answer().await);
    service.says(&format!("ready listeners=citizens={}", service.address)).await;
}
