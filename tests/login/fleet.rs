//! Two gateways and one Redis: a session is everybody's, so is its end, and the store's absence logs nobody out.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::browser::{Browser, FORM, NAVIGATION};
use crate::provider::Provider;
use crate::support::PATIENCE;
use crate::support::agency::Agency;
use crate::support::gateway::Gateway;
use crate::support::token::token;
use crate::world::{CLIENT, IN_COOKIES, SESSIONS, TEHRAN, World, at, config};

/// On a Unix socket alone, and gone with the test.
struct Redis(Child);

impl Redis {
    async fn start(directory: &Path) -> Redis {
        let mut server = Command::new("redis-server");
        server.args(["--port", "0", "--save", "", "--appendonly", "no", "--dir"]).arg(directory);
        server.arg("--unixsocket").arg(directory.join("redis.sock"));
        let redis = Redis(server.stdout(Stdio::null()).spawn().expect("redis-server is installed"));
        let listens = async || tokio::net::UnixStream::connect(directory.join("redis.sock")).await.is_ok();
        eventually("Redis listens", listens).await;
        redis
    }

    fn stop(&mut self) {
        self.0.kill().and_then(|()| self.0.wait()).unwrap();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waited = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waited).await.is_ok(), "waited in vain: {what}");
}

/// The same browser, led to another gateway.
fn at_another(browser: &Browser, gateway: &Gateway) -> Browser {
    let mut same = Browser::new(gateway);
    for (name, value) in browser.cookies_of(TEHRAN) {
        same.set_cookie(TEHRAN, &name, &value);
    }
    same
}

/// BL-12, and point 3: Redis away is a 503 that keeps the cookie, and nothing to who brings a token or nothing.
#[tokio::test]
async fn a_fleet_shares_sessions_their_end_and_their_stores_absence() {
    let directory = tempfile::tempdir().unwrap();
    let mut redis = Redis::start(directory.path()).await;
    let socket = directory.path().join("redis.sock");
    let store =
        format!("sessions: {{ store: {{ redis: 'unix://{}' }}, keys: [session.key], grace: 0s }}", socket.display());
    let (sso, agency) = (Provider::start().await, Agency::hello().await);
    let yaml = config(&sso, &agency, CLIENT, "timeouts: { connect: 5s }").yaml().replace(SESSIONS, &store);
    let other = World::gateway(&yaml).await;
    let world = World::of(&yaml, agency, sso).await;
    // Begun at one gateway, ended at the other: the attempt is in the browser.
    let mut browser = world.browser();
    let begun = browser.send("GET", &at(TEHRAN, "/.gateway/login?to=/l1"), &["Accept: text/html"], "").await;
    let mut there = at_another(&browser, &other);
    assert_eq!(there.follow(begun).await.status(), 200);
    let mut here = at_another(&there, &world.gateway);
    assert_eq!(here.fetch(&at(TEHRAN, "/l1")).await.status(), 200);
    // The SSO tells one gateway, and both know.
    let token_form = format!("logout_token={}", world.sso.logout_token(|_| ()));
    let fields = ["Content-Type: application/x-www-form-urlencoded"];
    let told = world.browser().send("POST", &at(TEHRAN, "/.gateway/backchannel-logout"), &fields, &token_form).await;
    assert_eq!(told.status(), 200);
    eventually("the other gateway knows", async || there.fetch(&at(TEHRAN, "/l1")).await.status() == 401).await;
    // The store goes away.
    let mut here = world.logged_in(1).await;
    let session = here.session_of(TEHRAN);
    redis.stop();
    let mut elsewhere = at_another(&here, &other);
    let page = elsewhere.fetch(&at(TEHRAN, "/l1")).await;
    assert_eq!((page.status(), page.error()), (503, Some("session_store_unavailable")));
    assert!(page.answer.head.has("retry-after") && !page.answer.head.has("set-cookie"));
    assert_eq!(elsewhere.session_of(TEHRAN), session, "the cookie stays");
    assert_eq!(elsewhere.fetch(&at(TEHRAN, "/open")).await.status(), 200);
    let token = token(1).claim("iss", world.sso.issuer()).claim("aud", "api").sign();
    let bearer = format!("Authorization: Bearer {token}");
    assert_eq!(elsewhere.send("GET", &at(TEHRAN, "/either"), &[&bearer], "").await.status(), 200);
    let page = here.go(&at(TEHRAN, "/l3")).await;
    assert_eq!((page.status(), page.error()), (503, Some("session_store_unavailable")));
    // BL-10: the SSO is told to try again, and the same message counts then.
    let again = format!("logout_token={}", world.sso.logout_token(|_| ()));
    let url = at(TEHRAN, "/.gateway/backchannel-logout");
    assert_eq!(world.browser().send("POST", &url, &fields, &again).await.status(), 503);
    let _redis = Redis::start(directory.path()).await;
    let is_told = async || world.browser().send("POST", &url, &fields, &again).await.status() == 200;
    eventually("the store is back, and the message heard", is_told).await;
    assert_eq!(world.browser().send("POST", &url, &fields, &again).await.status(), 400, "BL-7");
}

