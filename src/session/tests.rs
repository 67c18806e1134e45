//! What the login's steps and an operator count on, for every store alike.

use http::HeaderValue;
use http::header::{COOKIE, SET_COOKIE};

use super::*;
use crate::config::defaults;
use crate::config::model::{SessionKey, SessionStore};
use crate::secret::Secret;

const NOW: UnixTime = 1_800_000_000;

fn settings(store: SessionStore) -> model::Sessions {
    model::Sessions {
        store,
        keys: vec![SessionKey::parse(b"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=").unwrap()],
        cookie: Arc::from(defaults::SESSION_COOKIE),
        levels: defaults::SESSION_LEVELS,
        per_subject: 2,
        grace: defaults::SESSION_GRACE,
        logins: defaults::LOGINS,
    }
}

/// A gateway with sessions and one worker.
struct Node {
    sessions: Sessions,
    known: Known,
}

impl Node {
    fn new(store: SessionStore) -> Node {
        Node::with(&settings(store), None)
    }

    fn with(settings: &model::Sessions, previous: Option<&Sessions>) -> Node {
        let clock = Clock::scripted(NOW);
        let nowhere = std::path::Path::new("/nonexistent");
        let sessions = Sessions::new(settings, nowhere, previous, &Handle::current(), &clock).unwrap();
        Node { sessions, known: Known::new(16) }
    }

    async fn load(&self, browser: &Fields, now: UnixTime) -> Option<Loaded> {
        self.sessions.load(&self.known, browser, b"", now).await.unwrap()
    }

    async fn login(&self, session: Session) -> Fields {
        let none = Fields::new();
        let now = session.created;
        let mut browser = Fields::new();
        take(&mut browser, &self.sessions.create(session, None, now, &none, now).await.unwrap());
        browser
    }
}

fn stores() -> [SessionStore; 2] {
    [SessionStore::Memory { max: 100 }, SessionStore::Cookie { shared: None }]
}

fn session(sub: &str, level: Level) -> Session {
    let mut session = Session::new(Arc::from("sso"), sub.to_owned(), NOW);
    session.sid = Some(format!("sid-{sub}"));
    session.reach(level, "urn:gov:loa", Some(NOW), NOW);
    session
}

fn secret(length: usize) -> Option<Secret<String>> {
    Some(Secret::new("~".repeat(length)))
}

/// Does as a browser does with the cookies of an answer.
fn take(browser: &mut Fields, set: &SetCookies) {
    let mut answer = Fields::new();
    set.append_to(&mut answer);
    let mut jar: Vec<(String, String)> = Vec::new();
    let old = browser.get(COOKIE).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    let new = answer.get_all(SET_COOKIE).map(|value| value.to_str().unwrap().to_owned());
    for pair in old.split("; ").map(str::to_owned).chain(new) {
        let (name, value) = pair.split(';').next().unwrap().split_once('=').unwrap_or_default();
        jar.retain(|(n, _)| n != name);
        if !value.is_empty() {
            jar.push((name.to_owned(), value.to_owned()));
        }
    }
    let pairs: Vec<_> = jar.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    browser.remove(COOKIE);
    if !pairs.is_empty() {
        browser.insert(COOKIE, HeaderValue::try_from(pairs.join("; ")).unwrap());
    }
}

#[tokio::test]
async fn a_session_is_found_by_its_cookie_until_it_ends() {
    for store in stores() {
        let node = Node::new(store);
        let browser = node.login(session("a", Level::TWO)).await;
        let loaded = node.load(&browser, NOW).await.unwrap();
        assert_eq!((loaded.session().sub.as_str(), loaded.level_at(NOW)), ("a", Level::TWO));
        assert_eq!(loaded.left(NOW + 60), 1740);
        let clear = node.sessions.end(&loaded, Ended::Logout, &browser, NOW).await.unwrap();
        assert!(node.load(&browser, NOW).await.is_none(), "also for who kept the cookie");
        let mut cleared = browser.clone();
        take(&mut cleared, &clear);
        assert!(cleared.is_empty());
        assert_eq!(
            (node.sessions.stats().sessions_created(), node.sessions.stats().sessions_ended(Ended::Logout)),
            (1, 1)
        );
    }
}

