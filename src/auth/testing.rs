//! What the tests of `auth` share: an issuer, its keys, and tokens of any kind.

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_lc_rs::encoding::AsBigEndian;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::admit::Requirement;
use super::keys::Issuer;
use super::permit::{Verified, rate_key};
use crate::clock::{Clock, UnixTime};
use crate::config::defaults;
use crate::config::model::{self, JwksSource, Position};
use crate::words::Level;

pub const NOW: UnixTime = 1_800_000_000;
pub const ISS: &str = "https://sso.example.ir";
pub const AUD: &str = "https://api.example.ir";

pub static RSA: LazyLock<RsaKeyPair> = LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());
pub static EC: LazyLock<EcdsaKeyPair> = LazyLock::new(ec_key);

pub fn ec_key() -> EcdsaKeyPair {
    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()
}

pub fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn model(jwks: JwksSource) -> model::Issuer {
    let levels = [1, 2, 3].map(|n| (format!("urn:example:level:{n}"), Level::new(n).unwrap()));
    model::Issuer {
        at: Position { file: "routes.yaml".into(), line: 1, column: 1 },
        name: "sso".into(),
        issuer: ISS.into(),
        audiences: vec!["https://other.example.ir".into(), AUD.into()],
        jwks,
        fetch_roots: None,
        algorithms: defaults::ALGORITHMS.to_vec(),
        token_types: defaults::TOKEN_TYPES.map(str::to_owned).to_vec(),
        clock_skew: defaults::CLOCK_SKEW,
        max_level: Level::THREE,
        level_claim: defaults::LEVEL_CLAIM.into(),
        levels: levels.to_vec(),
        refresh: defaults::KEYS_REFRESH,
        keep_keys: defaults::KEEP_KEYS,
        client: None,
    }
}

pub fn model_without_keys() -> model::Issuer {
    model(JwksSource::File("absent".into()))
}

/// An issuer whose keys are in a file: [`RSA`] as `rsa`, [`EC`] as `ec`.
pub fn issuer_in(directory: &Path) -> Arc<Issuer> {
    issuer_of(directory, |_| {})
}

pub fn issuer_of(directory: &Path, change: impl FnOnce(&mut model::Issuer)) -> Arc<Issuer> {
    let file = directory.join("jwks.json");
    std::fs::write(&file, jwks(&[rsa_jwk("rsa"), ec_jwk(&EC, "ec")])).unwrap();
    let mut model = model(JwksSource::File(file));
    change(&mut model);
    let handle = tokio::runtime::Handle::current();
    Issuer::start(Arc::new(model), directory, &handle, &Clock::scripted(NOW))
}

pub fn requirement(issuer: &Arc<Issuer>, level: Level) -> Requirement {
    Requirement {
        level,
        issuer: Some(issuer.clone()),
        scopes: Vec::new(),
        max_age: None,
        acr_values: issuer.model.values_reaching(level).join(" "),
        scope: String::new(),
        via: model::Via::Token,
    }
}

pub fn rsa_jwk(kid: &str) -> Value {
    let public = RSA.public_key();
    let n = b64(public.modulus().big_endian_without_leading_zero());
    let e = b64(public.exponent().big_endian_without_leading_zero());
    json!({ "kty": "RSA", "kid": kid, "use": "sig", "n": n, "e": e })
}

pub fn ec_jwk(key: &EcdsaKeyPair, kid: &str) -> Value {
    let point: aws_lc_rs::encoding::EcPublicKeyUncompressedBin<'_> = key.public_key().as_be_bytes().unwrap();
    let (x, y) = point.as_ref()[1..].split_at(32);
    json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "kid": kid, "x": b64(x), "y": b64(y) })
}

pub fn jwks(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

/// The claims of a good token of level 2.
pub fn claims() -> Value {
    json!({
        "iss": ISS, "aud": AUD, "sub": "0012345678", "acr": "urn:example:level:2", "iat": NOW - 60, "nbf": NOW - 60,
        "auth_time": NOW - 120, "exp": NOW + 600, "jti": "j-1", "azp": "portal", "scope": "openid insurance.read"
    })
}

/// The claims of a good token with one member changed; `null` removes it.
pub fn claims_with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    match value {
        Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
        value => claims[name] = value,
    }
    claims
}

pub fn rs256(claims: &Value) -> String {
    rs256_raw(r#"{"alg":"RS256","typ":"at+jwt","kid":"rsa"}"#, &claims.to_string())
}

pub fn rs256_raw(header: &str, payload: &str) -> String {
    let signed = format!("{}.{}", b64(header), b64(payload));
    let mut signature = vec![0; RSA.public_modulus_len()];
    RSA.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
    format!("{signed}.{}", b64(signature))
}

pub fn es256(key: &EcdsaKeyPair, kid: &str, claims: &Value) -> String {
    let header = json!({ "alg": "ES256", "typ": "at+jwt", "kid": kid });
    let signed = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
    let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    format!("{signed}.{}", b64(signature))
}

pub fn verified(subject: &str) -> Verified {
    Verified {
        issuer: ISS.into(),
        subject: subject.into(),
        client: Some("portal".into()),
        acr: Some("urn:example:level:2".into()),
        level: Level::TWO,
        auth_time: Some(NOW - 120),
        exp: NOW + 600,
        scopes: vec!["insurance.read".into()],
        subject_key: rate_key(ISS, subject),
        client_key: Some(rate_key(ISS, "portal")),
        released: None,
        pairwise: Default::default(),
        more_pairwise: Default::default(),
    }
}

/// Waits for something that another task brings about.
pub async fn until(mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("it comes about in time");
}
