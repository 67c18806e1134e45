//! Rates: by whom they are counted, and what is said when one is over.

use crate::support::agency::Agency;
use crate::support::client::{get, get_with, send};
use crate::support::gateway::Gateway;
use crate::support::token::{Token, token};
use crate::support::verdict::{assert_passed, assert_refused};
use crate::support::wire::Message;
use crate::support::world::standard;

/// A route `/rated` of this level, three requests an hour.
async fn rated(agency: &Agency, level: u8, by: &str, listener: &str) -> Gateway {
    standard(&agency.url())
        .listener_with(listener)
        .route(&format!(
            "name: rated, agency: registry, match: {{ prefix: /rated }}, require: {{ level: {level} }}, \
             limits: {{ rate: {{ requests: 3, per: 1h, by: {by} }} }}"
        ))
        .start()
        .await
}

const NO_PROXIES: &str = "trusted_proxies: []";

#[track_caller]
fn assert_limited(answer: &Message) {
    assert_refused(answer, 429, "rate_limited");
    let seconds: Option<u32> = answer.head.get("retry-after").and_then(|s| s.parse().ok());
    assert!(seconds.is_some_and(|s| (1..=3600).contains(&s)), "{:?}", answer.head);
}

/// Three pass, the fourth does not.
async fn spend(gateway: &Gateway, make: impl Fn() -> Token) {
    for _ in 0..3 {
        assert_passed(&get_with(gateway, "/rated", &make().sign(), &[]).await);
    }
    assert_limited(&get_with(gateway, "/rated", &make().sign(), &[]).await);
}

#[tokio::test]
async fn a_rate_by_subject_counts_each_person_apart() {
    let agency = Agency::hello().await;
    let gateway = rated(&agency, 1, "subject", NO_PROXIES).await;
    spend(&gateway, || token(1).subject("citizen-1").claim("client_id", "any")).await;
    spend(&gateway, || token(1).subject("citizen-2")).await;
    assert_eq!(agency.seen().len(), 6);
}

/// `client` is `azp`, else `client_id`.
#[tokio::test]
async fn a_rate_by_client_counts_each_application_apart() {
    let agency = Agency::hello().await;
    let gateway = rated(&agency, 1, "client", NO_PROXIES).await;
    spend(&gateway, || token(1).claim("client_id", "portal")).await;
    spend(&gateway, || token(1).claim("client_id", "portal").claim("azp", "mobile")).await;
}

#[tokio::test]
async fn a_rate_by_address_counts_the_clients_address() {
    let agency = Agency::hello().await;
    let gateway = rated(&agency, 0, "address", "trusted_proxies: [127.0.0.0/8]").await;
    for address in ["203.0.113.7", "203.0.113.8"] {
        let field = format!("X-Forwarded-For: {address}");
        for _ in 0..3 {
            assert_passed(&send(&gateway, get("/rated", &[&field])).await);
        }
        assert_limited(&send(&gateway, get("/rated", &[&field])).await);
    }
}

/// FW: the client is the right-most address that is not trusted; what stands left of it is hearsay.
#[tokio::test]
async fn fw_the_client_is_the_right_most_address_that_is_not_trusted() {
    let agency = Agency::hello().await;
    let gateway = rated(&agency, 0, "address", "trusted_proxies: [127.0.0.0/8, 10.0.0.0/8]").await;
    for lies in ["1.1.1.1, ", "2.2.2.2, 3.3.3.3, ", ""] {
        let field = format!("X-Forwarded-For: {lies}203.0.113.7, 10.1.2.3");
        assert_passed(&send(&gateway, get("/rated", &[&field])).await);
    }
    assert_limited(&send(&gateway, get("/rated", &["X-Forwarded-For: 203.0.113.7"])).await);
    assert_passed(&send(&gateway, get("/rated", &["X-Forwarded-For: 203.0.113.7, 203.0.113.8, 10.1.2.3"])).await);
}

