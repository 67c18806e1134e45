//! An SSO's keys and tokens.

use std::path::Path;
use std::sync::LazyLock;

use aws_lc_rs::encoding::{AsBigEndian, EcPublicKeyUncompressedBin};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{self, EcdsaKeyPair, KeyPair, ParsedPublicKey, RsaPublicKeyComponents};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use darvazeh::clock::Clock;
use serde_json::{Value, json};

/// Its place in a configuration beside its `jwks.json`.
pub const ISSUER: &str = r#"issuers:
  sso:
    issuer: https://sso.example.ir
    audiences: [https://api.example.ir]
    jwks: { file: jwks.json }
    levels: { values: { "urn:example:level:1": 1, "urn:example:level:2": 2, "urn:example:level:3": 3 } }
"#;

const KEY: &str = "sso.p8";
const TOKENS: &str = "tokens";

pub struct Sso {
    pub ec: EcdsaKeyPair,
    /// ES256 tokens that an earlier process made.
    kept: Vec<String>,
}

/// Made when it is needed: it takes long where instructions are counted.
static RSA: LazyLock<RsaKeyPair> = LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).expect("a key is made"));

pub fn rsa() -> &'static RsaKeyPair {
    &RSA
}

impl Sso {
    /// The one that [`Sso::keep`] left in `folder`.
    pub fn kept(folder: &Path) -> Sso {
        let key = std::fs::read(folder.join(KEY)).expect("a key is kept");
        let ec = EcdsaKeyPair::from_pkcs8(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, &key).expect("it is one");
        let tokens = std::fs::read_to_string(folder.join(TOKENS)).expect("tokens are kept");
        Sso { ec, kept: tokens.lines().map(str::to_owned).collect() }
    }

    /// Leaves the key and `count` tokens for processes that are to draw no randomness: its first use alone costs as many
    /// instructions as thousands of requests, and never the same.
    pub fn keep(&self, folder: &Path, count: usize) {
        let key = self.ec.to_pkcs8v1().expect("it can be written");
        let tokens: Vec<String> = (0..count).map(|id| self.token("ES256", id)).collect();
        std::fs::write(folder.join(KEY), key.as_ref()).expect("a file is written");
        std::fs::write(folder.join(TOKENS), tokens.join("\n")).expect("a file is written");
    }

    /// With one ES256 key, published in `folder`.
    pub fn new(folder: &Path) -> Sso {
        let ec = EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key is made");
        let sso = Sso { ec, kept: Vec::new() };
        sso.publish(folder, vec![sso.ec_jwk()]);
        sso
    }

    /// With an RS256 key besides.
    pub fn with_rsa(folder: &Path) -> Sso {
        let sso = Sso::new(folder);
        sso.publish(folder, vec![sso.rsa_jwk(), sso.ec_jwk()]);
        sso
    }

    fn publish(&self, folder: &Path, keys: Vec<Value>) {
        std::fs::write(folder.join("jwks.json"), json!({ "keys": keys }).to_string()).expect("a file is written");
    }

    pub fn rsa_jwk(&self) -> Value {
        let n = b64(rsa().public_key().modulus().big_endian_without_leading_zero());
        json!({ "kty": "RSA", "kid": "RS256", "alg": "RS256", "n": n, "e": "AQAB" })
    }

    pub fn ec_jwk(&self) -> Value {
        let point: EcPublicKeyUncompressedBin<'_> = self.ec.public_key().as_be_bytes().expect("a key has a point");
        let (x, y) = point.as_ref()[1..].split_at(32);
        json!({ "kty": "EC", "kid": "ES256", "alg": "ES256", "crv": "P-256", "x": b64(x), "y": b64(y) })
    }

    /// Of level 2; about 1 KiB with RS256, as the peers' rig makes them.
    pub fn token(&self, algorithm: &str, id: usize) -> String {
        if algorithm == "ES256" && !self.kept.is_empty() {
            return self.kept[id].clone();
        }
        let now = Clock::system().now();
        let padding = "x".repeat(if algorithm == "RS256" { 160 } else { 350 });
        let claims = json!({
            "iss": "https://sso.example.ir", "aud": "https://api.example.ir", "sub": format!("{id:032x}"),
            "acr": "urn:example:level:2", "iat": now - 60, "nbf": now - 60, "auth_time": now - 120, "exp": now + 86_400,
            "jti": format!("{id:032x}"), "azp": "citizen-portal", "scope": "openid insurance.read tax.read",
            "amr": ["pwd", "otp"], "padding": padding
        });
        let header = json!({ "alg": algorithm, "typ": "JWT", "kid": algorithm });
        let signed = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
        let signature = self.sign(algorithm, signed.as_bytes());
        format!("{signed}.{}", b64(signature))
    }

    pub fn public_key(&self, algorithm: &str) -> ParsedPublicKey {
        if algorithm == "ES256" {
            let point = self.ec.public_key().as_ref();
            return ParsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point).expect("a point is a key");
        }
        let public = rsa().public_key();
        let n = public.modulus().big_endian_without_leading_zero();
        let e = public.exponent().big_endian_without_leading_zero();
        let components = RsaPublicKeyComponents { n, e };
        components.to_parsed_public_key(&signature::RSA_PKCS1_2048_8192_SHA256).expect("n and e are a key")
    }

    fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        if algorithm == "ES256" {
            return self.ec.sign(&SystemRandom::new(), message).expect("signs").as_ref().to_vec();
        }
        let mut signature = vec![0; rsa().public_modulus_len()];
        rsa().sign(&signature::RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).expect("signs");
        signature
    }
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
