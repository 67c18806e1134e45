use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::*;
use crate::auth::keys::Missing;
use crate::auth::testing::*;
use crate::config::model::Algorithm;

/// An SSO on loopback that counts what is asked of it.
struct Sso {
    address: SocketAddr,
    answers: Arc<Mutex<Answers>>,
    fetches: Arc<AtomicU64>,
}

#[derive(Default)]
struct Answers {
    status: u16,
    jwks: String,
    discovery: String,
}

impl Sso {
    async fn start(keys: &[Value]) -> Sso {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let discovery = json!({ "issuer": ISS, "jwks_uri": format!("http://{address}/jwks") }).to_string();
        let answers = Arc::new(Mutex::new(Answers { status: 200, jwks: jwks(keys), discovery }));
        let fetches = Arc::new(AtomicU64::new(0));
        let sso = Sso { address, answers: answers.clone(), fetches: fetches.clone() };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answers, fetches) = (answers.clone(), fetches.clone());
                let serve = service_fn(move |request: Request<Incoming>| {
                    let answer = Sso::answer(&answers.lock().unwrap(), request.uri().path(), &fetches);
                    async move { Ok::<_, Infallible>(answer) }
                });
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), serve));
            }
        });
        sso
    }

    fn answer(answers: &Answers, path: &str, fetches: &AtomicU64) -> Response<Full<Bytes>> {
        let body = match path {
            "/jwks" => {
                fetches.fetch_add(1, Ordering::SeqCst);
                answers.jwks.clone()
            }
            "/.well-known/openid-configuration" => answers.discovery.clone(),
            other => panic!("nobody should ask for {other}"),
        };
        let location = "http://127.0.0.1:1/elsewhere";
        let response = Response::builder().status(answers.status).header(header::LOCATION, location);
        response.body(Full::new(body.into())).unwrap()
    }

    fn uri(&self, path: &str) -> Uri {
        format!("http://{}{path}", self.address).parse().unwrap()
    }

    fn fetches(&self) -> u64 {
        self.fetches.load(Ordering::SeqCst)
    }

    fn publish(&self, keys: &[Value]) {
        self.answers.lock().unwrap().jwks = jwks(keys);
    }

    fn say(&self, status: u16) {
        self.answers.lock().unwrap().status = status;
    }
}

struct World {
    state: tempfile::TempDir,
    clock: Clock,
    pace: Pace,
}

impl World {
    fn new() -> World {
        let pace = Pace {
            demand: Allowance { every: Duration::from_secs(3600), ..Allowance::DEFAULT },
            first_retry: Duration::from_millis(5),
            last_retry: Duration::from_millis(20),
            ..Pace::DEFAULT
        };
        World { state: tempfile::tempdir().unwrap(), clock: Clock::scripted(NOW), pace }
    }

    fn issuer(&self, source: JwksSource) -> Arc<Issuer> {
        let model = Arc::new(model(source));
        Issuer::start_at_pace(model, self.state.path(), &Handle::current(), &self.clock, self.pace)
    }

    async fn issuer_with_keys(&self, sso: &Sso) -> Arc<Issuer> {
        let issuer = self.issuer(JwksSource::Uri(sso.uri("/jwks")));
        until(|| issuer.stats.refreshes(RefreshOutcome::Ok) == 1).await;
        issuer
    }

    fn kept(&self) -> PathBuf {
        self.state.path().join("keys-sso.json")
    }
}

async fn knows(issuer: &Issuer, kid: &str) -> bool {
    issuer.key(Some(kid), Algorithm::ES256).await.is_ok()
}

fn failures(issuer: &Issuer) -> u64 {
    issuer.stats.refreshes(RefreshOutcome::Failed)
}

#[tokio::test]
async fn keys_come_from_a_uri_in_the_background() {
    let (world, sso) = (World::new(), Sso::start(&[ec_jwk(&EC, "a"), rsa_jwk("b")]).await);
    let issuer = world.issuer(JwksSource::Uri(sso.uri("/jwks")));
    assert!(!issuer.has_keys());
    assert_eq!(issuer.key(Some("a"), Algorithm::ES256).await.err(), Some(Missing::NoKeys));
    until(|| issuer.has_keys()).await;
    assert!(knows(&issuer, "a").await);
    assert_eq!((issuer.key_count(), issuer.stats.last_success()), (2, Some(NOW)));
    assert!(!issuer.stats.is_on_kept_keys());
}

