//! A caller who is only supposed: "and if somebody came at level 2 with this scope?" For `explain` and for expectations.
//!
//! Everything but the token is judged as `admit` judges it. The permit that comes of it proves nothing about anybody, so
//! it must not meet a request that came over a network: a test holds this module to its two callers.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::admit::{Denied, Requirement};
use super::assurance;
use super::credential;
use super::permit::{Permit, Verified};
use crate::clock::UnixTime;
use crate::config::model::SupposedCaller;
use crate::fields::Fields;
use crate::words::Level;

/// Judges `caller` (`None`: somebody without a token). `skew`: the issuer's.
pub fn suppose(
    requirement: &Requirement,
    headers: &Fields,
    query: Option<&[u8]>,
    caller: Option<&SupposedCaller>,
    skew: Duration,
    now: UnixTime,
) -> Result<Permit, Denied> {
    if requirement.level == Level::NONE {
        return Ok(Permit::of(None));
    }
    credential::presented(headers, query)?;
    let verified = verified(caller.ok_or(Denied::TokenMissing)?, requirement, now);
    assurance::judge(requirement, &verified, skew, now)?;
    Ok(Permit::of(Some(Rc::new(verified))))
}

fn verified(caller: &SupposedCaller, requirement: &Requirement, now: UnixTime) -> Verified {
    let issuer = requirement.issuer.as_ref();
    let value = issuer.and_then(|issuer| issuer.model.values_reaching(caller.level).first().map(|v| (*v).to_owned()));
    let age = i64::try_from(caller.age.as_secs()).unwrap_or(i64::MAX);
    Verified {
        issuer: issuer.map_or_else(|| Arc::from("supposed"), |issuer| issuer.iss.clone()),
        subject: "supposed".to_owned(),
        client: None,
        acr: value,
        level: caller.level,
        auth_time: Some(now.saturating_sub(age)),
        exp: now,
        scopes: caller.scopes.clone(),
        subject_key: 0,
        client_key: None,
        released: None,
        pairwise: Default::default(),
        more_pairwise: Default::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::testing::NOW;
    use crate::config::model::Via;

    fn asks(level: Level) -> Requirement {
        let scopes = vec!["a.read".to_owned()];
        let max_age = Some(Duration::from_secs(60));
        Requirement {
            level,
            issuer: None,
            scopes,
            max_age,
            acr_values: String::new(),
            scope: String::new(),
            via: Via::Token,
        }
    }

    fn ask(level: Level, scopes: &[&str], age: u64) -> Result<(), Denied> {
        let scopes = scopes.iter().map(ToString::to_string).collect();
        let caller = SupposedCaller { level, scopes, age: Duration::from_secs(age) };
        let judged = suppose(&asks(Level::TWO), &Fields::new(), None, Some(&caller), Duration::ZERO, NOW);
        judged.map(|_| ())
    }

    /// BE-8
    #[test]
    fn a_supposed_caller_is_judged_by_level_then_age_then_scope() {
        assert_eq!(ask(Level::TWO, &["a.read"], 60), Ok(()));
        assert_eq!(ask(Level::ONE, &[], 99), Err(Denied::LevelTooLow { has: Level::ONE, needs: Level::TWO }));
        assert_eq!(ask(Level::THREE, &[], 61), Err(Denied::AuthenticationTooOld));
        assert_eq!(ask(Level::THREE, &["b.read"], 0), Err(Denied::ScopeMissing));
    }

    /// BE-1, BE-6
    #[test]
    fn nobody_has_no_token_and_a_token_in_the_query_is_still_refused() {
        let (headers, skew) = (Fields::new(), Duration::ZERO);
        let judge = |query| suppose(&asks(Level::ONE), &headers, query, None, skew, NOW).unwrap_err().code().as_str();
        assert_eq!(judge(None), "token_missing");
        assert_eq!(judge(Some(&b"access_token=x"[..])), "credentials_malformed");
        assert!(suppose(&asks(Level::NONE), &headers, Some(b"access_token=x"), None, skew, NOW).is_ok());
    }

    /// A permit for a supposed caller would open every route.
    #[test]
    fn nothing_that_serves_supposes() {
        let allowed = ["auth/mod.rs", "auth/suppose.rs", "live/expect.rs", "cli/explain/judge.rs"];
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
                let supposes = text.contains("suppose(") || text.contains("suppose::");
                assert!(!supposes || allowed.contains(&name.as_str()), "{name} judges supposed callers");
            }
        }
    }
}
