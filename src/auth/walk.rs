//! Every check of a token one by one, past the first that fails: what `explain` shows an operator.
//!
//! The checks are those of `admit`, in its order, so that the first that fails here is the answer there; a test holds the
//! two together. What is found is said in our own words: no claim value, no key id and no piece of the token (PV-4).

use super::admit::{Denied, Requirement};
use super::assurance;
use super::credential::token68;
use super::keys::{Issuer, Missing};
use super::token::{self, CLAIM_CHECKS, Claims, Invalid, Parts};
use crate::clock::UnixTime;
use crate::config::model::Algorithm;

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// `shape`, `alg`, `typ`, `kid`, the name of a claim, `signature`, `level`, `age`, `scopes`, …
    pub check: &'static str,
    pub outcome: Outcome,
    pub note: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    Failed,
    /// An earlier check left nothing to look at.
    NotReached,
}

impl Outcome {
    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Passed => "passed",
            Outcome::Failed => "failed",
            Outcome::NotReached => "not reached",
        }
    }
}

/// Walks `token` (as it stands behind `Bearer`) on a route with `requirement`, at `now`. Waits for a key as `admit` does.
pub async fn walk(token: &[u8], requirement: &Requirement, issuer: &Issuer, now: UnixTime) -> Vec<Finding> {
    let mut walk = Walk::default();
    let parts = token68(token).map_err(|malformed| malformed.0).and_then(|text| Parts::of(text).map_err(|i| i.0));
    let parts = walk.note("shape", parts, "three parts");
    let header = parts.as_ref().map(|parts| token::object(parts.header));
    let header = header.and_then(|header| walk.judge("header", header, "a JSON object, every member once"));
    let mut algorithm = None;
    let mut kid = None;
    if let Some(header) = &header {
        walk.judge("crit", token::judge_extensions(header), "no extension is asked for");
        let found = token::algorithm(header, &issuer.model);
        algorithm = walk.judge("alg", found, found.map_or("", Algorithm::as_str));
        walk.judge("typ", token::judge_type(header, &issuer.model), "that of an access token");
        let found = token::key_id(header);
        let note = if matches!(found, Ok(Some(_))) { "a key is named" } else { "no key is named" };
        kid = walk.judge("kid", found, note);
    }
    let signature =
        parts.as_ref().and_then(|parts| walk.judge("encoding", token::decode(parts.signature), "base64url"));
    let claims =
        parts.as_ref().and_then(|parts| walk.judge("claims", parts.claims(), "a JSON object, every member once"));
    if let Some(claims) = &claims {
        for (name, check) in &CLAIM_CHECKS {
            walk.judge(name, check(claims, &issuer.model, now), good(name));
        }
    }
    if let (Some(parts), Some(algorithm), Some(kid), Some(signature)) = (&parts, algorithm, kid, &signature) {
        walk.signature(issuer, (algorithm, kid.as_deref()), parts.signed.as_bytes(), signature).await;
    }
    if let Some(claims) = &claims {
        walk.assurance(claims, requirement, issuer, now);
    }
    walk.finished()
}

/// What is said of a claim that is well.
fn good(claim: &str) -> &'static str {
    match claim {
        "iss" => "this issuer",
        "aud" => "this audience",
        "exp" => "not expired",
        "nbf" => "in force",
        "iat" => "issued and authenticated in the past",
        "sub" => "there is a subject",
        "nonce" => "none: not an ID token",
        "client_id" => "the subject is not the client",
        _ => "absent, or a short string",
    }
}

/// The order of the checks: those that no finding was made for were not reached.
const ORDER: [&str; 22] = [
    "shape",
    "header",
    "crit",
    "alg",
    "typ",
    "kid",
    "encoding",
    "claims",
    "iss",
    "aud",
    "exp",
    "nbf",
    "iat",
    "sub",
    "nonce",
    "client_id",
    "jti",
    "key",
    "signature",
    "level",
    "age",
    "scopes",
];

#[derive(Default)]
struct Walk(Vec<Finding>);

impl Walk {
    fn note<T>(&mut self, check: &'static str, found: Result<T, &str>, good: &str) -> Option<T> {
        let (outcome, note, value) = match found {
            Ok(value) => (Outcome::Passed, good, Some(value)),
            Err(why) => (Outcome::Failed, why, None),
        };
        self.0.push(Finding { check, outcome, note: note.to_owned() });
        value
    }

    fn judge<T>(&mut self, check: &'static str, found: Result<T, Invalid>, good: &str) -> Option<T> {
        self.note(check, found.map_err(|invalid| invalid.0), good)
    }

    async fn signature(&mut self, issuer: &Issuer, of: (Algorithm, Option<&str>), signed: &[u8], signature: &[u8]) {
        let (algorithm, kid) = of;
        let found = issuer.key(kid, algorithm).await;
        let at_hand = issuer.key_count();
        let why = match found {
            Err(Missing::NoKeys) => "no keys are at hand, and none are fetched here".to_owned(),
            _ => format!("none of the {at_hand} keys at hand is the token's"),
        };
        let found = found.map_err(|_| why.as_str());
        if let Some(key) = self.note("key", found, &format!("found among {at_hand}")) {
            let verified = match key.verifies(algorithm, signed, signature) {
                true => Ok(()),
                false => Err("the token's signature is wrong"),
            };
            self.note("signature", verified, "it is the key's");
        }
    }

    fn assurance(&mut self, claims: &Claims, requirement: &Requirement, issuer: &Issuer, now: UnixTime) {
        let claim = &issuer.model.level_claim;
        let (value, level) = assurance::level(claims, issuer);
        let stands = match value {
            Some(_) => format!("`{claim}` stands for level {level}"),
            None => format!("`{claim}` is missing or not text: level {level}"),
        };
        let needs = format!("{stands}, and {} is asked", requirement.level);
        self.note("level", assurance::judge_level(requirement, level).map_err(|_| needs.as_str()), &stands);

        let judged = assurance::judge_age(requirement, claims.auth_time(), issuer.model.clock_skew, now);
        let asked = requirement.max_age.map(|age| age.as_secs());
        let young = asked.map_or("none is asked".to_owned(), |age| format!("authenticated within {age} s"));
        let old = match claims.auth_time() {
            Some(_) => format!("authenticated longer ago than {} s", asked.unwrap_or_default()),
            None => "no `auth_time`: nobody knows how long ago".to_owned(),
        };
        self.note("age", judged.map_err(|_| old.as_str()), &young);

        let has = claims.scopes();
        let missing: Vec<&str> = requirement.scopes.iter().filter(|s| !has.contains(s)).map(String::as_str).collect();
        let lacks = format!("missing: {}", missing.join(" "));
        let all = if requirement.scopes.is_empty() { "none is asked" } else { "all that are asked" };
        let judged: Result<(), Denied> = assurance::judge_scopes(requirement, &has);
        self.note("scopes", judged.map_err(|_| lacks.as_str()), all);
    }

    /// With what was not reached, in order.
    fn finished(mut self) -> Vec<Finding> {
        let made = |found: &mut Vec<Finding>, check| {
            let at = found.iter().position(|finding| finding.check == check)?;
            Some(found.swap_remove(at))
        };
        let absent = |check| Finding { check, outcome: Outcome::NotReached, note: String::new() };
        ORDER.into_iter().map(|check| made(&mut self.0, check).unwrap_or_else(|| absent(check))).collect()
    }
}

#[cfg(test)]
mod tests;