/// DI-1
#[tokio::test]
async fn keys_come_by_discovery_from_exactly_this_issuer() {
    let (world, sso) = (World::new(), Sso::start(&[ec_jwk(&EC, "a")]).await);
    let discovery = JwksSource::Discovery(sso.uri("/.well-known/openid-configuration"));
    let issuer = world.issuer(discovery.clone());
    until(|| issuer.has_keys()).await;

    for issuer in [format!("{ISS}/"), "https://evil.example.ir".into(), ISS.to_uppercase()] {
        let wrong = json!({ "issuer": issuer, "jwks_uri": sso.uri("/jwks").to_string() }).to_string();
        sso.answers.lock().unwrap().discovery = wrong;
        let (world, before) = (World::new(), sso.fetches());
        let issuer = world.issuer(discovery.clone());
        until(|| failures(&issuer) >= 2).await;
        assert!(!issuer.has_keys() && sso.fetches() == before);
    }
}

/// JB-10: the keys are never fetched in the clear from another host
#[tokio::test]
async fn a_discovered_uri_must_be_https_or_loopback() {
    let (world, sso) = (World::new(), Sso::start(&[ec_jwk(&EC, "a")]).await);
    let insecure = json!({ "issuer": ISS, "jwks_uri": "http://192.0.2.1/jwks" }).to_string();
    sso.answers.lock().unwrap().discovery = insecure;
    let issuer = world.issuer(JwksSource::Discovery(sso.uri("/.well-known/openid-configuration")));
    until(|| failures(&issuer) >= 2).await;
    assert!(!issuer.has_keys());
}

/// JB-10: single flight
#[tokio::test]
async fn many_requests_with_a_new_kid_cause_one_fetch_and_all_wait_for_it() {
    let (world, sso) = (World::new(), Sso::start(&[ec_jwk(&EC, "old")]).await);
    let issuer = world.issuer_with_keys(&sso).await;
    assert_eq!(sso.fetches(), 1);
    sso.publish(&[ec_jwk(&EC, "old"), ec_jwk(&ec_key(), "new")]);
    let mut requests = JoinSet::new();
    for _ in 0..50 {
        let issuer = issuer.clone();
        requests.spawn(async move { knows(&issuer, "new").await });
    }
    assert!(requests.join_all().await.into_iter().all(|known| known));
    assert_eq!(sso.fetches(), 2);
}

/// JB-10: at most once in a while, and an unknown kid is remembered
#[tokio::test]
async fn unknown_kids_cause_at_most_one_fetch_in_a_while() {
    let (mut world, sso) = (World::new(), Sso::start(&[ec_jwk(&EC, "a")]).await);
    let issuer = world.issuer_with_keys(&sso).await;
    for n in 0..50 {
        assert!(!knows(&issuer, &format!("no-{n}")).await);
    }
    assert_eq!(sso.fetches(), 2);

    world = World::new();
    world.pace.demand.every = Duration::ZERO;
    let issuer = world.issuer_with_keys(&sso).await;
    for _ in 0..50 {
        assert!(!knows(&issuer, "no").await);
    }
    assert_eq!(sso.fetches(), 4, "one to start with, one for the unknown kid");
}

/// JB-10: keys removed from a fresh set are dropped
#[tokio::test]
async fn a_withdrawn_key_dies_and_an_unchanged_one_lives() {
    let (world, sso) = (World::new(), Sso::start(&[ec_jwk(&EC, "stays"), ec_jwk(&ec_key(), "goes")]).await);
    let issuer = world.issuer_with_keys(&sso).await;
    let stays = issuer.key(Some("stays"), Algorithm::ES256).await.unwrap();
    let goes = issuer.key(Some("goes"), Algorithm::ES256).await.unwrap();
    sso.publish(&[ec_jwk(&ec_key(), "new"), ec_jwk(&EC, "stays")]);
    assert!(knows(&issuer, "new").await);
    assert!(stays.life().is_alive() && !goes.life().is_alive());
    assert!(!knows(&issuer, "goes").await);
}

