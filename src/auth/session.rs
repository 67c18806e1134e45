//! The second door: a caller whom a session of the gateway stands for, judged as a token's caller is.
//!
//! What is believed here was proved by an ID token when the session began, and is kept by the gateway itself. Whoever can
//! call this can open every route: a test holds it to the one file of the pipeline that loads sessions.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::admit::{Denied, Requirement};
use super::assurance;
use super::permit::{Permit, Released, Verified, rate_key};
use crate::clock::UnixTime;
use crate::secret::Secret;
use crate::words::Level;

/// What a session says of its caller at one level.
pub struct Facts<'a> {
    /// `iss` of the issuer.
    pub issuer: &'a Arc<str>,
    pub subject: &'a str,
    /// The gateway's own id as a client: rates by client count it.
    pub client: &'a str,
    pub acr: Option<&'a str>,
    pub level: Level,
    pub auth_time: Option<UnixTime>,
    pub scopes: Vec<String>,
    /// What agencies may be told besides.
    pub claims: &'a Map<String, Value>,
    /// For agencies with `identity: token`.
    pub access_token: Option<&'a Secret<String>>,
}

impl Verified {
    /// Made once for a session and a level, and judged with each request.
    pub fn of_session(facts: Facts<'_>) -> Verified {
        let claims = (!facts.claims.is_empty()).then(|| facts.claims.clone());
        let released = Released { claims, access_token: facts.access_token.cloned() };
        Verified {
            issuer: facts.issuer.clone(),
            subject_key: rate_key(facts.issuer, facts.subject),
            client_key: Some(rate_key(facts.issuer, facts.client)),
            subject: facts.subject.to_owned(),
            client: Some(facts.client.to_owned()),
            acr: facts.acr.map(str::to_owned),
            level: facts.level,
            auth_time: facts.auth_time,
            // A session ends by its own limits, which are asked with each request.
            exp: UnixTime::MAX,
            scopes: facts.scopes,
            released: Some(Box::new(released)),
            pairwise: Default::default(),
            more_pairwise: Default::default(),
        }
    }
}

/// Judges level, age and scopes of a session's caller (BE-8). `skew`: the issuer's.
pub fn admit_session(
    requirement: &Requirement,
    caller: &Rc<Verified>,
    skew: Duration,
    now: UnixTime,
) -> Result<Permit, Denied> {
    assurance::judge(requirement, caller, skew, now)?;
    Ok(Permit::of(Some(caller.clone())))
}

#[cfg(test)]
mod tests {
    /// A permit for facts that nobody proved would open every route.
    #[test]
    fn only_the_file_that_loads_sessions_admits_by_them() {
        let allowed = ["auth/mod.rs", "auth/session.rs", "pipeline/session.rs"];
        let src = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut open = vec![src.clone()];
        while let Some(directory) = open.pop() {
            for entry in std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
                if entry.is_dir() {
                    open.push(entry);
                    continue;
                }
                let name = entry.strip_prefix(&src).unwrap().to_string_lossy().into_owned();
                let text = std::fs::read_to_string(&entry).unwrap_or_default();
                let admits = text.contains("admit_session(") || text.contains("of_session(");
                assert!(!admits || allowed.contains(&name.as_str()), "{name} admits callers by sessions");
            }
        }
    }
}
