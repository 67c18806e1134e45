//! Asking again: only where it does no harm, only as much as a sick agency can bear, and only as long as there is time.

use crate::support::agency::{Agency, ByHand, ok};
use crate::support::client::{connect, get, post, request, send};
use crate::support::gateway::Gateway;
use crate::support::verdict::{assert_passed, assert_refused};
use crate::support::wire::{Message, Wire};
use crate::support::within;
use crate::support::world::{self, Config};

async fn over(urls: &[&str], keys: &str) -> Gateway {
    Config::new().agency_at("registry", urls, keys).simple("open", "registry", 0).start().await
}

/// An address that refuses connections.
async fn gone() -> String {
    ByHand::start().await.url()
}

async fn retries(gateway: &Gateway, outcome: &str) -> f64 {
    gateway.metrics().await.sum("darvazeh_retries_total", &[&format!("outcome=\"{outcome}\"")])
}

/// Half of the requests meet an endpoint that is gone. No more than the budget's share of them is tried again: 10 % of 60
/// are 6; 3 a second are free, and 10 at once.
#[tokio::test]
async fn retries_are_a_share_of_the_requests() {
    let (gone, there) = (gone().await, Agency::hello().await);
    let keys = "balance: round_robin, outlier: off, retry: { attempts: 2, budget_percent: 10 }";
    let gateway = over(&[&gone, &there.url()], keys).await;
    let mut wire = connect(&gateway).await;
    let begun = std::time::Instant::now();
    let mut refused = 0;
    for n in 0..60 {
        wire.send(post("/open", &[], &format!("body {n}"))).await.expect("open");
        let answer = wire.answer_to("POST").await;
        match answer.status() {
            200 => assert_passed(&answer),
            _ => {
                assert_refused(&answer, 502, "connect_failed");
                refused += 1;
            }
        }
    }
    let (answered, exhausted) = (retries(&gateway, "answered").await, retries(&gateway, "budget_exhausted").await);
    let bound = 6.0 + 10.0 + 3.0 * begun.elapsed().as_secs_f64();
    assert!(answered >= 6.0 && answered <= bound, "{answered} retries, at most {bound}");
    assert_eq!(exhausted, f64::from(refused));
    assert_eq!(there.seen().len(), 60 - refused as usize, "each reached it once at most");
}

#[tokio::test]
async fn a_budget_of_nothing_tries_nothing_again() {
    let (gone, there) = (gone().await, Agency::hello().await);
    let keys = "balance: round_robin, outlier: off, retry: { attempts: 2, budget_percent: 0 }";
    let gateway = over(&[&gone, &there.url()], keys).await;
    let mut wire = connect(&gateway).await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        wire.send(get("/open", &[])).await.expect("open");
        statuses.push(wire.answer().await.status());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 502, 502]);
    assert_eq!(retries(&gateway, "budget_exhausted").await, 2.0);
}

/// `Retry-After` is passed on, and its endpoint left alone while another can answer.
#[tokio::test]
async fn an_endpoint_that_asks_for_rest_gets_it() {
    let busy = Agency::start(|_| {
        b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 50\r\nContent-Length: 4\r\n\r\nbusy".to_vec()
    })
    .await;
    let there = Agency::hello().await;
    let gateway = over(&[&busy.url(), &there.url()], "balance: round_robin, outlier: off").await;
    let mut wire = connect(&gateway).await;
    let mut told = 0;
    for _ in 0..20 {
        wire.send(get("/open", &[])).await.expect("open");
        let answer = wire.answer().await;
        if answer.status() == 503 {
            assert_eq!((answer.head.get("retry-after"), answer.text()), (Some("50"), "busy".to_owned()));
            told += 1;
        }
    }
    assert_eq!((told, busy.seen().len(), there.seen().len()), (1, 1, 19));
    let seen: serde_json::Value = serde_json::from_str(&gateway.admin("GET", "/agencies").await.text()).expect("JSON");
    assert_eq!(seen["agencies"][0]["endpoints"][0]["resting"], true);
    let line = gateway.stderr.find(|line| line.contains("left alone for 50s").then_some(()));
    within("the line", line).await;
}

