//! Verdicts for other proxies on people who have sessions: the proxy asks with the original request's cookies, and passes
//! the way to the SSO on.

use crate::browser::{FORM, NAVIGATION, Page, SCRIPT};
use crate::provider::Provider;
use crate::support::sso::unb64;
use crate::world::{CLIENT, IN_COOKIES, SESSIONS, TAMIN, TEHRAN, World, at, config};

/// Its proxies are this host, and it is forwarded to as well: the browser's own way to the gateway is at hand.
const ASKED: &str = "verify: { from: [127.0.0.1] }";

async fn world() -> World {
    World::with(CLIENT, ASKED, Provider::start().await).await
}

/// Asks about a request of this browser, as a proxy of `family` would.
async fn ask(browser: &mut crate::browser::Browser, family: &str, method: &str, uri: &str, fields: &[&str]) -> Page {
    let told =
        [format!("{family}-Method: {method}"), format!("{family}-Host: {TEHRAN}"), format!("{family}-Uri: {uri}")];
    let fields: Vec<&str> = told.iter().map(String::as_str).chain(fields.iter().copied()).collect();
    browser.send("GET", &at(TEHRAN, "/.gateway/verify"), &fields, "").await
}

fn claims(page: &Page) -> serde_json::Value {
    let assertion = page.answer.head.get("x-gateway-assertion").unwrap_or_else(|| panic!("none: {}", page.text()));
    serde_json::from_slice(&unb64(assertion.split('.').nth(1).expect("a JWS"))).expect("JSON")
}

/// RP-1, AS-9: without a session to the SSO, with one a yes, and more where more is needed.
#[tokio::test]
async fn a_session_gets_a_verdict_and_its_absence_the_way_to_one() {
    let world = world().await;
    let mut browser = world.browser();
    let page = ask(&mut browser, "X-Original", "GET", "/l1/x?y=1", NAVIGATION).await;
    assert_eq!((page.status(), page.error()), (303, Some("login_required")));
    let login = page.location().to_owned();
    assert_eq!(login, "/.gateway/login?level=1&to=%2Fl1%2Fx%3Fy%3D1");
    // What the proxy passes on: the gateway's own pages, under the portal's name.
    let page = browser.follow(Page { url: at(TEHRAN, "/"), ..page }).await;
    assert_eq!(page.url, at(TEHRAN, "/l1/x?y=1"));
    assert_eq!(world.sso.asked()["redirect_uri"], at(TEHRAN, "/.gateway/callback"));
    let page = ask(&mut browser, "X-Original", "GET", "/l1/x", NAVIGATION).await;
    assert_eq!(page.status(), 200, "{}", page.text());
    assert_eq!((&claims(&page)["level"], &claims(&page)["claims"]["province"]), (&1.into(), &"Yazd".into()));
    assert_eq!(page.answer.head.get("cache-control"), Some("private, no-store"));
    let page = ask(&mut browser, "X-Original", "GET", "/l3", NAVIGATION).await;
    assert_eq!((page.status(), page.error()), (303, Some("level_too_low")));
    assert_eq!(page.location(), "/.gateway/login?level=3&to=%2Fl3");
}

/// Traefik takes a `Location` without a host for one of the gateway's.
#[tokio::test]
async fn a_proxy_that_tells_the_scheme_is_given_an_absolute_address() {
    let world = world().await;
    let mut browser = world.browser();
    let fields: Vec<&str> = NAVIGATION.iter().copied().chain(["X-Forwarded-Proto: https"]).collect();
    let page = ask(&mut browser, "X-Forwarded", "GET", "/l1", &fields).await;
    assert_eq!(page.location(), at(TEHRAN, "/.gateway/login?level=1&to=%2Fl1"));
    assert_eq!(page.answer.head.get("x-gateway-login"), Some("/.gateway/login?level=1&to=%2Fl1"));
}

/// SU-6: also where the proxy cannot pass the body on, the address stands in a field.
#[tokio::test]
async fn scripts_are_told_and_never_sent() {
    let world = world().await;
    let mut browser = world.browser();
    let page = ask(&mut browser, "X-Original", "GET", "/l2", SCRIPT).await;
    assert_eq!((page.status(), page.error()), (401, Some("login_required")));
    assert_eq!(page.json()["login_url"], "/.gateway/login?level=2");
    assert_eq!(page.answer.head.get("x-gateway-login"), Some("/.gateway/login?level=2"));
    assert!(page.answer.head.has("www-authenticate") && !page.answer.head.has("location"));
    let mut browser = world.logged_in(1).await;
    let page = ask(&mut browser, "X-Original", "GET", "/l2", SCRIPT).await;
    assert_eq!((page.status(), page.json()["step_up_url"].as_str()), (401, Some("/.gateway/login?level=2")));
    let page = ask(&mut browser, "X-Original", "GET", "/scoped", SCRIPT).await;
    assert_eq!((page.status(), page.answer.head.has("x-gateway-login")), (403, false));
}