/// RP-8
#[tokio::test]
async fn a_step_up_has_a_new_id_and_the_old_one_is_dead_at_once() {
    for store in stores() {
        let node = Node::new(store);
        let old = node.login(session("a", Level::ONE)).await;
        let loaded = node.load(&old, NOW).await.unwrap();
        let mut higher = loaded.session().clone();
        higher.reach(Level::THREE, "urn:gov:loa3", Some(NOW), NOW);
        let mut new = old.clone();
        take(&mut new, &node.sessions.create(higher, Some(&loaded), NOW, &old, NOW).await.unwrap());
        assert_ne!(old, new);
        assert!(node.load(&old, NOW).await.is_none());
        assert_eq!(node.load(&new, NOW).await.unwrap().level_at(NOW), Level::THREE);
        assert!(
            Node { sessions: node.sessions, known: Known::new(16) }.load(&old, NOW).await.is_none(),
            "other workers"
        );
    }
}

/// BL-9
/// BL-9: a logout that comes while a login is under way is no less a logout.
#[tokio::test]
async fn what_the_sso_ended_since_a_login_began_does_not_begin() {
    for store in stores() {
        let node = Node::new(store);
        let none = Fields::new();
        for (whose, later) in [(Whose::Sid("sid-a"), "sid-a"), (Whose::Sub("a"), "sid-2")] {
            node.sessions.end_by("sso", whose, NOW + 10).await.unwrap();
            let mut late = session("a", Level::ONE);
            late.sid = Some(later.to_owned());
            let begin = async |begun| node.sessions.create(late.clone(), None, begun, &none, NOW + 11).await;
            assert_eq!(begin(NOW + 9).await.err(), Some(NotBegun::Over), "{later}");
            assert!(begin(NOW + 10).await.is_ok() && begin(NOW + 11).await.is_ok());
        }
        assert!(node.sessions.create(session("b", Level::ONE), None, NOW, &none, NOW + 11).await.is_ok());
        // A step-up of a session that has ended meanwhile carries nothing of it on.
        let browser = node.login(session("c", Level::TWO)).await;
        let loaded = node.load(&browser, NOW).await.unwrap();
        node.sessions.end(&loaded, Ended::Logout, &browser, NOW).await.unwrap();
        let higher = loaded.session().clone();
        let created = node.sessions.create(higher, Some(&loaded), NOW, &browser, NOW).await;
        assert_eq!(created.err(), Some(NotBegun::Over));
    }
}

#[tokio::test]
async fn the_sso_ends_one_sid_or_all_of_a_subject() {
    for store in stores() {
        let node = Node::new(store);
        let [one, other] = [session("a", Level::ONE), Session { sid: Some("x".into()), ..session("a", Level::ONE) }];
        let (first, second, third) =
            (node.login(one).await, node.login(other).await, node.login(session("b", Level::ONE)).await);
        for browser in [&first, &second, &third] {
            assert!(node.load(browser, NOW).await.is_some());
        }
        node.sessions.end_by("sso", Whose::Sid("sid-a"), NOW).await.unwrap();
        assert!(node.load(&first, NOW).await.is_none() && node.load(&second, NOW).await.is_some());
        node.sessions.end_by("other", Whose::Sub("a"), NOW).await.unwrap();
        assert!(node.load(&second, NOW).await.is_some(), "of another issuer");
        node.sessions.end_by("sso", Whose::Sub("a"), NOW).await.unwrap();
        assert!(node.load(&second, NOW).await.is_none() && node.load(&third, NOW).await.is_some());
        let later = Session { created: NOW + 1, ..session("a", Level::ONE) };
        assert!(node.load(&node.login(later).await, NOW + 1).await.is_some(), "a login after the logout");
    }
}

/// AS-8
/// FL-1: what a front-channel logout says, anybody can say, as often as they like.
#[tokio::test]
async fn ends_without_proof_push_no_other_end_out() {
    let [_, sealed] = stores();
    let node = Node::new(sealed);
    let (ended, named) = (node.login(session("a", Level::ONE)).await, node.login(session("b", Level::ONE)).await);
    node.sessions.end_by("sso", Whose::Sub("a"), NOW).await.unwrap();
    for n in 0..12_000 {
        node.sessions.end_by("sso", Whose::Named(&format!("none-{n}")), NOW).await.unwrap();
    }
    assert!(node.load(&ended, NOW).await.is_none());
    assert!(node.load(&named, NOW).await.is_some());
    node.sessions.end_by("sso", Whose::Named("sid-b"), NOW).await.unwrap();
    assert!(node.load(&named, NOW).await.is_none());
    let (remembered, lost) = node.sessions.revocations().unwrap();
    assert!(remembered <= 10_001 && lost > 0, "{remembered} {lost}");
}

