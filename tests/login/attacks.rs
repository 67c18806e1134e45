//! What somebody would do to a login: mixed-up answers, forged and old tokens, another's state, open redirects.

use serde_json::{Map, Value};

use crate::browser::{Browser, FORM, NAVIGATION, Page};
use crate::provider::{Provider, form, parse};
use crate::support::agency::Agency;
use crate::support::sso;
use crate::support::token::now;
use crate::support::within;
use crate::support::world::{Config, LEVELS};
use crate::world::{CLIENT, SESSIONS, TAMIN, TEHRAN, World, at, config};

fn refused(page: &Page, status: u16, code: &str) {
    assert_eq!((page.status(), page.error()), (status, Some(code)), "{}", page.text());
}

/// RP-3: each check of the ID token by itself.
#[tokio::test]
async fn an_id_token_that_is_not_the_answer_is_refused() {
    let world = World::start().await;
    type Change = fn(&mut Map<String, Value>);
    let changes: [(&str, Change); 11] = [
        ("iss", |c| drop(c.insert("iss".into(), "https://evil.example".into()))),
        ("aud", |c| drop(c.insert("aud".into(), "another".into()))),
        ("aud of many without azp", |c| drop(c.insert("aud".into(), vec!["gateway", "another"].into()))),
        ("azp", |c| drop(c.insert("azp".into(), "another".into()))),
        ("nonce", |c| drop(c.insert("nonce".into(), "another".into()))),
        ("no nonce", |c| drop(c.remove("nonce"))),
        ("exp", |c| drop(c.insert("exp".into(), (now() - 120).into()))),
        ("iat", |c| drop(c.insert("iat".into(), (now() + 120).into()))),
        ("old iat", |c| drop(c.insert("iat".into(), (now() - 7200).into()))),
        ("at_hash", |c| drop(c.insert("at_hash".into(), "AAAAAAAAAAAAAAAAAAAAAA".into()))),
        ("sub", |c| drop(c.remove("sub"))),
    ];
    for (what, change) in changes {
        world.sso.manner().claims = Some(change);
        let mut browser = world.browser();
        let page = browser.go(&at(TEHRAN, "/l1")).await;
        assert_eq!((page.status(), page.error()), (502, Some("login_invalid")), "{what}");
        assert_eq!(browser.session_of(TEHRAN), None, "{what}");
    }
    world.sso.manner().claims = None;
    world.sso.manner().key = &sso::keys().stranger;
    refused(&world.browser().go(&at(TEHRAN, "/l1")).await, 502, "login_invalid");
    world.agency.assert_untouched();
    assert_eq!(world.logins("invalid").await, 12.0);
}

/// RP-2, RFC 9207: an answer of another SSO is found before its code goes anywhere.
#[tokio::test]
async fn a_mixed_up_answer_is_refused_before_the_code_is_used() {
    let world = World::start().await;
    type Change = fn(&mut Vec<(String, String)>);
    let changes: [Change; 2] = [
        |answer| answer.iter_mut().filter(|(n, _)| n == "iss").for_each(|(_, v)| *v = "https://evil.example".into()),
        |answer| answer.retain(|(n, _)| n != "iss"),
    ];
    for change in changes {
        world.sso.manner().answer = Some(change);
        refused(&world.browser().go(&at(TEHRAN, "/l1")).await, 502, "login_invalid");
    }
    assert!(world.sso.token_calls().is_empty());
}

