//! Endpoints that fail requests are left out for a while.

use crate::moody::{Moody, endpoint, endpoint_when, metric, over, said, said_once, until};
use crate::support::agency::{ByHand, ok};
use crate::support::client::{connect, get, post, send};
use crate::support::gateway::Gateway;
use crate::support::h2c::{H2Agency, Manner};
use crate::support::verdict::assert_passed;
use crate::support::websocket::opening;
use crate::support::wire::Wire;

/// How many of so many requests, one after the other, were not answered 200.
async fn failures_of(gateway: &Gateway, requests: usize) -> usize {
    let mut wire = connect(gateway).await;
    let mut failures = 0;
    for _ in 0..requests {
        wire.send(get("/open", &[])).await.expect("open");
        failures += usize::from(wire.answer().await.status() != 200);
    }
    failures
}

#[tokio::test]
async fn five_errors_in_a_row_are_all_that_callers_see() {
    let (ill, well) = (Moody::well().await, Moody::well().await);
    let gateway = over(&[&ill.url(), &well.url()], "balance: round_robin").start().await;
    assert_eq!(failures_of(&gateway, 10).await, 0);
    ill.answers(503);
    let before = ill.requests();
    assert_eq!(failures_of(&gateway, 40).await, 5);
    assert_eq!(ill.requests() - before, 5);
    let seen = endpoint(&gateway, 0).await;
    assert_eq!((&seen["healthy"], &seen["ejected"]), (&true.into(), &true.into()));
    assert_eq!(endpoint(&gateway, 1).await["ejected"], false);
    assert_eq!(metric(&gateway, "darvazeh_upstream_ejections_total", &ill.url()).await, 1.0);
    assert_eq!(metric(&gateway, "darvazeh_upstream_endpoint_healthy", &ill.url()).await, 0.0);
    said_once(&gateway, &["warn: agency registry endpoint", &ill.url(), "ejected for 10s (5 failures in a row)"]).await;
}

#[tokio::test]
async fn errors_with_good_answers_between_them_eject_nobody() {
    let (ill, well) = (Moody::well().await, Moody::well().await);
    let gateway = over(&[&ill.url(), &well.url()], "balance: round_robin").start().await;
    for _ in 0..4 {
        ill.answers(500);
        assert_eq!(failures_of(&gateway, 8).await, 4);
        ill.answers(404);
        failures_of(&gateway, 2).await;
    }
    ill.answers(501);
    assert_eq!(failures_of(&gateway, 40).await, 20, "501 is about the request");
    assert_eq!(said(&gateway, &["ejected"]), 0);
}

