//! The demo's SSO: keys made at start, OpenID discovery, a JWKS, and a token for whoever asks.
//!
//! Real signatures, no login: `/token?level=2` is what a person at a login page would have earned. That page is `sign_in`'s.
//! For loopback alone.

use std::fmt;

use http::{Request, StatusCode};
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::{Value, json};

use super::serve::{Answer, answer, json};
use crate::clock::{Clock, UnixTime};

/// As in `routes.yaml`.
pub const ISSUER: &str = "https://sso.example.ir";
const AUDIENCE: &str = "https://api.example.ir";
const SCOPES: &str = "insurance.read insurance.write deeds.read";
/// Seconds.
pub const LIFETIME: i64 = 3600;

pub struct Sso {
    es256: Signer,
    rs256: Signer,
    jwks: Value,
    discovery: Value,
}

struct Signer {
    algorithm: Algorithm,
    kid: String,
    key: EncodingKey,
}

impl Sso {
    /// Makes the keys, one EC and one RSA. `port` is where it is served.
    pub fn new(port: u16) -> Result<Sso, String> {
        let failed = |e: &dyn fmt::Display| format!("cannot make the SSO's keys: {e}");
        let ec = KeyPair::generate().map_err(|e| failed(&e))?.serialize_pem();
        let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).map_err(|e| failed(&e))?;
        let ec = EncodingKey::from_ec_pem(ec.as_bytes()).map_err(|e| failed(&e))?;
        let rsa = EncodingKey::from_rsa_pem(rsa.serialize_pem().as_bytes()).map_err(|e| failed(&e))?;
        let (es256, es256_public) = Signer::new(ec, Algorithm::ES256).map_err(|e| failed(&e))?;
        let (rs256, rs256_public) = Signer::new(rsa, Algorithm::RS256).map_err(|e| failed(&e))?;
        let jwks = serde_json::to_value(JwkSet { keys: vec![es256_public, rs256_public] }).map_err(|e| failed(&e))?;
        Ok(Sso { es256, rs256, jwks, discovery: discovery(port) })
    }

    pub fn answer<B>(&self, request: &Request<B>) -> Answer {
        match request.uri().path() {
            "/.well-known/openid-configuration" => json(StatusCode::OK, &self.discovery),
            "/jwks" => json(StatusCode::OK, &self.jwks),
            "/token" => self.token(request.uri().query().unwrap_or_default()),
            _ => json(StatusCode::NOT_FOUND, &json!({ "error": "not_found" })),
        }
    }

    /// RFC 6749 section 5.1, or the token alone for `as=text`.
    fn token(&self, query: &str) -> Answer {
        let wish = match Wish::parse(query) {
            Ok(wish) => wish,
            Err(why) => {
                let error = json!({ "error": "invalid_request", "error_description": why });
                return json(StatusCode::BAD_REQUEST, &error);
            }
        };
        match self.sign(&wish, Clock::system().now()) {
            Ok(token) if wish.text => answer(StatusCode::OK, "text/plain", token),
            Ok(token) => {
                let granted = json!({ "access_token": token, "token_type": "Bearer", "expires_in": LIFETIME, "scope": wish.scope });
                json(StatusCode::OK, &granted)
            }
            Err(_) => json(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "error": "server_error" })),
        }
    }

    /// An access token after RFC 9068.
    fn sign(&self, wish: &Wish, now: UnixTime) -> Result<String, jsonwebtoken::errors::Error> {
        let signer = if wish.rsa { &self.rs256 } else { &self.es256 };
        let claims = json!({
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": wish.subject,
            "client_id": "demo-portal",
            "iat": now,
            "exp": now + LIFETIME,
            "auth_time": now - wish.age,
            "acr": format!("urn:example:level:{}", wish.level),
            "scope": wish.scope,
        });
        signer.sign("at+jwt", &claims)
    }

    /// What a person earned who signed in at the page: an access token, and an ID token with these claims.
    pub fn earned(&self, subject: &str, level: u8, age: i64, id: &Value) -> Result<Value, jsonwebtoken::errors::Error> {
        let wish = Wish { level, subject: subject.to_owned(), age, ..Wish::usual() };
        let access = self.sign(&wish, Clock::system().now())?;
        let id = self.es256.sign("JWT", id)?;
        Ok(json!({
            "access_token": access, "token_type": "Bearer", "expires_in": LIFETIME, "scope": wish.scope, "id_token": id,
        }))
    }
}

