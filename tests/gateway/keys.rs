//! The SSO's keys over HTTPS: fetched, kept while it is away, fetched again when there is a reason (JB-10, DI-1).

use std::sync::OnceLock;

use crate::support::agency::Agency;
use crate::support::client::get_with;
use crate::support::gateway::{Gateway, Metrics, directory};
use crate::support::sso::{self, AUDIENCE, Key, keys};
use crate::support::sso_server::SsoServer;
use crate::support::token::{Token, token};
use crate::support::verdict::{assert_passed, assert_refused};
use crate::support::within;
use crate::support::world::{self, LEVELS, standard};

/// The key that the SSO changes to.
fn next_key() -> &'static Key {
    static KEY: OnceLock<Key> = OnceLock::new();
    KEY.get_or_init(|| Key::p256("next-1"))
}

fn by_uri(sso: &SsoServer) -> String {
    world::issuer("sso", &format!("jwks: {{ uri: {} }}, ca: certs/ca.pem", sso.jwks_uri()))
}

fn by_discovery(issuer: &str) -> String {
    format!("sso: {{ issuer: '{issuer}', audiences: [{AUDIENCE}], {LEVELS}, ca: certs/ca.pem }}")
}

async fn before(agency: &Agency, issuer: &str) -> Gateway {
    standard(&agency.url()).issuers(&[issuer]).start().await
}

