//! What verified tokens weigh, and that one which was seen before costs no allocation.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use darvazeh::auth::{TokenCache, admit};
use darvazeh::clock::Clock;
use darvazeh::live::{self, Snapshot, Surroundings, compile};
use darvazeh::observe::Names;
use http::{HeaderValue, header};

use crate::{HEAP, alone};
use darvazeh::fields::Fields;

const CONFIG: &str = r#"version: 1
listeners: [{ name: public, address: 127.0.0.1:0 }]
issuers:
  sso:
    issuer: https://sso.example.ir
    audiences: [https://api.example.ir]
    jwks: { file: jwks.json }
    levels: { values: { two: 2 } }
agencies:
  agency: { endpoints: ['http://127.0.0.1:9'] }
routes:
  - { name: guarded, agency: agency, match: { prefix: / }, require: { level: 2, scopes: [tax.read] } }
"#;

struct World {
    key: EcdsaKeyPair,
    snapshot: Snapshot,
    clock: Clock,
    _control: tokio::runtime::Runtime,
}

impl World {
    fn new(folder: &Path) -> World {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let (x, y) = key.public_key().as_ref()[1..].split_at(32);
        let (x, y) = (B64.encode(x), B64.encode(y));
        let jwk = format!(r#"{{"keys":[{{"kty":"EC","crv":"P-256","kid":"k","alg":"ES256","x":"{x}","y":"{y}"}}]}}"#);
        std::fs::write(folder.join("jwks.json"), jwk).unwrap();
        let file = folder.join("routes.yaml");
        std::fs::write(&file, CONFIG).unwrap();
        let control = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (names, clock) = (Arc::new(Names::default()), Clock::system());
        let around = Surroundings { control: control.handle().clone(), clock: clock.clone(), names, zone: None };
        let snapshot = compile(live::load_checked(&file, clock.now()).unwrap().config, None, &around).unwrap();
        World { key, snapshot, clock, _control: control }
    }

    /// The headers of a caller with a token of 1 KiB.
    fn caller(&self, n: usize) -> Fields {
        let now = self.clock.now();
        let claims = format!(
            r#"{{"iss":"https://sso.example.ir","aud":"https://api.example.ir","sub":"{n:032x}","jti":"{n:032x}","acr":"two","iat":{now},"exp":{},"auth_time":{now},"azp":"citizen-portal","scope":"openid tax.read insurance.read","padding":"{}"}}"#,
            now + 86_400,
            "x".repeat(360)
        );
        let signed = format!("{}.{}", B64.encode(r#"{"alg":"ES256","kid":"k","typ":"at+jwt"}"#), B64.encode(claims));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        let token = format!("Bearer {signed}.{}", B64.encode(signature));
        assert!((1000..1100).contains(&token.len()), "{}", token.len());
        Fields::from_iter([(header::AUTHORIZATION, HeaderValue::try_from(token).unwrap())])
    }

    fn ask(&self, headers: &Fields, cache: &TokenCache) {
        let requirement = &self.snapshot.routes[0].requirement;
        let asked = pin!(admit(requirement, headers, None, None, cache, &self.clock));
        let Poll::Ready(permit) = asked.poll(&mut Context::from_waker(Waker::noop())) else { panic!("it waits") };
        permit.unwrap();
    }
}

#[test]
fn a_token_that_was_seen_before_costs_no_allocation() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    let caller = world.caller(1);
    let cache = TokenCache::new(16, Arc::default());
    world.ask(&caller, &cache);
    let round = || {
        let before = HEAP.total_allocated();
        (0..100).for_each(|_| world.ask(&caller, &cache));
        HEAP.total_allocated() - before
    };
    // Threads beside this one may allocate for themselves, but not in every round.
    let least = (0..20).map(|_| round()).min();
    assert_eq!(least, Some(0), "bytes for a hundred tokens");
}

/// The promise of `docs/scale.md`: 3 KiB a token, however many come; the tables beside them included.
#[test]
fn verified_tokens_weigh_no_more_than_promised() {
    const CAPACITY: usize = 256;
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    let callers: Vec<_> = (0..3 * CAPACITY).map(|n| world.caller(n)).collect();
    let before = HEAP.allocated();
    let cache = TokenCache::new(CAPACITY, Arc::default());
    callers.iter().for_each(|caller| world.ask(caller, &cache));
    let each = (HEAP.allocated() - before) / CAPACITY;
    println!("{each} bytes a token of 1 KiB");
    assert!(each < 3 * 1024, "a token weighs {each} bytes");
    drop(cache);
}