/// BF-3: a proxy tells no upgrade, but what a browser says in every handshake.
#[tokio::test]
async fn another_sites_page_gets_no_yes() {
    let world = world().await;
    let mut browser = world.logged_in(1).await;
    let origin = format!("Origin: {}", at(TEHRAN, ""));
    let sibling = format!("Origin: {}", at(TAMIN, ""));
    let handshake = "Sec-WebSocket-Version: 13";
    for (method, fields, status) in [
        ("POST", &["Sec-Fetch-Site: same-origin"][..], 200),
        ("POST", &[&*origin], 200),
        ("POST", &["Sec-Fetch-Site: cross-site"], 403),
        ("DELETE", &[&*sibling], 403),
        ("POST", &[], 403),
        ("GET", &[handshake, &*origin], 200),
        ("GET", &[handshake, &*sibling], 403),
        ("GET", &[handshake, "Sec-Fetch-Site: cross-site"], 403),
    ] {
        let page = ask(&mut browser, "X-Original", method, "/l1", fields).await;
        let error = (status == 403).then_some("cross_site");
        assert_eq!((page.status(), page.error()), (status, error), "{method} {fields:?}");
    }
    // A form is no part of a question: it is refused with the way on, and nothing of it is kept.
    let page = ask(&mut browser, "X-Original", "POST", "/l3", FORM).await;
    assert_eq!((page.status(), page.error()), (401, Some("level_too_low")));
    let kept = world.gateway.metrics().await.sum("darvazeh_kept_forms_total", &["outcome=\"kept\""]);
    assert_eq!(kept, 0.0);
}

/// BF-6: the proxy learns which of the cookies are the agency's.
#[tokio::test]
async fn a_yes_says_which_cookies_are_the_agencys() {
    let world = world().await;
    let mut browser = world.logged_in(1).await;
    let page = ask(&mut browser, "X-Original", "GET", "/l1", &[]).await;
    assert_eq!(page.answer.head.get("cookie"), Some(""), "ours alone: nothing is left");
    browser.set_cookie(TEHRAN, "theme", "dark=1");
    browser.set_cookie(TEHRAN, "__Host-darvazeh-login-x", "y");
    browser.set_cookie(TEHRAN, "last", "z");
    for uri in ["/l1", "/open"] {
        let page = ask(&mut browser, "X-Original", "GET", uri, &[]).await;
        assert_eq!((page.status(), page.answer.head.get("cookie")), (200, Some("theme=dark=1; last=z")), "{uri}");
    }
    let page = ask(&mut world.browser(), "X-Original", "GET", "/open", &[]).await;
    assert_eq!(page.answer.head.get("cookie"), Some(""));
    assert!(!page.answer.head.has("set-cookie"));
}

/// Sessions in cookies: what is to be set reaches the proxy, as it is and in fields of one value.
#[tokio::test]
async fn fresh_cookies_of_a_session_reach_the_proxy() {
    let client = format!("{}, scopes: [offline_access] }}", CLIENT.trim_end_matches(" }"));
    let sso = Provider::start().await;
    {
        let mut manner = sso.manner();
        manner.refresh = true;
        manner.expires_in = 1;
    }
    let agency = crate::support::agency::Agency::hello().await;
    let keys = format!("{ASKED}, identity: token");
    let yaml = config(&sso, &agency, &client, &keys).yaml().replace(SESSIONS, IN_COOKIES);
    let world = World::of(&yaml, agency, sso).await;
    let mut browser = world.logged_in(1).await;
    let before = browser.session_of(TEHRAN);
    world.sso.manner().expires_in = 3600;
    let page = ask(&mut browser, "X-Original", "GET", "/l1", &[]).await;
    assert_eq!(page.status(), 200, "{}", page.text());
    let set = page.answer.head.get("set-cookie").expect("the session was renewed").to_owned();
    assert!(set.starts_with("__Host-darvazeh="), "{}", set.len());
    assert_eq!(page.answer.head.get("x-set-cookie-1"), Some(&*set));
    assert!(!page.answer.head.has("x-set-cookie-2"));
    assert_ne!(browser.session_of(TEHRAN), before);
    let authorization = page.answer.head.get("authorization").expect("`identity: token`");
    assert!(authorization.starts_with("Bearer access-"), "the session's own");
}

/// A cookie of another name does not cross either.
#[tokio::test]
async fn a_renamed_cookie_is_kept_from_agencies() {
    let (sso, agency) = (Provider::start().await, crate::support::agency::Agency::hello().await);
    let renamed = "sessions: { cookie: __Host-citizen, grace: 0s }";
    let yaml = config(&sso, &agency, CLIENT, ASKED).yaml().replace(SESSIONS, renamed);
    let world = World::of(&yaml, agency, sso).await;
    let mut browser = world.logged_in(1).await;
    browser.set_cookie(TEHRAN, "theme", "dark");
    assert_eq!(browser.fetch(&at(TEHRAN, "/l1")).await.status(), 200);
    assert_eq!(world.agency.last().head.get("cookie"), Some("theme=dark"));
    let page = ask(&mut browser, "X-Original", "GET", "/l1", &[]).await;
    assert_eq!((page.status(), page.answer.head.get("cookie")), (200, Some("theme=dark")));
}
