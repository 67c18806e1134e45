//! What a page's script gets: never a redirect, and always the way on.

use serde_json::json;

use crate::browser::{NAVIGATION, SCRIPT};
use crate::world::{TAMIN, TEHRAN, World, at};

/// SU-6: 401 problem+json with the address to open.
#[tokio::test]
async fn a_script_without_a_session_is_told_where_to_log_in() {
    let world = World::start().await;
    let mut browser = world.browser();
    let referer = format!("Referer: {}", at(TEHRAN, "/app?x=1"));
    for fields in [
        &["Sec-Fetch-Mode: cors", "Accept: text/html"][..],
        &["X-Requested-With: XMLHttpRequest", "Accept: text/html"],
        &["Accept: application/json"],
    ] {
        let fields: Vec<&str> = fields.iter().copied().chain([&*referer]).collect();
        let page = browser.send("GET", &at(TEHRAN, "/l2"), &fields, "").await;
        assert_eq!((page.status(), page.error()), (401, Some("login_required")), "{fields:?}");
        assert!(page.answer.head.has("www-authenticate") && !page.answer.head.has("location"));
        if fields[0].contains("json") {
            assert_eq!(page.json()["login_url"], "/.gateway/login?level=2&to=%2Fapp%3Fx%3D1");
        }
    }
    world.agency.assert_untouched();
}

/// SU-1, SU-6: a session that is too weak.
#[tokio::test]
async fn a_script_that_needs_more_is_told_where_to_step_up() {
    let world = World::start().await;
    let mut browser = world.logged_in(1).await;
    let page = browser.fetch(&at(TEHRAN, "/l3")).await;
    assert_eq!((page.status(), page.error()), (401, Some("level_too_low")));
    assert_eq!(page.json()["step_up_url"], "/.gateway/login?level=3");
    assert!(page.answer.head.get("www-authenticate").unwrap().contains("acr_values=\"urn:example:level:3\""));
    let page = browser.fetch(&at(TEHRAN, "/scoped")).await;
    assert_eq!((page.status(), page.error()), (403, Some("scope_missing")));
}

/// BF-3: unsafe methods and upgrades must come from the same origin.
#[tokio::test]
async fn another_sites_page_changes_nothing() {
    let world = World::start().await;
    let mut browser = world.logged_in(1).await;
    let before = world.agency.seen().len();
    let url = at(TEHRAN, "/l1");
    let origin = format!("Origin: {}", at(TEHRAN, ""));
    let ours = [&["Sec-Fetch-Site: same-origin"][..], &["Sec-Fetch-Site: none"], &[&*origin]];
    let sibling = format!("Origin: {}", at(TAMIN, ""));
    let theirs =
        [&["Sec-Fetch-Site: cross-site"][..], &["Sec-Fetch-Site: same-site"], &[&*sibling], &["Origin: null"], &[]];
    for fields in ours {
        assert_eq!(browser.send("POST", &url, fields, "a=1").await.status(), 200, "{fields:?}");
    }
    for fields in theirs {
        let page = browser.send("POST", &url, fields, "a=1").await;
        assert_eq!((page.status(), page.error()), (403, Some("cross_site")), "{fields:?}");
    }
    let upgrade = [
        "Connection: upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==",
        "Sec-Fetch-Site: same-site",
    ];
    assert_eq!(browser.send("GET", &url, &upgrade, "").await.error(), Some("cross_site"));
    assert_eq!(world.agency.seen().len(), before + ours.len());
}

/// BF-7: who, level, time left and the ways on; for the portals' pages and no others.
#[tokio::test]
async fn a_page_learns_who_is_logged_in() {
    let world = World::start().await;
    let mut browser = world.browser();
    let page = browser.fetch(&at(TEHRAN, "/.gateway/session")).await;
    assert_eq!(page.json()["signed_in"], json!(false));
    assert_eq!(page.json()["login_url"], "/.gateway/login?level=1");
    let mut browser = world.logged_in(2).await;
    let page = browser.fetch(&at(TEHRAN, "/.gateway/session")).await;
    let status = page.json();
    assert_eq!((&status["name"], &status["level"]), (&json!("Sara Ahmadi"), &json!(2)));
    assert!(status["expires_in"].as_i64().unwrap() > 1700, "{status}");
    assert_eq!(status["step_up_urls"], json!({"3": "/.gateway/login?level=3"}));
    assert!(status["csrf"].is_string() && !page.text().contains("citizen-1"));
    let asked_by = async |browser: &mut crate::browser::Browser, origin: &str| {
        let origin = format!("Origin: {origin}");
        let fields: Vec<&str> = SCRIPT
            .iter()
            .copied()
            .filter(|f| !f.contains("Site"))
            .chain([&*origin, "Sec-Fetch-Site: same-site"])
            .collect();
        let page = browser.send("GET", &at(TEHRAN, "/.gateway/session"), &fields, "").await;
        (page.answer.head.get("access-control-allow-origin").map(str::to_owned), page.json().get("csrf").is_some())
    };
    assert_eq!(asked_by(&mut browser, &at(TAMIN, "")).await, (Some(at(TAMIN, "")), false));
    assert_eq!(asked_by(&mut browser, "https://evil.example").await, (None, false));
    let clear = format!("http://{TAMIN}");
    assert_eq!(asked_by(&mut browser, &clear).await, (None, false), "anybody on the way can write such a page");
}

/// A browser's own navigation gets the redirect, and says why in a field.
#[tokio::test]
async fn a_navigation_is_redirected_and_a_frame_is_not() {
    let world = World::start().await;
    let mut browser = world.browser();
    let page = browser.send("GET", &at(TEHRAN, "/l1/x?y=1"), NAVIGATION, "").await;
    assert_eq!((page.status(), page.error()), (303, Some("login_required")));
    assert_eq!(page.location(), "/.gateway/login?level=1&to=%2Fl1%2Fx%3Fy%3D1");
    assert_eq!(page.answer.head.get("cache-control"), Some("no-store"));
    let frame = ["Accept: text/html", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"];
    assert_eq!(browser.send("GET", &at(TEHRAN, "/l1"), &frame, "").await.status(), 401);
}
