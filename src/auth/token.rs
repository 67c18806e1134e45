//! A JWT access token from text to judged claims (RFC 7515, 7519, 8725, 9068).
//!
//! [`read`] takes the three parts apart and judges the header; [`Claims::judge`] judges what needs no key, so that garbage
//! costs no public-key operation; the signature is `keys`' work, and `auth::admit` holds the order. No text that is
//! returned repeats the token. Level, age and scopes are `assurance`'s: they count only once the token is proved (SU-5).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::json;
use crate::clock::UnixTime;
use crate::config::model::{self, Algorithm};

/// JB-7. Real tokens are 1 to 3 KiB; what is larger is not worth a look.
pub const MAX_TOKEN: usize = 8 * 1024;
/// JB-4, JB-7: ids that a token brings.
const MAX_ID: usize = 256;
/// Dates beyond this cannot be told apart by a double (RFC 7159 §6), and none is meant.
const MAX_DATE: i64 = 1 << 53;

/// Why a token is not valid; the text is for the developer of the portal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid(pub &'static str);

/// A token taken apart, its header judged, nothing proved yet.
pub(super) struct Unproved<'a> {
    pub algorithm: Algorithm,
    pub kid: Option<String>,
    /// What the signature covers: header and payload as they were sent.
    pub signed: &'a str,
    pub signature: Vec<u8>,
    pub claims: Claims,
}

/// The payload.
pub(super) struct Claims(Map<String, Value>);

/// Takes a token apart. Refuses by shape, base64, JSON and header (AT-1, AT-5, AT-7, JB-2, JB-3, JB-4, JB-7).
pub(super) fn read<'a>(token: &'a str, issuer: &model::Issuer) -> Result<Unproved<'a>, Invalid> {
    read_with(token, issuer, |header| judge_type(header, issuer))
}

/// The same for what is no access token: its `typ` must be one of `types`, or missing.
pub(super) fn read_of_types<'a>(
    token: &'a str,
    issuer: &model::Issuer,
    types: &[&str],
) -> Result<Unproved<'a>, Invalid> {
    read_with(token, issuer, |header| {
        let fits = match header.get("typ") {
            None => true,
            Some(Value::String(typ)) => types.contains(&&*media_subtype(typ)),
            Some(_) => false,
        };
        if fits { Ok(()) } else { Err(Invalid("the token is of another type")) }
    })
}

fn read_with<'a>(
    token: &'a str,
    issuer: &model::Issuer,
    judge_type: impl FnOnce(&Map<String, Value>) -> Result<(), Invalid>,
) -> Result<Unproved<'a>, Invalid> {
    let parts = Parts::of(token)?;
    let header = object(parts.header)?;
    judge_extensions(&header)?;
    let algorithm = algorithm(&header, issuer)?;
    judge_type(&header)?;
    let kid = key_id(&header)?;
    Ok(Unproved { algorithm, kid, signed: parts.signed, signature: decode(parts.signature)?, claims: parts.claims()? })
}

/// A token's text by its dots.
pub(super) struct Parts<'a> {
    pub header: &'a str,
    payload: &'a str,
    pub signature: &'a str,
    /// Header and payload with their dot.
    pub signed: &'a str,
}

impl<'a> Parts<'a> {
    pub(super) fn of(token: &'a str) -> Result<Parts<'a>, Invalid> {
        if token.len() > MAX_TOKEN {
            return Err(Invalid("the token is too large"));
        }
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Invalid("the token is not a signed JWT of three parts"));
        };
        Ok(Parts { header, payload, signature, signed: &token[..header.len() + 1 + payload.len()] })
    }

    pub(super) fn claims(&self) -> Result<Claims, Invalid> {
        object(self.payload).map(Claims)
    }
}

pub(super) fn decode(part: &str) -> Result<Vec<u8>, Invalid> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Invalid("a part of the token is not base64url without padding"))
}

