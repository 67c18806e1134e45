//! The back channel to the SSO: a code or a refresh token for tokens, a pushed request, and the proof of who asks (RP-7).
//!
//! Everything here runs on the control runtime, with a deadline and a size cap. No text that is returned repeats a token.

use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PSS_SHA256};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderValue, StatusCode, Uri};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

use super::form::{Form, encoded};
use super::random;
use crate::clock::UnixTime;
use crate::config::model::{Client, ClientProof};
use crate::config::secret_ref;
use crate::fetch::Fetcher;
use crate::secret::Secret;

/// A citizen waits for it in front of an empty page.
pub const LIMIT: Duration = Duration::from_secs(10);
/// Three tokens of 8 KiB, and room.
const MAX: usize = 64 * 1024;
/// Seconds that an assertion of ours is good for.
const ASSERTION_LIFETIME: i64 = 60;

pub struct TokenClient {
    id: String,
    /// `aud` of our assertions: the SSO's `iss`, which no other server can pass on as its own (RFC 7523bis section 4).
    audience: String,
    proof: Proof,
    fetcher: Fetcher,
}

enum Proof {
    None,
    /// The whole value of `Authorization`.
    Basic(HeaderValue),
    Post(Secret<String>),
    Jwt {
        key: SigningKey,
        key_id: Option<String>,
    },
    Tls,
}

enum SigningKey {
    Ec(EcdsaKeyPair),
    Rsa(Box<RsaKeyPair>),
}

/// What a token endpoint gave (RFC 6749 section 5.1).
pub struct TokenAnswer {
    pub id_token: Option<Secret<String>>,
    pub access_token: Secret<String>,
    pub refresh_token: Option<Secret<String>>,
    /// Seconds from now.
    pub expires_in: Option<i64>,
    pub scope: Option<String>,
}

/// Why there are no tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    /// It cannot be reached, or is unwell: later may be better.
    Away(String),
    /// It says no, or something that no token endpoint says.
    Refused(String),
}

impl TokenClient {
    /// Errors: a secret that cannot be read any more.
    pub fn new(client: &Client, audience: String, fetcher: Fetcher) -> Result<TokenClient, String> {
        let text = |source| -> Result<String, String> {
            let bytes = secret_ref::read(source)?;
            Ok(String::from_utf8_lossy(bytes.expose()).trim().to_owned())
        };
        let proof = match &client.auth {
            ClientProof::None => Proof::None,
            ClientProof::Tls(_) => Proof::Tls,
            ClientProof::Post(source) => Proof::Post(Secret::new(text(source)?)),
            ClientProof::Basic(source) => Proof::Basic(basic(&client.id, &text(source)?)?),
            ClientProof::PrivateKeyJwt { key, key_id } => {
                Proof::Jwt { key: SigningKey::parse(secret_ref::read(key)?.expose())?, key_id: key_id.clone() }
            }
        };
        Ok(TokenClient { id: client.id.clone(), audience, proof, fetcher })
    }

    /// RFC 6749 section 4.1.3 with RFC 7636 section 4.5.
    pub async fn exchange(
        &self,
        endpoint: &Uri,
        code: &str,
        verifier: &str,
        redirect_uri: &str,
        now: UnixTime,
    ) -> Result<TokenAnswer, Failed> {
        let form = Form::new(&[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", verifier),
        ]);
        tokens(&self.post(endpoint, form, StatusCode::OK, now).await?)
    }

    /// RFC 6749 section 6.
    pub async fn refresh(&self, endpoint: &Uri, token: &str, now: UnixTime) -> Result<TokenAnswer, Failed> {
        let form = Form::new(&[("grant_type", "refresh_token"), ("refresh_token", token)]);
        tokens(&self.post(endpoint, form, StatusCode::OK, now).await?)
    }

    /// RP-5: the `request_uri` that stands for `request` (RFC 9126 section 2).
    pub async fn push(&self, endpoint: &Uri, request: Form, now: UnixTime) -> Result<String, Failed> {
        let answer = self.post(endpoint, request, StatusCode::CREATED, now).await?;
        let uri = answer.get("request_uri").and_then(Value::as_str);
        uri.map(str::to_owned).ok_or_else(|| Failed::Refused("no request_uri".to_owned()))
    }

