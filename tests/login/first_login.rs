//! From nobody to somebody: the redirect, the answer, and back where they were.

use crate::browser::NAVIGATION;
use crate::provider::Provider;
use crate::support::agency::Agency;
use crate::world::{CLIENT, IN_COOKIES, SESSIONS, TAMIN, TEHRAN, World, assertion, at, config};

/// RP-1, SU-6, BF-1, BF-2: code flow with PKCE, state and nonce, and back with query and fragment.
#[tokio::test]
async fn a_citizen_logs_in_and_is_back_where_they_were() {
    let world = World::start().await;
    let mut browser = world.browser();
    let page = browser.go(&at(TEHRAN, "/l2/a?b=c&d=%20#part-3")).await;
    assert_eq!((page.status(), &*page.text()), (200, "hello"), "{:?}", browser.went);
    assert_eq!(browser.went.last().unwrap(), &at(TEHRAN, "/l2/a?b=c&d=%20#part-3"));
    let asked = world.sso.asked();
    assert_eq!(asked["response_type"], "code");
    assert_eq!(asked["code_challenge_method"], "S256");
    assert_eq!(asked["redirect_uri"], at(TEHRAN, "/.gateway/callback"));
    assert_eq!(asked["acr_values"], "urn:example:level:2 urn:example:level:3", "AS-10");
    assert_eq!((asked["scope"].as_str(), asked["ui_locales"].as_str()), ("openid", "en fa"));
    assert!(asked["nonce"].len() >= 22 && asked["state"].len() >= 22 && asked["nonce"] != asked["state"]);
    // RP-7: the secret is form-encoded before it is base64.
    assert_eq!(world.sso.token_calls()[0].1, "Basic Z2F0ZXdheTpzM2NyZXQlM0ElMkI=");
    assert_eq!(world.logins("silent").await, 1.0);
}

/// Point 6: the agency is told level and pairwise subject and what is released, and gets neither token nor cookie (BF-6).
#[tokio::test]
async fn the_agency_is_told_who_and_gets_no_cookie_of_ours() {
    let world = World::start().await;
    let mut browser = world.browser();
    browser.set_cookie(TEHRAN, "theirs", "1");
    browser.go(&at(TEHRAN, "/l2")).await;
    let claims = assertion(&world.agency);
    assert_eq!((claims["level"].as_u64(), claims["acr"].as_str()), (Some(2), Some("urn:example:level:2")));
    assert_eq!(claims["claims"], serde_json::json!({"province": "Yazd"}));
    let seen = world.agency.last();
    assert_eq!(seen.head.get("cookie"), Some("theirs=1"));
    assert!(!seen.head.has("authorization"));
    assert!(!String::from_utf8_lossy(&seen.head.raw).contains("citizen-1"), "PV-1");
    let output = world.gateway.output();
    for secret in ["citizen-1", "access-1", "Sara", &browser.session_of(TEHRAN).unwrap()] {
        assert!(!output.contains(secret), "PV-4: {secret}");
    }
}

/// BF-6 holds whatever the session's cookie is called: no agency reads it, and none plants it.
#[tokio::test]
async fn a_cookie_of_another_name_is_kept_from_agencies_too() {
    const PLANTS: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nSet-Cookie: __Host-portal=planted; Path=/; Secure\r\n\
        Set-Cookie: =__Host-portal=planted; Path=/\r\nSet-Cookie: =__Host-darvazeh-login-a=planted\r\n\
        Set-Cookie: theirs=2; Path=/\r\n\r\nhello";
    let (sso, agency) = (Provider::start().await, Agency::start(|_| PLANTS.into()).await);
    let yaml = config(&sso, &agency, CLIENT, "timeouts: { connect: 5s }").yaml();
    let yaml = yaml.replace(SESSIONS, "sessions: { grace: 0s, cookie: __Host-portal }");
    let world = World::of(&yaml, agency, sso).await;
    let mut browser = world.browser();
    browser.set_cookie(TEHRAN, "theirs", "1");
    let page = browser.go(&at(TEHRAN, "/l2")).await;
    assert_eq!((page.status(), &*page.text()), (200, "hello"));
    assert_eq!(world.agency.last().head.get("cookie"), Some("theirs=1"));
    assert_eq!(page.answer.head.all("set-cookie"), ["theirs=2; Path=/"]);
    for open in ["/open", "/l2"] {
        assert_eq!(browser.fetch(&at(TEHRAN, open)).await.status(), 200);
        assert_eq!(world.agency.last().head.get("cookie"), Some("theirs=2"), "{open}");
    }
}

/// Point 4: silent at the second portal, by `prompt=none`; cookies are host-only.
#[tokio::test]
async fn the_second_portal_asks_nobody_anything() {
    let world = World::start().await;
    let mut browser = world.logged_in(2).await;
    let page = browser.go(&at(TAMIN, "/l2/x")).await;
    assert_eq!((page.status(), page.url.as_str()), (200, at(TAMIN, "/l2/x").as_str()));
    assert_eq!(world.sso.asked()["prompt"], "none");
    assert_ne!(browser.session_of(TEHRAN), browser.session_of(TAMIN));
    assert_eq!(world.logins("silent").await, 2.0);
}

/// Point 4: where silence does not do, the SSO may ask, and there is no loop.
#[tokio::test]
async fn who_is_logged_in_nowhere_is_asked() {
    let world = World::start().await;
    world.sso.manner().person = None;
    let mut browser = world.browser();
    let page = browser.go(&at(TEHRAN, "/l1?q#f")).await;
    assert_eq!((page.status(), &*page.text()), (200, "hello"));
    assert_eq!(browser.went.last().unwrap(), &at(TEHRAN, "/l1?q#f"), "the fragment outlives the second try");
    let prompts: Vec<_> = world.sso.authorizations().iter().map(|a| a.get("prompt").cloned()).collect();
    assert_eq!(prompts, [Some("none".to_owned()), None]);
    assert_eq!(world.logins("ok").await, 1.0);
}

