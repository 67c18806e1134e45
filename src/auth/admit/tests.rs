use http::{HeaderMap, HeaderValue, header};
use serde_json::json;

use super::*;
use crate::auth::cache::CacheStats;
use crate::auth::testing::*;
use crate::auth::token::MAX_TOKEN;
use crate::config::model;

struct Gate {
    requirement: Requirement,
    cache: TokenCache,
    stats: Arc<CacheStats>,
    clock: Clock,
    directory: tempfile::TempDir,
}

impl Gate {
    fn new(level: Level) -> Gate {
        Gate::of(level, |_| {})
    }

    fn of(level: Level, change: impl FnOnce(&mut model::Issuer)) -> Gate {
        let directory = tempfile::tempdir().unwrap();
        let issuer = issuer_of(directory.path(), change);
        let stats = Arc::new(CacheStats::default());
        let cache = TokenCache::new(64, stats.clone());
        Gate { requirement: requirement(&issuer, level), cache, stats, clock: Clock::scripted(NOW), directory }
    }

    async fn ask(&self, token: &str) -> Result<Permit, Denied> {
        self.ask_with(&[&format!("Bearer {token}")], None).await
    }

    async fn ask_with(&self, authorization: &[&str], query: Option<&[u8]>) -> Result<Permit, Denied> {
        let mut headers = HeaderMap::new();
        for value in authorization {
            headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        admit(&self.requirement, &headers, query, &self.cache, &self.clock).await
    }

    async fn code(&self, token: &str) -> Option<&'static str> {
        self.ask(token).await.err().map(|denied| denied.code().as_str())
    }
}

#[tokio::test]
async fn a_good_token_passes_and_says_who_asks() {
    let gate = Gate::new(Level::TWO);
    for token in [rs256(&claims()), es256(&EC, "ec", &claims())] {
        let permit = gate.ask(&token).await.unwrap();
        let caller = permit.token().unwrap();
        assert_eq!((caller.subject.as_str(), caller.client.as_deref()), ("0012345678", Some("portal")));
        assert_eq!((permit.level(), caller.acr.as_deref()), (Level::TWO, Some("urn:example:level:2")));
        assert_eq!((&*caller.issuer, caller.auth_time, caller.exp), (ISS, Some(NOW - 120), NOW + 600));
        assert_eq!(caller.scopes, ["openid", "insurance.read"]);
    }
}

/// Contract section 5: on level 0 credentials are ignored
#[tokio::test]
async fn on_level_0_nothing_is_looked_at() {
    let gate = Gate::new(Level::NONE);
    let permit = gate.ask_with(&["Bearer", "Basic x"], Some(b"access_token=x")).await.unwrap();
    assert!(permit.token().is_none() && permit.level() == Level::NONE);
    assert!(gate.ask(&rs256(&claims())).await.unwrap().token().is_none());
}

/// BE-1, BE-2, BE-6
#[tokio::test]
async fn credentials_come_first() {
    let gate = Gate::new(Level::TWO);
    let code = async |values: &[&str], query| gate.ask_with(values, query).await.unwrap_err().code().as_str();
    assert_eq!(code(&[], None).await, "token_missing");
    assert_eq!(code(&["Basic dTpw"], None).await, "token_missing");
    assert_eq!(code(&["Bearer"], None).await, "credentials_malformed");
    let good = format!("Bearer {}", rs256(&claims()));
    assert_eq!(code(&[&good, &good], None).await, "credentials_malformed");
    assert_eq!(code(&[&good], Some(b"a=b&access_token=x")).await, "credentials_malformed");
    assert!(gate.ask_with(&[&good], Some(b"a=b")).await.is_ok());
}

