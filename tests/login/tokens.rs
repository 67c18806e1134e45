//! How the gateway proves who it is, pushed requests, and the SSO's own tokens for agencies that take them.

use crate::browser::SCRIPT;
use crate::provider::Provider;
use crate::support::agency::Agency;
use crate::support::certs;
use crate::support::gateway::Metrics;
use crate::support::sso::unb64;
use crate::support::within;
use crate::world::{CLIENT, IN_COOKIES, SESSIONS, TEHRAN, World, at, config};

const KEYS: &str = "timeouts: { connect: 5s }";

/// RP-7: `private_key_jwt`, for the SSO that was asked and for a minute.
#[tokio::test]
async fn a_key_of_our_own_proves_who_we_are() {
    let client = "client: { id: gateway, key: { file: client.key }, key_id: k-1 }";
    let world = World::with(client, KEYS, Provider::start().await).await;
    world.logged_in(1).await;
    let (form, authorization) = world.sso.token_calls().remove(0);
    assert_eq!((authorization.as_str(), form["client_id"].as_str()), ("", "gateway"));
    assert_eq!(form["client_assertion_type"], "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    let parts: Vec<&str> = form["client_assertion"].split('.').collect();
    let json = |part: &str| serde_json::from_slice::<serde_json::Value>(&unb64(part)).unwrap();
    let (header, claims) = (json(parts[0]), json(parts[1]));
    assert_eq!((&header["alg"], &header["kid"]), (&"ES256".into(), &"k-1".into()));
    assert_eq!(
        (&claims["iss"], &claims["sub"], &claims["aud"]),
        (&"gateway".into(), &"gateway".into(), &world.sso.issuer().into())
    );
    assert!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap() <= 60 && claims["jti"].is_string());
}

/// RP-5, RFC 9126: pushed where the SSO offers it; in the browser stand the client and a reference alone.
#[tokio::test]
async fn a_request_is_pushed_where_that_is_offered() {
    let sso = Provider::start().await;
    sso.manner().par = true;
    let client = "client: { id: gateway, key: { file: client.key } }";
    let world = World::with(client, KEYS, sso).await;
    let mut browser = world.browser();
    let page = browser.send("GET", &at(TEHRAN, "/.gateway/login?to=/l1"), &["Accept: text/html"], "").await;
    let query = page.location().split_once('?').unwrap().1.to_owned();
    assert!(query.starts_with("client_id=gateway&request_uri=") && !query.contains("state"), "{query}");
    assert_eq!(browser.follow(page).await.status(), 200);
    assert_eq!(world.sso.asked()["code_challenge_method"], "S256");
}

/// `par: required` logs nobody in where the SSO does not offer it.
#[tokio::test]
async fn without_pushed_requests_there_is_no_login_where_they_are_required() {
    let client = "client: { id: gateway, secret: { file: secret }, par: required }";
    let world = World::with(client, KEYS, Provider::start().await).await;
    let page = world.browser().go(&at(TEHRAN, "/l1")).await;
    assert_eq!((page.status(), page.error()), (502, Some("login_invalid")));
}

/// RP-7, RFC 8705 section 2: the certificate is the proof.
#[tokio::test]
async fn a_certificate_proves_who_we_are() {
    let client = "jwks: { file: certs/sso.jwks.json }, client: { id: gateway, certificate: client-cert.pem, key: client-cert.key }";
    let world = World::with(client, KEYS, Provider::start_for(Some(certs::ca())).await).await;
    world.logged_in(1).await;
    assert!(world.sso.was_shown_a_certificate());
    assert_eq!(world.sso.token_calls()[0].0["client_id"], "gateway");
}

const TOKEN: &str = "identity: token, timeouts: { connect: 5s }";

/// Point 6: never the SSO's tokens, unless `identity: token`.
#[tokio::test]
async fn an_agency_that_takes_tokens_gets_the_access_token() {
    let world = World::with(CLIENT, TOKEN, Provider::start().await).await;
    world.logged_in(1).await;
    assert_eq!(world.agency.last().head.get("authorization"), Some("Bearer access-1"));
}

