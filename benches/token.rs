//! What a token costs: proved for the first time, and found in the cache (the aim is under 300 ns for one of 1 KiB).
//!
//! `raw` is the bare public-key operation, to see what everything else adds to it; `jsonwebtoken` is that crate's own
//! `verify`, which builds the key anew in every call. `verify.rs` holds `raw` against OpenSSL.

mod pieces;

use std::hint::black_box;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use criterion::{Criterion, criterion_group, criterion_main};
use darvazeh::auth::TokenCache;
use darvazeh::auth::cache::CacheStats;
use pieces::{World, bearer};
use serde_json::json;

/// The peers' cold scenario, in small: more tokens than the cache holds, so that none is found.
const COLD: usize = 64;

fn tokens(c: &mut Criterion) {
    let world = World::with_rsa();
    for algorithm in ["RS256", "ES256"] {
        cold(c, &world, algorithm);
        raw(c, &world, algorithm);
        cached(c, &world, algorithm);
    }
}

fn cold(c: &mut Criterion, world: &World, algorithm: &str) {
    let requests: Vec<_> = (0..COLD).map(|id| bearer(&world.sso.token(algorithm, id))).collect();
    let cache = TokenCache::new(16, Arc::new(CacheStats::default()));
    let mut next = (0..COLD).cycle();
    c.bench_function(&format!("token/cold/{algorithm}"), |b| {
        b.iter(|| world.admit(black_box(&requests[next.next().expect("it is endless")]), &cache));
    });
}

fn cached(c: &mut Criterion, world: &World, algorithm: &str) {
    let text = world.sso.token(algorithm, 1);
    let headers = bearer(&text);
    let cache = TokenCache::new(1024, Arc::new(CacheStats::default()));
    c.bench_function(&format!("token/cached/{algorithm}/{} bytes", text.len()), |b| {
        b.iter(|| world.admit(black_box(&headers), &cache));
    });
}

fn raw(c: &mut Criterion, world: &World, algorithm: &str) {
    let text = world.sso.token(algorithm, 1);
    let (signed, encoded) = text.rsplit_once('.').expect("a token has dots");
    let signature = URL_SAFE_NO_PAD.decode(encoded).expect("it was encoded here");
    let key = world.sso.public_key(algorithm);
    c.bench_function(&format!("token/raw/{algorithm}"), |b| {
        b.iter(|| key.verify_sig(black_box(signed.as_bytes()), &signature).expect("the signature is good"));
    });
    let keys = json!({ "keys": [world.sso.rsa_jwk(), world.sso.ec_jwk()] });
    let set: jsonwebtoken::jwk::JwkSet = serde_json::from_value(keys).expect("a key set");
    let jwk = set.find(algorithm).expect("the key is there");
    let key = jsonwebtoken::DecodingKey::from_jwk(jwk).expect("the key parses");
    let algorithm = algorithm.parse().expect("a known algorithm");
    c.bench_function(&format!("token/jsonwebtoken/{algorithm:?}"), |b| {
        b.iter(|| {
            jsonwebtoken::crypto::verify(black_box(encoded), signed.as_bytes(), &key, algorithm).expect("it verifies")
        });
    });
}

criterion_group!(benches, tokens);
criterion_main!(benches);