    async fn post(&self, endpoint: &Uri, mut form: Form, good: StatusCode, now: UnixTime) -> Result<Value, Failed> {
        let authorization = self.prove(&mut form, now);
        let posted = self.fetcher.post(endpoint, form.into_string(), authorization.as_ref(), LIMIT, MAX).await;
        let posted = posted.map_err(|why| Failed::Away(why.to_string()))?;
        let answer: Option<Value> = serde_json::from_slice(&posted.body).ok();
        match answer {
            Some(answer) if posted.status == good => Ok(answer),
            _ if posted.status.is_server_error() || posted.status == StatusCode::TOO_MANY_REQUESTS => {
                Err(Failed::Away(format!("it answered {}", posted.status.as_u16())))
            }
            Some(answer) => {
                let error = answer.get("error").and_then(Value::as_str).unwrap_or("no error code");
                // RFC 6749 section 5.2: visible ASCII. What is none is not repeated.
                let plain = error.len() <= 64 && error.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
                let error = if plain { error } else { "an error code that is none" };
                Err(Failed::Refused(format!("{}: {error}", posted.status.as_u16())))
            }
            None => Err(Failed::Refused(format!("{}: not JSON", posted.status.as_u16()))),
        }
    }

    /// Adds to `form` what proves who asks; gives `Authorization` where that is how.
    fn prove(&self, form: &mut Form, now: UnixTime) -> Option<HeaderValue> {
        if let Proof::Basic(value) = &self.proof {
            return Some(value.clone());
        }
        // A pushed request has it already, and twice is once too often.
        if !form.has("client_id") {
            form.push("client_id", &self.id);
        }
        match &self.proof {
            Proof::Basic(_) | Proof::None | Proof::Tls => {}
            Proof::Post(secret) => {
                form.push("client_secret", secret.expose());
            }
            Proof::Jwt { key, key_id } => {
                form.push("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
                form.push("client_assertion", &self.assertion(key, key_id.as_deref(), now));
            }
        }
        None
    }

    /// RFC 7523 section 3; OpenID Connect Core 1.0 section 9.
    fn assertion(&self, key: &SigningKey, key_id: Option<&str>, now: UnixTime) -> String {
        let mut header = json!({"alg": key.algorithm(), "typ": "JWT"});
        if let Some(kid) = key_id {
            header["kid"] = kid.into();
        }
        let claims = json!({
            "iss": self.id, "sub": self.id, "aud": self.audience, "iat": now, "exp": now + ASSERTION_LIFETIME,
            "jti": URL_SAFE_NO_PAD.encode(random::<16>()),
        });
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let mut text = format!("{}.{}", encode(&header), encode(&claims));
        let signature = key.sign(text.as_bytes());
        text.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut text);
        text
    }
}

/// Id and secret are form-encoded first (RFC 6749 section 2.3.1), which is often forgotten.
fn basic(id: &str, secret: &str) -> Result<HeaderValue, String> {
    let pair = format!("{}:{}", encoded(id), encoded(secret));
    let value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)));
    let mut value = value.map_err(|_| "the client's secret cannot be sent".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

impl SigningKey {
    fn parse(pem: &[u8]) -> Result<SigningKey, String> {
        let no_key = || "the client's key is not a P-256 or RSA key in PKCS#8 PEM".to_owned();
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|_| no_key())?;
        let der = der.secret_pkcs8_der();
        if let Ok(key) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der) {
            return Ok(SigningKey::Ec(key));
        }
        RsaKeyPair::from_pkcs8(der).map(|key| SigningKey::Rsa(Box::new(key))).map_err(|_| no_key())
    }

    /// FAPI 2.0 Security Profile section 5.4.1.
    const fn algorithm(&self) -> &'static str {
        match self {
            SigningKey::Ec(_) => "ES256",
            SigningKey::Rsa(_) => "PS256",
        }
    }

    fn sign(&self, text: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            SigningKey::Ec(key) => key.sign(&random, text).expect("a parsed P-256 key signs").as_ref().to_vec(),
            SigningKey::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PSS_SHA256, &random, text, &mut signature).expect("a parsed RSA key signs");
                signature
            }
        }
    }
}

fn tokens(answer: &Value) -> Result<TokenAnswer, Failed> {
    let text = |name: &str| answer.get(name).and_then(Value::as_str).map(str::to_owned);
    let secret = |name: &str| text(name).map(Secret::new);
    Ok(TokenAnswer {
        access_token: secret("access_token").ok_or_else(|| Failed::Refused("no access_token".to_owned()))?,
        id_token: secret("id_token"),
        refresh_token: secret("refresh_token"),
        expires_in: answer.get("expires_in").and_then(Value::as_i64),
        scope: text("scope"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RP-7
    #[test]
    fn id_and_secret_are_form_encoded_before_they_are_base64() {
        let value = basic("a b", "s:+é").unwrap();
        let text = value.to_str().unwrap().strip_prefix("Basic ").unwrap().to_owned();
        assert_eq!(STANDARD.decode(text).unwrap(), b"a%20b:s%3A%2B%C3%A9");
        assert!(value.is_sensitive());
    }

    #[test]
    fn an_answer_without_an_access_token_is_none() {
        assert!(tokens(&json!({"id_token": "x"})).is_err());
        let given = tokens(&json!({"access_token": "x", "token_type": "Bearer", "expires_in": 300})).unwrap();
        assert_eq!((given.expires_in, given.scope), (Some(300), None));
    }
}
