//! Against a real Redis, two nodes and their workers.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use http::header::{COOKIE, SET_COOKIE};

use super::*;
use crate::clock::Clock;
use crate::config::defaults;
use crate::config::model::{self, RedisAddress, SessionKey, SessionStore};
use crate::fields::Fields;
use crate::secret::Secret;
use crate::session::{Ended, Known, Loaded, NotBegun, Sessions, SetCookies, Turn, Whose};
use crate::store::Server;

const NOW: UnixTime = 1_800_000_000;
/// Of a refresh.
const LONGEST: Duration = Duration::from_secs(20);

pub(in crate::session) struct Redis {
    directory: tempfile::TempDir,
    process: Child,
}

impl Redis {
    /// On a Unix socket alone, and gone with the test.
    pub(in crate::session) async fn start() -> Redis {
        let directory = tempfile::tempdir().unwrap();
        let process = Redis::spawn(directory.path());
        let redis = Redis { directory, process };
        redis.until_it_answers().await;
        redis
    }

    fn spawn(directory: &Path) -> Child {
        let mut server = Command::new("redis-server");
        server.args(["--port", "0", "--save", "", "--appendonly", "no", "--dir"]).arg(directory);
        server.arg("--unixsocket").arg(directory.join("redis.sock"));
        server.stdout(Stdio::null()).spawn().expect("redis-server is installed")
    }

    async fn until_it_answers(&self) {
        let store = self.store();
        eventually(async || store.ask(&redis::cmd("PING"), PATIENCE).await.is_ok()).await;
    }

    pub(in crate::session) fn stop(&mut self) {
        self.process.kill().and_then(|()| self.process.wait()).unwrap();
    }

    pub(in crate::session) async fn start_again(&mut self) {
        self.process = Redis::spawn(self.directory.path());
        self.until_it_answers().await;
    }

    pub(in crate::session) fn model(&self) -> RedisServer {
        let address = RedisAddress::Unix(self.directory.path().join("redis.sock"));
        RedisServer { url: "unix".into(), address, database: 0, username: None, password: None, roots: None }
    }

    fn store(&self) -> Store {
        Store::open(Server::new(self.model(), "").unwrap())
    }

    async fn node(&self) -> Node {
        let node = Node::new(self.model());
        eventually(async || node.shared().is_heard()).await;
        node
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill().and_then(|()| self.process.wait());
    }
}

/// Waits for what must come; the test's own patience is the bound.
pub(in crate::session) async fn eventually(mut is_so: impl AsyncFnMut() -> bool) {
    let waited = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waited).await.expect("it comes");
}

struct Node {
    sessions: Sessions,
    known: Known,
}

impl Node {
    fn new(server: RedisServer) -> Node {
        let settings = model::Sessions {
            store: SessionStore::Redis(server),
            keys: vec![SessionKey::parse(b"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=").unwrap()],
            cookie: Arc::from(defaults::SESSION_COOKIE),
            levels: defaults::SESSION_LEVELS,
            per_subject: 2,
            grace: defaults::SESSION_GRACE,
            logins: defaults::LOGINS,
        };
        let nowhere = Path::new("/nonexistent");
        let clock = Clock::scripted(NOW);
        let sessions = Sessions::new(&settings, nowhere, None, &Handle::current(), &clock).unwrap();
        Node { sessions, known: Known::new(16) }
    }

    fn shared(&self) -> &Shared {
        match &self.sessions.common.store {
            crate::session::Store::Shared(shared) => shared,
            _ => unreachable!("it is configured so"),
        }
    }

    async fn load(&self, browser: &Fields, now: UnixTime) -> Option<Loaded> {
        self.sessions.load(&self.known, browser, b"", now).await.unwrap()
    }

    async fn turn(&self, loaded: &Loaded) -> Result<Turn, StoreAway> {
        self.sessions.refresh_turn(loaded, LONGEST, NOW).await
    }

