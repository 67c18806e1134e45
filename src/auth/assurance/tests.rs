use serde_json::json;

use super::*;
use crate::auth::testing::*;
use crate::auth::token;
use crate::config::model::Via;

const SKEW: Duration = Duration::from_secs(30);
const MINUTE: Duration = Duration::from_secs(60);

fn asks(level: Level) -> Requirement {
    let (acr_values, scope) = (String::new(), String::new());
    Requirement { level, issuer: None, scopes: Vec::new(), max_age: None, acr_values, scope, via: Via::Token }
}

fn aged(auth_time: Option<UnixTime>) -> Result<(), Denied> {
    let verified = Verified { auth_time, ..verified("x") };
    judge(&Requirement { max_age: Some(MINUTE), ..asks(Level::TWO) }, &verified, SKEW, NOW)
}

async fn level_of(acr: serde_json::Value, change: impl FnOnce(&mut crate::config::model::Issuer)) -> (Level, u64) {
    let directory = tempfile::tempdir().unwrap();
    let issuer = issuer_of(directory.path(), change);
    let token = rs256(&claims_with("acr", acr));
    let read = token::read(&token, &issuer.model).ok().unwrap();
    let (_, level) = level(&read.claims, &issuer);
    (level, issuer.unknown_levels.load(Ordering::Relaxed))
}

/// AS-1
#[tokio::test]
async fn a_claim_value_maps_to_a_level_by_exact_equality() {
    assert_eq!(level_of(json!("urn:example:level:3"), |_| {}).await, (Level::THREE, 0));
    for near in ["urn:example:level:33", "urn:example:level:", "URN:EXAMPLE:LEVEL:3", " urn:example:level:3", "3", ""] {
        assert_eq!(level_of(json!(near), |_| {}).await, (Level::NONE, 1), "{near}");
    }
}

/// AS-2
#[tokio::test]
async fn unknown_missing_or_no_string_is_level_0_and_counted() {
    for acr in [json!("0"), json!(3), json!(["urn:example:level:3"]), json!({}), json!(true), serde_json::Value::Null] {
        assert_eq!(level_of(acr.clone(), |_| {}).await, (Level::NONE, 1), "{acr}");
    }
}

/// AS-6
#[tokio::test]
async fn an_issuer_never_gives_more_than_its_cap() {
    let capped = level_of(json!("urn:example:level:3"), |model| model.max_level = Level::TWO).await;
    assert_eq!(capped, (Level::TWO, 0));
}

/// AS-7
#[test]
fn age_is_judged_by_auth_time_with_the_skew() {
    assert_eq!(aged(Some(NOW)), Ok(()));
    assert_eq!(aged(Some(NOW - 90)), Ok(()), "max_age and skew together");
    assert_eq!(aged(Some(NOW - 91)), Err(Denied::AuthenticationTooOld));
    assert_eq!(aged(None), Err(Denied::AuthenticationTooOld));
    assert_eq!(aged(Some(UnixTime::MIN)), Err(Denied::AuthenticationTooOld));
    assert_eq!(judge(&asks(Level::TWO), &Verified { auth_time: None, ..verified("x") }, SKEW, NOW), Ok(()));
}

/// AS-7: a refreshed token has a new `iat`, and no new authentication
#[test]
fn what_is_no_integer_is_no_auth_time() {
    for auth_time in [json!("1800000000"), json!(NOW as f64 + 0.5), json!([NOW]), json!(true)] {
        let token = rs256(&claims_with("auth_time", auth_time.clone()));
        let model = model_without_keys();
        let read = token::read(&token, &model).ok().unwrap();
        assert_eq!(read.claims.judge(&model, NOW), Ok(()), "{auth_time}");
        assert_eq!(aged(read.claims.auth_time()), Err(Denied::AuthenticationTooOld), "{auth_time}");
    }
}

/// AS-10
#[test]
fn a_challenge_names_every_value_that_would_do_lowest_first() {
    let mut model = model_without_keys();
    model.levels.reverse();
    model.levels.push(("urn:example:also:2".into(), Level::TWO));
    assert_eq!(model.values_reaching(Level::TWO), ["urn:example:level:2", "urn:example:also:2", "urn:example:level:3"]);
    model.max_level = Level::TWO;
    assert_eq!(model.values_reaching(Level::TWO), ["urn:example:level:2", "urn:example:also:2"]);
}

/// AT-9, BE-4, BE-8
#[test]
fn level_comes_before_age_and_age_before_scope() {
    let scopes = vec!["insurance.read".to_owned(), "tax".to_owned()];
    let all = Requirement { scopes, max_age: Some(MINUTE), ..asks(Level::THREE) };
    let mut caller = Verified { auth_time: None, ..verified("x") };
    let too_low = Denied::LevelTooLow { has: Level::TWO, needs: Level::THREE };
    assert_eq!(judge(&all, &caller, SKEW, NOW), Err(too_low));
    caller.level = Level::THREE;
    assert_eq!(judge(&all, &caller, SKEW, NOW), Err(Denied::AuthenticationTooOld));
    caller.auth_time = Some(NOW);
    assert_eq!(judge(&all, &caller, SKEW, NOW), Err(Denied::ScopeMissing));
    caller.scopes = vec!["insurance.read".into(), "taxes".into()];
    assert_eq!(judge(&all, &caller, SKEW, NOW), Err(Denied::ScopeMissing), "whole words");
    caller.scopes.push("tax".into());
    assert_eq!(judge(&all, &caller, SKEW, NOW), Ok(()));
}
