//! A caller that is gone is not worked for: the agency learns of it.

use bytes::Bytes;

use crate::support::agency::ByHand;
use crate::support::client::{H2, connect, get, h2_get};
use crate::support::{within, world};

#[tokio::test]
async fn a_caller_that_leaves_before_the_answer_ends_the_upstream_request() {
    let agency = ByHand::start().await;
    let gateway = world::before(&agency.url()).await;
    let mut caller = connect(&gateway).await;
    caller.send(get("/open", &[])).await.expect("open");
    let (mut inside, _) = agency.request().await;
    caller.reset();
    assert!(inside.rest().await.is_empty());
}

#[tokio::test]
async fn a_caller_that_leaves_during_the_answer_ends_the_upstream_request() {
    let agency = ByHand::start().await;
    let gateway = world::before(&agency.url()).await;
    let mut caller = connect(&gateway).await;
    caller.send(get("/open", &[])).await.expect("open");
    let (mut inside, _) = agency.request().await;
    inside.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ndata\r\n").await.expect("open");
    caller.head().await.expect("the head");
    assert_eq!(caller.chunk().await.expect("the first chunk"), b"data");
    caller.reset();
    let noticed = async {
        while inside.send("4\r\nmore\r\n").await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    within("the agency's connection to end", noticed).await;
}

#[tokio::test]
async fn an_http2_stream_that_is_reset_ends_the_upstream_request() {
    let agency = ByHand::start().await;
    let gateway = world::before(&agency.url()).await;
    let h2 = H2::connect(&gateway).await;
    let mut sender = h2.send.clone().ready().await.expect("open");
    let request = h2_get("/open").method("POST").body(()).expect("good parts");
    let (answer, mut upload) = sender.send_request(request, false).expect("open");
    upload.send_data(Bytes::from_static(b"part"), false).expect("open");
    let mut inside = agency.accept().await;
    let head = inside.head().await.expect("the head");
    upload.send_reset(h2::Reason::CANCEL);
    drop(answer);
    assert!(!inside.body(head.request_framing()).await.complete);
    // The connection itself is well.
    let refused = h2.request(h2_get("/l1").body(()).expect("good parts"), b"").await;
    assert_eq!(refused.status, 401);
}

/// It is counted and logged all the same, once.
#[tokio::test]
async fn a_request_without_an_audience_is_logged_once() {
    let agency = ByHand::start().await;
    let gateway = world::before(&agency.url()).await;
    let mut caller = connect(&gateway).await;
    caller.send(get("/open", &[])).await.expect("open");
    let (mut inside, request) = agency.request().await;
    let id = request.head.get("x-request-id").expect("X-Request-Id").to_owned();
    caller.reset();
    inside.rest().await;
    let line = gateway.log_of(&id).await;
    assert_eq!(line["route"], "open");
    assert!(gateway.stop().await.success());
    let times = gateway.stdout.all().iter().filter(|line| line.contains(&id)).count();
    assert_eq!(times, 1);
}
