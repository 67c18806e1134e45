//! Whether an ID token is the answer to what was asked (RP-3; OpenID Connect Core 1.0 section 3.1.3.7).
//!
//! The signature is `auth::statement`'s; every other check of the standard is a line of [`judge`].

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, SHA384, SHA512, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::auth::Issuer;
use crate::auth::statement::{Statement, Unproved, verify};
use crate::auth::token::Invalid;
use crate::clock::UnixTime;
use crate::config::model::Client;
use crate::words::Level;

/// Seconds: an ID token is made for this login, not for another day.
const MAX_AGE: i64 = 600;

/// The caller authenticated before the time that was asked for.
pub const TOO_OLD: Invalid = Invalid("the login is older than was asked for");

/// What was asked for.
pub struct Expected<'a> {
    pub client: &'a Client,
    pub nonce: &'a str,
    /// Seconds.
    pub max_age: Option<u64>,
    pub access_token: &'a str,
    pub now: UnixTime,
}

/// Who logged in, and how strongly.
pub struct Identity {
    pub subject: String,
    pub sid: Option<String>,
    pub acr: Option<String>,
    pub level: Level,
    pub auth_time: Option<UnixTime>,
    pub name: Option<String>,
    /// Released ones alone.
    pub claims: Map<String, Value>,
}

pub async fn read(issuer: &Arc<Issuer>, text: &str, expected: &Expected<'_>) -> Result<Identity, Unproved> {
    let token = verify(issuer, text, &["jwt"]).await?;
    judge(&token, issuer, expected)?;
    if let Some(sent) = token.member("at_hash") {
        judge_hash(sent.as_str().unwrap_or_default(), text, expected.access_token)?;
    }
    let (acr, level) = token.level(issuer);
    let client = expected.client;
    let released = |name: &String| Some((name.clone(), token.member(name)?.clone()));
    Ok(Identity {
        subject: token.subject()?.to_owned(),
        sid: token.text("sid").map(str::to_owned),
        acr,
        level,
        auth_time: token.auth_time(),
        name: client.display_claim.as_deref().and_then(|claim| token.text(claim)).map(str::to_owned),
        claims: client.claims.iter().filter_map(released).collect(),
    })
}

fn judge(token: &Statement, issuer: &Issuer, expected: &Expected<'_>) -> Result<(), Invalid> {
    let now = expected.now;
    let skew = i64::try_from(issuer.model.clock_skew.as_secs()).unwrap_or(0);
    if token.text("iss") != Some(&issuer.model.issuer) {
        return Err(Invalid("the ID token is from another issuer"));
    }
    judge_audience(token, &expected.client.id)?;
    let exp = token.date("exp")?.ok_or(Invalid("the ID token has no expiry"))?;
    if exp <= now.saturating_sub(skew) {
        return Err(Invalid("the ID token has expired"));
    }
    let iat = token.date("iat")?.ok_or(Invalid("the ID token does not say when it was made"))?;
    if iat > now.saturating_add(skew) || iat < now.saturating_sub(skew.saturating_add(MAX_AGE)) {
        return Err(Invalid("the ID token was not made just now"));
    }
    if token.text("nonce") != Some(expected.nonce) {
        return Err(Invalid("the ID token is the answer to another login"));
    }
    token.subject()?;
    match (expected.max_age, token.auth_time()) {
        (_, Some(at)) if at > now.saturating_add(skew) => Err(Invalid("the login is from the future")),
        (Some(max), Some(at)) => {
            let oldest = now.saturating_sub(skew).saturating_sub(i64::try_from(max).unwrap_or(i64::MAX));
            if at < oldest { Err(TOO_OLD) } else { Ok(()) }
        }
        (Some(_), None) => Err(Invalid("the ID token does not say when the login was, though that was asked")),
        (None, _) => Ok(()),
    }
}

/// One of several audiences is named by `azp`; whoever it names must be us.
fn judge_audience(token: &Statement, client: &str) -> Result<(), Invalid> {
    let audiences = token.audiences()?;
    let azp = token.member("azp").map(|azp| azp.as_str().unwrap_or_default());
    let ours = audiences.contains(&client);
    let named = azp.map_or(audiences.len() == 1, |azp| azp == client);
    if ours && named { Ok(()) } else { Err(Invalid("the ID token is for another client")) }
}

/// `at_hash`: the left half of the hash that goes with the token's algorithm (section 3.1.3.6).
fn judge_hash(sent: &str, id_token: &str, access_token: &str) -> Result<(), Invalid> {
    let header = id_token.split('.').next().and_then(|part| URL_SAFE_NO_PAD.decode(part).ok()).unwrap_or_default();
    let header: Value = serde_json::from_slice(&header).unwrap_or_default();
    let algorithm = match header.get("alg").and_then(Value::as_str).unwrap_or_default() {
        "EdDSA" => &SHA512,
        name if name.ends_with("512") => &SHA512,
        name if name.ends_with("384") => &SHA384,
        _ => &SHA256,
    };
    let hash = digest(algorithm, access_token.as_bytes());
    let half = &hash.as_ref()[..hash.as_ref().len() / 2];
    if URL_SAFE_NO_PAD.encode(half) == sent {
        Ok(())
    } else {
        Err(Invalid("the ID token goes with another access token"))
    }
}
