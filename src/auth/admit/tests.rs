use std::cell::Cell;
use std::sync::atomic::Ordering;

use http::{HeaderValue, header};
use serde_json::json;

use super::*;
use crate::auth::cache::{CacheStats, Signatures};
use crate::auth::testing::*;
use crate::auth::token::MAX_TOKEN;
use crate::config::model;
use crate::limit::forgeries::Forgeries;

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
        let mut headers = Fields::new();
        for value in authorization {
            headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        admit(&self.requirement, &headers, query, None, &self.cache, &self.clock).await
    }

    async fn ask_as(&self, token: &str, sender: Sender<'_>) -> Result<Permit, Denied> {
        let value = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
        let headers = Fields::from_iter([(header::AUTHORIZATION, value)]);
        admit(&self.requirement, &headers, None, Some(sender), &self.cache, &self.clock).await
    }

    /// Verified and good, verified and bad, put off.
    fn signatures(&self) -> [u64; 3] {
        let Signatures { good, bad, put_off } = &self.stats.signatures;
        [good, bad, put_off].map(|counter| counter.load(Ordering::Relaxed))
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

/// No public-key operation is spent on what is refused for less. What is judged before the signature is what
/// its maker knows anyway, and the published keys.
#[tokio::test]
async fn garbage_costs_no_public_key_operation() {
    let gate = Gate::new(Level::TWO);
    let good = rs256(&claims());
    let [header, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    let headed = |header: &str| format!("{}.{payload}.{signature}", b64(header));
    let claiming = |name: &str, value| rs256(&claims_with(name, value));
    for (what, token) in [
        ("one part", header.to_owned()),
        ("two parts", format!("{header}.{payload}")),
        ("four parts", format!("{good}.{signature}")),
        ("an encrypted token", format!("{header}.{payload}.{signature}.{signature}.{signature}")),
        ("too large", format!("{good}{}", "A".repeat(MAX_TOKEN))),
        ("alg none", headed(r#"{"alg":"none"}"#)),
        ("alg HS256", headed(r#"{"alg":"HS256","kid":"rsa"}"#)),
        ("no alg", headed(r#"{"kid":"rsa"}"#)),
        ("an alg that the issuer has not", headed(r#"{"alg":"RS512","kid":"rsa"}"#)),
        ("another typ", headed(r#"{"alg":"RS256","kid":"rsa","typ":"logout+jwt"}"#)),
        ("an extension", headed(r#"{"alg":"RS256","kid":"rsa","crit":["x"]}"#)),
        ("an unknown kid", headed(r#"{"alg":"RS256","kid":"nobody"}"#)),
        ("a key of another kind", headed(r#"{"alg":"RS256","kid":"ec"}"#)),
        ("a kid too long", headed(&json!({ "alg": "RS256", "kid": "x".repeat(300) }).to_string())),
        ("a header that is no JSON", headed("{")),
        ("a member twice", headed(r#"{"alg":"RS256","alg":"RS256","kid":"rsa"}"#)),
        ("padding", format!("{header}=.{payload}.{signature}")),
        ("a header not base64url", format!("{header}+.{payload}.{signature}")),
        ("a payload not base64url", format!("{header}.{payload}~.{signature}")),
        ("a signature not base64url", format!("{header}.{payload}.{signature}/")),
        ("a payload that is no object", format!("{header}.{}.{signature}", b64("[]"))),
        ("expired", claiming("exp", json!(NOW - 3600))),
        ("no expiry", claiming("exp", json!(null))),
        ("not yet valid", claiming("nbf", json!(NOW + 3600))),
        ("from the future", claiming("iat", json!(NOW + 3600))),
        ("another issuer", claiming("iss", json!("https://other.example.ir"))),
        ("another audience", claiming("aud", json!("https://x.example.ir"))),
        ("no subject", claiming("sub", json!(null))),
        ("an ID token", claiming("nonce", json!("n"))),
    ] {
        assert!(gate.ask(&token).await.is_err(), "{what}");
        assert_eq!(gate.signatures(), [0, 0, 0], "{what}");
    }
    assert!(gate.ask(&good).await.is_ok());
    assert!(gate.ask(&format!("{header}.{payload}.{}", b64([1; 256]))).await.is_err());
    assert_eq!(gate.signatures(), [1, 1, 0]);
}

/// A flood of forged tokens meets the limit of its address, and not the signature check
#[tokio::test]
async fn forged_tokens_are_put_off_and_known_ones_are_not() {
    let gate = Gate::new(Level::TWO);
    let (forgeries, address) = (Forgeries::new(2), [192, 0, 2, 1].into());
    let (flood, fresh) = (Cell::default(), Cell::default());
    let from = |standing| Sender { forgeries: &forgeries, address, standing };
    let (known, new) = (rs256(&claims()), rs256(&claims_with("jti", json!("j-2"))));
    assert!(gate.ask_as(&known, from(&fresh)).await.is_ok());
    for n in 0..10 {
        let forged = rs256(&claims_with("jti", json!(format!("forged-{n}"))));
        let forged = format!("{}.{}", forged.rsplit_once('.').unwrap().0, b64([1; 256]));
        let denied = gate.ask_as(&forged, from(&flood)).await.unwrap_err();
        assert_eq!(denied.code().as_str(), if n < 2 { "token_invalid" } else { "rate_limited" });
    }
    assert_eq!(gate.signatures(), [1, 2, 8], "two were verified in vain");
    assert_eq!(gate.ask_as("garbage", from(&flood)).await.unwrap_err().code().as_str(), "token_invalid");
    assert!(gate.ask_as(&known, from(&flood)).await.is_ok(), "it is in the cache");
    assert!(gate.ask_as(&new, from(&flood)).await.is_err(), "it is not");
    let elsewhere = Gate { cache: TokenCache::new(64, gate.stats.clone()), ..gate };
    assert!(elsewhere.ask_as(&known, from(&flood)).await.is_ok(), "another worker proved it");
    assert!(elsewhere.ask_as(&new, from(&fresh)).await.is_ok(), "a connection in good standing");
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
    assert!(std::rc::Rc::ptr_eq(first.token().unwrap(), second.token().unwrap()), "nothing was copied");
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
