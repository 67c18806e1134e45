//! What is known of an endpoint outlives a reload, unless the reload is about it.

use std::time::Duration;

use crate::moody::{Moody, QUICK, endpoint, endpoint_when, over, reloaded, said, said_once, until};
use crate::support::client::{connect, get, send};
use crate::support::verdict::{assert_passed, assert_refused};

#[tokio::test]
async fn an_ill_endpoint_stays_out_over_a_reload() {
    let agency = Moody::well().await;
    let gateway = over(&[&agency.url()], QUICK).start().await;
    agency.answers_checks(503);
    endpoint_when(&gateway, 0, "healthy", false).await;
    // Another route; then the agency itself, its endpoint with another weight.
    reloaded(&gateway, &over(&[&agency.url()], QUICK).simple("more", "registry", 0)).await;
    assert_refused(&send(&gateway, get("/more", &[])).await, 503, "no_healthy_endpoint");
    reloaded(&gateway, &over(&[&agency.url()], &format!("{QUICK}, team: another, identity: none"))).await;
    assert_refused(&send(&gateway, get("/open", &[])).await, 503, "no_healthy_endpoint");
    said_once(&gateway, &[&agency.url(), "unhealthy"]).await;
    agency.answers_checks(200);
    endpoint_when(&gateway, 0, "healthy", true).await;
}

#[tokio::test]
async fn changed_settings_count_at_once() {
    let agency = Moody::well().await;
    let gateway = over(&[&agency.url()], QUICK).start().await;
    agency.answers_checks(503);
    endpoint_when(&gateway, 0, "healthy", false).await;
    reloaded(&gateway, &over(&[&agency.url()], &QUICK.replace("/healthz", "/another"))).await;
    endpoint_when(&gateway, 0, "healthy", true).await;
    let asked = agency.checks().len();
    until("checks of the new path", async || agency.requests() > 5).await;
    assert_eq!(agency.checks().len(), asked, "the old path is not asked for any more");
}

#[tokio::test]
async fn without_checks_an_endpoint_is_taken_for_healthy() {
    let agency = Moody::well().await;
    let gateway = over(&[&agency.url()], QUICK).start().await;
    agency.answers_checks(503);
    endpoint_when(&gateway, 0, "healthy", false).await;
    reloaded(&gateway, &over(&[&agency.url()], "health: off")).await;
    assert_passed(&send(&gateway, get("/open", &[])).await);
    let asked = agency.checks().len();
    // That nothing comes is no event: ten intervals are waited for.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(agency.checks().len(), asked);
    said_once(&gateway, &[&agency.url(), "not checked any more"]).await;
}

#[tokio::test]
async fn an_agency_that_is_gone_is_not_asked_any_more() {
    let (gone, kept) = (Moody::well().await, Moody::well().await);
    let both = over(&[&kept.url()], QUICK).agency_at("gone", &[&gone.url()], QUICK).simple("gone", "gone", 0);
    let gateway = both.start().await;
    until("checks of both", async || gone.checks().len() > 2 && kept.checks().len() > 2).await;
    reloaded(&gateway, &over(&[&kept.url()], QUICK)).await;
    let asked = gone.checks().len();
    let of_kept = kept.checks().len();
    until("more checks of the other", async || kept.checks().len() > of_kept + 10).await;
    assert!(gone.checks().len() <= asked + 1, "one may have been on its way");
}

/// A file that is refused starts no checks and ends none.
#[tokio::test]
async fn a_refused_reload_changes_nothing() {
    let agency = Moody::well().await;
    let gateway = over(&[&agency.url()], QUICK).start().await;
    let bad = over(&[&agency.url()], &QUICK.replace("/healthz", "/another")).simple("x", "nobody", 0);
    crate::moody::replace(&gateway, &bad);
    assert_eq!(gateway.admin("POST", "/reload").await.status(), 422);
    let asked = agency.checks().len();
    until("checks as before", async || agency.checks().len() > asked + 5).await;
    assert_eq!(agency.requests(), 0);
}

#[tokio::test]
async fn an_ejected_endpoint_stays_out_over_a_reload_until_nothing_is_ejected() {
    let (ill, well) = (Moody::well().await, Moody::well().await);
    let urls = [&*ill.url(), &*well.url()];
    let keys = "balance: round_robin, outlier: { consecutive: 2, base: 1h, max: 1h }";
    let gateway = over(&urls, keys).start().await;
    ill.answers(500);
    until("an ejection", async || {
        send(&gateway, get("/open", &[])).await;
        endpoint(&gateway, 0).await["ejected"] == true
    })
    .await;
    ill.answers(200);
    let before = ill.requests();
    reloaded(&gateway, &over(&urls, &format!("{keys}, team: another"))).await;
    for _ in 0..10 {
        assert_passed(&send(&gateway, get("/open", &[])).await);
    }
    assert_eq!((endpoint(&gateway, 0).await["ejected"].clone(), ill.requests()), (true.into(), before));
    assert_eq!(said(&gateway, &["no longer ejected"]), 0);
    reloaded(&gateway, &over(&urls, "balance: round_robin, outlier: off")).await;
    let mut wire = connect(&gateway).await;
    for _ in 0..10 {
        wire.send(get("/open", &[])).await.expect("open");
        assert_passed(&wire.answer().await);
    }
    assert_eq!((endpoint(&gateway, 0).await["ejected"].clone(), ill.requests()), (false.into(), before + 5));
}
