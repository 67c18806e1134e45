use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue};

use super::*;
use crate::config::defaults;
use crate::words::Level;

const NOW: UnixTime = 1_800_000_000;

fn settings() -> model::Sessions {
    model::Sessions {
        store: model::SessionStore::Memory { max: 100 },
        keys: Vec::new(),
        cookie: Arc::from(defaults::SESSION_COOKIE),
        levels: defaults::SESSION_LEVELS,
        per_subject: 2,
        grace: defaults::SESSION_GRACE,
    }
}

fn session(sub: &str, level: Level) -> Session {
    let mut session = Session::new(Arc::from("sso"), sub.to_owned(), NOW);
    session.sid = Some(format!("sid-{sub}"));
    session.reach(level, "urn:gov:loa", Some(NOW), NOW);
    session
}

/// What a browser sends back.
fn browser(set: &SetCookies) -> HeaderMap {
    let mut answer = HeaderMap::new();
    set.append_to(&mut answer);
    let pair = |value: &HeaderValue| value.to_str().unwrap().split(';').next().unwrap().to_owned();
    let pairs: Vec<_> = answer.get_all(SET_COOKIE).iter().map(pair).filter(|pair| !pair.ends_with('=')).collect();
    HeaderMap::from_iter([(COOKIE, HeaderValue::try_from(pairs.join("; ")).unwrap())])
}

#[tokio::test]
async fn a_session_is_found_by_its_cookie_until_it_ends() {
    let (sessions, known, none) = (Sessions::new(&settings(), None).unwrap(), Known::new(16), HeaderMap::new());
    let set = sessions.create(session("a", Level::TWO), None, &none, NOW).await.unwrap();
    let headers = browser(&set);
    let loaded = sessions.load(&known, &headers, NOW).await.unwrap().unwrap();
    assert_eq!((loaded.session().sub.as_str(), loaded.level_at(NOW)), ("a", Level::TWO));
    let clear = sessions.end(&loaded, Ended::Logout, &headers, NOW).await.unwrap();
    assert!(clear.values()[0].to_str().unwrap().contains("Max-Age=0"));
    assert!(sessions.load(&known, &headers, NOW).await.unwrap().is_none());
}