/// Asks until the keys are there: they come in the background.
async fn passes(gateway: &Gateway, token: &Token) {
    let asked = async {
        while get_with(gateway, "/l1", &token.sign(), &[]).await.status() != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    within("a good token to pass", asked).await;
}

#[tokio::test]
async fn keys_come_from_a_uri() {
    let (agency, sso) = (Agency::hello().await, SsoServer::start().await);
    let gateway = before(&agency, &by_uri(&sso)).await;
    passes(&gateway, &token(1)).await;
    let refused = get_with(&gateway, "/l1", &token(1).with_broken_signature(), &[]).await;
    assert_refused(&refused, 401, "token_invalid");
}

#[tokio::test]
async fn keys_come_by_discovery() {
    let (agency, sso) = (Agency::hello().await, SsoServer::start().await);
    let gateway = before(&agency, &by_discovery(&sso.issuer())).await;
    passes(&gateway, &token(1).claim("iss", sso.issuer())).await;
}

/// DI-1: the well-known path is appended to an issuer's own path.
#[tokio::test]
async fn di1_discovery_of_an_issuer_with_a_path_appends_to_it() {
    let (agency, sso) = (Agency::hello().await, SsoServer::start().await);
    let issuer = format!("{}/realms/citizens", sso.issuer());
    sso.claim_to_be(&issuer);
    let gateway = before(&agency, &by_discovery(&issuer)).await;
    passes(&gateway, &token(1).claim("iss", issuer)).await;
    assert_eq!(sso.asked_for(), ["/realms/citizens/.well-known/openid-configuration", "/realms/citizens/jwks"]);
}

/// DI-1: metadata that speaks of another issuer is not used.
#[tokio::test]
async fn di1_discovery_of_another_issuer_is_not_believed() {
    let (agency, sso) = (Agency::hello().await, SsoServer::start().await);
    let issuer = sso.issuer();
    sso.claim_to_be(&format!("{issuer}/"));
    let gateway = before(&agency, &by_discovery(&issuer)).await;
    sso.discovered(1).await;
    let answer = get_with(&gateway, "/l1", &token(1).claim("iss", issuer).sign(), &[]).await;
    assert_refused(&answer, 503, "keys_unavailable");
}

/// Never obtained means never let through: 503 with Retry-After, and good again once the SSO is back.
#[tokio::test]
async fn without_keys_nobody_passes_until_they_come() {
    let agency = Agency::hello().await;
    let mut sso = SsoServer::gone().await;
    let gateway = before(&agency, &by_uri(&sso).replace("ca: certs/ca.pem", "ca: certs/ca.pem, refresh: 1s")).await;
    let answer = get_with(&gateway, "/l1", &token(1).sign(), &[]).await;
    assert_refused(&answer, 503, "keys_unavailable");
    assert!(answer.head.get("retry-after").is_some_and(|s| s.parse::<u32>().is_ok()), "{:?}", answer.head);
    assert!(!answer.head.has("www-authenticate"));
    // Who brings nothing needs no keys to be refused, and an open route needs none at all.
    assert_passed(&get_with(&gateway, "/open", "x", &[]).await);
    assert_eq!(agency.seen().len(), 1);
    sso.come_back().await;
    passes(&gateway, &token(1)).await;
    assert_eq!(gateway.admin("GET", "/readyz").await.status(), 200);
}

/// Keys that cannot be used are no keys.
#[tokio::test]
async fn a_key_set_without_usable_keys_is_no_key_set() {
    let agency = Agency::hello().await;
    for text in [
        "{\"keys\":[]}",
        "{\"keys\":[{\"kty\":\"oct\",\"k\":\"c2VjcmV0\",\"kid\":\"p256-1\"}]}",
        "not json",
        "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AAAA\",\"y\":\"AAAA\",\"kid\":\"p256-1\"}]}",
    ] {
        let sso = SsoServer::start().await;
        sso.publish_text(text);
        let gateway = before(&agency, &by_uri(&sso)).await;
        sso.fetched(1).await;
        let answer = get_with(&gateway, "/l1", &token(1).sign(), &[]).await;
        assert_refused(&answer, 503, "keys_unavailable");
    }
    agency.assert_untouched();
}

/// JB-10: 256 KiB is more than any key set needs.
#[tokio::test]
async fn jb10_a_huge_key_set_is_not_read() {
    let (agency, sso) = (Agency::hello().await, SsoServer::start().await);
    let set = sso::jwks_text();
    sso.publish_text(&format!("{{\"padding\":\"{}\",{}", "x".repeat(300_000), &set[1..]));
    let gateway = before(&agency, &by_uri(&sso)).await;
    sso.fetched(1).await;
    assert_refused(&get_with(&gateway, "/l1", &token(1).sign(), &[]).await, 503, "keys_unavailable");
}

/// JB-5: a key that is too weak is skipped, the others serve.
#[tokio::test]
async fn jb5_unusable_keys_are_skipped() {
    let (agency, sso) = (Agency::hello().await, SsoServer::start().await);
    let mut bad = keys().rsa.jwk();
    bad["n"] = serde_json::json!(sso::b64([0xff; 64]));
    let set = serde_json::json!({"keys": [bad, {"kty": "XX", "kid": "odd"}, keys().p256.jwk()]});
    sso.publish_text(&set.to_string());
    let gateway = before(&agency, &by_uri(&sso)).await;
    passes(&gateway, &token(1)).await;
    let answer = get_with(&gateway, "/l1", &token(1).by(&keys().rsa).sign(), &[]).await;
    assert_refused(&answer, 401, "token_invalid");
}

/// The last good keys survive a restart while the SSO is away.
#[tokio::test]
async fn keys_are_kept_over_a_restart() {
    let agency = Agency::hello().await;
    let mut sso = SsoServer::start().await;
    let gateway = before(&agency, &by_uri(&sso)).await;
    passes(&gateway, &token(1)).await;
    sso.go_away().await;
    assert_passed(&get_with(&gateway, "/l1", &token(1).sign(), &[]).await);
    let gateway = gateway.restart().await;
    assert_passed(&get_with(&gateway, "/l1", &token(1).sign(), &[]).await);
    assert_eq!(gateway.admin("GET", "/readyz").await.status(), 200);
}

/// For hours, as the gateway counts them: many refreshes. Whoever is signed in is served by the old process and by the next one,
/// whose health says so too; and one token of the new key brings it, and takes the old one away, tokens in caches included.
#[tokio::test]
async fn an_sso_that_comes_back_with_other_keys_was_missed_by_nobody() {
    let (agency, mut sso) = (Agency::hello().await, SsoServer::start().await);
    let mut gateway = before(&agency, &by_uri(&sso).replace("ca: certs/ca.pem", "ca: certs/ca.pem, refresh: 1s")).await;
    passes(&gateway, &token(1)).await;
    let cached = token(1).sign();
    sso.go_away().await;
    for _ in 0..2 {
        for refreshes in 1..=3 {
            let failed = ["issuer=\"sso\"", "outcome=\"failed\""];
            let missed = |m: &Metrics| m.sum("darvazeh_jwks_refresh_total", &failed) >= f64::from(refreshes);
            let metrics = gateway.metrics_when("a failed refresh", missed).await;
            assert_eq!(metrics.sum("darvazeh_jwks_on_kept_keys", &["issuer=\"sso\""]), 1.0);
            assert_passed(&get_with(&gateway, "/l1", &cached, &[]).await);
            assert_passed(&get_with(&gateway, "/l1", &token(1).sign(), &[]).await);
            assert_eq!(gateway.admin("GET", "/readyz").await.status(), 200);
        }
        gateway = gateway.restart().await;
    }
    sso.publish(&[next_key()]);
    sso.come_back().await;
    passes(&gateway, &token(1).by(next_key())).await;
    for old in [&cached, &token(1).sign()] {
        assert_refused(&get_with(&gateway, "/l1", old, &[]).await, 401, "token_invalid");
    }
    gateway.metrics_when("fresh keys", |m| m.sum("darvazeh_jwks_on_kept_keys", &["issuer=\"sso\""]) == 0.0).await;
}

/// An SSO that answers with errors is away, too.
#[tokio::test]
async fn an_sso_that_fails_does_not_take_the_keys_away() {
    let (agency, sso) = (Agency::hello().await, SsoServer::start().await);
    let gateway = before(&agency, &by_uri(&sso).replace("ca: certs/ca.pem", "ca: certs/ca.pem, refresh: 1s")).await;
    passes(&gateway, &token(1)).await;
    sso.answer_with(500);
    let so_far = sso.fetches();
    sso.fetched(so_far + 2).await;
    assert_passed(&get_with(&gateway, "/l1", &token(1).sign(), &[]).await);
    let failed = |m: &Metrics| {
        m.samples("darvazeh_jwks_refresh_total")
            .any(|(labels, n)| labels.contains("sso") && !labels.contains("ok") && n > 0.0)
    };
    gateway.metrics_when("a failed refresh", failed).await;
}

/// JB-10: an unknown `kid` is a reason to fetch, once for all who ask, and not again for a while.
#[tokio::test]
async fn jb10_an_unknown_kid_fetches_once() {
    let (agency, sso) = (Agency::hello().await, SsoServer::start().await);
    let gateway = before(&agency, &by_uri(&sso)).await;
    passes(&gateway, &token(1)).await;
    let so_far = sso.fetches();
    sso.publish(&[&keys().p256, next_key()]);
    passes(&gateway, &token(1).by(next_key())).await;
    assert_eq!(sso.fetches(), so_far + 1);
    for n in 0..20 {
        let answer = get_with(&gateway, "/l1", &token(1).header("kid", format!("made-up-{n}")).sign(), &[]).await;
        assert_refused(&answer, 401, "token_invalid");
    }
    assert_eq!(sso.fetches(), so_far + 1, "made-up names must not become the SSO's burden");
}

/// JB-10: a key that the SSO has withdrawn is not believed any more, cached tokens included.
#[tokio::test]
async fn jb10_a_withdrawn_key_is_forgotten() {
    let (agency, sso) = (Agency::hello().await, SsoServer::start().await);
    let gateway = before(&agency, &by_uri(&sso).replace("ca: certs/ca.pem", "ca: certs/ca.pem, refresh: 1s")).await;
    let cached = token(1).sign();
    passes(&gateway, &token(1)).await;
    assert_passed(&get_with(&gateway, "/l1", &cached, &[]).await);
    sso.publish(&[next_key()]);
    let withdrawn = async {
        while get_with(&gateway, "/l1", &cached, &[]).await.status() == 200 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    within("the withdrawn key to be forgotten", withdrawn).await;
    assert_refused(&get_with(&gateway, "/l1", &cached, &[]).await, 401, "token_invalid");
    assert_refused(&get_with(&gateway, "/l1", &token(1).sign(), &[]).await, 401, "token_invalid");
    assert_passed(&get_with(&gateway, "/l1", &token(1).by(next_key()).sign(), &[]).await);
}

/// Keys are fetched from an SSO whose certificate is good, and from no other.
#[tokio::test]
async fn keys_are_not_fetched_from_an_impostor() {
    let (agency, sso) = (Agency::hello().await, SsoServer::start().await);
    // The system's roots do not know the tests' CA.
    let issuer = world::issuer("sso", &format!("jwks: {{ uri: {} }}", sso.jwks_uri()));
    let gateway = before(&agency, &issuer).await;
    let failed = |m: &Metrics| m.sum("darvazeh_jwks_refresh_total", &["issuer=\"sso\""]) > 0.0;
    gateway.metrics_when("an attempt to fetch", failed).await;
    let answer = get_with(&gateway, "/l1", &token(1).sign(), &[]).await;
    assert_refused(&answer, 503, "keys_unavailable");
    assert_eq!(sso.fetches(), 0);
}

/// Contract section 5: key files are re-read when they change.
#[tokio::test]
async fn a_key_file_that_changes_is_read_again() {
    let agency = Agency::hello().await;
    let dir = directory(&standard(&agency.url()).yaml());
    let file = dir.path().join("certs/sso.jwks.json");
    let gateway = Gateway::start_in(dir).await;
    assert_passed(&get_with(&gateway, "/l1", &token(1).sign(), &[]).await);
    let next = token(1).by(next_key());
    assert_refused(&get_with(&gateway, "/l1", &next.sign(), &[]).await, 401, "token_invalid");
    let fresh = file.with_extension("new");
    std::fs::write(&fresh, sso::jwks_of(&[next_key()])).expect("our own directory");
    std::fs::rename(&fresh, &file).expect("our own directory");
    passes(&gateway, &next).await;
    assert_refused(&get_with(&gateway, "/l1", &token(1).sign(), &[]).await, 401, "token_invalid");
}