/// A part that is a JSON object.
pub(super) fn object(part: &str) -> Result<Map<String, Value>, Invalid> {
    json::object(&decode(part)?)
        .map_err(|_| Invalid("a part of the token is not a JSON object in which every member stands once"))
}

/// What must be understood and is not (RFC 7515 §4.1.11). `jwk`, `jku`, `x5u` and `x5c` are not even looked at: a token
/// never brings its own key (JB-3).
pub(super) fn judge_extensions(header: &Map<String, Value>) -> Result<(), Invalid> {
    if ["crit", "zip", "b64", "enc"].iter().any(|name| header.contains_key(*name)) {
        return Err(Invalid("the token's header asks for an extension that is not supported"));
    }
    Ok(())
}

pub(super) fn algorithm(header: &Map<String, Value>, issuer: &model::Issuer) -> Result<Algorithm, Invalid> {
    let named = header.get("alg").and_then(Value::as_str);
    let algorithm = issuer.algorithms.iter().find(|a| Some(a.as_str()) == named);
    algorithm.copied().ok_or(Invalid("the token's algorithm is not allowed"))
}

pub(super) fn judge_type(header: &Map<String, Value>, issuer: &model::Issuer) -> Result<(), Invalid> {
    let fits = match header.get("typ") {
        None => is_accepted("jwt", issuer),
        Some(Value::String(typ)) => is_accepted(&media_subtype(typ), issuer),
        Some(_) => false,
    };
    if fits { Ok(()) } else { Err(Invalid("the token's type is not that of an access token")) }
}

pub(super) fn key_id(header: &Map<String, Value>) -> Result<Option<String>, Invalid> {
    match header.get("kid") {
        None => Ok(None),
        Some(Value::String(kid)) if kid.len() <= MAX_ID => Ok(Some(kid.clone())),
        Some(_) => Err(Invalid("the token's key id is not a short string")),
    }
}

/// `application/at+JWT` is `at+jwt` (RFC 7515 §4.1.9).
fn media_subtype(typ: &str) -> String {
    let lower = typ.to_ascii_lowercase();
    lower.strip_prefix("application/").map_or(lower.clone(), str::to_owned)
}

fn is_accepted(typ: &str, issuer: &model::Issuer) -> bool {
    issuer.token_types.iter().any(|accepted| accepted == typ)
}

/// One check of the claims at a time.
type ClaimCheck = fn(&Claims, &model::Issuer, UnixTime) -> Result<(), Invalid>;

/// Every check that needs no key and does not depend on the route, in its order, with the claim it looks at: AT-2 as the
/// contract has it, AT-3, AT-4, AT-6, AT-8. [`Claims::judge`] ends at the first that fails; `walk` shows them all.
pub(super) const CLAIM_CHECKS: [(&str, ClaimCheck); 9] = [
    ("iss", |claims, issuer, _| match claims.text("iss") == Some(issuer.issuer.as_str()) {
        true => Ok(()),
        false => Err(Invalid("the token is from another issuer")),
    }),
    ("aud", |claims, issuer, _| match claims.is_for(&issuer.audiences)? {
        true => Ok(()),
        false => Err(Invalid("the token is for another audience")),
    }),
    ("exp", |claims, issuer, now| match claims.exp()? <= now.saturating_sub(skew(issuer)) {
        true => Err(Invalid("the token has expired")),
        false => Ok(()),
    }),
    ("nbf", |claims, issuer, now| match claims.date("nbf")? {
        Some(nbf) if nbf > now.saturating_add(skew(issuer)) => Err(Invalid("the token is not valid yet")),
        _ => Ok(()),
    }),
    ("iat", |claims, issuer, now| {
        let latest = now.saturating_add(skew(issuer));
        match claims.date("iat")?.into_iter().chain(claims.auth_time()).any(|at| at > latest) {
            true => Err(Invalid("the token is from the future")),
            false => Ok(()),
        }
    }),
    ("sub", |claims, _, _| claims.subject().map(|_| ())),
    ("nonce", |claims, _, _| match claims.0.contains_key("nonce") {
        true => Err(Invalid("an ID token is not an access token")),
        false => Ok(()),
    }),
    ("client_id", |claims, _, _| {
        let subject = claims.subject()?;
        match [claims.text("client_id"), claims.text("azp")].contains(&Some(subject)) {
            true => Err(Invalid("the token stands for a client, not for a person")),
            false => Ok(()),
        }
    }),
    ("jti", |claims, _, _| match claims.0.get("jti") {
        None => Ok(()),
        Some(Value::String(jti)) if jti.len() <= MAX_ID => Ok(()),
        Some(_) => Err(Invalid("the token's id is not a short string")),
    }),
];

