//! Against a real Redis: sealed sessions on two nodes, and one that comes later.

use std::path::Path;

use http::header::{COOKIE, SET_COOKIE};

use super::*;
use crate::config::defaults;
use crate::config::model::{self, SessionKey, SessionStore};
use crate::fields::Fields;
use crate::session::shared::tests::{Redis, eventually};
use crate::session::{Ended, Known, Session, Sessions, StoreAway, Whose};
use crate::words::Level;

const NOW: UnixTime = 1_800_000_000;
const KEY: &[u8] = b"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
const NEW_KEY: &[u8] = b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

struct Node {
    sessions: Sessions,
    known: Known,
}

impl Node {
    fn new(shared: Option<RedisServer>) -> Node {
        Node::with(shared, &[KEY], None)
    }

    fn with(shared: Option<RedisServer>, keys: &[&[u8]], previous: Option<&Sessions>) -> Node {
        let settings = model::Sessions {
            store: SessionStore::Cookie { shared },
            keys: keys.iter().map(|key| SessionKey::parse(key).unwrap()).collect(),
            cookie: Arc::from(defaults::SESSION_COOKIE),
            levels: defaults::SESSION_LEVELS,
            per_subject: 2,
            grace: defaults::SESSION_GRACE,
            logins: defaults::LOGINS,
        };
        let clock = Clock::scripted(NOW);
        let nowhere = Path::new("/nonexistent");
        let sessions = Sessions::new(&settings, nowhere, previous, &Handle::current(), &clock).unwrap();
        Node { sessions, known: Known::new(16) }
    }

