//! Endpoints that do worse than their siblings are left out, though they never fail often in a row.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::task::{JoinHandle, JoinSet};

use crate::moody::{Moody, endpoint, over, said_once};
use crate::support::agency::{Agency, ByHand, ok};
use crate::support::client::{connect, get};
use crate::support::gateway::Gateway;
use crate::support::within;

/// Answers every second request, and fails the others.
async fn flaky() -> Agency {
    let asked = AtomicU32::new(0);
    let reply = move |_: &_| match asked.fetch_add(1, Ordering::Relaxed) % 2 {
        0 => ok("ok"),
        _ => b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n".to_vec(),
    };
    Agency::start(reply).await
}

/// Answers well, after a while.
async fn slow(after: Duration) -> (String, JoinHandle<()>) {
    let door = ByHand::start().await;
    let url = door.url();
    let task = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let mut wire = door.accept().await;
            connections.spawn(async move {
                while wire.request().await.is_some() {
                    tokio::time::sleep(after).await;
                    if wire.send(ok("late")).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (url, task)
}

/// Asks until the first endpoint is ejected for this.
async fn ejected_for(gateway: &Gateway, reason: &str) {
    let mut caller = connect(gateway).await;
    within(&format!("an ejection for {reason}"), async {
        while endpoint(gateway, 0).await["ejected_for"] != reason {
            for _ in 0..12 {
                caller.send(get("/open", &[])).await.expect("open");
                caller.answer().await;
            }
        }
    })
    .await;
}

async fn ejections(gateway: &Gateway, reason: &str) -> f64 {
    gateway.metrics().await.sum("darvazeh_upstream_ejections_total", &[&format!("reason=\"{reason}\"")])
}

#[tokio::test]
async fn one_whose_requests_fail_more_often_is_ejected() {
    let (ill, well, other) = (flaky().await, Moody::well().await, Moody::well().await);
    let ill = format!("http://{}", ill.address);
    let keys = "balance: round_robin, outlier: { interval: 500ms, requests: 3, base: 1h, max: 1h }";
    let gateway = over(&[&ill, &well.url(), &other.url()], keys).start().await;
    assert!(endpoint(&gateway, 0).await["ejected_for"].is_null());
    ejected_for(&gateway, "error_rate").await;
    assert_eq!((ejections(&gateway, "error_rate").await, ejections(&gateway, "failures").await), (1.0, 0.0));
    said_once(&gateway, &["warn: agency registry endpoint", &ill, "of its requests fail, of its siblings' 0 %"]).await;
}

#[tokio::test]
async fn one_whose_answers_take_longer_is_ejected() {
    let (well, other) = (Moody::well().await, Moody::well().await);
    let (ill, _task) = slow(Duration::from_millis(500)).await;
    let keys = "balance: round_robin, outlier: { interval: 3s, requests: 2, base: 1h, max: 1h }";
    let gateway = over(&[&ill, &well.url(), &other.url()], keys).start().await;
    ejected_for(&gateway, "slow").await;
    assert_eq!(ejections(&gateway, "slow").await, 1.0);
    said_once(&gateway, &["warn: agency registry endpoint", &ill, "its answers take"]).await;
}