/// The retry hides the failures from callers; the ejection spares them the wait.
#[tokio::test]
async fn an_endpoint_that_is_not_there_is_soon_left_alone() {
    let (gone, well) = (ByHand::start().await.url(), Moody::well().await);
    let gateway = over(&[&gone, &well.url()], "balance: round_robin, retry: { attempts: 2 }").start().await;
    assert_eq!(failures_of(&gateway, 60).await, 0);
    let tried = gateway
        .metrics()
        .await
        .sum("darvazeh_upstream_connections_total", &[&format!("endpoint=\"{gone}\""), "outcome=\"failed\""]);
    assert_eq!(tried, 5.0);
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_is_ejected() {
    let (silent, well) = (ByHand::start().await, Moody::well().await);
    let keys = "balance: round_robin, retry: off, outlier: { consecutive: 2 }, timeouts: { response: 100ms }";
    let gateway = over(&[&silent.url(), &well.url()], keys).start().await;
    assert_eq!(failures_of(&gateway, 20).await, 2);
    endpoint_when(&gateway, 0, "ejected", true).await;
}

/// Answers what comes over a connection, until the test takes a request from it.
async fn fail(wire: &mut Wire, times: usize) {
    for _ in 0..times {
        wire.request().await.expect("a request");
        wire.send("HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n").await.expect("open");
    }
}

#[tokio::test]
async fn one_request_probes_and_the_others_stay_where_it_is_safe() {
    let (ill, well) = (ByHand::start().await, Moody::well().await);
    let keys = "balance: round_robin, retry: off, outlier: { consecutive: 2, base: 50ms }";
    let gateway = over(&[&ill.url(), &well.url()], keys).start().await;
    let mut caller = connect(&gateway).await;
    let asking = tokio::spawn(async move {
        let mut failures = 0;
        loop {
            caller.send(get("/open", &[])).await.expect("open");
            let answer = caller.answer().await;
            failures += usize::from(answer.status() != 200);
            if answer.text() == "well again" {
                return failures;
            }
        }
    });
    let mut inside = ill.accept().await;
    fail(&mut inside, 2).await;
    let probe = inside.request().await.expect("the probe");
    assert_eq!(probe.head.target(), "/open");
    assert_eq!(failures_of(&gateway, 20).await, 0);
    assert!(ill.is_untouched().await, "one request probes, and no other");
    inside.send(ok("well again")).await.expect("open");
    assert_eq!(asking.await.unwrap(), 2);
    endpoint_when(&gateway, 0, "ejected", false).await;
    said_once(&gateway, &["info", &ill.url(), "no longer ejected"]).await;
}

/// The log tells of the illness once, the metric counts on.
#[tokio::test]
async fn a_probe_that_fails_ejects_again() {
    let (ill, well) = (Moody::well().await, Moody::well().await);
    let keys = "balance: round_robin, outlier: { consecutive: 2, base: 10ms }";
    let gateway = over(&[&ill.url(), &well.url()], keys).start().await;
    ill.answers(500);
    until("some ejections", async || {
        failures_of(&gateway, 4).await;
        metric(&gateway, "darvazeh_upstream_ejections_total", &ill.url()).await >= 4.0
    })
    .await;
    assert!(ill.requests() <= 2 + 4, "two failures, and a probe for each ejection after: {}", ill.requests());
    said_once(&gateway, &[&ill.url(), "ejected for"]).await;
    ill.answers(200);
    until("a good probe", async || {
        failures_of(&gateway, 4).await;
        endpoint(&gateway, 0).await["ejected"] == false
    })
    .await;
}

/// When all fail it is hardly the endpoints: half of them go on, and callers get the agency's own answer.
#[tokio::test]
async fn no_more_than_half_are_ejected() {
    let agencies = [Moody::well().await, Moody::well().await, Moody::well().await];
    let urls = agencies.each_ref().map(Moody::url);
    let urls = urls.each_ref().map(|url| &**url);
    let gateway = over(&urls, "balance: round_robin").start().await;
    agencies.iter().for_each(|agency| agency.answers(503));
    assert_eq!(failures_of(&gateway, 60).await, 60);
    let mut ejected = 0;
    for at in 0..3 {
        ejected += usize::from(endpoint(&gateway, at).await["ejected"] == true);
    }
    assert_eq!(ejected, 1);
    let answer = send(&gateway, get("/open", &[])).await;
    assert_eq!((answer.status(), answer.head.get("x-gateway-error")), (503, None));
}

#[tokio::test]
async fn it_can_be_switched_off() {
    let (ill, well) = (Moody::well().await, Moody::well().await);
    let gateway = over(&[&ill.url(), &well.url()], "balance: round_robin, outlier: off").start().await;
    ill.answers(503);
    assert_eq!(failures_of(&gateway, 40).await, 20);
}

/// Callers who leave in the middle of an upload are not the agency's fault.
#[tokio::test]
async fn callers_who_break_off_eject_nobody() {
    let (a, b) = (Moody::well().await, Moody::well().await);
    let gateway = over(&[&a.url(), &b.url()], "balance: round_robin, outlier: { consecutive: 1 }").start().await;
    for _ in 0..6 {
        let mut caller = connect(&gateway).await;
        let whole = post("/open", &["Content-Type: text/plain"], &"x".repeat(1000));
        caller.send(&whole[..whole.len() - 500]).await.expect("open");
        caller.reset();
    }
    assert_passed(&send(&gateway, get("/open", &[])).await);
    for at in 0..2 {
        assert_eq!(endpoint(&gateway, at).await["ejected"], false);
    }
}

/// A few callers that announce a body and do not send it must not put an agency out of service.
#[tokio::test]
async fn callers_that_are_silent_eject_nobody() {
    let (one, two) = (Moody::well().await, Moody::well().await);
    let keys = "balance: round_robin, outlier: { consecutive: 2 }, timeouts: { response: 100ms }";
    let gateway = over(&[&one.url(), &two.url()], keys).start().await;
    for _ in 0..8 {
        let answer = send(&gateway, "POST /open HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n").await;
        assert_eq!(answer.status(), 408, "{:?}", answer.head);
    }
    assert_eq!(said(&gateway, &["ejected"]), 0);
    assert_eq!(failures_of(&gateway, 4).await, 0);
}

/// Nor can those that ask for what the agency's HTTP has no words for: a WebSocket, where only HTTP/2 without it is spoken.
#[tokio::test]
async fn requests_that_cannot_be_said_eject_nobody() {
    let (one, two) = (H2Agency::clear(Manner::Plain).await, H2Agency::clear(Manner::Plain).await);
    let keys = "balance: round_robin, outlier: { consecutive: 2 }";
    let gateway = over(&[&one.url(), &two.url()], keys).start().await;
    for _ in 0..8 {
        assert_eq!(send(&gateway, opening("/open", &[])).await.status(), 502);
    }
    assert_eq!(said(&gateway, &["ejected"]), 0);
    assert_eq!(failures_of(&gateway, 4).await, 0);
}
