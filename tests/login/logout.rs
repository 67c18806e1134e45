//! The ways out: a portal's own, and the SSO's.

use serde_json::{Map, Value, json};

use crate::browser::{Browser, FORM, NAVIGATION, Page};
use crate::provider::{object, parse, sign};
use crate::support::sso;
use crate::support::token::now;
use crate::world::{TAMIN, TEHRAN, World, at};

/// RP-9: GET asks, POST with the page's token does it; ours first, then the SSO's.
#[tokio::test]
async fn a_citizen_logs_out_by_a_form_and_at_the_sso_too() {
    let world = World::start().await;
    let mut browser = world.logged_in(2).await;
    let page = browser.send("GET", &at(TEHRAN, "/.gateway/logout"), NAVIGATION, "").await;
    assert_eq!(page.status(), 200);
    assert!(
        page.answer
            .head
            .get("content-security-policy")
            .unwrap()
            .contains(&format!("form-action 'self' https: {}", world.sso.issuer()))
    );
    let csrf = page.attribute("name=\"csrf\" value=\"");
    // Without it, or from another site, nothing ends.
    for (fields, body) in
        [(FORM.to_vec(), "csrf=guessed".to_owned()), (vec!["Sec-Fetch-Site: cross-site"], format!("csrf={csrf}"))]
    {
        let refused = browser.send("POST", &at(TEHRAN, "/.gateway/logout"), &fields, &body).await;
        assert_eq!((refused.status(), refused.error()), (403, Some("cross_site")));
    }
    assert_eq!(browser.fetch(&at(TEHRAN, "/l2")).await.status(), 200);
    let session = browser.session_of(TEHRAN).unwrap();
    let page = browser.send("POST", &at(TEHRAN, "/.gateway/logout"), FORM, &format!("csrf={csrf}")).await;
    assert_eq!(page.status(), 303);
    let asked = parse(page.location().split_once('?').unwrap().1);
    assert!(page.location().starts_with(&format!("{}/logout?", world.sso.issuer())));
    assert_eq!(
        (asked["client_id"].as_str(), asked["post_logout_redirect_uri"].as_str()),
        ("gateway", &*at(TEHRAN, "/.gateway/signed-out"))
    );
    assert_eq!(asked["id_token_hint"].split('.').count(), 3);
    let page = browser.follow(page).await;
    assert_eq!((page.status(), page.url.as_str()), (200, &*at(TEHRAN, "/.gateway/signed-out")));
    assert!(page.text().contains("You are signed out"));
    assert_eq!(browser.session_of(TEHRAN), None);
    browser.set_cookie(TEHRAN, "__Host-darvazeh", &session);
    assert_eq!(browser.fetch(&at(TEHRAN, "/l2")).await.status(), 401, "the session itself is gone");
}

async fn tell(browser: &mut Browser, token: &str) -> Page {
    let fields = ["Content-Type: application/x-www-form-urlencoded"];
    browser
        .send("POST", &at(TEHRAN, "/.gateway/backchannel-logout"), &fields, &format!("logout_token={token}&x=1"))
        .await
}

/// BL-1, BL-9, BL-10, BL-11: one `sid` ends on every portal at once.
#[tokio::test]
async fn the_sso_ends_a_session_on_every_portal() {
    let world = World::start().await;
    let mut browser = world.logged_in(1).await;
    browser.go(&at(TAMIN, "/l1")).await;
    let mut sso = world.browser();
    let told = tell(&mut sso, &world.sso.logout_token(|_| ())).await;
    assert_eq!((told.status(), told.answer.head.get("cache-control")), (200, Some("no-store")));
    for host in [TEHRAN, TAMIN] {
        assert_eq!(browser.fetch(&at(host, "/l1")).await.status(), 401, "{host}");
    }
    let unknown =
        tell(&mut sso, &world.sso.logout_token(|claims| drop(claims.insert("sid".into(), "nobody".into())))).await;
    assert_eq!(unknown.status(), 200, "BL-11");
    // BL-9: by `sub`, all of that person's.
    let mut browser = world.logged_in(1).await;
    let token = world.sso.logout_token(|claims| {
        claims.remove("sid");
        claims.insert("sub".into(), "citizen-1".into());
    });
    assert_eq!(tell(&mut sso, &token).await.status(), 200);
    assert_eq!(browser.fetch(&at(TEHRAN, "/l1")).await.status(), 401);
}