fn skew(issuer: &model::Issuer) -> i64 {
    i64::try_from(issuer.clock_skew.as_secs()).unwrap_or(0)
}

impl Claims {
    /// The first of [`CLAIM_CHECKS`] that fails: what is signed by the right party for the right audience may still not be
    /// a citizen's access token.
    pub(super) fn judge(&self, issuer: &model::Issuer, now: UnixTime) -> Result<(), Invalid> {
        CLAIM_CHECKS.iter().try_for_each(|(_, check)| check(self, issuer, now))
    }

    fn is_for(&self, audiences: &[String]) -> Result<bool, Invalid> {
        Ok(self.audiences()?.iter().any(|aud| audiences.iter().any(|ours| ours == aud)))
    }

    /// `aud`: a string, or a list of strings.
    pub(super) fn audiences(&self) -> Result<Vec<&str>, Invalid> {
        match self.0.get("aud") {
            Some(Value::String(aud)) => Ok(vec![aud]),
            Some(Value::Array(list)) if list.iter().all(Value::is_string) => {
                Ok(list.iter().filter_map(Value::as_str).collect())
            }
            _ => Err(Invalid("the token's audience is missing or not a string or list of strings")),
        }
    }

    /// `exp`, seconds.
    pub(super) fn exp(&self) -> Result<UnixTime, Invalid> {
        self.date("exp")?.ok_or(Invalid("the token has no expiry"))
    }

    pub(super) fn subject(&self) -> Result<&str, Invalid> {
        self.text("sub").filter(|sub| !sub.is_empty()).ok_or(Invalid("the token has no subject"))
    }

    /// `azp`, else `client_id` (contract section 5, "Rates").
    pub(super) fn client(&self) -> Option<&str> {
        self.text("azp").or_else(|| self.text("client_id"))
    }

    /// Only an integer is an `auth_time` (AS-7).
    pub(super) fn auth_time(&self) -> Option<UnixTime> {
        let value = self.0.get("auth_time")?;
        // What does not fit an i64 is far in the future, and must be seen to be so.
        value.as_i64().or_else(|| value.as_u64().map(|_| UnixTime::MAX))
    }

    /// `scope`, else `scp`; a string of words or a list (AT-9).
    pub(super) fn scopes(&self) -> Vec<String> {
        match self.0.get("scope").or_else(|| self.0.get("scp")) {
            Some(Value::String(words)) => words.split(' ').filter(|w| !w.is_empty()).map(str::to_owned).collect(),
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        }
    }

    /// A top-level member that is a string.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    pub(super) fn member(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// A `NumericDate` (RFC 7519 §2): fractions are allowed and dropped. `None`: the member is absent.
    pub(super) fn date(&self, name: &str) -> Result<Option<UnixTime>, Invalid> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let whole =
            value.as_i64().or_else(|| value.as_f64().filter(|f| f.abs() < MAX_DATE as f64).map(|f| f.floor() as i64));
        match whole {
            Some(date) if (0..MAX_DATE).contains(&date) => Ok(Some(date)),
            _ => Err(Invalid("a date in the token is not a number of seconds")),
        }
    }
}

#[cfg(test)]
mod tests;