/// A hundred at the moment of expiry: one refresh, no failure.
#[tokio::test]
async fn many_requests_at_once_refresh_a_token_once() {
    let sso = Provider::start().await;
    {
        let mut manner = sso.manner();
        manner.refresh = true;
        // Ahead of time: below the minute at which a new one is asked for.
        manner.expires_in = 30;
    }
    let world = World::with(CLIENT, TOKEN, sso).await;
    let browser = world.logged_in(1).await;
    world.sso.manner().expires_in = 300;
    let session = browser.session_of(TEHRAN).unwrap();
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (mut one, session) = (world.browser(), session.clone());
        requests.spawn(async move {
            one.set_cookie(TEHRAN, "__Host-darvazeh", &session);
            one.fetch(&at(TEHRAN, "/l1")).await.status()
        });
    }
    while let Some(status) = requests.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }
    let refreshes = world.sso.token_calls().iter().filter(|(form, _)| form["grant_type"] == "refresh_token").count();
    // The login's own request asked once, for a token that is short-lived again; the hundred together once more at most.
    assert!((1..=2).contains(&refreshes), "{refreshes}");
}

/// The SSO is away while a token is still good: it is used to its end.
#[tokio::test]
async fn a_token_that_is_still_good_outlives_the_sso() {
    let sso = Provider::start().await;
    {
        let mut manner = sso.manner();
        manner.refresh = true;
        manner.expires_in = 50;
    }
    let world = World::with(CLIENT, TOKEN, sso).await;
    let mut browser = world.logged_in(1).await;
    world.sso.go_away();
    assert_eq!(browser.fetch(&at(TEHRAN, "/l1")).await.status(), 200);
}

/// What the SSO granted is what scopes are judged by.
#[tokio::test]
async fn a_granted_scope_opens_what_asks_for_it() {
    let sso = Provider::start().await;
    sso.manner().scope = Some("openid tax.read");
    let world = World::with(CLIENT, KEYS, sso).await;
    let mut browser = world.logged_in(1).await;
    assert_eq!(browser.fetch(&at(TEHRAN, "/scoped")).await.status(), 200);
}

/// A refresh token is used up when it was used: the new one reaches the browser whatever becomes of the request.
#[tokio::test]
async fn new_tokens_are_kept_also_when_the_request_fails() {
    let sso = Provider::start().await;
    {
        let mut manner = sso.manner();
        manner.refresh = true;
        manner.expires_in = 30;
    }
    let agency = Agency::start(|request| match request.head.target() {
        "/l1/broken" => "this is no HTTP\r\n\r\n".into(),
        _ => crate::support::agency::ok("hello"),
    });
    let agency = agency.await;
    let yaml = config(&sso, &agency, CLIENT, TOKEN).yaml().replace(SESSIONS, IN_COOKIES);
    let world = World::of(&yaml, agency, sso).await;
    let mut browser = world.logged_in(1).await;
    for (path, code) in [("/l1/broken", "upstream_broke"), ("/l3", "level_too_low"), ("/scoped", "scope_missing")] {
        let (before, refreshes) = (browser.session_of(TEHRAN), world.sso.token_calls().len());
        let page = browser.fetch(&at(TEHRAN, path)).await;
        assert_eq!((page.error(), world.sso.token_calls().len()), (Some(code), refreshes + 1));
        assert_ne!(browser.session_of(TEHRAN), before, "{code}");
    }
}

/// Who leaves in the middle of a refresh loses no login by it: the token that was used up is never shown again.
#[tokio::test]
async fn a_refresh_is_kept_when_its_caller_has_left() {
    let sso = Provider::start().await;
    {
        let mut manner = sso.manner();
        manner.refresh = true;
        manner.expires_in = 30;
    }
    let world = World::with(CLIENT, TOKEN, sso).await;
    let mut browser = world.logged_in(1).await;
    let refreshed = |m: &Metrics| m.sum("darvazeh_session_refreshes_total", &["outcome=\"ok\""]);
    let before = refreshed(&world.gateway.metrics().await);
    world.sso.manner().hangs = true;
    let wire = browser.open("GET", &at(TEHRAN, "/l1"), SCRIPT, "").await;
    let asked = async {
        while world.sso.hanging() == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    within("the SSO to be asked", asked).await;
    drop(wire);
    let left = |m: &Metrics| m.sum("darvazeh_in_flight", &["route=\"l1\""]) == 0.0;
    world.gateway.metrics_when("the caller has left", left).await;
    {
        let mut manner = world.sso.manner();
        manner.expires_in = 300;
        manner.hangs = false;
    }
    world.gateway.metrics_when("the refresh is done", |m| refreshed(m) == before + 1.0).await;
    assert_eq!(browser.fetch(&at(TEHRAN, "/l1")).await.status(), 200);
    let calls = world.sso.token_calls();
    let mut shown: Vec<_> = calls.iter().filter_map(|(form, _)| form.get("refresh_token")).collect();
    let all = shown.len();
    shown.sort();
    shown.dedup();
    assert_eq!(shown.len(), all, "each is used once");
}