#[tokio::test]
async fn use_keeps_a_level_and_idleness_drops_it_for_good() {
    for store in stores() {
        let node = Node::new(store);
        let mut browser = node.login(session("a", Level::TWO)).await;
        for minutes in [20, 40, 60] {
            let now = NOW + minutes * 60;
            let loaded = node.load(&browser, now).await.unwrap();
            assert_eq!(loaded.level_at(now), Level::TWO, "after {minutes} min");
            if let Some(set) = node.sessions.touch(&loaded, &browser, now) {
                take(&mut browser, &set);
            }
        }
        let now = NOW + 91 * 60;
        let loaded = node.load(&browser, now).await.unwrap();
        assert_eq!(loaded.level_at(now), Level::ONE);
        if let Some(set) = node.sessions.touch(&loaded, &browser, now) {
            take(&mut browser, &set);
        }
        assert_eq!(node.load(&browser, now + 1).await.unwrap().level_at(now + 1), Level::ONE);
        let over = NOW + 30 * 86400;
        assert!(node.load(&browser, over).await.is_none());
    }
}

#[tokio::test]
async fn a_refresh_is_seen_by_requests_that_were_under_way() {
    for store in stores() {
        let node = Node::new(store);
        let old = node.login(session("a", Level::ONE)).await;
        let loaded = node.load(&old, NOW).await.unwrap();
        let mut fresh = loaded.session().clone();
        fresh.tokens.refresh = secret(40);
        let Turn::Yours(flight) = turn(&node, &loaded).await.unwrap() else { panic!("nobody else asks") };
        let mut waiting = Box::pin(turn(&node, &loaded));
        assert!(futures_poll(&mut waiting).is_none(), "one at a time");
        let mut new = old.clone();
        take(&mut new, &node.sessions.save(&loaded, fresh.clone(), &old, NOW).await.unwrap());
        drop(flight);
        assert!(matches!(waiting.await, Ok(Turn::Over)));
        for browser in [&old, &new] {
            let loaded = node.load(browser, NOW).await.unwrap();
            assert_eq!(loaded.session().tokens, fresh.tokens);
        }
        assert!(
            matches!(turn(&node, &loaded).await, Ok(Turn::Over)),
            "looked up before, and asked for behind the refresh"
        );
        let again = node.load(&new, NOW).await.unwrap();
        assert!(matches!(turn(&node, &again).await, Ok(Turn::Yours(_))), "the next expiry");
    }
}

async fn turn(node: &Node, loaded: &Loaded) -> Result<Turn, StoreAway> {
    node.sessions.refresh_turn(loaded, Duration::from_secs(20), NOW).await
}

fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::Pin::new(future).poll(&mut cx) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

#[tokio::test]
async fn streams_learn_that_their_session_ended() {
    for store in stores() {
        let node = Node::new(store);
        let browser = node.login(session("a", Level::TWO)).await;
        let loaded = node.load(&browser, NOW).await.unwrap();
        let (by_sso, by_logout) =
            (node.sessions.watch(&loaded, Level::ONE, NOW), node.sessions.watch(&loaded, Level::TWO, NOW));
        assert!(!by_sso.is_ended() && futures_poll(&mut Box::pin(by_logout.ended())).is_none());
        node.sessions.end_by("sso", Whose::Sub("a"), NOW).await.unwrap();
        by_sso.ended().await;
        by_logout.ended().await;
        let over = node.sessions.watch(&loaded, Level::TWO, NOW + 12 * 3600);
        over.ended().await;
        drop((by_sso, by_logout, over));
        assert!(node.sessions.common.watches.is_empty(), "who no longer watches costs nothing");
    }
}