/// Sessions in cookies, with the Redis at `socket` shared by all gateways.
fn shared_cookies(sso: &Provider, agency: &Agency, socket: &Path) -> String {
    let shared = IN_COOKIES.replace("cookie,", &format!("cookie, shared: 'unix://{}',", socket.display()));
    config(sso, agency, CLIENT, "timeouts: { connect: 5s }").yaml().replace(SESSIONS, &shared)
}

/// BL-12, RP-1: sessions in cookies, whose end, whose logins and whose forms are everybody's.
#[tokio::test]
async fn a_fleet_with_sessions_in_cookies_shares_what_ended_and_what_was_used() {
    let directory = tempfile::tempdir().unwrap();
    let _redis = Redis::start(directory.path()).await;
    let (sso, agency) = (Provider::start().await, Agency::hello().await);
    let yaml = shared_cookies(&sso, &agency, &directory.path().join("redis.sock"));
    let other = World::gateway(&yaml).await;
    let world = World::of(&yaml, agency, sso).await;
    let mut browser = world.browser();
    eventually("the list is read", async || browser.go(&at(TEHRAN, "/l1")).await.status() == 200).await;
    let mut there = at_another(&browser, &other);
    eventually("there too", async || there.fetch(&at(TEHRAN, "/l1")).await.status() == 200).await;
    // A form that needs more, sent here; the SSO's answer and the button come there.
    let asked = browser.send("POST", &at(TEHRAN, "/l3"), FORM, "amount=7").await;
    assert_eq!(asked.status(), 303);
    let at_sso = browser.send("GET", asked.location(), NAVIGATION, "").await;
    let back = at_sso.location().to_owned();
    let [mut there, mut again] = [at_another(&browser, &other), at_another(&browser, &world.gateway)];
    let told = there.send("GET", &back, NAVIGATION, "").await;
    assert_eq!(told.status(), 303, "{}", told.text());
    let page = there.send("GET", &at(TEHRAN, told.location()), NAVIGATION, "").await;
    assert_eq!((page.status(), page.text().contains("amount")), (200, true), "{}", page.text());
    let replayed = again.send("GET", &back, NAVIGATION, "").await;
    assert_eq!((replayed.status(), replayed.error()), (400, Some("login_expired")), "used at the other gateway");
    let go = format!("{}={}", page.attribute("type=\"hidden\" name=\""), page.attribute("value=\""));
    assert_eq!(there.send("POST", &at(TEHRAN, "/l3"), FORM, &go).await.status(), 200);
    assert_eq!(&*world.agency.last().payload.bytes, b"amount=7");
    // The SSO tells one gateway; a copy of the cookie is dead at the other.
    let mut copy = at_another(&there, &world.gateway);
    assert_eq!(copy.fetch(&at(TEHRAN, "/l3")).await.status(), 200);
    let token_form = format!("logout_token={}", world.sso.logout_token(|_| ()));
    let fields = ["Content-Type: application/x-www-form-urlencoded"];
    let url = at(TEHRAN, "/.gateway/backchannel-logout");
    assert_eq!(world.browser().send("POST", &url, &fields, &token_form).await.status(), 200);
    assert_eq!(copy.fetch(&at(TEHRAN, "/l3")).await.status(), 401);
    eventually("the other gateway knows", async || there.fetch(&at(TEHRAN, "/l3")).await.status() == 401).await;
    // The same token again, at the other: used is used.
    let mut fleet = Browser::new(&other);
    assert_eq!(fleet.send("POST", &url, &fields, &token_form).await.status(), 400);
}

