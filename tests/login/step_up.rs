//! More than the session has: asked for once, and what came back is what counts.

use crate::world::{TEHRAN, World, assertion, at};

/// RP-8: a new id at each step-up; the old one is dead.
#[tokio::test]
async fn a_step_up_comes_back_to_the_same_place_under_a_new_id() {
    let world = World::start().await;
    let mut browser = world.logged_in(1).await;
    let old = browser.session_of(TEHRAN).unwrap();
    let page = browser.go(&at(TEHRAN, "/l3/change?a=1#top")).await;
    assert_eq!(browser.went.last().unwrap(), &at(TEHRAN, "/l3/change?a=1#top"));
    assert_eq!(page.status(), 200);
    assert_eq!(assertion(&world.agency)["level"], 3);
    assert_eq!(world.sso.asked()["acr_values"], "urn:example:level:3");
    assert!(!world.sso.asked().contains_key("prompt"));
    let new = browser.session_of(TEHRAN).unwrap();
    assert_ne!(old, new);
    browser.set_cookie(TEHRAN, "__Host-darvazeh", &old);
    assert_eq!(browser.fetch(&at(TEHRAN, "/l1")).await.status(), 401, "the old id opens nothing");
    assert_eq!(world.logins("stepped_up").await, 1.0);
}

/// AS-9, AS-11: the level that came back counts; twice too low is a page, not a loop, and the old session stands.
#[tokio::test]
async fn a_level_too_low_twice_ends_in_a_page_that_explains() {
    let world = World::start().await;
    let mut browser = world.logged_in(1).await;
    let old = browser.session_of(TEHRAN);
    world.sso.manner().level = 2;
    let asked = world.sso.authorizations().len();
    let page = browser.go(&at(TEHRAN, "/l3")).await;
    assert_eq!((page.status(), page.error()), (403, Some("unmet_authentication_requirements")));
    assert!(page.text().contains("stronger") && page.text().contains("/.gateway/login?level=3"));
    let prompts: Vec<_> = world.sso.authorizations()[asked..].iter().map(|a| a.get("prompt").cloned()).collect();
    assert_eq!(prompts, [None, Some("login".to_owned())], "the second time the SSO is made to ask");
    assert_eq!(browser.session_of(TEHRAN), old);
    assert_eq!(browser.fetch(&at(TEHRAN, "/l1")).await.status(), 200);
    assert_eq!(world.logins("too_low").await, 1.0);
}

/// A declined step-up leaves the old session as it was.
#[tokio::test]
async fn a_declined_step_up_changes_nothing() {
    let world = World::start().await;
    let mut browser = world.logged_in(1).await;
    let old = browser.session_of(TEHRAN);
    world.sso.manner().error = Some("access_denied");
    let page = browser.go(&at(TEHRAN, "/l3")).await;
    assert_eq!((page.status(), page.error()), (403, Some("login_declined")));
    assert_eq!(browser.session_of(TEHRAN), old);
    assert_eq!(browser.fetch(&at(TEHRAN, "/l1")).await.status(), 200);
}

/// AS-2: what the SSO does not say is level 0, and level 0 is no session.
#[tokio::test]
async fn an_unknown_level_is_no_login() {
    let world = World::start().await;
    world.sso.manner().claims = Some(|claims| drop(claims.insert("acr".into(), "0".into())));
    let mut browser = world.browser();
    let page = browser.go(&at(TEHRAN, "/l1")).await;
    assert_eq!((page.status(), page.error()), (403, Some("unmet_authentication_requirements")));
    assert_eq!(browser.session_of(TEHRAN), None);
    world.agency.assert_untouched();
}

/// AS-7, RP-3: an age is asked for with `max_age`, and must be kept to.
#[tokio::test]
async fn an_old_login_is_made_anew_where_its_age_counts() {
    let world = World::start().await;
    world.sso.manner().claims =
        Some(|claims| drop(claims.insert("auth_time".into(), (crate::support::token::now() - 3600).into())));
    let mut browser = world.logged_in(2).await;
    let page = browser.fetch(&at(TEHRAN, "/fresh")).await;
    assert_eq!((page.status(), page.error()), (401, Some("authentication_too_old")));
    assert_eq!(page.json()["step_up_url"], "/.gateway/login?level=1&max_age=300");
    // An SSO that does not keep to it is not believed.
    let page = browser.go(&at(TEHRAN, "/fresh")).await;
    assert_eq!((page.status(), page.error()), (502, Some("login_invalid")));
    assert_eq!(world.sso.asked()["max_age"], "300");
    world.sso.manner().claims = None;
    assert_eq!(browser.go(&at(TEHRAN, "/fresh")).await.status(), 200);
    assert_eq!(browser.fetch(&at(TEHRAN, "/l2")).await.status(), 200, "the level that stood still stands");
}