/// BL-2 to BL-8, each by itself, as the OpenID conformance suite has them.
#[tokio::test]
async fn a_logout_token_that_does_not_hold_ends_nothing() {
    let world = World::start().await;
    let mut browser = world.logged_in(1).await;
    let mut sso_side = world.browser();
    type Change = fn(&mut Map<String, Value>);
    let changes: [(&str, Change); 13] = [
        ("BL-3 iss", |c| drop(c.insert("iss".into(), "https://evil.example".into()))),
        ("BL-3 aud", |c| drop(c.insert("aud".into(), "another".into()))),
        ("BL-3 no iat", |c| drop(c.remove("iat"))),
        ("BL-3 iat ahead", |c| drop(c.insert("iat".into(), (now() + 120).into()))),
        ("BL-3 iat old", |c| drop(c.insert("iat".into(), (now() - 3600).into()))),
        ("BL-3 no exp", |c| drop(c.remove("exp"))),
        ("BL-3 exp", |c| drop(c.insert("exp".into(), (now() - 120).into()))),
        ("BL-3 no jti", |c| drop(c.remove("jti"))),
        ("BL-4", |c| drop(c.remove("sid"))),
        ("BL-5 none", |c| drop(c.remove("events"))),
        ("BL-5 other", |c| drop(c.insert("events".into(), json!({"http://schemas.openid.net/event/other": {}})))),
        ("BL-5 not an object", |c| {
            drop(c.insert("events".into(), json!({"http://schemas.openid.net/event/backchannel-logout": true})))
        }),
        ("BL-6 nonce", |c| drop(c.insert("nonce".into(), "x".into()))),
    ];
    for (what, change) in changes {
        let told = tell(&mut sso_side, &world.sso.logout_token(change)).await;
        assert_eq!((told.status(), &told.json()["error"]), (400, &json!("invalid_request")), "{what}");
        assert_eq!(told.answer.head.get("cache-control"), Some("no-store"), "{what}");
    }
    let claims = |token: &str| object(serde_json::from_slice(&sso::unb64(token.split('.').nth(1).unwrap())).unwrap());
    let good = world.sso.logout_token(|_| ());
    let stranger = sign(&sso::keys().stranger, "logout+jwt", claims(&good));
    let of_another_kind = sign(&sso::keys().p256, "at+jwt", claims(&good));
    let none = format!("{}.{}.", sso::b64(r#"{"alg":"none","typ":"logout+jwt"}"#), good.split('.').nth(1).unwrap());
    for (what, token) in
        [("BL-2 key", stranger), ("BL-8 typ", of_another_kind), ("BL-2 none", none), ("no token", String::new())]
    {
        assert_eq!(tell(&mut sso_side, &token).await.status(), 400, "{what}");
    }
    assert_eq!(browser.fetch(&at(TEHRAN, "/l1")).await.status(), 200, "nothing ended");
    // BL-7: the same token twice.
    assert_eq!(tell(&mut sso_side, &good).await.status(), 200);
    assert_eq!(tell(&mut sso_side, &good).await.status(), 400, "BL-7");
    let get = sso_side.send("GET", &at(TEHRAN, "/.gateway/backchannel-logout"), &[], "").await;
    assert_eq!((get.status(), get.answer.head.get("allow")), (405, Some("POST")));
}

/// FL-1: `iss` and `sid` must both be there, and only the SSO may frame the page.
#[tokio::test]
async fn a_frame_of_the_sso_ends_a_session() {
    let world = World::start().await;
    let mut browser = world.logged_in(1).await;
    let mut frame = world.browser();
    let issuer = world.sso.issuer().replace(':', "%3A").replace('/', "%2F");
    for bad in ["", "?sid=sid-1", &format!("?iss={issuer}"), "?iss=https%3A%2F%2Fevil.example&sid=sid-1"] {
        let page = frame.send("GET", &at(TEHRAN, &format!("/.gateway/frontchannel-logout{bad}")), NAVIGATION, "").await;
        assert_eq!(page.status(), 400, "{bad}");
    }
    assert_eq!(browser.fetch(&at(TEHRAN, "/l1")).await.status(), 200);
    let page = frame
        .send("GET", &at(TEHRAN, &format!("/.gateway/frontchannel-logout?iss={issuer}&sid=sid-1")), NAVIGATION, "")
        .await;
    assert_eq!(page.status(), 200);
    let policy = page.answer.head.get("content-security-policy").unwrap();
    assert!(policy.contains(&format!("frame-ancestors {}", world.sso.issuer())), "{policy}");
    assert_eq!(browser.fetch(&at(TEHRAN, "/l1")).await.status(), 401);
}

/// Persian unless English is wanted.
#[tokio::test]
async fn the_pages_speak_persian() {
    let world = World::start().await;
    let mut browser = world.browser();
    let page = browser.send("GET", &at(TEHRAN, "/.gateway/signed-out"), &["Accept: text/html"], "").await;
    assert!(page.text().contains("lang=\"fa\" dir=\"rtl\"") && page.text().contains("خارج شدید"));
}