/// A stranger cannot choose whom it is counted as.
#[tokio::test]
async fn a_stranger_cannot_choose_its_address() {
    let agency = Agency::hello().await;
    let gateway = rated(&agency, 0, "address", NO_PROXIES).await;
    for n in 0..3 {
        assert_passed(&send(&gateway, get("/rated", &[&format!("X-Forwarded-For: 203.0.113.{n}")])).await);
    }
    assert_limited(&send(&gateway, get("/rated", &["X-Forwarded-For: 203.0.113.9"])).await);
}

#[tokio::test]
async fn a_rate_by_route_counts_everybody() {
    let agency = Agency::hello().await;
    let gateway = rated(&agency, 1, "route", NO_PROXIES).await;
    for n in 0..3 {
        assert_passed(&get_with(&gateway, "/rated", &token(1).subject(&format!("citizen-{n}")).sign(), &[]).await);
    }
    assert_limited(&get_with(&gateway, "/rated", &token(1).subject("another").sign(), &[]).await);
    // Other routes are not concerned.
    assert_passed(&get_with(&gateway, "/l1", &token(1).sign(), &[]).await);
}

/// BE-8: whoever may not come in does not use up anybody's rate.
#[tokio::test]
async fn be8_a_refused_caller_does_not_spend_a_persons_rate() {
    let agency = Agency::hello().await;
    let gateway = rated(&agency, 2, "subject", NO_PROXIES).await;
    for _ in 0..5 {
        let low = token(1).subject("citizen-1").sign();
        assert_refused(&get_with(&gateway, "/rated", &low, &[]).await, 401, "level_too_low");
        let forged = token(2).subject("citizen-1").with_broken_signature();
        assert_refused(&get_with(&gateway, "/rated", &forged, &[]).await, 401, "token_invalid");
    }
    spend(&gateway, || token(2).subject("citizen-1")).await;
}

/// Contract section 5, "Refusals": a rate comes after the credentials. Strangers cannot use up what a route has for its
/// callers, and are told what they lack, not to come back later.
#[tokio::test]
async fn be8_strangers_do_not_spend_a_routes_rate() {
    let agency = Agency::hello().await;
    for by in ["route", "address"] {
        let gateway = rated(&agency, 1, by, NO_PROXIES).await;
        for _ in 0..5 {
            assert_refused(&send(&gateway, get("/rated", &[])).await, 401, "token_missing");
            let forged = token(1).with_broken_signature();
            assert_refused(&get_with(&gateway, "/rated", &forged, &[]).await, 401, "token_invalid");
        }
        spend(&gateway, || token(1)).await;
    }
}

/// RL: what is left is told with every answer of such a route, and what the agency says of its own stands beside it.
#[tokio::test]
async fn the_budget_is_told_with_every_answer() {
    let own = "HTTP/1.1 200 OK\r\nRateLimit: \"own\";r=7\r\nContent-Length: 0\r\n\r\n";
    let agency = Agency::start(move |_| own.as_bytes().to_vec()).await;
    let gateway = rated(&agency, 0, "address", NO_PROXIES).await;
    let request = get("/rated", &[]);
    for left in [2, 1, 0] {
        let answer = send(&gateway, &request).await;
        assert_eq!(answer.head.all("ratelimit-policy"), ["\"gateway\";q=3;w=3600"]);
        let budget = answer.head.all("ratelimit");
        assert_eq!(budget[0], "\"own\";r=7");
        let (remaining, reset) = budget[1].split_once(";t=").unwrap();
        assert_eq!(remaining, format!("\"gateway\";r={left}"));
        assert!((1..=3600).contains(&reset.parse::<u32>().unwrap()), "{reset}");
    }
    let answer = send(&gateway, &request).await;
    assert_limited(&answer);
    let wait = answer.head.get("retry-after").unwrap();
    assert_eq!(answer.head.all("ratelimit"), [format!("\"gateway\";r=0;t={wait}")]);
    assert!(!send(&gateway, get("/open", &[])).await.head.has("ratelimit-policy"), "a route without a rate");
}