impl Signer {
    fn new(key: EncodingKey, algorithm: Algorithm) -> Result<(Signer, Jwk), jsonwebtoken::errors::Error> {
        let mut public = Jwk::from_encoding_key(&key, algorithm)?;
        // RFC 7638: another key, another name, also when the gateway remembers keys of an earlier demo.
        let kid = public.thumbprint(ThumbprintHash::SHA256)?;
        public.common.key_id = Some(kid.clone());
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok((Signer { algorithm, kid, key }, public))
    }

    fn sign(&self, kind: &str, claims: &Value) -> Result<String, jsonwebtoken::errors::Error> {
        let mut header = Header::new(self.algorithm);
        header.typ = Some(kind.to_owned());
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.key)
    }
}

/// OpenID Connect Discovery 1.0, section 3.
fn discovery(port: u16) -> Value {
    let at = |path: &str| format!("https://127.0.0.1:{port}{path}");
    json!({
        "issuer": ISSUER,
        "authorization_endpoint": at("/authorize"),
        "token_endpoint": at("/token"),
        "jwks_uri": at("/jwks"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["ES256", "RS256"],
        "acr_values_supported": ["urn:example:level:1", "urn:example:level:2", "urn:example:level:3"],
    })
}

/// What is asked for in `/token?level=2&sub=…&scope=a+b&age=60&alg=RS256&as=text`; everything has a default.
#[derive(Debug, PartialEq)]
struct Wish {
    level: u8,
    subject: String,
    scope: String,
    /// How long ago the person logged in, in seconds.
    age: i64,
    rsa: bool,
    text: bool,
}

impl Wish {
    fn usual() -> Wish {
        Wish { level: 2, subject: "demo-citizen".to_owned(), scope: SCOPES.to_owned(), age: 0, rsa: false, text: false }
    }

    fn parse(query: &str) -> Result<Wish, &'static str> {
        let mut wish = Wish::usual();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "level" => wish.level = value.parse().ok().filter(|l| *l <= 3).ok_or("level is 0 to 3")?,
                "sub" => wish.subject = value.to_owned(),
                "scope" => wish.scope = value.replace('+', " ").replace("%20", " "),
                "age" => wish.age = value.parse::<u32>().map_err(|_| "age is a number of seconds")?.into(),
                "alg" => wish.rsa = value == "RS256",
                "as" => wish.text = value == "text",
                _ => return Err("known are level, sub, scope, age, alg and as"),
            }
        }
        Ok(wish)
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{DecodingKey, Validation};

    use super::*;

    /// Finds the key by `kid` and verifies, as any relying party would.
    fn claims(sso: &Sso, query: &str) -> Value {
        let token = sso.sign(&Wish::parse(query).unwrap(), Clock::system().now()).unwrap();
        let header = jsonwebtoken::decode_header(&token).unwrap();
        assert_eq!(header.typ.as_deref(), Some("at+jwt"));
        let jwks: JwkSet = serde_json::from_value(sso.jwks.clone()).unwrap();
        let key = DecodingKey::from_jwk(jwks.find(&header.kid.unwrap()).unwrap()).unwrap();
        let mut checks = Validation::new(header.alg);
        checks.set_audience(&[AUDIENCE]);
        checks.set_issuer(&[ISSUER]);
        jsonwebtoken::decode::<Value>(&token, &key, &checks).unwrap().claims
    }

    #[test]
    fn tokens_of_both_algorithms_verify_with_the_published_keys() {
        let sso = Sso::new(1).unwrap();
        for alg in ["ES256", "RS256"] {
            let claims = claims(&sso, &format!("level=3&sub=someone&age=60&scope=a+b&alg={alg}"));
            assert_eq!(claims["acr"], "urn:example:level:3");
            assert_eq!(claims["sub"], "someone");
            assert_eq!(claims["scope"], "a b");
            assert_eq!(claims["iat"].as_i64().unwrap() - claims["auth_time"].as_i64().unwrap(), 60);
        }
    }

    #[test]
    fn no_private_key_is_published() {
        let jwks = Sso::new(1).unwrap().jwks;
        for key in jwks["keys"].as_array().unwrap() {
            assert!(["d", "p", "q"].iter().all(|secret| key.get(secret).is_none()), "{key}");
            assert_eq!(key["use"], "sig");
        }
    }

    #[test]
    fn a_wish_that_is_not_understood_is_refused() {
        let sso = Sso::new(1).unwrap();
        for (path, status) in [("/token", 200), ("/token?level=4", 400), ("/token?lvl=2", 400), ("/other", 404)] {
            let request = Request::builder().uri(path).body(()).unwrap();
            assert_eq!(sso.answer(&request).status(), status, "{path}");
        }
    }
}
