//! Connections to agencies are used again, whichever worker a request falls on.

use std::sync::Arc;

use crate::moody::{over, until};
use crate::support::agency::Agency;
use crate::support::certs;
use crate::support::client::{get, send};
use crate::support::gateway::{Gateway, directory};
use crate::support::verdict::assert_passed;

async fn of_agency(gateway: &Gateway, at: usize, key: &str) -> u64 {
    let agencies = gateway.admin("GET", "/agencies").await.json();
    agencies["agencies"][at]["endpoints"][0][key].as_u64().expect("a number")
}

/// Callers' connections fall on workers by chance: of eight, the same one four times in a row hardly ever.
#[tokio::test]
async fn an_idle_connection_is_found_by_other_workers() {
    let (plain, tls) = (Agency::hello().await, Agency::tls(certs::server(), None).await);
    let config = over(&[&format!("http://{}", plain.address)], "health: off")
        .agency_at("tls", &[&tls.url()], "health: off, tls: { ca: certs/ca.pem }")
        .simple("tls", "tls", 0);
    let dir = Arc::new(directory(&config.yaml()));
    let gateway = Gateway::try_start_with(dir, &[("DARVAZEH_WORKERS", "8")]).await.expect("it starts");
    for _ in 0..4 {
        for path in ["/open", "/tls"] {
            assert_passed(&send(&gateway, get(path, &[])).await);
        }
        for at in 0..2 {
            until("an idle connection that all may take", async || of_agency(&gateway, at, "shared").await == 1).await;
        }
    }
    for at in 0..2 {
        assert_eq!((of_agency(&gateway, at, "opened").await, of_agency(&gateway, at, "reused").await), (1, 3));
    }
}

/// What the agency closed while nobody looked is not given a request.
#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_is_left() {
    let agency = crate::support::agency::ByHand::start().await;
    let dir = Arc::new(directory(&over(&[&agency.url()], "health: off, retry: off").yaml()));
    let gateway = Gateway::try_start_with(dir, &[("DARVAZEH_WORKERS", "8")]).await.expect("it starts");
    for _ in 0..2 {
        let (answer, ()) = tokio::join!(send(&gateway, get("/open", &[])), async {
            let (mut wire, _) = agency.request().await;
            wire.send(crate::support::agency::ok("once")).await.expect("open");
            until("an idle connection that all may take", async || of_agency(&gateway, 0, "shared").await == 1).await;
            drop(wire);
        });
        assert_passed(&answer);
    }
    assert_eq!(of_agency(&gateway, 0, "opened").await, 2);
}