/// Two tabs at once: each has its own attempt, and both come back.
#[tokio::test]
async fn two_tabs_log_in_at_once() {
    let world = World::start().await;
    let mut browser = world.browser();
    let one = browser.send("GET", &at(TEHRAN, "/.gateway/login?to=/l1/one"), &["Accept: text/html"], "").await;
    let two = browser.send("GET", &at(TEHRAN, "/.gateway/login?to=/l1/two"), &["Accept: text/html"], "").await;
    let two = browser.follow(two).await;
    let one = browser.follow(one).await;
    assert_eq!((one.status(), one.url), (200, at(TEHRAN, "/l1/one")));
    assert_eq!((two.status(), two.url), (200, at(TEHRAN, "/l1/two")));
    assert_eq!(browser.cookies_of(TEHRAN).len(), 1, "nothing is left of the attempts");
}

/// The issue: bearer and anonymous routes never touch sessions, and `either` takes both.
#[tokio::test]
async fn a_token_still_opens_what_takes_either() {
    let world = World::start().await;
    let mut browser = world.browser();
    let page = browser.send("GET", &at(TEHRAN, "/open"), NAVIGATION, "").await;
    assert_eq!(page.status(), 200);
    let token = crate::support::token::token(1).claim("iss", world.sso.issuer()).claim("aud", "api").sign();
    let bearer = format!("Authorization: Bearer {token}");
    assert_eq!(browser.send("GET", &at(TEHRAN, "/either"), &[&bearer], "").await.status(), 200);
    let page = browser.send("GET", &at(TEHRAN, "/l1"), &[&bearer, "Accept: */*"], "").await;
    assert_eq!((page.status(), page.error()), (401, Some("login_required")));
}

/// Point 9: nothing of a session route is kept by the browser, and what an agency says more strictly stands.
#[tokio::test]
async fn what_a_session_was_shown_is_not_kept() {
    let world = World::start().await;
    let mut browser = world.logged_in(1).await;
    let page = browser.fetch(&at(TEHRAN, "/l1")).await;
    assert!(page.answer.head.get("cache-control").unwrap().contains("no-store"));
}

/// A session that stands needs no SSO.
#[tokio::test]
async fn the_sso_being_away_ends_no_session() {
    let world = World::start().await;
    let mut browser = world.logged_in(2).await;
    world.sso.go_away();
    assert_eq!(browser.fetch(&at(TEHRAN, "/l2")).await.status(), 200);
}

/// Stateless fleets: the session is in the browser, sealed; another gateway with the same keys goes on with it.
#[tokio::test]
async fn a_session_in_cookies_opens_another_gateway_with_the_same_key() {
    let (sso, agency) = (Provider::start().await, Agency::hello().await);
    let yaml = config(&sso, &agency, CLIENT, "timeouts: { connect: 5s }").yaml().replace(SESSIONS, IN_COOKIES);
    let world = World::of(&yaml, agency, sso).await;
    let mut browser = world.logged_in(1).await;
    assert_eq!(browser.go(&at(TEHRAN, "/l3")).await.status(), 200, "a step-up");
    let status = browser.fetch(&at(TEHRAN, "/.gateway/session")).await.json();
    assert_eq!((status["level"].as_u64(), status["name"].as_str()), (Some(3), Some("Sara Ahmadi")));
    let World { gateway, sso, agency } = world;
    let world = World { gateway: gateway.restart().await, sso, agency };
    let mut same = world.browser();
    for (name, value) in browser.cookies_of(TEHRAN) {
        same.set_cookie(TEHRAN, &name, &value);
    }
    assert_eq!(same.fetch(&at(TEHRAN, "/l3")).await.status(), 200);
}

/// A login that began before a reload ends after it.
#[tokio::test]
async fn a_reload_in_the_middle_of_a_login_changes_nothing() {
    let world = World::start().await;
    let mut browser = world.browser();
    let page = browser.send("GET", &at(TEHRAN, "/.gateway/login?to=/l1"), &["Accept: text/html"], "").await;
    assert_eq!(world.gateway.admin("POST", "/reload").await.status(), 200);
    let page = browser.follow(page).await;
    assert_eq!((page.status(), page.url), (200, at(TEHRAN, "/l1")));
    assert_eq!(world.gateway.admin("POST", "/reload").await.status(), 200);
    assert_eq!(browser.fetch(&at(TEHRAN, "/l1")).await.status(), 200);
    assert_eq!(world.logins("silent").await, 1.0, "counters go on");
}

/// The name of an issuer may be given to another SSO (a stage, a successor), whose callers are other people.
#[tokio::test]
async fn a_session_of_one_sso_is_none_of_anothers_by_that_name() {
    let world = World::start().await;
    let mut browser = world.logged_in(3).await;
    let other = Provider::start().await;
    let file = world.gateway.config_file();
    let yaml = std::fs::read_to_string(&file).unwrap().replace(&world.sso.issuer(), &other.issuer());
    std::fs::write(&file, yaml).unwrap();
    assert_eq!(world.gateway.admin("POST", "/reload").await.status(), 200);
    let page = browser.fetch(&at(TEHRAN, "/l1")).await;
    assert_eq!((page.status(), page.error()), (401, Some("login_required")));
    assert_eq!(browser.fetch(&at(TEHRAN, "/.gateway/session")).await.json()["signed_in"], false);
}
