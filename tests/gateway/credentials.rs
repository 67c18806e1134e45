//! How a token is brought: in one Authorization header, and in no other way (RFC 6750).

use crate::support::agency::Agency;
use crate::support::client::{self, H2, bearer, connect, get, get_with, h2_get, send};
use crate::support::token::token;
use crate::support::verdict::{assert_challenged, assert_passed, assert_refused};
use crate::support::world;

/// BE-1: who brings nothing is told the scheme and the realm, and no error.
#[tokio::test]
async fn be1_without_credentials_the_challenge_names_no_error() {
    let agency = Agency::hello().await;
    let gateway = world::before(&agency.url()).await;
    let answer = send(&gateway, get("/l1", &[])).await;
    assert_refused(&answer, 401, "token_missing");
    assert_eq!(answer.head.get("www-authenticate"), Some("Bearer realm=\"public\""));
    agency.assert_untouched();
}

/// Contract section 5: another scheme is as good as none.
#[tokio::test]
async fn be1_another_scheme_is_no_token() {
    let agency = Agency::hello().await;
    let gateway = world::before(&agency.url()).await;
    for value in ["Basic dXNlcjpwYXNz", "Digest username=\"x\"", "Bearerx abc", "DPoP abc", "Negotiate"] {
        let answer = send(&gateway, get("/l1", &[&format!("Authorization: {value}")])).await;
        assert_refused(&answer, 401, "token_missing");
        assert_eq!(answer.head.get("www-authenticate"), Some("Bearer realm=\"public\""), "{value}");
    }
    agency.assert_untouched();
}

/// BE-2, BE-5
#[tokio::test]
async fn be2_broken_syntax_is_a_bad_request() {
    let agency = Agency::hello().await;
    let gateway = world::before(&agency.url()).await;
    let good = token(1).sign();
    let values = [
        "",
        "Bearer",
        "Bearer ",
        "Bearer a b",
        "Bearer a,b",
        "Bearer \"abc\"",
        "Bearer abc=d",
        "Bearer ü",
        "Bearer a;b",
    ];
    let comma = format!("Bearer {good}, Bearer {good}");
    for value in values.into_iter().chain([comma.as_str()]) {
        let answer = send(&gateway, get("/l1", &[&format!("Authorization: {value}")])).await;
        assert_eq!(answer.status(), 400, "{value:?}: {:?}", answer.head);
        assert_challenged(&answer, 400, "credentials_malformed", "invalid_request");
    }
    agency.assert_untouched();
}

/// BE-2: two headers are one too many, even when they are the same.
#[tokio::test]
async fn be2_two_authorization_headers_are_a_bad_request() {
    let agency = Agency::hello().await;
    let gateway = world::before(&agency.url()).await;
    let one = bearer(&token(1).sign());
    for other in [one.as_str(), "Authorization: Basic dXNlcjpwYXNz", "Authorization:"] {
        let answer = send(&gateway, get("/l1", &[&one, other])).await;
        assert_challenged(&answer, 400, "credentials_malformed", "invalid_request");
    }
    agency.assert_untouched();
}

/// BE-5
#[tokio::test]
async fn be5_the_scheme_is_compared_without_case() {
    let agency = Agency::hello().await;
    let gateway = world::before(&agency.url()).await;
    for scheme in ["bearer", "BEARER", "bEaReR"] {
        let field = format!("authorization: {scheme} {}", token(1).sign());
        assert_passed(&send(&gateway, get("/l1", &[&field])).await);
    }
}

