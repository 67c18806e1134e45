//! What a token costs: proved for the first time, and found in the cache (the issue asks for under 1 µs).
//!
//! `raw` is the bare public-key operation, to see what everything else adds to it; `jsonwebtoken` is that crate's own
//! `verify`, which builds the key anew in every call.

use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use aws_lc_rs::encoding::{AsBigEndian, EcPublicKeyUncompressedBin};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{self, EcdsaKeyPair, KeyPair, ParsedPublicKey, RsaPublicKeyComponents};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use criterion::{Criterion, criterion_group, criterion_main};
use darvazeh::auth::cache::CacheStats;
use darvazeh::auth::{Denied, Issuer, Permit, Requirement, TokenCache, admit};
use darvazeh::clock::Clock;
use darvazeh::config::defaults;
use darvazeh::config::model::{self, JwksSource, Position};
use darvazeh::words::Level;
use http::{HeaderMap, HeaderValue, header};
use serde_json::{Value, json};

/// The peers' cold scenario, in small: more tokens than the cache holds, so that none is found.
const COLD: usize = 64;

struct Keys {
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn jwks(keys: &Keys) -> Value {
    let rsa = keys.rsa.public_key();
    let point: EcPublicKeyUncompressedBin<'_> = keys.ec.public_key().as_be_bytes().expect("a key has a point");
    let (x, y) = point.as_ref()[1..].split_at(32);
    let n = b64(rsa.modulus().big_endian_without_leading_zero());
    json!({ "keys": [
        { "kty": "RSA", "kid": "RS256", "alg": "RS256", "n": n, "e": "AQAB" },
        { "kty": "EC", "kid": "ES256", "alg": "ES256", "crv": "P-256", "x": b64(x), "y": b64(y) }
    ] })
}

/// About 1 KiB with RS256, as the peers' rig makes them.
fn token(keys: &Keys, algorithm: &str, id: usize) -> String {
    let now = Clock::system().now();
    let claims = json!({
        "iss": "https://sso.example.ir", "aud": "https://api.example.ir", "sub": format!("{id:032x}"),
        "acr": "urn:example:level:2", "iat": now - 60, "nbf": now - 60, "auth_time": now - 120, "exp": now + 86_400,
        "jti": format!("{id:032x}"), "azp": "citizen-portal", "scope": "openid insurance.read tax.read",
        "amr": ["pwd", "otp"], "padding": "x".repeat(160)
    });
    let header = json!({ "alg": algorithm, "typ": "JWT", "kid": algorithm });
    let signed = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
    let signature = sign(keys, algorithm, signed.as_bytes());
    format!("{signed}.{}", b64(signature))
}

fn sign(keys: &Keys, algorithm: &str, message: &[u8]) -> Vec<u8> {
    if algorithm == "ES256" {
        return keys.ec.sign(&SystemRandom::new(), message).expect("signs").as_ref().to_vec();
    }
    let mut signature = vec![0; keys.rsa.public_modulus_len()];
    keys.rsa.sign(&signature::RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).expect("signs");
    signature
}

fn issuer(file: std::path::PathBuf) -> model::Issuer {
    let level = |n: u8| (format!("urn:example:level:{n}"), Level::new(n).expect("1 to 3"));
    model::Issuer {
        at: Position { file: "routes.yaml".into(), line: 1, column: 1 },
        name: "sso".into(),
        issuer: "https://sso.example.ir".into(),
        audiences: vec!["https://api.example.ir".into()],
        jwks: JwksSource::File(file),
        fetch_roots: None,
        algorithms: defaults::ALGORITHMS.to_vec(),
        token_types: defaults::TOKEN_TYPES.map(str::to_owned).to_vec(),
        clock_skew: defaults::CLOCK_SKEW,
        max_level: Level::THREE,
        level_claim: defaults::LEVEL_CLAIM.into(),
        levels: [1, 2, 3].map(level).to_vec(),
        refresh: defaults::KEYS_REFRESH,
        keep_keys: defaults::KEEP_KEYS,
        client: None,
    }
}

fn requirement(issuer: Arc<Issuer>) -> Requirement {
    Requirement {
        level: Level::TWO,
        issuer: Some(issuer),
        scopes: vec!["insurance.read".into()],
        max_age: Some(Duration::from_secs(3600)),
        acr_values: String::new(),
        scope: String::new(),
        via: model::Via::Token,
    }
}

/// A known key never waits.
fn now_or_panic(future: impl Future<Output = Result<Permit, Denied>>) -> Result<Permit, Denied> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(permit) => permit,
        Poll::Pending => panic!("a known key never waits"),
    }
}

