//! The SSO's keys: one of each kind, made once per test run, and the JWKS that publishes their public halves.

use std::sync::OnceLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

pub const ISSUER: &str = "https://sso.example.ir";
pub const AUDIENCE: &str = "https://api.example.ir";

pub fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn unb64(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap_or_else(|e| panic!("not base64url ({e}): {text}"))
}

/// A signing key with its name.
pub struct Key {
    pub kid: String,
    /// What the key is for; RSA keys sign RS* and PS* as asked.
    pub alg: &'static str,
    secret: Secret,
}

enum Secret {
    Rsa(Box<RsaKeyPair>),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Key {
    pub fn rsa(kid: &str) -> Key {
        Key::rsa_of(kid, KeySize::Rsa2048)
    }

    fn rsa_of(kid: &str, size: KeySize) -> Key {
        let secret = Secret::Rsa(Box::new(RsaKeyPair::generate(size).expect("an RSA key")));
        Key { kid: kid.to_owned(), alg: "RS256", secret }
    }

    pub fn p256(kid: &str) -> Key {
        let pair = EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).expect("a P-256 key");
        Key { kid: kid.to_owned(), alg: "ES256", secret: Secret::Ec(pair) }
    }

    fn p384(kid: &str) -> Key {
        let pair = EcdsaKeyPair::generate(&signature::ECDSA_P384_SHA384_FIXED_SIGNING).expect("a P-384 key");
        Key { kid: kid.to_owned(), alg: "ES384", secret: Secret::Ec(pair) }
    }

    fn ed25519(kid: &str) -> Key {
        let pair = Ed25519KeyPair::generate().expect("an Ed25519 key");
        Key { kid: kid.to_owned(), alg: "EdDSA", secret: Secret::Ed(pair) }
    }

    /// The signature, by the algorithm's name where the key can do several.
    pub fn sign(&self, alg: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.secret {
            Secret::Rsa(pair) => {
                let padding: &'static dyn signature::RsaEncoding = match alg {
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    "PS256" => &signature::RSA_PSS_SHA256,
                    "PS384" => &signature::RSA_PSS_SHA384,
                    "PS512" => &signature::RSA_PSS_SHA512,
                    _ => &signature::RSA_PKCS1_SHA256,
                };
                let mut out = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message, &mut out).expect("RSA signs");
                out
            }
            Secret::Ec(pair) => pair.sign(&random, message).expect("ECDSA signs").as_ref().to_vec(),
            Secret::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// The public half (RFC 7517), without `alg`, `use` and `kid`.
    pub fn public(&self) -> Value {
        match &self.secret {
            Secret::Rsa(pair) => {
                let public = pair.public_key();
                let n = public.modulus().big_endian_without_leading_zero().to_vec();
                let e = public.exponent().big_endian_without_leading_zero().to_vec();
                json!({"kty": "RSA", "n": b64(n), "e": b64(e)})
            }
            Secret::Ec(pair) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                let curve = if x.len() == 32 { "P-256" } else { "P-384" };
                json!({"kty": "EC", "crv": curve, "x": b64(x), "y": b64(y)})
            }
            Secret::Ed(pair) => json!({"kty": "OKP", "crv": "Ed25519", "x": b64(pair.public_key())}),
        }
    }

    pub fn jwk(&self) -> Value {
        let mut jwk = self.public();
        jwk["kid"] = json!(self.kid);
        jwk["use"] = json!("sig");
        jwk
    }
}

/// The keys that [`jwks_text`] publishes.
pub struct Keys {
    pub rsa: Key,
    pub p256: Key,
    pub p384: Key,
    pub ed25519: Key,
    /// Never published: a stranger's.
    pub stranger: Key,
}

pub fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| Keys {
        rsa: Key::rsa("rsa-1"),
        p256: Key::p256("p256-1"),
        p384: Key::p384("p384-1"),
        ed25519: Key::ed25519("ed-1"),
        stranger: Key::p256("stranger-1"),
    })
}

pub fn jwks_of(keys: &[&Key]) -> String {
    json!({"keys": keys.iter().map(|k| k.jwk()).collect::<Vec<_>>()}).to_string()
}

/// What `certs/sso.jwks.json` holds.
pub fn jwks_text() -> String {
    let keys = keys();
    jwks_of(&[&keys.rsa, &keys.p256, &keys.p384, &keys.ed25519])
}