/// BE-3: the checks of the peers' rig
#[tokio::test]
async fn what_is_no_valid_token_is_token_invalid() {
    let gate = Gate::new(Level::TWO);
    let good = rs256(&claims());
    let [header, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    let raised = b64(claims_with("acr", json!("urn:example:level:3")).to_string());
    let other = rs256(&claims_with("sub", json!("x")));
    for (what, token) in [
        ("expired", rs256(&claims_with("exp", json!(NOW - 3600)))),
        ("wrong issuer", rs256(&claims_with("iss", json!("https://other.example.ir")))),
        ("wrong audience", rs256(&claims_with("aud", json!("https://x.example.ir")))),
        ("another's signature", format!("{header}.{payload}.{}", other.rsplit('.').next().unwrap())),
        ("changed payload", format!("{header}.{raised}.{signature}")),
        ("no signature", format!("{header}.{payload}.")),
        ("stranger's key", es256(&ec_key(), "ec", &claims())),
        ("unknown key", es256(&EC, "nobody", &claims())),
        ("another kind of key", rs256_raw(r#"{"alg":"RS256","kid":"ec"}"#, &claims().to_string())),
        ("alg none", format!("{}.{payload}.", b64(r#"{"alg":"none"}"#))),
        ("PS256 said of RS256", rs256_raw(r#"{"alg":"PS256","kid":"rsa"}"#, &claims().to_string())),
        ("not a token", "abc.def.ghi".to_owned()),
        ("too large", "a".repeat(MAX_TOKEN + 1)),
    ] {
        assert_eq!(gate.code(&token).await, Some("token_invalid"), "{what}");
    }
}

/// SU-5: a challenge about level is given only to whom the token is proved
#[tokio::test]
async fn the_token_is_proved_before_its_level_is_judged() {
    let gate = Gate::new(Level::THREE);
    let low = rs256(&claims());
    assert_eq!(gate.ask(&low).await.unwrap_err(), Denied::LevelTooLow { has: Level::TWO, needs: Level::THREE });
    let forged = format!("{}x", &low[..low.len() - 2]);
    assert_eq!(gate.code(&forged).await, Some("token_invalid"));
    let expired = rs256(&claims_with("exp", json!(NOW - 100)));
    assert_eq!(gate.code(&expired).await, Some("token_invalid"));
}

/// BE-8
#[tokio::test]
async fn level_age_and_scope_are_judged_in_this_order() {
    let mut gate = Gate::new(Level::THREE);
    gate.requirement.max_age = Some(Duration::from_secs(60));
    gate.requirement.scopes = vec!["tax.write".into()];
    let mut claims = claims();
    assert_eq!(gate.code(&rs256(&claims)).await, Some("level_too_low"));
    claims["acr"] = json!("urn:example:level:3");
    assert_eq!(gate.code(&rs256(&claims)).await, Some("authentication_too_old"));
    claims["auth_time"] = json!(NOW - 10);
    assert_eq!(gate.code(&rs256(&claims)).await, Some("scope_missing"));
    claims["scope"] = json!("tax.write openid");
    assert_eq!(gate.code(&rs256(&claims)).await, None);
}

#[tokio::test]
async fn a_second_request_is_answered_from_the_cache_until_the_token_ends() {
    let gate = Gate::new(Level::TWO);
    let token = rs256(&claims());
    let first = gate.ask(&token).await.unwrap();
    let second = gate.ask(&token).await.unwrap();
    assert!(Arc::ptr_eq(first.token().unwrap(), second.token().unwrap()), "nothing was copied");
    assert_eq!(gate.stats.hit.load(std::sync::atomic::Ordering::Relaxed), 1);
    gate.clock.set(NOW + 629);
    assert!(gate.ask(&token).await.is_ok(), "within the skew");
    gate.clock.set(NOW + 630);
    assert_eq!(gate.code(&token).await, Some("token_invalid"));
}

/// AS-7: also what is in the cache grows old
#[tokio::test]
async fn a_cached_token_is_judged_anew_for_age_and_level() {
    let mut gate = Gate::new(Level::TWO);
    gate.requirement.max_age = Some(Duration::from_secs(120));
    let token = rs256(&claims());
    assert!(gate.ask(&token).await.is_ok());
    gate.clock.set(NOW + 31);
    assert_eq!(gate.code(&token).await, Some("authentication_too_old"));
    gate.requirement.level = Level::THREE;
    assert_eq!(gate.code(&token).await, Some("level_too_low"));
}

#[tokio::test]
async fn without_any_key_nobody_is_let_through() {
    let gate = Gate::of(Level::TWO, |model| model.jwks = model::JwksSource::File("/nonexistent/jwks.json".into()));
    assert_eq!(gate.code(&rs256(&claims())).await, Some("keys_unavailable"));
    assert_eq!(gate.code("abc").await, Some("token_invalid"), "garbage is garbage all the same");
    let mut broken = Gate::new(Level::TWO);
    broken.requirement.issuer = None;
    assert_eq!(broken.code(&rs256(&claims())).await, Some("keys_unavailable"));
}

/// Contract section 5: key files are re-read when they change
#[tokio::test]
async fn a_key_file_that_changes_is_read_again_and_what_it_lost_dies() {
    let gate = Gate::new(Level::TWO);
    let issuer = gate.requirement.issuer.clone().unwrap();
    let (by_rsa, by_new) = (rs256(&claims()), ec_key());
    assert!(gate.ask(&by_rsa).await.is_ok());
    let file = gate.directory.path().join("jwks.json");
    std::fs::write(&file, "{broken").unwrap();
    until(|| issuer.stats.is_on_kept_keys()).await;
    assert!(gate.ask(&by_rsa).await.is_ok(), "a bad file never replaces good keys");
    std::fs::write(&file, jwks(&[ec_jwk(&by_new, "new")])).unwrap();
    until(|| issuer.key_count() == 1).await;
    assert!(gate.ask(&es256(&by_new, "new", &claims())).await.is_ok());
    assert_eq!(gate.code(&by_rsa).await, Some("token_invalid"), "also from the cache");
}
