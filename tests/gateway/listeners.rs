//! Listeners: with TLS and without, HTTP/1.1 and HTTP/2 by prior knowledge, and the `ready` line.

use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::support::agency::Agency;
use crate::support::client::{self, H2, get, send};
use crate::support::gateway::Gateway;
use crate::support::verdict::assert_passed;
use crate::support::world::standard;

async fn plain(agency: &Agency) -> Gateway {
    standard(&agency.url()).listeners(&["{ name: public, address: 127.0.0.1:0 }"]).start().await
}

#[tokio::test]
async fn a_plain_listener_takes_http1() {
    let agency = Agency::hello().await;
    let gateway = plain(&agency).await;
    let mut wire = client::connect_plain(gateway.address()).await;
    wire.send(get("/open", &[])).await.expect("open");
    assert_passed(&wire.answer().await);
    assert_eq!(agency.only().head.get("x-forwarded-proto"), Some("http"));
}

#[tokio::test]
async fn a_plain_listener_takes_h2c_by_prior_knowledge() {
    let agency = Agency::hello().await;
    let gateway = plain(&agency).await;
    let tcp = TcpStream::connect(gateway.address()).await.expect("it accepts");
    let h2 = H2::over(tcp).await;
    let request = http::Request::builder().uri("http://api.example.ir/open").body(()).expect("good parts");
    assert_eq!(h2.request(request, b"").await.status, 200);
    assert_eq!(agency.only().head.get("x-forwarded-host"), Some("api.example.ir"));
}

/// An upgrade to h2c is not taken: it is a request like others.
#[tokio::test]
async fn an_upgrade_to_h2c_is_ignored() {
    let agency = Agency::hello().await;
    let gateway = plain(&agency).await;
    let mut wire = client::connect_plain(gateway.address()).await;
    let fields = ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"];
    wire.send(get("/open", &fields)).await.expect("open");
    assert_passed(&wire.answer().await);
    let seen = agency.only().head;
    assert!(!seen.has("upgrade") && !seen.has("http2-settings"), "{seen:?}");
}

#[tokio::test]
async fn several_listeners_are_ready_at_once() {
    let agency = Agency::hello().await;
    let gateway = standard(&agency.url())
        .listeners(&[
            "{ name: one, address: 127.0.0.1:0 }",
            "{ name: two, address: 127.0.0.1:0 }",
            "{ name: six, address: '[::1]:0' }",
        ])
        .start()
        .await;
    for name in ["one", "two", "six"] {
        let mut wire = client::connect_plain(gateway.address_of(name)).await;
        wire.send(get("/open", &[])).await.expect("open");
        assert_passed(&wire.answer().await);
    }
    let ready = gateway.stderr.all().into_iter().find(|l| l.contains("ready listeners=")).expect("the ready line");
    assert!(
        ready.contains("one=127.0.0.1:") && ready.contains(",two=127.0.0.1:") && ready.contains(" admin=127.0.0.1:"),
        "{ready}"
    );
}

/// Many callers at once, on both workers, and every one gets its own answer.
#[tokio::test]
async fn many_callers_at_once_get_their_own_answers() {
    let agency = Agency::start(|request| crate::support::agency::ok(request.head.target())).await;
    let gateway = Arc::new(standard(&agency.url()).start().await);
    let mut callers = JoinSet::new();
    for n in 0..20 {
        let gateway = gateway.clone();
        callers.spawn(async move {
            for m in 0..5 {
                let path = format!("/open/{n}/{m}");
                assert_eq!(send(&gateway, get(&path, &[])).await.text(), path);
            }
        });
    }
    callers.join_all().await;
    assert_eq!(agency.seen().len(), 100);
}
