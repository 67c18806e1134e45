//! Endpoints in zones: the near one first, the others as it fails.

use std::sync::Arc;

use crate::moody::{Moody, QUICK, endpoint_when, over, said, said_once, until};
use crate::support::client::{connect, get, send};
use crate::support::gateway::{Gateway, directory};
use crate::support::verdict::assert_passed;

/// Two endpoints in zone `near`, one in zone `far`.
async fn agencies() -> ([Moody; 3], String) {
    let agencies = [Moody::well().await, Moody::well().await, Moody::well().await];
    let urls = agencies.each_ref().map(Moody::url);
    let mut yaml = over(&urls.each_ref().map(|url| &**url), QUICK).yaml();
    for (url, zone) in urls.iter().zip(["near", "near", "far"]) {
        yaml = yaml.replace(&format!("'{url}'"), &format!("{{ url: '{url}', zone: {zone} }}"));
    }
    (agencies, yaml)
}

async fn near_percent(gateway: &Gateway) -> serde_json::Value {
    gateway.admin("GET", "/agencies").await.json()["agencies"][0]["near"]["percent"].clone()
}

async fn ask(gateway: &Gateway, times: usize) {
    let mut caller = connect(gateway).await;
    for _ in 0..times {
        caller.send(get("/open", &[])).await.expect("open");
        assert_passed(&caller.answer().await);
    }
}

#[tokio::test]
async fn requests_stay_near_and_leave_as_endpoints_there_fail() {
    let ([one, two, far], yaml) = agencies().await;
    let gateway = Gateway::start(&format!("zone: near\n{yaml}")).await;
    ask(&gateway, 40).await;
    assert_eq!((one.requests(), two.requests(), far.requests()), (20, 20, 0));
    assert_eq!(near_percent(&gateway).await, 100);

    one.answers_checks(503);
    endpoint_when(&gateway, 0, "healthy", false).await;
    assert_eq!(near_percent(&gateway).await, 50);
    until("half of the requests elsewhere", async || {
        ask(&gateway, 20).await;
        far.requests() > 5 && two.requests() > 25
    })
    .await;
    said_once(&gateway, &["warn: agency registry: 50 % of the requests leave zone near"]).await;
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.sum("darvazeh_upstream_near_ratio", &["zone=\"near\""]), 0.5);
    assert_eq!(
        metrics.sum("darvazeh_upstream_spilled_total", &[&format!("endpoint=\"{}\"", far.url())]),
        far.requests() as f64
    );

    two.answers_checks(503);
    endpoint_when(&gateway, 1, "healthy", false).await;
    ask(&gateway, 10).await;
    one.answers_checks(200);
    two.answers_checks(200);
    said_once(&gateway, &["info: agency registry: all endpoints in zone near are used again"]).await;
    assert_eq!(near_percent(&gateway).await, 100);
    // Little by little: both are in slow start.
    let (of_one, of_two) = (one.requests(), two.requests());
    until("requests in the near zone", async || {
        ask(&gateway, 10).await;
        one.requests() > of_one && two.requests() > of_two
    })
    .await;
}

/// One file serves gateways in several zones.
#[tokio::test]
async fn the_environment_says_where_the_gateway_stands() {
    let ([_one, _two, far], yaml) = agencies().await;
    let dir = Arc::new(directory(&format!("zone: near\n{yaml}")));
    let gateway = Gateway::try_start_with(dir.clone(), &[("DARVAZEH_ZONE", "far")]).await.expect("it starts");
    ask(&gateway, 10).await;
    assert_eq!(far.requests(), 10);
    assert_eq!(said(&gateway, &["leave zone"]), 0);
    // A reload of the file leaves the environment alone.
    std::fs::write(gateway.config_file(), yaml.replace("  registry: {", "  registry: { team: another,")).unwrap();
    assert_eq!(gateway.admin("POST", "/reload").await.status(), 200);
    assert_passed(&send(&gateway, get("/open", &[])).await);
    assert_eq!(far.requests(), 11);
    let failed = Gateway::try_start_with(dir, &[("DARVAZEH_ZONE", "far away")]).await.err().expect("no such name");
    assert!(failed.stderr.contains("DARVAZEH_ZONE must be a name"), "{}", failed.stderr);
}
