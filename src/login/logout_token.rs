//! OpenID Back-Channel Logout 1.0 section 2.6: every check of a logout token, in the standard's order (BL-2 to BL-8).

use std::sync::Arc;

use super::once::Once;
use crate::auth::Issuer;
use crate::auth::statement::{Statement, Unproved, verify};
use crate::auth::token::Invalid;
use crate::clock::UnixTime;
use crate::session::Hub;

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// Seconds. Section 2.4 recommends two minutes at most for `exp`; a token that is older than this is an old one.
const MAX_AGE: i64 = 300;

/// Of what counts once.
pub const KIND: &str = "logout";

/// Whom an SSO ends.
#[derive(Debug, PartialEq, Eq)]
pub enum Whom {
    Sid(String),
    Sub(String),
}

/// Whom it ends, and the name under which it counts once. `client`: our id there. `seen` is asked last, so that only good tokens use up a place.
pub async fn read(
    issuer: &Arc<Issuer>,
    client: &str,
    text: &str,
    (seen, hub): (&Once, Option<&Hub>),
    now: UnixTime,
) -> Result<(Whom, String), Unproved> {
    let token = verify(issuer, text, &["logout+jwt", "jwt"]).await?;
    let (whom, name) = judge(&token, issuer, client, now)?;
    let skew = i64::try_from(issuer.model.clock_skew.as_secs()).unwrap_or(0);
    let until = now.saturating_add(MAX_AGE + 2 * skew);
    match seen.first(hub, KIND, &name, until, now).await {
        true => Ok((whom, name)),
        false => Err(Unproved::Invalid(Invalid("the logout token was used before"))),
    }
}

/// Whom it ends, and what may count once.
fn judge(token: &Statement, issuer: &Issuer, client: &str, now: UnixTime) -> Result<(Whom, String), Invalid> {
    let skew = i64::try_from(issuer.model.clock_skew.as_secs()).unwrap_or(0);
    if token.text("iss") != Some(&issuer.model.issuer) {
        return Err(Invalid("the logout token is from another issuer"));
    }
    if !token.audiences()?.contains(&client) {
        return Err(Invalid("the logout token is for another client"));
    }
    let iat = token.date("iat")?.ok_or(Invalid("the logout token does not say when it was made"))?;
    if iat > now.saturating_add(skew) || iat < now.saturating_sub(skew.saturating_add(MAX_AGE)) {
        return Err(Invalid("the logout token was not made just now"));
    }
    let exp = token.date("exp")?.ok_or(Invalid("the logout token has no expiry"))?;
    if exp <= now.saturating_sub(skew) {
        return Err(Invalid("the logout token has expired"));
    }
    let sid = token.text("sid").filter(|sid| !sid.is_empty());
    let sub = token.text("sub").filter(|sub| !sub.is_empty());
    let event = token.member("events").and_then(|events| events.as_object()).and_then(|events| events.get(EVENT));
    if !event.is_some_and(serde_json::Value::is_object) {
        return Err(Invalid("the logout token names no logout"));
    }
    if token.member("nonce").is_some() {
        return Err(Invalid("an ID token is not a logout token"));
    }
    let jti = token.text("jti").filter(|jti| !jti.is_empty() && jti.len() <= 256);
    let jti = jti.ok_or(Invalid("the logout token has no id"))?;
    let whom = match (sid, sub) {
        (Some(sid), _) => Whom::Sid(sid.to_owned()),
        (None, Some(sub)) => Whom::Sub(sub.to_owned()),
        (None, None) => return Err(Invalid("the logout token names nobody")),
    };
    Ok((whom, format!("{}\0{jti}", issuer.model.issuer)))
}
