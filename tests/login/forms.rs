//! A form that needs more than its session has: kept, shown by the names of its fields, and sent once.

use crate::browser::{FORM, SCRIPT};
use crate::world::{TEHRAN, World, assertion, at};

const BODY: &str = "amount=1000&to=IR0001&note=hello+there";

/// The whole way: nothing is sent before the step-up, and once after a click.
#[tokio::test]
async fn a_form_waits_for_the_step_up_and_is_sent_once() {
    let world = World::start().await;
    let mut browser = world.logged_in(1).await;
    let before = world.agency.seen().len();
    let page = browser.submit(&at(TEHRAN, "/l3/pay?x=1"), BODY).await;
    assert_eq!(page.status(), 200, "{}", page.text());
    let text = page.text();
    for shown in ["POST", "portal.tehran.example/l3/pay", "amount", "note"] {
        assert!(text.contains(shown), "{shown} in {text}");
    }
    for hidden in ["1000", "IR0001", "hello there"] {
        assert!(!text.contains(hidden), "a value is shown: {hidden}");
    }
    assert_eq!(world.agency.seen().len(), before, "nothing is sent before the click");
    let (action, name, value) =
        (page.attribute("action=\""), page.attribute("type=\"hidden\" name=\""), page.attribute("value=\""));
    let go = format!("{name}={value}");
    let sent = browser.send("POST", &at(TEHRAN, &action), FORM, &go).await;
    assert_eq!((sent.status(), &*sent.text()), (200, "hello"));
    let last = world.agency.last();
    assert_eq!(last.head.start, "POST /l3/pay?x=1 HTTP/1.1");
    assert_eq!(String::from_utf8_lossy(&last.payload.bytes), BODY);
    assert_eq!(last.head.get("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(assertion(&world.agency)["level"], 3);
    // A second click, or the back button, sends nothing.
    let again = browser.send("POST", &at(TEHRAN, &action), FORM, &go).await;
    assert_eq!((again.status(), again.error()), (400, Some("form_gone")));
    assert_eq!(world.agency.seen().len(), before + 1);
    let forms = async |what: &str| {
        world.gateway.metrics().await.sum("darvazeh_kept_forms_total", &[&format!("outcome=\"{what}\"")])
    };
    assert_eq!((forms("kept").await, forms("sent").await, forms("gone").await), (1.0, 1.0, 1.0));
}

/// The page that asks may be loaded again, in its own browser and by its own person.
#[tokio::test]
async fn the_page_that_asks_may_be_loaded_again() {
    let world = World::start().await;
    let mut browser = world.logged_in(1).await;
    let page = browser.submit(&at(TEHRAN, "/l3/pay"), BODY).await;
    let url = page.url.clone();
    assert!(url.contains("/.gateway/form?id=") && !url.contains("code="), "{url}");
    let again = browser.go(&url).await;
    assert_eq!(again.status(), 200);
    assert!(
        again.text().contains("amount") && again.text().contains(&page.attribute("name=\"gateway-send\" value=\""))
    );
    for mut other in [world.browser(), world.logged_in(3).await] {
        let refused = other.go(&url).await;
        assert_eq!((refused.status(), refused.error()), (400, Some("form_gone")));
    }
}

/// Somebody else at the SSO, or another site's page, sends nothing.
#[tokio::test]
async fn a_form_is_sent_by_its_own_person_alone() {
    let world = World::start().await;
    let mut browser = world.logged_in(1).await;
    let before = world.agency.seen().len();
    world.sso.manner().person = Some("somebody-else");
    let page = browser.submit(&at(TEHRAN, "/l3/pay"), BODY).await;
    // Their own session begins, and of the form there is nothing.
    assert!(!page.text().contains("amount"), "{}", page.text());
    assert!(world.agency.seen()[before..].iter().all(|seen| seen.head.method() == "GET"));
    let fields: Vec<&str> =
        FORM.iter().copied().filter(|f| !f.contains("Site")).chain(["Sec-Fetch-Site: cross-site"]).collect();
    let page = browser.send("POST", &at(TEHRAN, "/l3/pay"), &fields, BODY).await;
    assert_eq!(page.error(), Some("cross_site"));
}

/// What cannot be kept is told, and not sent.
#[tokio::test]
async fn what_cannot_be_kept_is_told() {
    let world = World::start().await;
    let mut browser = world.logged_in(1).await;
    let large = format!("a={}", "x".repeat(300 * 1024));
    let page = browser.send("POST", &at(TEHRAN, "/l3"), FORM, &large).await;
    assert_eq!((page.status(), page.error()), (401, Some("level_too_low")));
    assert!(page.text().contains("/.gateway/login?level=3"));
    let page = browser.send("POST", &at(TEHRAN, "/l3"), SCRIPT, "a=1").await;
    assert_eq!((page.status(), page.error()), (401, Some("level_too_low")));
    let mut nobody = world.browser();
    let page = nobody.send("POST", &at(TEHRAN, "/l1"), FORM, BODY).await;
    assert_eq!((page.status(), page.error()), (401, Some("login_required")));
    assert!(page.text().contains("has not been sent"), "{}", page.text());
}
