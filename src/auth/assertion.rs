//! What the gateway itself says of a caller: a signed assertion and a pairwise subject (contract section 3, PV-1).
//!
//! Agencies get nothing else: the mapped level, never the SSO's token; a subject that no two agencies share. The secrets are
//! made at first start and kept; what is there but cannot be read is an error, because a new secret would give every citizen
//! a new identity at every agency. Called by `forward::headers` and, for the key set, by the pipeline.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::encoding::AsBigEndian as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::HeaderValue;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Serialize;

use super::permit::Permit;
use crate::clock::UnixTime;
use crate::config::model::{AssertionSettings, SecretSource};
use crate::private_file;
use crate::secret::Secret;
use crate::words::PairwiseSubject;

/// The contract's bound, seconds.
const MAX_LIFETIME: i64 = 60;
/// The version of a pairwise secret that is made here; a later one can be told from it by what stands before the dot.
const FIRST_VERSION: &str = "1";
/// Bytes; as much as the hash gives out (RFC 2104 §3).
const SECRET_LEN: usize = 32;

/// Signs with ES256. Key and pairwise secret are made at first start and kept in `state_dir` (mode 0600).
pub struct Signer {
    issuer: String,
    /// Seconds.
    lifetime: i64,
    key: EcdsaKeyPair,
    /// The JOSE header, encoded, with the dot that follows it.
    header: String,
    jwks: String,
    pairwise: Pairwise,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(<redacted>)")
    }
}

#[derive(Serialize)]
struct Assertion<'a> {
    iss: &'a str,
    aud: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acr: Option<&'a str>,
    level: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<UnixTime>,
    jti: &'a str,
    iat: UnixTime,
    exp: UnixTime,
    /// Released by configuration, as the SSO said them.
    #[serde(skip_serializing_if = "Option::is_none")]
    claims: Option<&'a serde_json::Map<String, serde_json::Value>>,
}

impl Signer {
    /// Reads `settings.key`, else `state_dir/assertion.key` (made when absent), and `state_dir/pairwise.key` (likewise).
    ///
    /// # Errors
    /// A file that is there but unreadable or malformed; a directory that cannot be written.
    pub fn load_or_create(settings: &AssertionSettings, state_dir: &Path) -> Result<Signer, String> {
        let key = match &settings.key {
            Some(SecretSource::File(path)) => read_key(path)?,
            Some(SecretSource::Value(pem)) => parse_key(pem.expose().as_bytes())
                .ok_or("the assertion key from the environment is not a P-256 key in PKCS#8 PEM")?,
            None => private_file::load_or_make(&state_dir.join("assertion.key"), new_key, read_key)?,
        };
        let pairwise = private_file::load_or_make(&state_dir.join("pairwise.key"), new_secret, Pairwise::read)?;
        Signer::of(settings, key, pairwise)
    }

    /// With secrets of its own that nobody keeps. What it signs is good for nothing but to be looked at: for `explain`,
    /// which must neither need nor touch the real ones.
    pub fn ephemeral(settings: &AssertionSettings) -> Result<Signer, String> {
        let no_use = || "secrets that were made just now cannot be used".to_owned();
        let key = parse_key(new_key()?.as_bytes()).ok_or_else(no_use)?;
        let pairwise = Pairwise::parse(new_secret()?.as_bytes()).ok_or_else(no_use)?;
        Signer::of(settings, key, pairwise)
    }

    fn of(settings: &AssertionSettings, key: EcdsaKeyPair, pairwise: Pairwise) -> Result<Signer, String> {
        let (kid, jwks) = public_jwk(&key)?;
        let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"ES256","typ":"JWT","kid":"{kid}"}}"#)) + ".";
        let lifetime = i64::try_from(settings.lifetime.as_secs()).unwrap_or(MAX_LIFETIME).clamp(1, MAX_LIFETIME);
        Ok(Signer { issuer: settings.issuer.clone(), lifetime, key, header, jwks, pairwise })
    }

    /// `X-Gateway-Assertion` for this request. Every assertion has its own `jti` (the request's randomness). An anonymous
    /// caller is level 0 and has no `sub`.
    pub fn assertion(&self, permit: &Permit, agency: &Arc<str>, now: UnixTime) -> HeaderValue {
        let mut random = [0; 16];
        aws_lc_rs::rand::fill(&mut random).expect("the system gives randomness");
        let (token, subject) = (permit.token(), self.pairwise(permit, agency));
        let claims = Assertion {
            iss: &self.issuer,
            aud: agency,
            sub: subject.as_ref().map(PairwiseSubject::as_str),
            acr: token.and_then(|t| t.acr.as_deref()),
            level: permit.level().number(),
            auth_time: token.and_then(|t| t.auth_time),
            jti: &URL_SAFE_NO_PAD.encode(random),
            iat: now,
            exp: now.saturating_add(self.lifetime),
            claims: token.and_then(|t| t.released_claims()),
        };
        let claims = serde_json::to_vec(&claims).expect("strings and numbers are JSON");
        let mut text = self.header.clone();
        URL_SAFE_NO_PAD.encode_string(claims, &mut text);
        let signature = self.key.sign(&SystemRandom::new(), text.as_bytes()).expect("a parsed P-256 key signs");
        text.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut text);
        HeaderValue::try_from(text).expect("base64url and dots are a header value")
    }

    /// The subject as this agency alone knows it; cached with the token.
    pub fn pairwise(&self, permit: &Permit, agency: &Arc<str>) -> Option<PairwiseSubject> {
        let token = permit.token()?;
        let make = || self.pairwise.subject(agency, &token.issuer, &token.subject);
        Some(token.pairwise(self.pairwise.mark, agency, make))
    }

    /// A secret for another purpose, drawn from the pairwise one: whoever knows it cannot tell that, and nodes with the same
    /// `pairwise.key` have the same.
    pub fn derived(&self, purpose: &str) -> Secret<[u8; SECRET_LEN]> {
        let mut secret = [0; SECRET_LEN];
        let tag = hmac::sign(&self.pairwise.key, format!("derived\0{purpose}").as_bytes());
        secret.copy_from_slice(tag.as_ref());
        Secret::new(secret)
    }

    /// `/.gateway/jwks.json`
    pub fn jwks(&self) -> String {
        self.jwks.clone()
    }
}