/// AS-7: asked for at the first login too. An SSO that has an old login and asks nobody is sent there again, to ask.
#[tokio::test]
async fn a_first_login_is_asked_for_with_the_age_that_the_route_allows() {
    let world = World::start().await;
    world.sso.manner().claims =
        Some(|claims| drop(claims.insert("auth_time".into(), (crate::support::token::now() - 3600).into())));
    let page = world.browser().go(&at(TEHRAN, "/fresh")).await;
    assert_eq!(
        (page.status(), page.error()),
        (502, Some("login_invalid")),
        "nor is it believed when it was told to ask"
    );
    let asked = world.sso.authorizations();
    let said: Vec<_> = asked.iter().map(|a| (a["max_age"].as_str(), a.get("prompt").map(String::as_str))).collect();
    assert_eq!(said, [("300", Some("none")), ("300", None)]);
    world.sso.manner().claims = None;
    assert_eq!(world.browser().go(&at(TEHRAN, "/fresh")).await.status(), 200);
    assert_eq!(world.sso.authorizations().len(), 3, "at once");
}

/// RFC 9470: what an agency is told is one authentication, never the strength of one with the time of another.
#[tokio::test]
async fn level_and_time_are_of_one_authentication() {
    let world = World::start().await;
    let hour_ago = || crate::support::token::now() - 3600;
    world.sso.manner().claims =
        Some(|claims| drop(claims.insert("auth_time".into(), (crate::support::token::now() - 3600).into())));
    let mut browser = world.logged_in(2).await;
    // Anew, but at level 1 alone.
    world.sso.manner().claims = None;
    world.sso.manner().level = 1;
    assert_eq!(browser.go(&at(TEHRAN, "/fresh")).await.status(), 200);
    let told = assertion(&world.agency);
    assert_eq!((told["level"].as_u64(), told["acr"].as_str()), (Some(1), Some("urn:example:level:1")));
    assert!(told["auth_time"].as_i64().unwrap() > hour_ago() + 60);
    for route in ["/l2", "/l1"] {
        assert_eq!(browser.fetch(&at(TEHRAN, route)).await.status(), 200);
        let told = assertion(&world.agency);
        assert_eq!((told["level"].as_u64(), told["acr"].as_str()), (Some(2), Some("urn:example:level:2")), "{route}");
        assert!(told["auth_time"].as_i64().unwrap() <= hour_ago() + 60, "{route}: the time of the weaker one");
    }
}

/// A value that no longer stands for a level opens nothing, also in sessions that were there before; and nobody is sent in
/// circles.
#[tokio::test]
async fn a_level_that_is_taken_from_a_value_is_taken_from_sessions() {
    let world = World::start().await;
    let mut browser = world.logged_in(3).await;
    let file = world.gateway.config_file();
    let yaml = std::fs::read_to_string(&file).unwrap();
    let lower = yaml.replace(r#""urn:example:level:3": 3"#, r#""urn:example:level:3": 1, "urn:example:stronger": 3"#);
    assert_ne!(lower, yaml);
    std::fs::write(&file, lower).unwrap();
    assert_eq!(world.gateway.admin("POST", "/reload").await.status(), 200);
    assert_eq!(browser.fetch(&at(TEHRAN, "/l1")).await.status(), 200);
    assert_eq!(assertion(&world.agency)["level"], 1);
    let page = browser.fetch(&at(TEHRAN, "/l3")).await;
    assert_eq!((page.status(), page.error()), (401, Some("level_too_low")));
    assert_eq!(browser.fetch(&at(TEHRAN, "/.gateway/session")).await.json()["level"], 1);
    let page = browser.go(&at(TEHRAN, "/l3")).await;
    assert_eq!((page.status(), page.error()), (403, Some("unmet_authentication_requirements")), "{:?}", browser.went);
}
