//! Streams that were opened by a session or a token end with it: a Close with 1008, or the end of the stream.

use crate::browser::{Browser, FORM, SCRIPT};
use crate::provider::Provider;
use crate::support::agency::Agency;
use crate::support::token::{now, token};
use crate::support::websocket::{ACCEPTANCE, text};
use crate::support::wire::Wire;
use crate::world::{CLIENT, IN_COOKIES, SESSIONS, TEHRAN, World, at};

const EVENTS: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n";
const CLOSE: [u8; 4] = [0x88, 0x02, 0x03, 0xf0];

/// Before an agency whose streams never end by themselves.
async fn world() -> World {
    let agency = Agency::start(|request| {
        if request.head.has("upgrade") {
            [ACCEPTANCE.as_bytes(), &text("hello")].concat()
        } else if request.head.target().ends_with("/events") {
            EVENTS.into()
        } else {
            crate::support::agency::ok("hello")
        }
    })
    .await;
    World::before(agency, CLIENT, "timeouts: { connect: 5s }", Provider::start().await).await
}

async fn websocket(browser: &Browser, path: &str, fields: &[&str]) -> Wire {
    let opening = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-Fetch-Site: same-origin",
    ];
    let fields: Vec<&str> = opening.iter().copied().chain(fields.iter().copied()).collect();
    let mut wire = browser.open("GET", &at(TEHRAN, path), &fields, "").await;
    assert_eq!(wire.head().await.expect("a head").status(), 101);
    assert_eq!(wire.exactly(text("hello").len()).await, Some(text("hello")));
    wire
}

async fn events(browser: &Browser) -> Wire {
    let mut wire = browser.open("GET", &at(TEHRAN, "/l1/events"), SCRIPT, "").await;
    assert_eq!(wire.head().await.expect("a head").status(), 200);
    assert_eq!(wire.chunk().await.as_deref(), Some(&b"data: 1\n\n"[..]));
    wire
}

async fn ended(world: &World, times: f64) {
    let all = |m: &crate::support::gateway::Metrics| m.sum("darvazeh_streams_ended_total", &[]) == times;
    world.gateway.metrics_when("ended streams", all).await;
}

/// Point 6: logged out at the portal.
#[tokio::test]
async fn streams_end_when_their_session_logs_out() {
    let world = world().await;
    let mut browser = world.logged_in(1).await;
    let (mut socket, mut events) = (websocket(&browser, "/l1/ws", &[]).await, events(&browser).await);
    let csrf = browser.fetch(&at(TEHRAN, "/.gateway/session")).await.json()["csrf"].as_str().unwrap().to_owned();
    let page = browser.send("POST", &at(TEHRAN, "/.gateway/logout"), FORM, &format!("csrf={csrf}")).await;
    assert_eq!(page.status(), 303);
    assert_eq!(socket.rest().await, CLOSE);
    assert_eq!(events.chunk().await.as_deref(), Some(&b""[..]), "the end of the stream");
    ended(&world, 2.0).await;
}

/// Point 6: ended by the SSO.
#[tokio::test]
async fn streams_end_when_the_sso_ends_their_session() {
    let world = world().await;
    let browser = world.logged_in(1).await;
    let mut socket = websocket(&browser, "/l1/ws", &[]).await;
    let told = world.sso.logout_token(|_| ());
    let fields = ["Content-Type: application/x-www-form-urlencoded"];
    let mut sso = world.browser();
    sso.send("POST", &at(TEHRAN, "/.gateway/backchannel-logout"), &fields, &format!("logout_token={told}")).await;
    assert_eq!(socket.rest().await, CLOSE);
    ended(&world, 1.0).await;
}

/// Point 6: a reload after which the value of the session is worth less, or its store is another.
#[tokio::test]
async fn streams_end_when_a_reload_takes_what_they_stand_on() {
    for (from, to) in [(r#""urn:example:level:2": 2"#, r#""urn:example:level:2": 1"#), (SESSIONS, IN_COOKIES)] {
        let world = world().await;
        let browser = world.logged_in(2).await;
        let mut socket = websocket(&browser, "/l2/ws", &[]).await;
        let file = world.gateway.config_file();
        let yaml = std::fs::read_to_string(&file).unwrap();
        assert!(yaml.contains(from), "{yaml}");
        std::fs::write(&file, yaml.replace(from, to)).unwrap();
        assert_eq!(world.gateway.admin("POST", "/reload").await.status(), 200);
        assert_eq!(socket.rest().await, CLOSE, "{to}");
        ended(&world, 1.0).await;
    }
}

/// Point 6: a token's stream ends when the token does.
#[tokio::test]
async fn streams_end_with_their_token() {
    let world = world().await;
    let token = token(1).claim("iss", world.sso.issuer()).claim("aud", "api").claim("exp", now() + 3).sign();
    let mut socket = websocket(&world.browser(), "/either/ws", &[&format!("Authorization: Bearer {token}")]).await;
    assert_eq!(socket.rest().await, CLOSE);
    ended(&world, 1.0).await;
}
