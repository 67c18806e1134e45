use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;
use crate::config::defaults;
use crate::secret::Secret;

const NOW: UnixTime = 1_800_000_000;

fn limits() -> Limits {
    Limits::new(&defaults::SESSION_LEVELS)
}

fn session(sub: &str, sid: &str, at: UnixTime) -> Session {
    let mut session = Session::new(Arc::from("sso"), sub.to_owned(), at);
    session.sid = Some(sid.to_owned());
    session.reach(Level::TWO, "loa2", None, at);
    session
}

fn key(n: u32) -> Key {
    Key::sid("test", &n.to_string())
}

#[test]
fn a_session_is_found_by_all_three_names_and_by_none_once_it_ended() {
    let memory = Memory::new(100);
    for n in 0..3 {
        assert!(memory.insert(key(n), &session("a", &format!("s{n}"), NOW), &limits(), 10).is_empty());
    }
    let record = memory.get(&key(0)).unwrap();
    assert_eq!(memory.session(&record), Some(session("a", "s0", NOW)));
    assert_eq!(memory.remove_sid(&Key::sid("sso", "s0")), [key(0)]);
    assert!(!record.is_live(), "a worker that knows it sees that it ended");
    assert!(memory.get(&key(0)).is_none() && !memory.remove(&key(0)));
    assert!(memory.remove_sid(&Key::sid("other", "s1")).is_empty(), "of another issuer");
    let mut rest = memory.remove_subject(&Key::subject("sso", "a"));
    rest.sort();
    let mut both = [key(1), key(2)];
    both.sort();
    assert_eq!((rest.as_slice(), memory.len()), (&both[..], 0));
}

#[test]
fn one_more_than_a_subject_may_have_ends_the_oldest() {
    let memory = Memory::new(100);
    memory.insert(key(1), &session("a", "1", NOW + 1), &limits(), 2);
    memory.insert(key(0), &session("a", "0", NOW), &limits(), 2);
    memory.insert(key(9), &session("b", "9", NOW), &limits(), 2);
    assert_eq!(memory.insert(key(2), &session("a", "2", NOW + 2), &limits(), 2), [(key(0), Ended::PerSubject)]);
    assert_eq!(memory.len(), 3);
}

#[test]
fn a_full_store_lets_the_longest_idle_go_and_never_the_newest() {
    let memory = Memory::new(3);
    for n in 0..50 {
        memory.insert(key(n), &session(&n.to_string(), "", NOW + i64::from(n)), &limits(), 10);
        assert!(memory.len() <= 3 && memory.get(&key(n)).is_some());
    }
}

#[test]
fn what_is_over_is_swept_and_use_keeps_it() {
    let memory = Memory::new(100);
    let hour = [crate::config::model::SessionLimit {
        absolute: std::time::Duration::from_secs(7200),
        idle: Some(std::time::Duration::from_secs(600)),
    }; 3];
    let limits = Limits::new(&hour);
    memory.insert(key(0), &session("a", "", NOW), &limits, 10);
    memory.insert(key(1), &session("b", "", NOW), &limits, 10);
    memory.get(&key(1)).unwrap().touch(&session("b", "", NOW), &limits, NOW + 599);
    let sweep = |now| (0..SHARDS).flat_map(|_| memory.sweep(now)).collect::<Vec<_>>();
    assert_eq!(sweep(NOW + 599), []);
    assert_eq!(sweep(NOW + 600), [key(0)]);
    assert_eq!(sweep(NOW + 1199), [key(1)]);
}

/// AS-8: use does not bring back a level that was idle for too long.
#[test]
fn a_level_that_was_idle_too_long_stays_gone() {
    let memory = Memory::new(100);
    let session = session("a", "", NOW);
    memory.insert(key(0), &session, &limits(), 10);
    let record = memory.get(&key(0)).unwrap();
    let level = |now| record.level_at(&session, &limits(), now);
    assert_eq!(level(NOW + 1799), Level::TWO);
    record.touch(&session, &limits(), NOW + 1799);
    assert_eq!(level(NOW + 1800), Level::TWO, "used in time");
    assert_eq!(level(NOW + 3600), Level::ONE);
    record.touch(&session, &limits(), NOW + 3600);
    assert_eq!(level(NOW + 3601), Level::ONE, "used too late");
}

#[test]
fn workers_that_end_and_begin_sessions_at_once_lose_none_and_keep_none() {
    let memory = Memory::new(1_000_000);
    std::thread::scope(|scope| {
        for worker in 0..4u32 {
            let memory = &memory;
            scope.spawn(move || {
                for n in 0..500 {
                    let own = key(worker * 1000 + n);
                    memory.insert(own, &session(&(n % 7).to_string(), &n.to_string(), NOW), &limits(), 100_000);
                    if n % 3 == 0 {
                        memory.remove_subject(&Key::subject("sso", &(n % 7).to_string()));
                    }
                }
            });
        }
    });
    for subject in 0..7 {
        memory.remove_subject(&Key::subject("sso", &subject.to_string()));
    }
    assert_eq!(memory.len(), 0);
    let left = |index: &[Shard]| index.iter().map(|shard| lock(shard).len()).sum::<usize>();
    assert_eq!((left(&memory.by_id), left(&memory.by_subject), left(&memory.by_sid)), (0, 0, 0));
}

/// A hint must keep its signature: what is taken apart comes back byte for byte, also from an SSO with odd habits.
#[test]
fn an_id_token_comes_back_as_it_was() {
    let memory = Memory::new(10);
    let limits = limits();
    for (n, claims) in [
        r#"{"iss":"https://sso.example.ir","sub":"a","sid":"s0","iat":1800000000,"nonce":"bm9uY2Ugb2YgMzIgYnl0ZXM"}"#,
        r#"{"iss":"https://sso.example.ir","sub":"a","sid":"s0","iat":1800000099,"nonce":"YW5vdGhlciBvZiBpdHMga2luZA"}"#,
        "{ \"sub\" : \"\\u0061\", \"amr\": [\"pwd\"], \"n\": -1.50e3 }",
        "not JSON \" at all",
    ]
    .into_iter()
    .zip(0..)
    .map(|(claims, n)| (n, claims))
    {
        let mut session = session("a", "s0", NOW);
        session.claims.insert("city".to_owned(), "یزد".into());
        let parts = [&b"{\"alg\":\"ES256\"}"[..], claims.as_bytes(), &[7; 64]].map(|part| URL_SAFE_NO_PAD.encode(part));
        session.tokens.id = Some(Secret::new(parts.join(".")));
        session.tokens.refresh = Some(Secret::new("no.jwt.".to_owned()));
        let key = key(n);
        memory.insert(key, &session, &limits, 10);
        assert_eq!(memory.session(&memory.get(&key).unwrap()), Some(session), "{claims}");
    }
}
