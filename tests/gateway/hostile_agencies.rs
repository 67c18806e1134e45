//! Agencies that send without end or measure: bounded, answered for with 502 or cut, and never the gateway's undoing.

use crate::support::agency::{Agency, ByHand, ok};
use crate::support::client::{connect, get, post, request, send};
use crate::support::gateway::Gateway;
use crate::support::verdict::{assert_passed, assert_refused};
use crate::support::wire::Wire;
use crate::support::world::{self, standard};

async fn place() -> (ByHand, Gateway, Agency) {
    let agency = ByHand::start().await;
    let well = Agency::hello().await;
    let gateway = standard(&agency.url()).agency("well", &well.url()).simple("well", "well", 0).start().await;
    (agency, gateway, well)
}

/// Sends `once`, then `again` for as long as anybody listens, but never more than 64 MiB.
async fn flood(inside: &mut Wire, once: &str, again: &str) {
    let chunk = again.repeat((64 << 10) / again.len() + 1);
    let mut sent = inside.send(once).await;
    for _ in 0..1024 {
        if sent.is_err() {
            return;
        }
        sent = inside.send(&chunk).await;
    }
    panic!("64 MiB were taken of {again:?}");
}

#[tokio::test]
async fn an_answer_whose_head_does_not_end_is_502() {
    let (agency, gateway, _well) = place().await;
    for (once, again) in [
        ("HTTP/1.1 200 OK\r\n", "X-Header: value\r\n"),
        ("HTTP/1.1 200 OK\r\nX: ", "xxxxxxxxxxxxxxxx"),
        ("HTTP/1.1 200 ", "reason reason "),
        ("", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
        ("", "HTTP/1.1 100 Continue\r\n\r\n"),
    ] {
        let mut caller = connect(&gateway).await;
        caller.send(post("/open", &[], "x")).await.expect("open");
        let (mut inside, _) = agency.request().await;
        let answered = async {
            loop {
                let answer = caller.answer().await;
                if answer.status() >= 200 {
                    return answer;
                }
            }
        };
        let (answer, ()) = tokio::join!(answered, flood(&mut inside, once, again));
        assert_refused(&answer, 502, "upstream_broke");
    }
    assert_passed(&send(&gateway, get("/well", &[])).await);
}

#[tokio::test]
async fn an_answer_whose_framing_does_not_end_is_cut() {
    let (agency, gateway, _well) = place().await;
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ndata\r\n";
    for (once, again) in [
        (format!("{head}1;"), "extension"),
        (format!("{head}0\r\n"), "X-Trailer: value\r\n"),
        (format!("{head}0\r\nX: "), "xxxxxxxxxxxxxxxx"),
        (head.to_owned(), "00000000000000000000"),
    ] {
        let mut caller = connect(&gateway).await;
        caller.send(post("/open", &[], "x")).await.expect("open");
        let (mut inside, _) = agency.request().await;
        let (answer, ()) = tokio::join!(caller.answer(), flood(&mut inside, &once, again));
        assert!(!answer.payload.complete || answer.status() == 502, "{again:?}: {:?}", answer.head);
    }
    assert_passed(&send(&gateway, get("/well", &[])).await);
}

/// HP-7: trailers are bounded on the way in, too.
#[tokio::test]
async fn a_request_whose_trailers_do_not_end_is_refused() {
    let (agency, gateway, _well) = place().await;
    let mut caller = connect(&gateway).await;
    caller.send(request("POST", "/open", &["Transfer-Encoding: chunked"]) + "4\r\ndata\r\n0\r\n").await.expect("open");
    let mut inside = agency.accept().await;
    let head = inside.head().await.expect("the head");
    let (payload, ()) =
        tokio::join!(inside.body(head.request_framing()), flood(&mut caller, "", "X-Trailer: value\r\n"));
    assert!(!payload.complete);
}

/// Bytes that nobody asked for, on a connection that is kept: it is not used again.
#[tokio::test]
async fn an_agency_that_speaks_unasked_is_not_listened_to() {
    let (agency, gateway, _well) = place().await;
    let mut caller = connect(&gateway).await;
    caller.send(get("/open/1", &[])).await.expect("open");
    let (mut inside, _) = agency.request().await;
    inside.send(ok("one")).await.expect("open");
    assert_eq!(caller.answer().await.text(), "one");
    inside.send("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await.expect("open");
    inside.close().await;
    caller.send(get("/open/2", &[])).await.expect("open");
    let (mut fresh, request) = agency.request().await;
    assert_eq!(request.head.target(), "/open/2");
    fresh.send(ok("two")).await.expect("open");
    assert_eq!(caller.answer().await.text(), "two");
}

/// An agency that is the gateway itself is a circle, and circles end.
#[tokio::test]
async fn hp2_a_circle_ends() {
    // The port must be known before the gateway has it: one is taken and given back.
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("it is bound").port();
    let gateway = world::Config::new()
        .listeners(&[&format!("{{ name: public, address: '127.0.0.1:{port}' }}")])
        .agency("itself", &format!("http://127.0.0.1:{port}"))
        .simple("circle", "itself", 0)
        .start()
        .await;
    let mut caller = crate::support::client::connect_plain(gateway.address()).await;
    caller.send(get("/circle", &[])).await.expect("open");
    let answer = caller.answer().await;
    assert!(matches!(answer.status(), 500..=599), "{:?}", answer.head);
    let metrics = gateway.metrics_when("the circle", |m| m.sum("darvazeh_requests_total", &[]) >= 1.0).await;
    assert!(metrics.sum("darvazeh_requests_total", &[]) < 100.0, "{}", metrics.0);
}