    async fn login(&self, sub: &str, sid: &str) -> Fields {
        let mut session = Session::new("sso".into(), sub.to_owned(), NOW);
        session.sid = Some(sid.to_owned());
        session.reach(Level::TWO, "urn:example:level:2", Some(NOW), NOW);
        let mut answer = Fields::new();
        self.sessions.create(session, None, NOW, &Fields::new(), NOW).await.unwrap().append_to(&mut answer);
        let value = answer[SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
        Fields::from_iter([(COOKIE, value.try_into().unwrap())])
    }

    /// Whether the caller is logged in here; 503 is not.
    async fn stands(&self, browser: &Fields) -> bool {
        self.sessions.load(&self.known, browser, b"", NOW + 1).await.is_ok_and(|session| session.is_some())
    }

    async fn logout(&self, browser: &Fields) {
        let loaded = self.sessions.load(&self.known, browser, b"", NOW).await.unwrap().unwrap();
        self.sessions.end(&loaded, Ended::Logout, browser, NOW).await.unwrap();
    }
}

/// BL-12: an end is an end on every node, and for one that starts later.
#[tokio::test(flavor = "multi_thread")]
async fn what_ended_on_one_node_is_dead_on_all() {
    let redis = Redis::start().await;
    let [one, other] = [Node::new(Some(redis.model())), Node::new(Some(redis.model()))];
    eventually(async || one.stands(&one.login("a", "s0").await).await).await;
    let (here, by_sid, by_sub) = (one.login("a", "s1").await, one.login("b", "s2").await, one.login("c", "s3").await);
    let stays = one.login("d", "s4").await;
    eventually(async || other.stands(&here).await).await;
    assert!(other.stands(&by_sid).await && other.stands(&by_sub).await, "it proves itself");
    let loaded = other.sessions.load(&other.known, &here, b"", NOW).await.unwrap().unwrap();
    let stream = other.sessions.watch(&loaded, Level::ONE, NOW);
    one.logout(&here).await;
    one.sessions.end_by("sso", Whose::Sid("s2"), NOW).await.unwrap();
    one.sessions.end_by("sso", Whose::Sub("c"), NOW).await.unwrap();
    assert!(!one.stands(&here).await && !one.stands(&by_sid).await && !one.stands(&by_sub).await, "here at once");
    for browser in [&here, &by_sid, &by_sub] {
        eventually(async || !other.stands(browser).await).await;
    }
    stream.ended().await;
    let later = Node::new(Some(redis.model()));
    eventually(async || later.stands(&stays).await).await;
    for browser in [&here, &by_sid, &by_sub] {
        assert!(!later.stands(browser).await);
    }
    assert!(other.stands(&stays).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_redis_a_node_goes_by_what_it_knows() {
    let mut redis = Redis::start().await;
    let [one, other] = [Node::new(Some(redis.model())), Node::new(Some(redis.model()))];
    let browser = one.login("a", "s1").await;
    eventually(async || one.stands(&browser).await && other.stands(&browser).await).await;
    redis.stop();
    one.logout(&browser).await;
    assert!(!one.stands(&browser).await);
    assert!(other.stands(&browser).await, "nobody told it");
    // One that never read the list cannot know who is logged out.
    let blind = Node::new(Some(redis.model()));
    assert!(matches!(blind.sessions.load(&blind.known, &browser, b"", NOW).await, Err(StoreAway)));
    assert!(matches!(blind.sessions.load(&blind.known, &Fields::new(), b"", NOW).await, Ok(None)));
    redis.start_again().await;
    eventually(async || !other.stands(&browser).await).await;
    assert!(!blind.stands(&browser).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_keeps_the_list_and_turns_to_new_keys() {
    let redis = Redis::start().await;
    let alone = Node::new(None);
    let gone = alone.login("a", "s1").await;
    alone.logout(&gone).await;
    // From a list of its own to a shared one: what ended stays so, and others hear of it.
    let joined = Node::with(Some(redis.model()), &[KEY], Some(&alone.sessions));
    assert!(!joined.stands(&gone).await);
    let other = Node::with(Some(redis.model()), &[KEY, NEW_KEY], None);
    eventually(async || other.stands(&joined.login("b", "s2").await).await && !other.stands(&gone).await).await;
    let turned = Node::with(Some(redis.model()), &[NEW_KEY, KEY], Some(&joined.sessions));
    let browser = turned.login("c", "s3").await;
    assert!(other.stands(&browser).await);
    turned.logout(&browser).await;
    eventually(async || !other.stands(&browser).await).await;
}

/// Who reads the Redis learns neither who logged out nor when.
#[test]
fn an_entry_says_nothing_and_comes_back_whole() {
    let sealer = Sealer::ephemeral().unwrap();
    let end = End { key: Key::subject("sso", "0012345679"), before: NOW, until: UnixTime::MAX };
    let text = sealed(&sealer, end);
    assert!(!text.windows(8).any(|window| window == NOW.to_be_bytes() || window == &end.key.bytes()[..8]));
    assert_eq!(opened(&sealer, &text), Some(end));
    assert_eq!(opened(&Sealer::ephemeral().unwrap(), &text), None);
    assert_eq!(opened(&sealer, &text[..40]), None);
}

/// RP-1, and a form's one sending, at whichever node.
#[tokio::test(flavor = "multi_thread")]
async fn what_counts_once_counts_once_on_all_nodes() {
    let redis = Redis::start().await;
    let nodes = [Node::new(Some(redis.model())), Node::new(Some(redis.model()))];
    let [one, other] = [0, 1].map(|at: usize| nodes[at].sessions.hub().unwrap());
    eventually(async || one.look("x").await.is_ok() && other.look("x").await.is_ok()).await;
    assert_eq!(one.is_first("a", 60).await, Ok(true));
    assert_eq!(other.is_first("a", 60).await, Ok(false));
    one.keep("form", b"sealed", 60).await.unwrap();
    assert_eq!(other.look("form").await, Ok(Some(b"sealed".to_vec())));
    assert_eq!(other.take("form").await, Ok(Some(b"sealed".to_vec())));
    assert_eq!((one.take("form").await, one.look("form").await), (Ok(None), Ok(None)));
    assert!(Node::new(None).sessions.hub().is_none());
}