/// The only endpoint is asked all the same: its answer is what callers get.
#[tokio::test]
async fn the_only_endpoint_never_rests() {
    let busy =
        Agency::start(|_| b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 50\r\nContent-Length: 0\r\n\r\n".to_vec())
            .await;
    let gateway = world::before(&busy.url()).await;
    for _ in 0..3 {
        assert_eq!(send(&gateway, get("/open", &[])).await.head.get("retry-after"), Some("50"));
    }
    assert_eq!(busy.seen().len(), 3);
}

/// A 429 may be meant for one caller: others are served there as before.
#[tokio::test]
async fn a_429_rests_nobody() {
    let limits =
        Agency::start(|_| b"HTTP/1.1 429 Too Many\r\nRetry-After: 9\r\nContent-Length: 0\r\n\r\n".to_vec()).await;
    let there = Agency::hello().await;
    let gateway = over(&[&limits.url(), &there.url()], "balance: round_robin").await;
    let mut wire = connect(&gateway).await;
    for _ in 0..10 {
        wire.send(get("/open", &[])).await.expect("open");
        wire.answer().await;
    }
    assert_eq!((limits.seen().len(), there.seen().len()), (5, 5));
}

/// `timeouts.request`: the agency is told how long it has, by us alone, and when that is over so is the request.
#[tokio::test]
async fn a_deadline_is_told_and_kept() {
    let agency = ByHand::start().await;
    let gateway = world::standard_with(&agency.url(), "timeouts: { request: 700ms }").start().await;
    let mut caller = connect(&gateway).await;
    let forged = ["X-Gateway-Deadline: 99999999", "x_gateway_deadline: 99999999"];
    caller.send(request("POST", "/open", &[&forged[..], &["Content-Length: 0"]].concat())).await.expect("open");
    let (mut inside, asked) = agency.request().await;
    let [told] = deadlines(&asked)[..] else { panic!("one, and ours: {asked:?}") };
    assert!(told.parse::<u32>().expect("milliseconds") <= 700, "{told}");
    assert_refused(&caller.answer_to("POST").await, 504, "upstream_timeout");
    assert!(inside.rest().await.is_empty());
    assert!(agency.is_untouched().await, "it was sent once, and once it stays");
}

/// However it is spelt.
fn deadlines(asked: &Message) -> Vec<&str> {
    let is_one = |name: &str| name.to_ascii_lowercase().replace('_', "-") == "x-gateway-deadline";
    asked.head.fields.iter().filter(|(name, _)| is_one(name)).map(|(_, value)| value.as_str()).collect()
}

/// It runs to the last byte of the answer, however lively that is. A route may say otherwise.
#[tokio::test]
async fn a_deadline_cuts_a_body_and_a_route_may_switch_it_off() {
    let agency = ByHand::start().await;
    let gateway = world::standard_with(&agency.url(), "timeouts: { request: 500ms }")
        .route(
            "name: long, agency: registry, match: { prefix: /long }, require: { level: 0 }, timeouts: { request: off }",
        )
        .start()
        .await;
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let drip = async |mut inside: Wire, times: usize| {
        let _ = inside.send(head).await;
        for _ in 0..times {
            // The pace itself is what is tested here.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            if inside.send("1\r\nx\r\n").await.is_err() {
                return false;
            }
        }
        inside.send("0\r\n\r\n").await.is_ok()
    };
    let mut caller = connect(&gateway).await;
    caller.send(get("/open", &[])).await.expect("open");
    let (inside, _) = agency.request().await;
    let (answer, ended) = tokio::join!(caller.answer(), drip(inside, usize::MAX));
    assert!(!answer.payload.complete && !ended, "the agency is told by the end of its connection");

    let mut caller = connect(&gateway).await;
    caller.send(get("/long", &[])).await.expect("open");
    let (inside, asked) = agency.request().await;
    assert!(deadlines(&asked).is_empty());
    let (answer, ended) = tokio::join!(caller.answer(), drip(inside, 15));
    assert!(answer.payload.complete && ended);
}

/// gRPC has a header of its own for it: lowered by what the call spent here, never raised.
#[tokio::test]
async fn a_grpc_timeout_is_lowered() {
    let agency = ByHand::start().await;
    let keys = "timeouts: { request: 1h }, limits: { concurrent: 1 , queue_time: 1m }";
    let gateway = world::standard_with(&agency.url(), keys).start().await;
    let mut first = connect(&gateway).await;
    first.send(get("/open", &[])).await.expect("open");
    let (mut inside, _) = agency.request().await;
    let mut caller = connect(&gateway).await;
    let fields = ["Content-Type: application/grpc", "grpc-timeout: 20S", "Content-Length: 0"];
    caller.send(request("POST", "/open", &fields)).await.expect("open");
    gateway.metrics_when("it waits", |all| all.sum("darvazeh_upstream_queued", &[]) == 1.0).await;
    // The time that the call is to lose here.
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    inside.send(ok("")).await.expect("open");
    // Its worker may not be the one whose connection is free now.
    let asked = tokio::select! {
        asked = inside.request() => asked.expect("on the kept connection"),
        (_, asked) = agency.request() => asked,
    };
    let left = asked.head.get("grpc-timeout").expect("it is told").trim_end_matches('m').parse::<u32>().expect("ms");
    assert!(left <= 19_950, "{left}");
    let ours = deadlines(&asked);
    let ours = ours.first().expect("our own is told too").parse::<u32>().expect("ms");
    assert!(ours <= 3_599_950, "{ours}");
}
