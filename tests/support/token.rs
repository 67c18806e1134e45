//! Access tokens (RFC 9068), good ones and every kind of bad one. Signed by hand, so that no library can refuse to.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::sso::{self, AUDIENCE, ISSUER, Key, b64};

/// Seconds since 1970.
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970").as_secs() as i64
}

/// The claim value that the test configs map to this level.
pub fn acr(level: u8) -> String {
    format!("urn:example:level:{level}")
}

/// A token in the making. Begins good: signed with ES256, level 2, authenticated a minute ago, valid for ten.
pub struct Token {
    header: Map<String, Value>,
    claims: Map<String, Value>,
    /// The payload's text when it is not simply the claims.
    payload: Option<String>,
    header_text: Option<String>,
    key: &'static Key,
}

/// A good token of this level.
pub fn token(level: u8) -> Token {
    let claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "citizen-1", "client_id": "portal", "jti": unique("jti"),
        "iat": now() - 60, "exp": now() + 600, "auth_time": now() - 60, "acr": acr(level), "scope": "openid",
    });
    let key = &sso::keys().p256;
    let header = json!({"alg": key.alg, "kid": key.kid, "typ": "at+jwt"});
    Token { header: object(header), claims: object(claims), payload: None, header_text: None, key }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("not an object: {other}"),
    }
}

/// A word that occurs nowhere else.
pub fn unique(what: &str) -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{what}-{}-{}x", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Token {
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Token {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    pub fn without(mut self, name: &str) -> Token {
        self.claims.remove(name).expect("there is such a claim");
        self
    }

    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Token {
        self.header.insert(name.to_owned(), value.into());
        self
    }

    pub fn without_header(mut self, name: &str) -> Token {
        self.header.remove(name).expect("there is such a member");
        self
    }

    pub fn scope(self, scope: &str) -> Token {
        self.claim("scope", scope)
    }

    pub fn subject(self, subject: &str) -> Token {
        self.claim("sub", subject)
    }

    /// Authenticated so many seconds ago; issued just now, as by a refresh.
    pub fn authenticated(self, seconds_ago: i64) -> Token {
        self.claim("auth_time", now() - seconds_ago).claim("iat", now())
    }

    /// Signs with another key, and says so in the header.
    pub fn by(mut self, key: &'static Key) -> Token {
        self.key = key;
        self.header("alg", key.alg).header("kid", key.kid.clone())
    }

    /// Signs with another key without saying so.
    pub fn secretly_by(mut self, key: &'static Key) -> Token {
        self.key = key;
        self
    }

    /// The claims with one more member in front, written twice (JB-7).
    pub fn repeating(mut self, name: &str, first: impl Into<Value>) -> Token {
        let claims = Value::Object(self.claims.clone()).to_string();
        self.payload = Some(format!("{{{}:{},{}", json!(name), first.into(), &claims[1..]));
        self
    }

    /// The header with one member written twice (JB-7).
    pub fn repeating_header(mut self, name: &str, first: impl Into<Value>) -> Token {
        let header = Value::Object(self.header.clone()).to_string();
        self.header_text = Some(format!("{{{}:{},{}", json!(name), first.into(), &header[1..]));
        self
    }

    /// Another text in place of the claims.
    pub fn payload(mut self, text: &str) -> Token {
        self.payload = Some(text.to_owned());
        self
    }

    fn signing_input(&self) -> String {
        let header = self.header_text.clone().unwrap_or_else(|| Value::Object(self.header.clone()).to_string());
        let payload = self.payload.clone().unwrap_or_else(|| Value::Object(self.claims.clone()).to_string());
        format!("{}.{}", b64(header), b64(payload))
    }

    pub fn sign(&self) -> String {
        let input = self.signing_input();
        let alg = self.header.get("alg").and_then(Value::as_str).unwrap_or_default();
        format!("{input}.{}", b64(self.key.sign(alg, input.as_bytes())))
    }

    /// `alg: none` and no signature (JB-2).
    pub fn unsigned(mut self, alg: &str) -> String {
        self.header.insert("alg".to_owned(), json!(alg));
        format!("{}.", self.signing_input())
    }

    /// HS256 keyed with what everybody can read: the RSA key's public half (AT-5).
    pub fn signed_with_public_key(mut self, key: &Key) -> String {
        self.header.insert("alg".to_owned(), json!("HS256"));
        self.header.insert("kid".to_owned(), json!(key.kid));
        let input = self.signing_input();
        let secret = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key.jwk().to_string().as_bytes());
        format!("{input}.{}", b64(aws_lc_rs::hmac::sign(&secret, input.as_bytes())))
    }

    /// Signed, then one bit of the signature turned.
    pub fn with_broken_signature(&self) -> String {
        let good = self.sign();
        let (input, signature) = good.rsplit_once('.').expect("three parts");
        let mut bytes = sso::unb64(signature);
        bytes[10] ^= 1;
        format!("{input}.{}", b64(bytes))
    }

    /// Signed, then the claims exchanged for others.
    pub fn with_claims_of(&self, other: &Token) -> String {
        let good = self.sign();
        let signature = good.rsplit_once('.').expect("three parts").1;
        let header = good.split('.').next().expect("three parts");
        let payload = other.signing_input();
        format!("{header}.{}.{signature}", payload.split_once('.').expect("two parts").1)
    }
}
