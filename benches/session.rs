//! What a session costs: found by a worker that knows it, found for the first time, and waiting in memory.
//!
//! The last is no time but a size, printed first where `SESSION_SIZES` is set: how resident memory grows over a million
//! sessions (600 bytes each at most are aimed at), without the SSO's tokens, with an ID token for the logout, and sealed in
//! cookies, each of which a worker has met. Each kind has a process of its own: what one lets go, the next would take up.

use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use aws_lc_rs::digest::SHA256;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use criterion::{Criterion, criterion_group, criterion_main};
use darvazeh::config::defaults;
use darvazeh::config::model::{self, SessionStore};
use darvazeh::fields::Fields;
use darvazeh::secret::Secret;
use darvazeh::session::{Known, Session, Sessions};
use darvazeh::words::Level;
use http::HeaderValue;
use http::header::{COOKIE, SET_COOKIE};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Of the portal.
const HOST: &[u8] = b"portal.tehran.example.ir";
const NOW: i64 = 1_800_000_000;
const COUNT: usize = 1_000_000;
const SIZES: &str = "SESSION_SIZES";
/// Of a worker.
const KNOWN: usize = 4096;

fn sessions(store: SessionStore) -> Sessions {
    let settings = model::Sessions {
        store,
        keys: Vec::new(),
        cookie: Arc::from(defaults::SESSION_COOKIE),
        levels: defaults::SESSION_LEVELS,
        per_subject: defaults::SESSIONS_PER_SUBJECT,
        grace: defaults::SESSION_GRACE,
        logins: defaults::LOGINS,
    };
    Sessions::offline(&settings).expect("there is randomness")
}

fn memory() -> SessionStore {
    SessionStore::Memory { max: defaults::SESSIONS_MAX }
}

/// As a national SSO describes a citizen. The ID token is signed with ES256.
fn session(n: usize, has_id_token: bool) -> Session {
    let mut session = Session::new(Arc::from("national-sso"), format!("{n:010}"), NOW);
    session.host = String::from_utf8_lossy(HOST).into();
    let sid = format!("{:08x}-9a5e-4c0e-8a3f-{n:012x}", n.wrapping_mul(2_654_435_761) as u32);
    session.name = Some("زهرا محمدی".to_owned());
    let claims = serde_json::json!({"given_name": "زهرا", "family_name": "محمدی", "birthdate": "1370-01-01"});
    session.claims = claims.as_object().cloned().unwrap_or_default();
    session.reach(Level::TWO, "urn:example:level:2", Some(NOW - 20), NOW);
    if has_id_token {
        let drawn = |what: u8| aws_lc_rs::digest::digest(&SHA256, &[&n.to_be_bytes()[..], &[what]].concat());
        let mut claims = serde_json::json!({
            "iss": "https://sso.example.ir", "aud": "gateway", "sub": session.sub, "acr": "urn:example:level:2",
            "iat": NOW, "exp": NOW + 600, "auth_time": NOW - 20 - n as i64 % 3600, "sid": sid, "name": session.name,
            "nonce": URL_SAFE_NO_PAD.encode(drawn(1)), "at_hash": URL_SAFE_NO_PAD.encode(&drawn(2).as_ref()[..16]),
        });
        if let Some(claims) = claims.as_object_mut() {
            claims.extend(session.claims.clone());
        }
        let signature = [drawn(3), drawn(4)].map(|half| half.as_ref().to_vec()).concat();
        let parts = [br#"{"alg":"ES256","kid":"2026-1"}"#.to_vec(), claims.to_string().into_bytes(), signature];
        session.tokens.id = Some(Secret::new(parts.map(|part| URL_SAFE_NO_PAD.encode(part)).join(".")));
    }
    session.sid = Some(sid);
    session
}

/// None of the stores here waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("the store is in this process"),
    }
}

fn login(sessions: &Sessions, session: Session) -> Fields {
    let set = now(sessions.create(session, None, NOW, &Fields::new(), NOW)).expect("the store is here");
    let mut answer = Fields::new();
    set.append_to(&mut answer);
    let pairs = answer.get_all(SET_COOKIE).filter_map(|value| value.to_str().ok()?.split(';').next());
    let cookie = ["theme=dark"].into_iter().chain(pairs).collect::<Vec<_>>().join("; ");
    Fields::from_iter([(COOKIE, HeaderValue::try_from(cookie).expect("a cookie is a header value"))])
}

/// Bytes of memory this process holds.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = status.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0);
    pages * rustix::param::page_size()
}

fn sizes(kind: &str) {
    let (store, has_id_token) = match kind {
        "memory" => (memory(), false),
        "id_token" => (memory(), true),
        "cookie" => (SessionStore::Cookie { shared: None }, true),
        _ => {
            for kind in ["memory", "id_token", "cookie"] {
                let mut own = std::process::Command::new(std::env::current_exe().expect("this program has a name"));
                own.env(SIZES, kind).args(["--bench", "none"]).status().expect("it runs again");
            }
            return;
        }
    };
    let sessions = sessions(store);
    let known = Known::new(KNOWN);
    let meet = |n: usize| {
        let browser = login(&sessions, session(n, has_id_token));
        now(sessions.load(&known, &browser, HOST, NOW)).expect("the store is here").expect("it stands");
    };
    // What a worker keeps decoded is there whatever their number.
    (COUNT..COUNT + 2 * KNOWN).for_each(meet);
    let before = resident();
    for part in 0..4 {
        (part * COUNT / 4..(part + 1) * COUNT / 4).for_each(meet);
        let (grown, met) = (resident().saturating_sub(before), (part + 1) * COUNT / 4);
        println!("{met} sessions ({kind}): {grown} bytes, {:.0} each", grown as f64 / met as f64);
    }
}

fn load(c: &mut Criterion) {
    if let Ok(kind) = std::env::var(SIZES) {
        sizes(&kind);
    }
    let mut group = c.benchmark_group("session");
    for (name, store) in [("memory", memory()), ("cookie", SessionStore::Cookie { shared: None })] {
        let sessions = sessions(store);
        let browser = login(&sessions, session(1, true));
        let known = Known::new(1024);
        group.bench_function(format!("{name}, known"), |b| {
            b.iter(|| {
                let loaded = now(sessions.load(&known, black_box(&browser), HOST, NOW)).expect("the store is here");
                let loaded = loaded.expect("it stands");
                sessions.touch(&loaded, &browser, NOW);
                loaded.level_at(NOW)
            });
        });
        group.bench_function(format!("{name}, first time"), |b| {
            b.iter(|| {
                now(sessions.load(&Known::new(16), black_box(&browser), HOST, NOW)).map(|loaded| loaded.is_some())
            });
        });
    }
    group.finish();
}

criterion_group!(benches, load);
criterion_main!(benches);