/// BE-6: a token in the query string is refused, whether or not there is one in the header too.
#[tokio::test]
async fn be6_a_token_in_the_query_is_a_bad_request() {
    let agency = Agency::hello().await;
    let gateway = world::before(&agency.url()).await;
    let good = token(1).sign();
    for query in [format!("access_token={good}"), format!("a=b&access_token={good}"), "access_token=".to_owned()] {
        let path = format!("/l1?{query}");
        let alone = send(&gateway, get(&path, &[])).await;
        assert_challenged(&alone, 400, "credentials_malformed", "invalid_request");
        let both = get_with(&gateway, &path, &good, &[]).await;
        assert_challenged(&both, 400, "credentials_malformed", "invalid_request");
    }
    let escaped = get_with(&gateway, "/l1?%61ccess_token=x", &good, &[]).await;
    assert_challenged(&escaped, 400, "credentials_malformed", "invalid_request");
    agency.assert_untouched();
    let other = get_with(&gateway, "/l1?my_access_token=x&access_tokens=y&q=access_token", &good, &[]).await;
    assert_passed(&other);
}

/// BE-6: nor from a form.
#[tokio::test]
async fn be6_a_token_in_a_form_is_no_token() {
    let agency = Agency::hello().await;
    let gateway = world::before(&agency.url()).await;
    let form = format!("access_token={}", token(1).sign());
    let request = client::post("/l1", &["Content-Type: application/x-www-form-urlencoded"], &form);
    assert_refused(&send(&gateway, request).await, 401, "token_missing");
    agency.assert_untouched();
}

/// Each request of a connection is judged by itself.
#[tokio::test]
async fn a_connection_does_not_remember_who_asked_before() {
    let agency = Agency::hello().await;
    let gateway = world::before(&agency.url()).await;
    let mut wire = connect(&gateway).await;
    wire.send(get("/l2", &[&bearer(&token(2).sign())])).await.expect("open");
    assert_passed(&wire.answer().await);
    wire.send(get("/l2", &[])).await.expect("open");
    assert_refused(&wire.answer().await, 401, "token_missing");
    wire.send(get("/l2", &[&bearer(&token(1).sign())])).await.expect("open");
    assert_refused(&wire.answer().await, 401, "level_too_low");
    wire.send(get("/l2", &[&bearer(&token(2).sign())])).await.expect("still open");
    assert_passed(&wire.answer().await);
    assert_eq!(agency.seen().len(), 2);
}

/// `realm` is the listener's name.
#[tokio::test]
async fn the_realm_is_the_listeners_name() {
    let agency = Agency::hello().await;
    let two = [
        format!("{{ name: public, address: 127.0.0.1:0, {} }}", world::TLS),
        "{ name: inside, address: 127.0.0.1:0 }".to_owned(),
    ];
    let gateway = world::standard(&agency.url()).listeners(&[&two[0], &two[1]]).start().await;
    let mut wire = client::connect_plain(gateway.address_of("inside")).await;
    wire.send(get("/l1", &[])).await.expect("open");
    assert_eq!(wire.answer().await.head.get("www-authenticate"), Some("Bearer realm=\"inside\""));
}

/// BE-2 over HTTP/2.
#[tokio::test]
async fn be2_two_authorization_fields_over_http2_are_a_bad_request() {
    let agency = Agency::hello().await;
    let gateway = world::before(&agency.url()).await;
    let h2 = H2::connect(&gateway).await;
    let value = format!("Bearer {}", token(1).sign());
    let request = h2_get("/l1").header("authorization", &value).header("authorization", &value);
    let answer = h2.request(request.body(()).expect("good parts"), b"").await;
    assert_challenged(&answer.message(), 400, "credentials_malformed", "invalid_request");
    agency.assert_untouched();
    let answer = h2.request(h2_get("/l1").header("authorization", value).body(()).expect("good parts"), b"").await;
    assert_eq!(answer.status, 200);
}

/// On level 0 nothing is looked at, however odd.
#[tokio::test]
async fn an_open_route_does_not_mind_odd_credentials() {
    let agency = Agency::hello().await;
    let gateway = world::before(&agency.url()).await;
    let odd = ["Authorization: Bearer a", "Authorization: Bearer b", "Authorization:"];
    assert_passed(&send(&gateway, get("/open?access_token=x", &odd)).await);
    assert!(!agency.only().head.has("authorization"));
}