fn bearer(token: &str) -> HeaderMap {
    let value = HeaderValue::from_str(&format!("Bearer {token}")).expect("a token is a header value");
    HeaderMap::from_iter([(header::AUTHORIZATION, value)])
}

fn verify(c: &mut Criterion) {
    let keys = Keys {
        rsa: RsaKeyPair::generate(KeySize::Rsa2048).expect("a key is made"),
        ec: EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key is made"),
    };
    let directory = tempfile::tempdir().expect("a directory is made");
    let file = directory.path().join("jwks.json");
    std::fs::write(&file, jwks(&keys).to_string()).expect("a file is written");
    let control =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let clock = Clock::system();
    let issuer = Issuer::start(Arc::new(issuer(file)), directory.path(), control.handle(), &clock);
    let requirement = requirement(issuer);
    for algorithm in ["RS256", "ES256"] {
        cold(c, &keys, algorithm, &requirement, &clock);
        raw(c, &keys, algorithm);
        cached(c, &keys, algorithm, &requirement, &clock);
    }
}

fn cold(c: &mut Criterion, keys: &Keys, algorithm: &str, requirement: &Requirement, clock: &Clock) {
    let requests: Vec<_> = (0..COLD).map(|id| bearer(&token(keys, algorithm, id))).collect();
    let cache = TokenCache::new(16, Arc::new(CacheStats::default()));
    let mut next = (0..COLD).cycle();
    c.bench_function(&format!("token/cold/{algorithm}"), |b| {
        b.iter(|| {
            let headers = &requests[next.next().expect("it is endless")];
            now_or_panic(admit(requirement, black_box(headers), None, &cache, clock)).expect("the token is good")
        });
    });
}

fn cached(c: &mut Criterion, keys: &Keys, algorithm: &str, requirement: &Requirement, clock: &Clock) {
    let text = token(keys, algorithm, 1);
    let headers = bearer(&text);
    let cache = TokenCache::new(1024, Arc::new(CacheStats::default()));
    c.bench_function(&format!("token/cached/{algorithm}/{} bytes", text.len()), |b| {
        b.iter(|| {
            now_or_panic(admit(requirement, black_box(&headers), None, &cache, clock)).expect("the token is good")
        });
    });
}

fn raw(c: &mut Criterion, keys: &Keys, algorithm: &str) {
    let text = token(keys, algorithm, 1);
    let (signed, encoded) = text.rsplit_once('.').expect("a token has dots");
    let signature = URL_SAFE_NO_PAD.decode(encoded).expect("it was encoded here");
    let key = parsed(keys, algorithm);
    c.bench_function(&format!("token/raw/{algorithm}"), |b| {
        b.iter(|| key.verify_sig(black_box(signed.as_bytes()), &signature).expect("the signature is good"));
    });
    let set: jsonwebtoken::jwk::JwkSet = serde_json::from_value(jwks(keys)).expect("a key set");
    let jwk = set.find(algorithm).expect("the key is there");
    let key = jsonwebtoken::DecodingKey::from_jwk(jwk).expect("the key parses");
    let algorithm = algorithm.parse().expect("a known algorithm");
    c.bench_function(&format!("token/jsonwebtoken/{algorithm:?}"), |b| {
        b.iter(|| {
            jsonwebtoken::crypto::verify(black_box(encoded), signed.as_bytes(), &key, algorithm).expect("it verifies")
        });
    });
}

fn parsed(keys: &Keys, algorithm: &str) -> ParsedPublicKey {
    if algorithm == "ES256" {
        let point = keys.ec.public_key().as_ref();
        return ParsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point).expect("a point is a key");
    }
    let public = keys.rsa.public_key();
    let n = public.modulus().big_endian_without_leading_zero();
    let e = public.exponent().big_endian_without_leading_zero();
    let components = RsaPublicKeyComponents { n, e };
    components.to_parsed_public_key(&signature::RSA_PKCS1_2048_8192_SHA256).expect("n and e are a key")
}

criterion_group!(benches, verify);
criterion_main!(benches);