/// The secret behind pairwise subjects (PV-1).
struct Pairwise {
    version: String,
    key: hmac::Key,
    /// Tells two secrets apart without saying anything of either.
    mark: u64,
}

impl Pairwise {
    /// `ver.` and base64url of HMAC-SHA-256(K, "nw1" 0 sector 0 iss 0 sub), the sector being the agency.
    fn subject(&self, agency: &str, issuer: &str, subject: &str) -> PairwiseSubject {
        let mut context = hmac::Context::with_key(&self.key);
        for part in ["nw1", "\0", agency, "\0", issuer, "\0", subject] {
            context.update(part.as_bytes());
        }
        let mut text = format!("{}.", self.version);
        URL_SAFE_NO_PAD.encode_string(context.sign().as_ref(), &mut text);
        PairwiseSubject::new(&text).expect("its version is short")
    }

    fn read(path: &Path) -> Result<Pairwise, String> {
        let bytes = private_file::read_bounded(path, 1024).map_err(|e| format!("{}: {e}", path.display()))?;
        let malformed = || {
            let longest = PairwiseSubject::VERSION;
            let form = format!("VERSION.BASE64URL: 1 to {longest} letters and digits, and 32 bytes");
            format!("{}: not a pairwise secret ({form})", path.display())
        };
        Pairwise::parse(&bytes).ok_or_else(malformed)
    }

    /// One line: `VERSION.BASE64URL`.
    fn parse(bytes: &[u8]) -> Option<Pairwise> {
        let (version, secret) = std::str::from_utf8(bytes).ok()?.trim_end().split_once('.')?;
        let secret = URL_SAFE_NO_PAD.decode(secret).ok()?;
        let plain = version.bytes().all(|b| b.is_ascii_alphanumeric());
        let fits = (1..=PairwiseSubject::VERSION).contains(&version.len());
        if secret.len() != SECRET_LEN || !fits || !plain {
            return None;
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        let mut mark = [0; 8];
        mark.copy_from_slice(&hmac::sign(&key, b"mark").as_ref()[..8]);
        Some(Pairwise { version: version.to_owned(), key, mark: u64::from_ne_bytes(mark) })
    }
}

fn new_secret() -> Result<String, String> {
    let mut secret = [0; SECRET_LEN];
    aws_lc_rs::rand::fill(&mut secret).map_err(|_| "the system gives no randomness".to_owned())?;
    Ok(format!("{FIRST_VERSION}.{}\n", URL_SAFE_NO_PAD.encode(secret)))
}

/// PKCS#8 PEM (RFC 7468 §10).
fn new_key() -> Result<String, String> {
    let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
    let pkcs8 = made.map_err(|_| "no P-256 key could be made".to_owned())?;
    let text = STANDARD.encode(pkcs8.as_ref());
    let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    Ok(pem)
}

fn read_key(path: &Path) -> Result<EcdsaKeyPair, String> {
    let bytes = private_file::read_bounded(path, 64 * 1024).map_err(|e| format!("{}: {e}", path.display()))?;
    parse_key(&bytes).ok_or_else(|| format!("{}: not a P-256 key in PKCS#8 PEM", path.display()))
}

fn parse_key(pem: &[u8]) -> Option<EcdsaKeyPair> {
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem).ok()?;
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_pkcs8_der()).ok()
}

/// The `kid` (RFC 7638 thumbprint) and the JWK Set with this one key.
fn public_jwk(key: &EcdsaKeyPair) -> Result<(String, String), String> {
    let point: aws_lc_rs::encoding::EcPublicKeyUncompressedBin<'_> =
        key.public_key().as_be_bytes().map_err(|_| "the assertion key has no public point".to_owned())?;
    let (x, y) = point.as_ref()[1..].split_at(32);
    let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
    let members = format!(r#""crv":"P-256","kty":"EC","x":"{x}","y":"{y}""#);
    let thumbprint = digest::digest(&digest::SHA256, format!("{{{members}}}").as_bytes());
    let kid = URL_SAFE_NO_PAD.encode(thumbprint);
    let jwks = format!(r#"{{"keys":[{{{members},"use":"sig","alg":"ES256","kid":"{kid}"}}]}}"#);
    Ok((kid, jwks))
}

#[cfg(test)]
mod tests;