#[tokio::test]
async fn the_last_good_keys_serve_while_the_sso_is_away_and_no_longer_than_allowed() {
    let (world, sso) = (World::new(), Sso::start(&[ec_jwk(&EC, "a")]).await);
    let issuer = world.issuer_with_keys(&sso).await;
    let key = issuer.key(Some("a"), Algorithm::ES256).await.unwrap();
    sso.say(500);
    assert!(!knows(&issuer, "unknown").await, "which makes it ask");
    until(|| issuer.stats.is_on_kept_keys()).await;
    world.clock.set(NOW + 24 * 3600);
    let before = failures(&issuer);
    until(|| failures(&issuer) > before + 1).await;
    assert!(knows(&issuer, "a").await && key.life().is_alive());

    world.clock.set(NOW + 24 * 3600 + 1);
    until(|| issuer.key_count() == 0).await;
    assert_eq!(issuer.key(Some("a"), Algorithm::ES256).await.err(), Some(Missing::NoKeys));
    assert!(!key.life().is_alive(), "what was verified with it is gone from the caches too");
    assert!(issuer.has_keys(), "they were obtained once");

    sso.say(200);
    until(|| issuer.key_count() == 1).await;
    assert!(knows(&issuer, "a").await && !issuer.stats.is_on_kept_keys());
}

#[tokio::test]
async fn a_restart_while_the_sso_is_away_still_serves() {
    let (world, sso) = (World::new(), Sso::start(&[ec_jwk(&EC, "a")]).await);
    drop(world.issuer_with_keys(&sso).await);
    sso.say(503);
    world.clock.set(NOW + 3600);
    let issuer = world.issuer(JwksSource::Uri(sso.uri("/jwks")));
    assert!(knows(&issuer, "a").await, "at once");
    assert_eq!((issuer.stats.last_success(), issuer.stats.is_on_kept_keys()), (Some(NOW), true));
    until(|| failures(&issuer) > 1).await;
    assert!(knows(&issuer, "a").await);
    drop(issuer);

    world.clock.set(NOW + 24 * 3600 + 1);
    let issuer = world.issuer(JwksSource::Uri(sso.uri("/jwks")));
    assert!(!issuer.has_keys(), "too old");
    drop(issuer);
    std::fs::write(world.kept(), "{broken").unwrap();
    assert!(!world.issuer(JwksSource::Uri(sso.uri("/jwks"))).has_keys());
}

/// The SSO is away for twenty hours, the gateway is restarted in the middle, and the SSO comes back with other keys.
#[tokio::test]
async fn an_sso_that_is_away_for_hours_is_missed_by_nobody() {
    let (world, sso) = (World::new(), Sso::start(&[ec_jwk(&EC, "old"), ec_jwk(&ec_key(), "older")]).await);
    let mut issuer = world.issuer_with_keys(&sso).await;
    let mut cached = issuer.key(Some("old"), Algorithm::ES256).await.unwrap();
    sso.say(503);
    // Nothing but a refresh notices that it is away.
    issuer.demand.want();
    for hour in 1..=20 {
        world.clock.set(NOW + hour * 3600);
        let before = failures(&issuer);
        until(|| failures(&issuer) > before).await;
        assert!(cached.life().is_alive() && knows(&issuer, "old").await && knows(&issuer, "older").await);
        assert!(issuer.stats.is_on_kept_keys() && issuer.has_keys());
        if hour == 10 {
            drop(issuer);
            issuer = world.issuer(JwksSource::Uri(sso.uri("/jwks")));
            assert!(issuer.has_keys(), "at once, so that it is ready at once");
            cached = issuer.key(Some("old"), Algorithm::ES256).await.unwrap();
        }
    }
    sso.publish(&[ec_jwk(&ec_key(), "new")]);
    sso.say(200);
    until(|| issuer.key_count() == 1).await;
    assert!(knows(&issuer, "new").await && !issuer.stats.is_on_kept_keys());
    assert!(!cached.life().is_alive() && !knows(&issuer, "old").await && !knows(&issuer, "older").await);
}

/// One token is enough, though it came a moment after the last fetch that a token had caused, which had failed. No other
/// refresh is due for an hour.
#[tokio::test]
async fn one_token_brings_the_keys_of_an_sso_that_is_back() {
    let (mut world, sso) = (World::new(), Sso::start(&[ec_jwk(&EC, "old")]).await);
    let hour = Duration::from_secs(3600);
    world.pace = Pace { first_retry: hour, last_retry: hour, ..world.pace };
    world.pace.demand.every = Duration::from_millis(300);
    let issuer = world.issuer_with_keys(&sso).await;
    sso.say(503);
    assert!(!knows(&issuer, "made-up").await);
    assert_eq!(failures(&issuer), 1);
    sso.publish(&[ec_jwk(&ec_key(), "new")]);
    sso.say(200);
    // Judged as things are, or, on a slow machine, already with the new keys.
    let _ = knows(&issuer, "new").await;
    until(|| issuer.key_set().is_some_and(|set| set.has_kid("new"))).await;
    assert!(!knows(&issuer, "old").await && !issuer.stats.is_on_kept_keys());
}

