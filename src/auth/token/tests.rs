use serde_json::json;

use super::*;
use crate::auth::testing::*;

fn refusal(token: &str) -> Option<&'static str> {
    refusal_by(token, &model_without_keys())
}

fn refusal_by(token: &str, issuer: &model::Issuer) -> Option<&'static str> {
    let judged = read(token, issuer).and_then(|t| t.claims.judge(issuer, NOW));
    judged.err().map(|Invalid(why)| why)
}

fn with_claim(name: &str, value: Value) -> Option<&'static str> {
    refusal(&unsigned(r#"{"alg":"RS256","typ":"at+jwt"}"#, &claims_with(name, value).to_string()))
}

fn with_header(header: &str) -> Option<&'static str> {
    refusal(&unsigned(header, &claims().to_string()))
}

fn unsigned(header: &str, payload: &str) -> String {
    format!("{}.{}.{}", b64(header), b64(payload), b64("signature"))
}

/// AT-1
#[test]
fn only_an_access_token_type_is_taken() {
    for typ in ["at+jwt", "at+JWT", "application/at+jwt", "JWT", "jwt"] {
        assert_eq!(with_header(&json!({ "alg": "RS256", "typ": typ }).to_string()), None, "{typ}");
    }
    assert_eq!(with_header(r#"{"alg":"RS256"}"#), None, "a missing typ counts as JWT");
    for typ in
        [json!("dpop+jwt"), json!("logout+jwt"), json!("at+jwt "), json!(""), json!(1), json!(null), json!(["JWT"])]
    {
        assert!(with_header(&json!({ "alg": "RS256", "typ": typ }).to_string()).is_some(), "{typ}");
    }
    let mut strict = model_without_keys();
    strict.token_types = vec!["at+jwt".into()];
    for header in [r#"{"alg":"RS256"}"#, r#"{"alg":"RS256","typ":"JWT"}"#] {
        assert!(refusal_by(&unsigned(header, &claims().to_string()), &strict).is_some(), "{header}");
    }
}

/// AT-1, JB-6
#[test]
fn what_has_a_nonce_is_an_id_token_and_refused() {
    assert!(with_claim("nonce", json!("n")).is_some());
    let payload = claims().to_string().replacen('{', r#"{"nonce":null,"#, 1);
    assert!(refusal(&unsigned(r#"{"alg":"RS256"}"#, &payload)).is_some());
}

/// AT-2, as the contract has it: `client_id`, `iat` and `jti` may be absent.
#[test]
fn issuer_expiry_audience_and_subject_must_be_there() {
    for name in ["iss", "exp", "aud", "sub"] {
        assert!(with_claim(name, Value::Null).is_some(), "{name}");
    }
    for name in ["iat", "jti", "nbf", "auth_time", "azp", "scope", "acr"] {
        assert_eq!(with_claim(name, Value::Null), None, "{name}");
    }
    for (name, value) in
        [("sub", json!("")), ("sub", json!(7)), ("iss", json!([ISS])), ("aud", json!(7)), ("aud", json!([AUD, 7]))]
    {
        assert!(with_claim(name, value.clone()).is_some(), "{name} {value}");
    }
}

/// AT-3
#[test]
fn the_issuer_is_compared_exactly() {
    for iss in
        ["https://sso.example.ir/", "HTTPS://sso.example.ir", "https://sso.example.i", "https://evil.example.ir", ""]
    {
        assert!(with_claim("iss", json!(iss)).is_some(), "{iss}");
    }
}

/// AT-4
#[test]
fn one_configured_audience_must_be_among_the_tokens() {
    for aud in [json!(AUD), json!([AUD]), json!(["x", AUD]), json!("https://other.example.ir")] {
        assert_eq!(with_claim("aud", aud.clone()), None, "{aud}");
    }
    for aud in [json!("x"), json!([]), json!(""), json!(format!("{AUD}/")), json!({ "a": AUD })] {
        assert!(with_claim("aud", aud.clone()).is_some(), "{aud}");
    }
}

/// AT-5, JB-2
#[test]
fn an_algorithm_that_is_not_allowed_is_refused() {
    for alg in ["none", "None", "NONE", "HS256", "HS512", "rs256", "RS512", "ES384", ""] {
        assert!(with_header(&json!({ "alg": alg }).to_string()).is_some(), "{alg}");
    }
    assert!(with_header("{}").is_some() && with_header(r#"{"alg":["RS256"]}"#).is_some());
    for alg in ["RS256", "PS256", "ES256", "EdDSA"] {
        assert_eq!(with_header(&json!({ "alg": alg }).to_string()), None, "{alg}");
    }
}

/// AT-6; FAPI 2.0: 8 s ahead passes, over 60 s never does
#[test]
fn dates_are_judged_within_the_skew() {
    for (name, good, bad) in [
        ("exp", NOW - 29, NOW - 30),
        ("nbf", NOW + 30, NOW + 31),
        ("iat", NOW + 30, NOW + 31),
        ("auth_time", NOW + 30, NOW + 31),
    ] {
        assert_eq!(with_claim(name, json!(good)), None, "{name}");
        assert!(with_claim(name, json!(bad)).is_some(), "{name}");
    }
    assert!(with_claim("auth_time", json!(u64::MAX)).is_some());
}

#[test]
fn a_date_is_a_finite_number_within_reason() {
    assert_eq!(with_claim("exp", json!((NOW + 60) as f64 + 0.5)), None);
    for date in
        [json!("1900000000"), json!(-1), json!(1e300), json!(i64::MAX), json!(u64::MAX), json!(true), json!([1])]
    {
        for name in ["exp", "nbf", "iat"] {
            assert!(with_claim(name, date.clone()).is_some(), "{name} {date}");
        }
    }
}

/// AT-7: nested tokens are not agreed with anybody
#[test]
fn an_encrypted_token_is_refused() {
    assert!(refusal("a.b.c.d.e").is_some());
    assert!(with_header(r#"{"alg":"RS256","enc":"A128GCM"}"#).is_some());
}

/// AT-8
#[test]
fn a_token_of_a_client_alone_is_refused() {
    assert!(with_claim("client_id", json!("0012345678")).is_some());
    assert!(with_claim("azp", json!("0012345678")).is_some());
    assert_eq!(with_claim("client_id", json!("another")), None);
}

/// AT-9
#[test]
fn scopes_are_whole_words() {
    let scopes = |name: &str, value: Value| {
        let mut claims = claims_with("scope", Value::Null);
        claims[name] = value;
        let token = unsigned(r#"{"alg":"RS256"}"#, &claims.to_string());
        read(&token, &model_without_keys()).ok().unwrap().claims.scopes()
    };
    assert_eq!(scopes("scope", json!(" a  b.read ")), ["a", "b.read"]);
    assert_eq!(scopes("scope", json!(["a", 1, "b c"])), ["a", "b c"]);
    assert_eq!(scopes("scp", json!("a b")), ["a", "b"]);
    assert_eq!(scopes("scp", json!(["a"])), ["a"]);
    assert!(scopes("scope", json!(7)).is_empty());
}

/// JB-2, JB-3
#[test]
fn header_extensions_are_refused_and_keys_in_it_ignored() {
    for (name, value) in [("crit", json!(["exp"])), ("crit", json!([])), ("zip", json!("DEF")), ("b64", json!(true))] {
        let mut header = json!({ "alg": "RS256" });
        header[name] = value;
        assert!(with_header(&header.to_string()).is_some(), "{name}");
    }
    for (name, value) in
        [("jwk", rsa_jwk("x")), ("jku", json!("https://evil.example")), ("x5u", json!("x")), ("x5c", json!(["x"]))]
    {
        let mut header = json!({ "alg": "RS256" });
        header[name] = value;
        assert_eq!(with_header(&header.to_string()), None, "{name}");
    }
}

/// JB-4, JB-7
#[test]
fn ids_are_short_strings() {
    for kid in [json!("k".repeat(257)), json!(1), json!(null), json!(["k"])] {
        assert!(with_header(&json!({ "alg": "RS256", "kid": kid }).to_string()).is_some());
    }
    assert_eq!(with_header(&json!({ "alg": "RS256", "kid": "../../etc/passwd' OR 1=1" }).to_string()), None);
    assert!(with_claim("jti", json!("j".repeat(257))).is_some());
    assert!(with_claim("jti", json!(1)).is_some());
    assert_eq!(with_claim("jti", json!("j".repeat(256))), None);
}

/// JB-7
#[test]
fn base64_is_strict_and_members_stand_once() {
    let good = rs256(&claims());
    let [header, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    for bad in [
        "".to_owned(),
        "..".to_owned(),
        "abc.def.ghi".to_owned(),
        format!("{header}.{payload}"),
        format!("{header}.{payload}.{signature}."),
        format!(".{header}.{payload}.{signature}"),
        format!("{header}=.{payload}.{signature}"),
        format!("{header}.{payload}=.{signature}"),
        format!("{header}.{payload}.{signature}="),
        format!("{header}.{payload}.{signature}+/"),
        format!("{header}.{payload}. {signature}"),
        format!("{payload}.{header}.{signature}"),
    ] {
        assert!(refusal(&bad).is_some(), "{bad}");
    }
    assert_eq!(refusal(&good), None);
    // The last character holds bits that a lenient decoder drops: another spelling of the same bytes.
    assert!(
        read(&unsigned("{\"alg\":\"RS256\"}", "{}").replace("c2lnbmF0dXJl", "c2lnbmF0dXJlZR"), &model_without_keys())
            .is_err()
    );
    for payload in [r#"{"sub":"a","sub":"b"}"#, r#"{"x":{"a":1,"a":1}}"#, "[]", "null", "\"x\""] {
        assert!(refusal(&unsigned(r#"{"alg":"RS256"}"#, payload)).is_some(), "{payload}");
    }
    assert!(with_header(r#"{"alg":"none","alg":"RS256"}"#).is_some());
}

/// JB-7
#[test]
fn a_token_over_8_kib_is_refused() {
    let fits = claims_with("x", json!("x".repeat(5000)));
    assert_eq!(refusal(&unsigned(r#"{"alg":"RS256"}"#, &fits.to_string())), None);
    let large = claims_with("x", json!("x".repeat(7000)));
    assert_eq!(refusal(&unsigned(r#"{"alg":"RS256"}"#, &large.to_string())), Some("the token is too large"));
}

/// Contract section 5, "Rates"
#[test]
fn the_client_is_azp_else_client_id() {
    let client = |claims: &Value| {
        let token = unsigned(r#"{"alg":"RS256"}"#, &claims.to_string());
        read(&token, &model_without_keys()).ok().unwrap().claims.client().map(str::to_owned)
    };
    assert_eq!(client(&claims_with("client_id", json!("c"))).as_deref(), Some("portal"));
    let mut without = claims_with("azp", Value::Null);
    assert_eq!(client(&without), None);
    without["client_id"] = json!("c");
    assert_eq!(client(&without).as_deref(), Some("c"));
}
