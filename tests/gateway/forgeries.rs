//! Forged tokens: a flood of them from one address is put off before its signatures are verified, and those who share the
//! address are not locked out.

use crate::support::agency::Agency;
use crate::support::client::{connect, get, get_with, send};
use crate::support::gateway::Gateway;
use crate::support::token::token;
use crate::support::verdict::{assert_challenged, assert_passed, assert_refused};
use crate::support::wire::Message;
use crate::support::world::standard;

/// One a minute: the second is beyond it.
const LIMIT: &str = "limits: { bad_signatures_per_address: 1 }";

async fn place(agency: &Agency, keys: &str) -> Gateway {
    standard(&agency.url()).top("workers: 2").listener_with(keys).start().await
}

/// The address has nothing left.
async fn flood(gateway: &Gateway, fields: &[&str]) {
    let forged = || token(1).with_broken_signature();
    assert_challenged(&get_with(gateway, "/l1", &forged(), fields).await, 401, "token_invalid", "invalid_token");
    for _ in 0..20 {
        assert_put_off(&get_with(gateway, "/l1", &forged(), fields).await);
    }
}

#[track_caller]
fn assert_put_off(answer: &Message) {
    assert_refused(answer, 429, "rate_limited");
    let seconds: Option<u32> = answer.head.get("retry-after").and_then(|s| s.parse().ok());
    assert!(seconds.is_some_and(|s| (1..=60).contains(&s)), "{:?}", answer.head);
    assert!(!answer.head.has("www-authenticate"), "{:?}", answer.head);
}

#[tokio::test]
async fn a_flood_of_forged_tokens_is_put_off_before_its_signatures() {
    let agency = Agency::hello().await;
    let gateway = place(&agency, LIMIT).await;
    flood(&gateway, &[]).await;
    agency.assert_untouched();
    let metrics = gateway.metrics_when("21 decisions", |m| m.sum("darvazeh_auth_decisions_total", &[]) >= 21.0).await;
    let count = |outcome: &str| metrics.sum("darvazeh_token_signatures_total", &[&format!("outcome=\"{outcome}\"")]);
    assert_eq!((count("good"), count("bad"), count("put_off")), (0.0, 1.0, 20.0), "{}", metrics.0);
}

/// An office behind one address, in which somebody floods the gateway.
#[tokio::test]
async fn who_shares_the_address_of_a_flood_is_not_locked_out() {
    let agency = Agency::hello().await;
    let gateway = place(&agency, LIMIT).await;
    let known = token(1).sign();
    assert_passed(&get_with(&gateway, "/l1", &known, &[]).await);
    let mut office = connect(&gateway).await;
    office.send(get("/l1", &[&format!("Authorization: Bearer {known}")])).await.expect("open");
    assert_passed(&office.answer().await);
    flood(&gateway, &[]).await;
    for _ in 0..8 {
        // With whichever worker.
        assert_passed(&get_with(&gateway, "/l1", &known, &[]).await);
    }
    assert_passed(&send(&gateway, get("/open", &[])).await);
    assert_put_off(&get_with(&gateway, "/l1", &token(1).sign(), &[]).await);
    // A connection in good standing, until a forged token comes over it.
    let asking = |token: String| get("/l1", &[&format!("Authorization: Bearer {token}")]);
    office.send(asking(token(1).sign())).await.expect("open");
    assert_passed(&office.answer().await);
    office.send(asking(token(1).with_broken_signature())).await.expect("open");
    assert_challenged(&office.answer().await, 401, "token_invalid", "invalid_token");
    office.send(asking(token(1).sign())).await.expect("open");
    assert_put_off(&office.answer().await);
}

/// Behind a proxy that is trusted it is the caller's own address.
#[tokio::test]
async fn callers_behind_a_trusted_proxy_are_told_apart() {
    let agency = Agency::hello().await;
    let gateway = place(&agency, &format!("trusted_proxies: [127.0.0.0/8], {LIMIT}")).await;
    flood(&gateway, &["X-Forwarded-For: 192.0.2.1"]).await;
    assert_passed(&get_with(&gateway, "/l1", &token(1).sign(), &["X-Forwarded-For: 192.0.2.2"]).await);
}

/// A reload that leaves the limit alone gives nobody another try.
#[tokio::test]
async fn a_reload_forgets_nothing() {
    let agency = Agency::hello().await;
    let gateway = place(&agency, LIMIT).await;
    flood(&gateway, &[]).await;
    let answer = gateway.admin("POST", "/reload").await;
    assert_eq!(answer.json()["outcome"], "applied", "{}", answer.text());
    assert_put_off(&get_with(&gateway, "/l1", &token(1).with_broken_signature(), &[]).await);
}