#[tokio::test]
async fn a_reload_keeps_sessions_and_another_limit_counts_at_once() {
    for store in stores() {
        let node = Node::new(store.clone());
        let browser = node.login(session("a", Level::TWO)).await;
        let known = node.load(&browser, NOW).await.unwrap();
        let mut shorter = settings(store);
        shorter.levels[1].absolute = Duration::from_secs(60);
        let new_key = SessionKey::parse(b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").unwrap();
        shorter.keys.insert(0, new_key);
        let stream = node.sessions.watch(&known, Level::TWO, NOW);
        let next = Node { known: node.known, ..Node::with(&shorter, Some(&node.sessions)) };
        next.sessions.take_over(&node.sessions, NOW + 59);
        assert!(!stream.is_ended());
        next.sessions.take_over(&node.sessions, NOW + 60);
        stream.ended().await;
        let loaded = next.load(&browser, NOW + 60).await.unwrap();
        assert_eq!((known.level_at(NOW + 60), loaded.level_at(NOW + 60)), (Level::TWO, Level::ONE));
    }
}

/// Streams of sessions that are no more would else go on, and hear of no logout.
#[tokio::test]
async fn with_another_store_sessions_end_and_their_streams() {
    let [here, sealed] = stores();
    for (from, to) in [(&here, &sealed), (&sealed, &here)] {
        let node = Node::new(from.clone());
        let browser = node.login(session("a", Level::TWO)).await;
        let stream = node.sessions.watch(&node.load(&browser, NOW).await.unwrap(), Level::TWO, NOW);
        let next = Node::with(&settings(to.clone()), Some(&node.sessions));
        assert!(!stream.is_ended(), "not before it is in force");
        next.sessions.take_over(&node.sessions, NOW);
        stream.ended().await;
        assert!(next.load(&browser, NOW).await.is_none());
    }
}

#[tokio::test]
async fn a_sealed_session_needs_nothing_but_the_key() {
    let [one, other] =
        [Node::new(SessionStore::Cookie { shared: None }), Node::new(SessionStore::Cookie { shared: None })];
    let mut large = session("a", Level::TWO);
    large.tokens.access = secret(6000);
    let browser = one.login(large.clone()).await;
    assert!(browser[COOKIE].to_str().unwrap().contains("__Host-darvazeh.2="));
    assert_eq!(other.load(&browser, NOW).await.unwrap().session(), &large);
    let first = browser[COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
    let cut = Fields::from_iter([(COOKIE, HeaderValue::try_from(first).unwrap())]);
    let fresh = Node::new(SessionStore::Cookie { shared: None });
    assert!(fresh.load(&cut, NOW).await.is_none(), "a part is no session");
}

#[tokio::test]
async fn tokens_that_fit_no_cookies_are_left_out_and_not_the_session() {
    let node = Node::new(SessionStore::Cookie { shared: None });
    let mut huge = session("a", Level::TWO);
    huge.tokens.access = secret(8000);
    huge.tokens.id = secret(8000);
    let loaded = node.load(&node.login(huge.clone()).await, NOW).await.unwrap();
    assert_eq!((&loaded.session().tokens.access, &loaded.session().tokens.id), (&huge.tokens.access, &None));
}

#[tokio::test]
async fn garbage_in_the_cookie_is_no_session() {
    for store in stores() {
        let node = Node::new(store);
        for text in ["", "=", "AAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAB", &"A".repeat(3800), &"!".repeat(4000)]
        {
            let headers =
                Fields::from_iter([(COOKIE, HeaderValue::try_from(format!("__Host-darvazeh={text}")).unwrap())]);
            assert!(node.load(&headers, NOW).await.is_none(), "{text}");
        }
    }
}

/// RP-9
#[tokio::test]
async fn a_forms_value_is_this_sessions_alone() {
    let node = Node::new(SessionStore::Memory { max: 10 });
    let [a, b] = [node.login(session("a", Level::ONE)).await, node.login(session("b", Level::ONE)).await];
    let (a, b) = (node.load(&a, NOW).await.unwrap(), node.load(&b, NOW).await.unwrap());
    assert!(a.is_csrf(a.csrf().as_bytes()) && !a.is_csrf(b.csrf().as_bytes()) && !a.is_csrf(b""));
}

#[tokio::test]
async fn what_is_made_of_a_session_is_made_once() {
    let node = Node::new(SessionStore::Memory { max: 10 });
    let browser = node.login(session("a", Level::ONE)).await;
    let make = |n: u32| move || n;
    assert_eq!(*node.load(&browser, NOW).await.unwrap().memo(Level::ONE, make(1)), 1);
    assert_eq!(*node.load(&browser, NOW).await.unwrap().memo(Level::ONE, make(2)), 1);
    assert_eq!(*node.load(&browser, NOW).await.unwrap().memo(Level::TWO, make(3)), 3);
}