    async fn login(&self, session: Session) -> Fields {
        let now = session.created;
        browser(&self.sessions.create(session, None, now, &Fields::new(), now).await.unwrap())
    }
}

fn browser(set: &SetCookies) -> Fields {
    let mut answer = Fields::new();
    set.append_to(&mut answer);
    let value = answer[SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
    Fields::from_iter([(COOKIE, value.try_into().unwrap())])
}

fn session(sub: &str, at: UnixTime) -> Session {
    let mut session = Session::new(Arc::from("sso"), sub.to_owned(), at);
    session.sid = Some(format!("sid-{sub}-{at}"));
    session.tokens.refresh = Some(Secret::new("refresh-token-canary".to_owned()));
    session.reach(Level::TWO, "urn:gov:loa2", Some(at), at);
    session
}

/// BL-9, BL-12
#[tokio::test]
async fn a_session_is_known_and_ends_on_every_node() {
    let redis = Redis::start().await;
    let (one, two) = (redis.node().await, redis.node().await);
    let cookies = one.login(session("a", NOW)).await;
    let loaded = two.load(&cookies, NOW).await.unwrap();
    assert_eq!(loaded.session(), &session("a", NOW));
    let stream = two.sessions.watch(&loaded, Level::TWO, NOW);
    let here = one.load(&cookies, NOW).await.unwrap();
    one.sessions.end(&here, Ended::Logout, &cookies, NOW).await.unwrap();
    assert!(one.load(&cookies, NOW).await.is_none(), "at once where it was ended");
    stream.ended().await;
    assert!(two.load(&cookies, NOW).await.is_none());

    let (first, second, other) = (
        one.login(session("a", NOW)).await,
        two.login(session("a", NOW + 1)).await,
        one.login(session("b", NOW)).await,
    );
    assert_eq!(one.sessions.end_by("sso", Whose::Sid("sid-a-1800000000"), NOW).await, Ok(1));
    eventually(async || two.load(&first, NOW).await.is_none()).await;
    assert!(one.load(&second, NOW).await.is_some());
    assert_eq!(two.sessions.end_by("sso", Whose::Sub("a"), NOW).await, Ok(1));
    eventually(async || one.load(&second, NOW).await.is_none()).await;
    assert!(one.load(&other, NOW).await.is_some() && two.load(&other, NOW).await.is_some());
}

/// RP-8
#[tokio::test]
async fn a_step_up_ends_the_old_id_and_one_login_too_many_the_oldest() {
    let redis = Redis::start().await;
    let (one, two) = (redis.node().await, redis.node().await);
    let old = one.login(session("a", NOW)).await;
    let loaded = one.load(&old, NOW).await.unwrap();
    assert!(two.load(&old, NOW).await.is_some());
    let set = one.sessions.create(session("a", NOW + 1), Some(&loaded), NOW, &old, NOW + 1).await.unwrap();
    let new = browser(&set);
    assert!(one.load(&old, NOW + 1).await.is_none());
    eventually(async || two.load(&old, NOW + 1).await.is_none()).await;
    let (third, fourth) = (two.login(session("a", NOW + 2)).await, two.login(session("a", NOW + 3)).await);
    eventually(async || one.load(&new, NOW + 3).await.is_none()).await;
    assert!(one.load(&third, NOW + 3).await.is_some() && one.load(&fourth, NOW + 3).await.is_some());
    assert_eq!(two.sessions.stats().sessions_ended(Ended::PerSubject), 1);
}

/// AS-8, across nodes: use on one keeps a level for the other.
/// BL-9, BL-12: the SSO told one node, and the login comes back to the other.
#[tokio::test]
async fn what_the_sso_ended_since_a_login_began_begins_on_no_node() {
    let redis = Redis::start().await;
    let (one, two) = (redis.node().await, redis.node().await);
    let none = Fields::new();
    let begin = async |session, begun| two.sessions.create(session, None, begun, &none, NOW + 1).await;
    for (whose, who) in [(Whose::Sid(&format!("sid-a-{NOW}")), "a"), (Whose::Sub("b"), "b")] {
        one.sessions.end_by("sso", whose, NOW + 1).await.unwrap();
        assert_eq!(begin(session(who, NOW), NOW).await.err(), Some(NotBegun::Over), "{who}");
        assert!(begin(session(who, NOW), NOW + 1).await.is_ok());
    }
    one.sessions.end_by("sso", Whose::Named(&format!("sid-c-{NOW}")), NOW + 1).await.unwrap();
    let browser = browser(&begin(session("c", NOW), NOW).await.unwrap());
    let (loaded, elsewhere) = (one.load(&browser, NOW).await.unwrap(), two.load(&browser, NOW).await.unwrap());
    one.sessions.end(&loaded, Ended::Logout, &browser, NOW).await.unwrap();
    let higher = elsewhere.session().clone();
    let created = two.sessions.create(higher, Some(&elsewhere), NOW, &browser, NOW).await;
    assert_eq!(created.err(), Some(NotBegun::Over));
}

#[tokio::test]
async fn use_on_one_node_counts_on_the_other() {
    let redis = Redis::start().await;
    let (one, two) = (redis.node().await, redis.node().await);
    let cookies = one.login(session("a", NOW)).await;
    assert!(two.load(&cookies, NOW).await.is_some());
    let loaded = one.load(&cookies, NOW + 1700).await.unwrap();
    assert!(one.sessions.touch(&loaded, &cookies, NOW + 1700).is_none());
    eventually(async || two.load(&cookies, NOW + 1900).await.unwrap().level_at(NOW + 1900) == Level::TWO).await;
    let loaded = two.load(&cookies, NOW + 4000).await.unwrap();
    assert_eq!(loaded.level_at(NOW + 4000), Level::ONE);
    two.sessions.touch(&loaded, &cookies, NOW + 4000);
    eventually(async || one.load(&cookies, NOW + 4010).await.unwrap().session().standing(Level::TWO).is_none()).await;
}

#[tokio::test]
async fn of_many_on_two_nodes_one_refreshes() {
    let redis = Redis::start().await;
    let (one, two) = (redis.node().await, redis.node().await);
    let cookies = one.login(session("a", NOW)).await;
    let refreshes = std::cell::Cell::new(0);
    let ask = async |node: &Node| {
        let loaded = node.load(&cookies, NOW).await.unwrap();
        if loaded.session().tokens.expires.is_some() {
            return;
        }
        if let Turn::Yours(_flight) = node.turn(&loaded).await.unwrap() {
            refreshes.set(refreshes.get() + 1);
            tokio::task::yield_now().await;
            let mut fresh = loaded.session().clone();
            fresh.tokens.expires = Some(NOW + 300);
            node.sessions.save(&loaded, fresh, &cookies, NOW).await.unwrap();
        }
        let newest = node.load(&cookies, NOW).await.unwrap();
        assert_eq!(newest.session().tokens.expires, Some(NOW + 300));
    };
    let mut all: Vec<std::pin::Pin<Box<dyn Future<Output = ()> + '_>>> = Vec::new();
    for _ in 0..50 {
        all.push(Box::pin(ask(&one)));
        all.push(Box::pin(ask(&two)));
    }
    std::future::poll_fn(|cx| {
        all.retain_mut(|one| one.as_mut().poll(cx).is_pending());
        if all.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    assert_eq!(refreshes.get(), 1);
}

/// RFC 9700 section 4.14: a slow refresh keeps its turn to the end, and who looked the session up before does not use its
/// token behind it.
#[tokio::test]
async fn a_slow_refresh_keeps_its_turn_and_what_is_older_than_it_has_none() {
    let redis = Redis::start().await;
    let (one, two) = (redis.node().await, redis.node().await);
    let cookies = one.login(session("a", NOW)).await;
    let (loaded, elsewhere) = (one.load(&cookies, NOW).await.unwrap(), two.load(&cookies, NOW).await.unwrap());
    let Turn::Yours(flight) = one.turn(&loaded).await.unwrap() else { panic!("nobody else asks") };
    let mut left = redis::cmd("PTTL");
    left.arg(format!("darvazeh:refresh:{}", text(&loaded.id().filed())));
    let left: i64 = two.shared().hub.ask(&left).await.unwrap();
    assert!(left > 10_000, "as long as a refresh may take, and not as long as some other limit: {left} ms");
    let mut fresh = loaded.session().clone();
    fresh.tokens.refresh = Some(Secret::new("second".to_owned()));
    one.sessions.save(&loaded, fresh, &cookies, NOW).await.unwrap();
    drop(flight);
    // The lock is given up in the background: then it is the other's turn, or it was over before.
    assert!(matches!(two.turn(&elsewhere).await.unwrap(), Turn::Over));
    let newest = two.load(&cookies, NOW).await.unwrap();
    eventually(async || matches!(two.turn(&newest).await.unwrap(), Turn::Yours(_))).await;
}

/// The store being away: 503 within a second, the cookie is kept, and what was known counts for nothing.
#[tokio::test]
async fn an_absent_server_is_said_to_be_absent_and_comes_back() {
    let mut redis = Redis::start().await;
    let node = redis.node().await;
    let cookies = node.login(session("a", NOW)).await;
    assert!(node.load(&cookies, NOW).await.is_some());
    redis.stop();
    eventually(async || node.sessions.load(&node.known, &cookies, b"", NOW).await.is_err()).await;
    let loaded = Loaded::new(
        Id::draw(),
        session("a", NOW),
        *node.sessions.limits(),
        crate::session::known::Kept::Copy { until: NOW, touched: std::cell::Cell::new(NOW), is_renewed: false },
    );
    assert!(node.sessions.end(&loaded, Ended::Logout, &cookies, NOW).await.is_err());
    assert!(node.turn(&loaded).await.is_err());
    let nobody = Fields::new();
    assert!(
        node.sessions.load(&node.known, &nobody, b"", NOW).await.unwrap().is_none(),
        "who has no cookie is not kept"
    );
    assert!(node.sessions.store_health().is_some_and(|(_, failures)| failures >= 3));
    redis.start_again().await;
    eventually(async || node.sessions.load(&node.known, &cookies, b"", NOW).await == Ok(None)).await;
    let again = node.login(session("a", NOW)).await;
    assert!(node.load(&again, NOW).await.is_some());
}

/// PV-4, BF-4
#[tokio::test]
async fn the_server_learns_neither_tokens_nor_who_has_a_session() {
    let redis = Redis::start().await;
    let node = redis.node().await;
    let cookies = node.login(session("0012345678", NOW)).await;
    let loaded = node.load(&cookies, NOW + 100).await.unwrap();
    node.sessions.touch(&loaded, &cookies, NOW + 100);
    let mut dump = Vec::new();
    let store = redis.store();
    eventually(async || store.is_up()).await;
    let keys: Vec<String> = from_redis_value(store.ask(redis::cmd("KEYS").arg("*"), PATIENCE).await.unwrap()).unwrap();
    for key in &keys {
        let kind = match key.split(':').nth(1) {
            Some("session") => vec!["HGETALL"],
            Some("index") => vec!["ZRANGE", "0", "-1"],
            _ => vec!["XRANGE", "-", "+"],
        };
        let mut cmd = redis::cmd(kind[0]);
        cmd.arg(key).arg(&kind[1..]);
        dump.extend(format!("{key} {:?}", store.ask(&cmd, PATIENCE).await.unwrap()).into_bytes());
    }
    assert!(keys.len() >= 3);
    let id = loaded.id().text();
    let plain = Key::subject("sso", "0012345678");
    for said in ["0012345678", "canary", "urn:gov", "sid-", &id, &text(&plain)] {
        assert!(!dump.windows(said.len()).any(|part| part == said.as_bytes()), "{said}");
    }
}