/// The same where there is no key at all any more, or never was.
#[tokio::test]
async fn one_token_brings_the_first_keys() {
    let (mut world, sso) = (World::new(), Sso::start(&[ec_jwk(&EC, "a")]).await);
    let hour = Duration::from_secs(3600);
    world.pace = Pace { first_retry: hour, last_retry: hour, ..world.pace };
    sso.say(503);
    let issuer = world.issuer(JwksSource::Uri(sso.uri("/jwks")));
    until(|| failures(&issuer) == 1).await;
    sso.say(200);
    assert_eq!(
        issuer.key(Some("a"), Algorithm::ES256).await.err(),
        Some(Missing::NoKeys),
        "nobody is let through before"
    );
    until(|| issuer.has_keys()).await;
    assert!(knows(&issuer, "a").await);
}

/// A set that says nothing usable is believed: its keys were withdrawn, also for the next start
#[tokio::test]
async fn a_set_without_a_usable_key_leaves_none() {
    let (world, sso) = (World::new(), Sso::start(&[ec_jwk(&EC, "a")]).await);
    let issuer = world.issuer_with_keys(&sso).await;
    sso.publish(&[json!({ "kty": "oct", "k": "AA", "kid": "a" })]);
    assert!(!knows(&issuer, "unknown").await);
    assert_eq!(issuer.key(Some("a"), Algorithm::ES256).await.err(), Some(Missing::NoKeys));
    drop(issuer);
    sso.say(503);
    assert!(!world.issuer(JwksSource::Uri(sso.uri("/jwks"))).has_keys());
}

/// JB-10: no redirects
#[tokio::test]
async fn what_is_no_key_set_changes_nothing() {
    let (world, sso) = (World::new(), Sso::start(&[ec_jwk(&EC, "a")]).await);
    sso.say(302);
    let issuer = world.issuer(JwksSource::Uri(sso.uri("/jwks")));
    until(|| failures(&issuer) >= 1).await;
    assert!(!issuer.has_keys());
    sso.say(200);
    until(|| issuer.has_keys()).await;
    sso.answers.lock().unwrap().jwks = "<html>maintenance</html>".into();
    assert!(!knows(&issuer, "unknown").await);
    until(|| issuer.stats.is_on_kept_keys()).await;
    assert!(knows(&issuer, "a").await);
}

#[tokio::test]
async fn dropping_the_issuer_ends_its_refresh() {
    let (world, sso) = (World::new(), Sso::start(&[ec_jwk(&EC, "a")]).await);
    let issuer = world.issuer_with_keys(&sso).await;
    let wake = issuer.demand.wake.clone();
    drop(issuer);
    until(|| Arc::strong_count(&wake) == 1).await;
}

#[test]
fn max_age_is_read_from_cache_control() {
    let read = |value: &str| max_age(&HeaderMap::from_iter([(header::CACHE_CONTROL, value.parse().unwrap())]));
    assert_eq!(read("public, Max-Age=60, immutable"), Some(Duration::from_secs(60)));
    assert_eq!(read("max-age=\"5\""), Some(Duration::from_secs(5)));
    for none in ["no-store", "s-maxage=5", "max-age=x", "max-age=-1", ""] {
        assert_eq!(read(none), None, "{none}");
    }
}

/// JB-10
#[tokio::test]
async fn the_next_refresh_is_within_what_is_configured() {
    let world = World::new();
    let issuer = world.issuer(JwksSource::Uri("http://127.0.0.1:1/".parse().unwrap()));
    let mut refresher = Refresher::new(&issuer, world.state.path(), world.clock.clone(), Pace::DEFAULT);
    for (max_age, at) in [(None, 300), (Some(60), 60), (Some(1), 30), (Some(86_400), 300)] {
        let wait = refresher.succeeded(&issuer, max_age.map(Duration::from_secs)).as_secs_f64();
        assert!((0.9 * f64::from(at)..=1.1 * f64::from(at)).contains(&wait), "{max_age:?}: {wait}");
    }
    let waits: Vec<_> = (0..10).map(|_| refresher.failed(&issuer, "x").as_secs_f64()).collect();
    assert!(waits[0] >= 0.5 && waits[0] <= 1.0 && waits[9] >= 15.0 && waits[9] <= 30.0, "{waits:?}");
}
