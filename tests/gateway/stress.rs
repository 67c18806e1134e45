//! Callers and agencies that do everything at once, badly: nothing panics, nothing leaks, and the good are served.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;

use crate::support::agency::{Agency, ok};
use crate::support::client::{H2, bearer, connect, get, h2_get, post, request, send};
use crate::support::gateway::{Gateway, Metrics};
use crate::support::token::token;
use crate::support::verdict::assert_passed;
use crate::support::websocket::opening;
use crate::support::world;

/// A small generator of numbers that differ (xorshift), the same in every run.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// Half of the answers are good; the others are cut or nonsense.
async fn moody() -> Agency {
    Agency::start(|request| match request.head.target().rsplit('/').next() {
        Some("cut") => b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\npart".to_vec(),
        Some("nonsense") => b"nonsense\r\n\r\n".to_vec(),
        Some("chunked") => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".to_vec(),
        Some("large") => ok(&"x".repeat(300_000)),
        _ => ok("hello"),
    })
    .await
}

/// One caller's mischief.
async fn mischief(gateway: &Gateway, dice: &mut Dice) {
    let targets = ["hello", "cut", "nonsense", "chunked", "large"];
    let path = format!("/open/{}", targets[dice.throw(5) as usize]);
    let mut wire = connect(gateway).await;
    match dice.throw(8) {
        0 => {
            let _ = wire.send(get(&path, &[])).await;
            wire.reset();
        }
        1 => {
            let text = post(&path, &[], &"y".repeat(1000));
            let _ = wire.send(&text[..dice.throw(text.len() as u64) as usize]).await;
            wire.reset();
        }
        2 => {
            let _ = wire.send(request("POST", &path, &["Transfer-Encoding: chunked"]) + "5\r\nhello\r\n").await;
            wire.close().await;
        }
        3 => {
            let _ = wire.send(opening(&path, &[])).await;
            let _ = wire.head().await;
            wire.reset();
        }
        4 => {
            let _ = wire.send(get("/l2", &[&bearer(&token(2).with_broken_signature())])).await;
            let _ = wire.try_answer_to("GET").await;
        }
        5 => {
            let _ = wire.send("\0\0garbage\r\n\r\n").await;
            let _ = wire.rest().await;
        }
        6 => {
            let h2 = H2::connect(gateway).await;
            if let Ok(mut sender) = h2.send.clone().ready().await {
                let asked = h2_get(&path).method("POST").body(()).expect("good parts");
                if let Ok((answer, mut upload)) = sender.send_request(asked, false) {
                    let _ = upload.send_data(Bytes::from_static(b"part"), false);
                    upload.send_reset(h2::Reason::CANCEL);
                    drop(answer);
                }
            }
            h2.driver.abort();
        }
        _ => {
            let _ = wire.send(get(&path, &[]).repeat(3)).await;
            let _ = wire.head().await;
        }
    }
}

#[tokio::test]
async fn after_much_mischief_nothing_is_left_over() {
    let agency = moody().await;
    let gateway = world::standard_with(&agency.url(), "timeouts: { response: 2s, idle: 500ms }").start().await;
    let gateway = Arc::new(gateway);
    let mut callers = JoinSet::new();
    for seed in 1..=16u64 {
        let gateway = gateway.clone();
        callers.spawn(async move {
            let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            for n in 0..12 {
                mischief(&gateway, &mut dice).await;
                if n % 4 == 0 {
                    assert_passed(&send(&gateway, get("/open/hello", &[])).await);
                }
            }
        });
    }
    callers.join_all().await;
    let none = |name: &'static str| move |m: &Metrics| m.sum(name, &[]) == 0.0;
    gateway.metrics_when("nothing in flight", none("darvazeh_in_flight")).await;
    gateway.metrics_when("no connection open", none("darvazeh_connections_open")).await;
    let agencies = async {
        loop {
            let agencies = gateway.admin("GET", "/agencies").await.json();
            if agencies["agencies"][0]["endpoints"][0]["in_flight"] == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    crate::support::within("nothing in flight at the agency", agencies).await;
    assert_passed(&send(&gateway, get("/open/hello", &[])).await);
    assert!(gateway.stop().await.success());
}