/// Point 3, RFC 9700 section 4.14: at the moment of expiry a fleet asks once, however slow the SSO is, and nobody fails.
#[tokio::test]
async fn a_fleet_uses_a_refresh_token_once() {
    let directory = tempfile::tempdir().unwrap();
    let _redis = Redis::start(directory.path()).await;
    let socket = directory.path().join("redis.sock");
    let store =
        format!("sessions: {{ store: {{ redis: 'unix://{}' }}, keys: [session.key], grace: 0s }}", socket.display());
    let (sso, agency) = (Provider::start().await, Agency::hello().await);
    {
        let mut manner = sso.manner();
        manner.refresh = true;
        // Ahead of time: below the minute at which a new one is asked for.
        manner.expires_in = 30;
    }
    let takes_tokens = "identity: token, timeouts: { connect: 5s }";
    let yaml = config(&sso, &agency, CLIENT, takes_tokens).yaml().replace(SESSIONS, &store);
    let other = World::gateway(&yaml).await;
    let world = World::of(&yaml, agency, sso).await;
    let browser = world.logged_in(1).await;
    {
        let mut manner = world.sso.manner();
        manner.expires_in = 300;
        manner.hangs = true;
    }
    let mut requests = tokio::task::JoinSet::new();
    for n in 0..60 {
        let mut one = at_another(&browser, if n % 2 == 0 { &world.gateway } else { &other });
        requests.spawn(async move { one.fetch(&at(TEHRAN, "/l1")).await.status() });
    }
    // Nobody waits for the SSO to the end but the one whose turn it is: the token at hand is still good.
    for _ in 0..59 {
        assert_eq!(requests.join_next().await.unwrap().unwrap(), 200);
    }
    assert_eq!(world.sso.hanging(), 1);
    world.sso.manner().hangs = false;
    assert_eq!(requests.join_next().await.unwrap().unwrap(), 200);
    for gateway in [&world.gateway, &other] {
        assert_eq!(at_another(&browser, gateway).fetch(&at(TEHRAN, "/l1")).await.status(), 200);
    }
    let calls = world.sso.token_calls();
    let shown: Vec<_> = calls.iter().filter_map(|(form, _)| form.get("refresh_token")).collect();
    assert_eq!(shown, ["refresh-1", "refresh-2"], "by the login's own request, and by the fleet");
}

/// Whoever sends form after form has the newest four wait, in the Redis as well.
#[tokio::test]
async fn forms_that_made_room_are_gone_from_the_redis() {
    let directory = tempfile::tempdir().unwrap();
    let _redis = Redis::start(directory.path()).await;
    let socket = directory.path().join("redis.sock");
    let (sso, agency) = (Provider::start().await, Agency::hello().await);
    let yaml = shared_cookies(&sso, &agency, &socket);
    let world = World::of(&yaml, agency, sso).await;
    let mut browser = world.browser();
    eventually("the list is read", async || browser.go(&at(TEHRAN, "/l1")).await.status() == 200).await;
    for _ in 0..7 {
        assert_eq!(browser.send("POST", &at(TEHRAN, "/l3"), FORM, "amount=7").await.status(), 303);
    }
    let mut keys = Command::new("redis-cli");
    keys.arg("-s").arg(&socket).args(["--scan", "--pattern", "darvazeh:form:*"]);
    let found = keys.output().expect("redis-cli is installed");
    assert_eq!(String::from_utf8_lossy(&found.stdout).lines().count(), 4);
}