/// RP-2, RFC 9700 section 4.4: of two SSOs that do not say who they are, one turned hostile sends the browser on to the other,
/// whose answer would give it the other's code. It comes to the other's own address, and the code goes nowhere.
#[tokio::test]
async fn an_answer_of_an_sso_with_its_own_callback_is_no_answer_of_another() {
    let (hostile, honest, agency) = (Provider::start().await, Provider::start().await, Agency::hello().await);
    for sso in [&hostile, &honest] {
        sso.manner().says_iss = false;
    }
    let issuer = |name: &str, sso: &Provider, client: &str| {
        let client = format!("client: {{ id: gateway, secret: {{ file: secret }}{client} }}");
        format!("{name}: {{ issuer: '{}', audiences: [api], ca: certs/ca.pem, {LEVELS}, {client} }}", sso.issuer())
    };
    let tls = "tls: { certificates: [ { cert: portals.pem, key: portals.key } ] }";
    let route = |name: &str| {
        let hosts = format!("match: {{ hosts: [{TEHRAN}], prefix: /{name} }}");
        format!("name: {name}, agency: registry, {hosts}, require: {{ level: 1, via: session, issuer: {name} }}")
    };
    let yaml = Config::new()
        .top(SESSIONS)
        .listeners(&[&format!("{{ name: public, address: 127.0.0.1:0, {tls} }}")])
        .issuers(&[&issuer("hostile", &hostile, ""), &issuer("honest", &honest, ", callback: own")])
        .agency_with("registry", &agency.url(), "timeouts: { connect: 5s }")
        .route(&route("hostile"))
        .route(&route("honest"))
        .yaml();
    let gateway = World::gateway(&yaml).await;
    let mut victim = Browser::new(&gateway);
    let url = at(TEHRAN, "/.gateway/login?issuer=hostile");
    let begun = victim.send("GET", &url, &["Accept: text/html"], "").await;
    let mut asked = parse(begun.location().split_once('?').unwrap().1);
    asked.insert("redirect_uri".into(), at(TEHRAN, "/.gateway/callback/honest"));
    let sent_on: Vec<(String, String)> = asked.into_iter().collect();
    let sent_on = format!("{}/authorize?{}", honest.issuer(), form(&sent_on));
    let answer = victim.send("GET", &sent_on, NAVIGATION, "").await;
    assert!(answer.location().starts_with(&at(TEHRAN, "/.gateway/callback/honest?")), "{}", answer.location());
    refused(&victim.send("GET", answer.location(), NAVIGATION, "").await, 502, "login_invalid");
    // Nor the other way about; and whoever is no SSO has no address.
    let begun = victim.send("GET", &at(TEHRAN, "/.gateway/login?issuer=honest"), &["Accept: text/html"], "").await;
    let answer = victim.send("GET", begun.location(), NAVIGATION, "").await;
    let elsewhere = answer.location().replace("/callback/honest", "/callback");
    refused(&victim.send("GET", &elsewhere, NAVIGATION, "").await, 502, "login_invalid");
    let nowhere = answer.location().replace("/callback/honest", "/callback/hostile");
    refused(&victim.send("GET", &nowhere, NAVIGATION, "").await, 404, "route_unknown");
    assert!(hostile.token_calls().is_empty() && honest.token_calls().is_empty());
    for name in ["honest", "hostile"] {
        let page = Browser::new(&gateway).go(&at(TEHRAN, &format!("/{name}"))).await;
        assert_eq!((page.status(), &*page.text()), (200, "hello"), "{name}");
    }
    assert_eq!(honest.asked()["redirect_uri"], at(TEHRAN, "/.gateway/callback/honest"));
    let said = |line: &&String| line.contains("issuer hostile: it does not say in its answers who it is");
    let lines = gateway.stderr.all();
    assert_eq!(lines.iter().filter(said).count(), 1, "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("issuer honest: it does not say")), "{lines:?}");
}

/// Login CSRF: somebody else's answer logs nobody in.
#[tokio::test]
async fn anothers_answer_logs_nobody_in() {
    let world = World::start().await;
    let mut attacker = world.browser();
    let page = attacker.send("GET", &at(TEHRAN, "/.gateway/login"), &["Accept: text/html"], "").await;
    let answer = attacker.send("GET", page.location(), NAVIGATION, "").await;
    let callback = answer.location().to_owned();
    let mut victim = world.browser();
    refused(&victim.send("GET", &callback, NAVIGATION, "").await, 400, "login_expired");
    assert_eq!(victim.session_of(TEHRAN), None);
    // At another portal of the attacker's own browser it is another attempt too.
    let there = callback.replace(TEHRAN, TAMIN);
    refused(&attacker.send("GET", &there, NAVIGATION, "").await, 400, "login_expired");
    assert!(world.sso.token_calls().is_empty());
}

/// RP-1: a state counts once, also for the browser that has it.
#[tokio::test]
async fn a_state_is_used_once() {
    let world = World::start().await;
    let mut browser = world.browser();
    let page = browser.send("GET", &at(TEHRAN, "/.gateway/login"), &["Accept: text/html"], "").await;
    let answer = browser.send("GET", page.location(), NAVIGATION, "").await;
    let kept = browser.cookies_of(TEHRAN);
    let callback = answer.location().to_owned();
    assert_eq!(browser.send("GET", &callback, NAVIGATION, "").await.status(), 303);
    for (name, value) in kept {
        browser.set_cookie(TEHRAN, &name, &value);
    }
    refused(&browser.send("GET", &callback, NAVIGATION, "").await, 400, "login_expired");
    assert_eq!(world.sso.token_calls().len(), 1);
    for broken in ["", "?code=a&state=x", "?state=a&state=b", "?error=x"] {
        let url = at(TEHRAN, &format!("/.gateway/callback{broken}"));
        refused(&browser.send("GET", &url, NAVIGATION, "").await, 400, "login_expired");
    }
}

/// RP-4: no way back leads to another host, however it is written.
#[tokio::test]
async fn a_login_returns_to_this_host_alone() {
    let world = World::start().await;
    for evil in
        ["//evil.example", "https:%2F%2Fevil.example", "%2F%5Cevil.example", "%2F%2Fevil.example", "%2Fa%0D%0AX:1"]
    {
        let mut browser = world.browser();
        let page =
            browser.send("GET", &at(TEHRAN, &format!("/.gateway/login?to={evil}")), &["Accept: text/html"], "").await;
        let answer = browser.send("GET", page.location(), NAVIGATION, "").await;
        let back = browser.send("GET", answer.location(), NAVIGATION, "").await;
        assert_eq!((back.status(), back.location()), (303, "/"), "{evil}");
        let again =
            browser.send("GET", &at(TEHRAN, &format!("/.gateway/login?to={evil}")), &["Accept: text/html"], "").await;
        assert_eq!((again.status(), again.location()), (303, "/"), "{evil}, already logged in");
    }
}

/// Only portals have a login: another host's page is nobody's.
#[tokio::test]
async fn a_host_that_is_no_portal_has_no_login() {
    let world = World::start().await;
    let mut browser = world.browser();
    for path in ["/.gateway/login", "/.gateway/callback?state=a", "/.gateway/session", "/.gateway/logout"] {
        let fields = ["Host-Override: x", "Accept: */*"];
        let page = browser.send("GET", &format!("https://portal.evil.example{path}"), &fields, "").await;
        assert_eq!(page.error(), Some("route_unknown"), "{path}");
    }
}

/// The token endpoint is down or says no: a page, a code, and no session.
#[tokio::test]
async fn a_sso_that_gives_no_tokens_logs_nobody_in() {
    let world = World::start().await;
    for (status, code, answer) in [(500, "sso_unavailable", 503), (400, "login_invalid", 502)] {
        world.sso.manner().status = status;
        let mut browser = world.browser();
        let page = browser.go(&at(TEHRAN, "/l1")).await;
        refused(&page, answer, code);
        assert_eq!(browser.session_of(TEHRAN), None);
    }
}

/// A stranger cannot keep the SSO busy: beginnings of logins are counted by address, and pages are not.
#[tokio::test]
async fn an_address_begins_only_so_many_logins() {
    let (sso, agency) = (Provider::start().await, Agency::hello().await);
    let few = "sessions: { grace: 0s, logins: { requests: 2, per: 1h } }";
    let yaml = config(&sso, &agency, CLIENT, "timeouts: { connect: 5s }").yaml().replace(SESSIONS, few);
    let world = World::of(&yaml, agency, sso).await;
    let mut browser = world.browser();
    let login = at(TEHRAN, "/.gateway/login?to=/l1");
    for _ in 0..2 {
        assert_eq!(browser.send("GET", &login, &["Accept: text/html"], "").await.status(), 303);
    }
    let mut another = world.browser();
    let page = another.send("GET", &login, NAVIGATION, "").await;
    assert_eq!((page.status(), page.error()), (429, Some("rate_limited")));
    assert!(page.answer.head.get("retry-after").is_some_and(|after| after.parse::<u32>().is_ok_and(|s| s > 60)));
    assert!(page.answer.head.get("content-type").is_some_and(|kind| kind.starts_with("text/html")));
    assert_eq!(another.fetch(&at(TEHRAN, "/l1")).await.error(), Some("login_required"), "a route is no login");
    // Who is logged in does not begin one.
    assert_eq!(another.fetch(&at(TEHRAN, "/.gateway/session")).await.status(), 200);
}

/// Each form that needs more begins a login too, and counts as one.
#[tokio::test]
async fn forms_begin_no_more_logins_than_pages() {
    let (sso, agency) = (Provider::start().await, Agency::hello().await);
    let few = "sessions: { grace: 0s, logins: { requests: 2, per: 1h } }";
    let yaml = config(&sso, &agency, CLIENT, "timeouts: { connect: 5s }").yaml().replace(SESSIONS, few);
    let world = World::of(&yaml, agency, sso).await;
    let mut citizen = world.browser();
    assert_eq!(citizen.go(&at(TEHRAN, "/l1")).await.status(), 200);
    assert_eq!(citizen.send("POST", &at(TEHRAN, "/l3"), FORM, "a=1").await.status(), 303);
    refused(&citizen.send("POST", &at(TEHRAN, "/l3"), FORM, "a=1").await, 429, "rate_limited");
    assert_eq!(citizen.fetch(&at(TEHRAN, "/l1")).await.status(), 200);
}

/// Anybody can begin logins: of an SSO that does not answer, a bounded number waits, and the log is not flooded.
#[tokio::test]
async fn a_flood_of_logins_does_not_swamp_a_sso_that_hangs() {
    const BOUND: usize = 128;
    let sso = Provider::start().await;
    sso.manner().par = true;
    let world = World::with(CLIENT, "timeouts: { connect: 5s }", sso).await;
    world.sso.manner().hangs = true;
    let (told, mut answers) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..BOUND + 40 {
        let (mut browser, told) = (world.browser(), told.clone());
        tokio::spawn(async move {
            let page = browser.send("GET", &at(TEHRAN, "/.gateway/login"), &["Accept: */*"], "").await;
            let _ = told.send((page.status(), page.error().map(str::to_owned)));
        });
    }
    for _ in 0..40 {
        let answer = within("a login that is turned away", answers.recv()).await;
        assert_eq!(answer, Some((503, Some("sso_unavailable".to_owned()))));
    }
    assert!(world.sso.hanging() <= BOUND, "{}", world.sso.hanging());
    let lines = world.gateway.stderr.all();
    assert!(lines.iter().filter(|line| line.contains("a login failed")).count() < 10, "{lines:?}");
}

/// The gateway's own pages are load like requests. Every process takes more than 16 MiB.
#[tokio::test]
async fn a_worker_with_too_much_to_bear_sheds_its_own_pages_too() {
    let (sso, agency) = (Provider::start().await, Agency::hello().await);
    let config = config(&sso, &agency, CLIENT, "timeouts: { connect: 5s }");
    let yaml = config.top("overload: { memory: 16MiB, queue_delay: off }\nworkers: 1").yaml();
    let world = World::of(&yaml, agency, sso).await;
    let browser = world.browser();
    // One connection: others would be turned away.
    let mut wire = browser.open("GET", &at(TEHRAN, "/.gateway/session"), &[], "").await;
    let shed = async {
        loop {
            let answer = wire.answer().await;
            if answer.status() != 200 {
                return answer;
            }
            let again = format!("GET /.gateway/session HTTP/1.1\r\nHost: {TEHRAN}\r\n\r\n");
            wire.send(again).await.expect("kept alive");
        }
    };
    let answer = within("a page is shed", shed).await;
    assert_eq!((answer.status(), answer.head.get("x-gateway-error")), (503, Some("overloaded")));
}

/// A portal's cookie opens that portal alone: its agency's own proxy, which is sent it, is nobody elsewhere.
#[tokio::test]
async fn a_portals_cookie_opens_no_other_portal() {
    let world = World::start().await;
    let mut citizen = world.browser();
    assert_eq!(citizen.go(&at(TEHRAN, "/l1")).await.status(), 200);
    let mut thief = world.browser();
    for (name, value) in citizen.cookies_of(TEHRAN) {
        thief.set_cookie(TAMIN, &name, &value);
    }
    refused(&thief.fetch(&at(TAMIN, "/l1")).await, 401, "login_required");
    let told = thief.fetch(&at(TAMIN, "/.gateway/session")).await;
    assert!(!told.text().contains("logout_url"), "{}", told.text());
    assert_eq!(citizen.fetch(&at(TEHRAN, "/l1")).await.status(), 200, "and ends nothing");
}
