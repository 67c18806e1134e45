//! Which access tokens pass, and which do not (RFC 9068, RFC 8725). A token that is refused is refused with the same
//! code whatever is wrong with it: nobody learns from the answer how close a forgery came.

use serde_json::json;

use crate::support::agency::Agency;
use crate::support::client::{get_with, send};
use crate::support::gateway::Gateway;
use crate::support::sso::{AUDIENCE, b64, keys};
use crate::support::token::{Token, now, token};
use crate::support::verdict::{assert_challenged, assert_passed};
use crate::support::world::{self, standard};

struct Place {
    agency: Agency,
    gateway: Gateway,
}

async fn place() -> Place {
    let agency = Agency::hello().await;
    let gateway = world::before(&agency.url()).await;
    Place { agency, gateway }
}

impl Place {
    async fn passes(&self, what: &str, token: impl AsRef<str>) {
        let answer = get_with(&self.gateway, "/l1/x", token.as_ref(), &[]).await;
        assert_eq!(answer.status(), 200, "{what}: {:?} {}", answer.head, answer.text());
        assert_passed(&answer);
    }

    /// 401 `token_invalid`, and nothing reaches the agency.
    async fn refuses(&self, what: &str, token: impl AsRef<str>) {
        let answer = get_with(&self.gateway, "/l1/x", token.as_ref(), &[]).await;
        assert_eq!(answer.status(), 401, "{what}: {:?} {}", answer.head, answer.text());
        let challenge = assert_challenged(&answer, 401, "token_invalid", "invalid_token");
        assert_eq!((challenge.get("acr_values"), challenge.get("scope")), (None, None), "{what}");
    }

    async fn refuses_each(&self, tokens: Vec<(&str, String)>) {
        for (what, token) in tokens {
            self.refuses(what, token).await;
        }
        self.agency.assert_untouched();
    }
}

fn good() -> Token {
    token(1)
}

#[tokio::test]
async fn a_good_token_passes_with_each_allowed_kind_of_signature() {
    let place = place().await;
    place.passes("ES256", good().sign()).await;
    place.passes("RS256", good().by(&keys().rsa).sign()).await;
    place.passes("PS256", good().by(&keys().rsa).header("alg", "PS256").sign()).await;
    place.passes("EdDSA", good().by(&keys().ed25519).sign()).await;
    assert_eq!(place.agency.seen().len(), 4);
}

/// AT-5: what is not in the issuer's list is refused though the signature is good.
#[tokio::test]
async fn at5_a_good_signature_of_another_kind_is_refused() {
    let place = place().await;
    let rsa = &keys().rsa;
    let other = |alg: &str| good().by(rsa).header("alg", alg).sign();
    place
        .refuses_each(vec![
            ("RS384", other("RS384")),
            ("RS512", other("RS512")),
            ("PS384", other("PS384")),
            ("PS512", other("PS512")),
            ("ES384", good().by(&keys().p384).sign()),
        ])
        .await;
}

/// AT-5: the list is the issuer's to widen and to narrow.
#[tokio::test]
async fn at5_the_issuers_own_list_of_algorithms_rules() {
    let agency = Agency::hello().await;
    let issuer = world::issuer("sso", "jwks: { file: certs/sso.jwks.json }, algorithms: [ES384]");
    let gateway = standard(&agency.url()).issuers(&[&issuer]).start().await;
    let place = Place { agency, gateway };
    place.refuses("ES256", good().sign()).await;
    place.passes("ES384", good().by(&keys().p384).sign()).await;
}

/// AT-1
#[tokio::test]
async fn at1_only_access_tokens_pass() {
    let place = place().await;
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt", "application/at+JWT", "JWT", "jwt"] {
        place.passes(typ, good().header("typ", typ).sign()).await;
    }
    place.passes("no typ", good().without_header("typ").sign()).await;
    let before = place.agency.seen().len();
    for typ in ["logout+jwt", "dpop+jwt", "id+jwt", "secevent+jwt", "at+jwt ", "application/application/at+jwt", ""] {
        place.refuses(typ, good().header("typ", typ).sign()).await;
    }
    place.refuses("typ is no string", good().header("typ", json!(["at+jwt"])).sign()).await;
    assert_eq!(place.agency.seen().len(), before);
}

/// AT-1, JB-6: an ID token is not an access token, even when everything else fits.
#[tokio::test]
async fn jb6_an_id_token_is_refused() {
    let place = place().await;
    let id_token = |typ: &str| good().header("typ", typ).claim("nonce", "n-0S6_WzA2Mj").sign();
    place
        .refuses_each(vec![
            ("typ JWT with a nonce", id_token("JWT")),
            ("no typ with a nonce", good().without_header("typ").claim("nonce", "n").sign()),
        ])
        .await;
}

/// AT-1: token types are the issuer's to narrow.
#[tokio::test]
async fn at1_an_issuer_may_insist_on_at_jwt() {
    let agency = Agency::hello().await;
    let issuer = world::issuer("sso", "jwks: { file: certs/sso.jwks.json }, token_types: [at+jwt]");
    let gateway = standard(&agency.url()).issuers(&[&issuer]).start().await;
    let place = Place { agency, gateway };
    place.passes("at+jwt", good().sign()).await;
    place.refuses("JWT", good().header("typ", "JWT").sign()).await;
    place.refuses("no typ", good().without_header("typ").sign()).await;
}

/// AT-2 as the contract settles it: `exp`, `iss`, `aud` and `sub` must be there.
#[tokio::test]
async fn at2_a_token_without_a_required_claim_is_refused() {
    let place = place().await;
    let without = ["exp", "iss", "aud", "sub"].map(|claim| (claim, good().without(claim).sign()));
    place.refuses_each(without.to_vec()).await;
    place
        .passes("no jti, no iat, no client_id", good().without("jti").without("iat").without("client_id").sign())
        .await;
}

/// AT-2: a claim of the wrong kind is as good as none.
#[tokio::test]
async fn at2_a_claim_of_the_wrong_kind_is_refused() {
    let place = place().await;
    let of = |claim: &str, value: serde_json::Value| good().claim(claim, value).sign();
    place
        .refuses_each(vec![
            ("exp is a string", of("exp", json!((now() + 600).to_string()))),
            ("exp is null", of("exp", json!(null))),
            ("exp is negative", of("exp", json!(-1))),
            ("sub is a number", of("sub", json!(7))),
            ("sub is empty", of("sub", json!(""))),
            ("iss is a list", of("iss", json!(["https://sso.example.ir"]))),
            ("aud is a number", of("aud", json!(7))),
            ("nbf is a string", of("nbf", json!("soon"))),
        ])
        .await;
}

/// AT-3: byte for byte.
#[tokio::test]
async fn at3_the_issuer_is_compared_exactly() {
    let place = place().await;
    let from = |iss: &str| good().claim("iss", iss).sign();
    place
        .refuses_each(vec![
            ("a slash more", from("https://sso.example.ir/")),
            ("other case", from("https://SSO.example.ir")),
            ("another scheme", from("http://sso.example.ir")),
            ("another host", from("https://sso.example.com")),
            ("a beginning", from("https://sso.example")),
        ])
        .await;
}

/// AT-4
#[tokio::test]
async fn at4_the_audience_must_name_this_gateway() {
    let place = place().await;
    place.passes("in a list", good().claim("aud", json!(["https://other.example.ir", AUDIENCE])).sign()).await;
    place.passes("a list of one", good().claim("aud", json!([AUDIENCE])).sign()).await;
    place.refuses("another", good().claim("aud", "https://other.example.ir").sign()).await;
    place.refuses("others", good().claim("aud", json!(["https://a.ir", "https://b.ir"])).sign()).await;
    place.refuses("none", good().claim("aud", json!([])).sign()).await;
    place.refuses("longer", good().claim("aud", format!("{AUDIENCE}/")).sign()).await;
    assert_eq!(place.agency.seen().len(), 2);
}

/// AT-6: within the skew of 30 s a token lives on, beyond it does not.
#[tokio::test]
async fn at6_time_is_checked_with_a_small_skew() {
    let place = place().await;
    place.passes("expired within the skew", good().claim("exp", now() - 5).sign()).await;
    place.passes("not yet valid, within the skew", good().claim("nbf", now() + 10).sign()).await;
    place.passes("issued 8 s ahead", good().claim("iat", now() + 8).sign()).await;
    place.refuses("expired", good().claim("exp", now() - 40).sign()).await;
    place.refuses("not yet valid", good().claim("nbf", now() + 90).sign()).await;
    place.refuses("issued in the future", good().claim("iat", now() + 90).sign()).await;
    place.refuses("authenticated in the future", good().claim("auth_time", now() + 90).sign()).await;
    assert_eq!(place.agency.seen().len(), 3);
}

/// AT-6: a verified token is remembered, but not beyond its end.
#[tokio::test]
async fn at6_a_token_that_passed_is_refused_once_it_has_expired() {
    let place = place().await;
    // The skew is 30 s: this one has about two seconds to live.
    let short = good().claim("exp", now() - 28).sign();
    place.passes("still alive", &short).await;
    let refused = async {
        loop {
            let answer = get_with(&place.gateway, "/l1/x", &short, &[]).await;
            if answer.status() != 200 {
                return answer;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    let answer = crate::support::within("the token to expire", refused).await;
    assert_challenged(&answer, 401, "token_invalid", "invalid_token");
}

/// AT-9: whole words, in a string or in a list.
#[tokio::test]
async fn at9_scopes_are_whole_words() {
    let agency = Agency::hello().await;
    let gateway = world::standard(&agency.url())
        .route(
            "name: scoped, agency: registry, match: { prefix: /scoped }, \
             require: { level: 1, scopes: [insurance.read, pension] }",
        )
        .start()
        .await;
    let ask = async |scope: serde_json::Value| {
        get_with(&gateway, "/scoped", &token(1).claim("scope", scope).sign(), &[]).await
    };
    for scope in [json!("pension x insurance.read"), json!(["insurance.read", "pension"])] {
        assert_passed(&ask(scope).await);
    }
    let passed = agency.seen().len();
    for scope in
        [json!("insurance.read"), json!("insurance.reads pension"), json!("insurance pension"), json!(""), json!(7)]
    {
        let challenge = assert_challenged(&ask(scope.clone()).await, 403, "scope_missing", "insufficient_scope");
        assert_eq!(challenge.get("scope"), Some("insurance.read pension"), "{scope}");
    }
    assert_challenged(
        &get_with(&gateway, "/scoped", &token(1).without("scope").sign(), &[]).await,
        403,
        "scope_missing",
        "insufficient_scope",
    );
    let scp = token(1).without("scope").claim("scp", json!(["insurance.read", "pension"])).sign();
    assert_passed(&get_with(&gateway, "/scoped", &scp, &[]).await);
    assert_eq!(agency.seen().len(), passed + 1);
}

#[tokio::test]
async fn a_forged_or_changed_token_is_refused() {
    let place = place().await;
    let good_token = good().sign();
    let (input, signature) = good_token.rsplit_once('.').expect("three parts");
    place
        .refuses_each(vec![
            ("one bit of the signature", good().with_broken_signature()),
            ("the claims exchanged", good().with_claims_of(&token(3))),
            ("signed by a stranger under a known name", good().secretly_by(&keys().stranger).sign()),
            ("signed by a stranger under its own name", good().by(&keys().stranger).sign()),
            ("an empty signature", format!("{input}.")),
            ("a signature cut short", format!("{input}.{}", &signature[..signature.len() - 4])),
            ("a signature with more", format!("{good_token}AAAA")),
            ("two parts", input.to_owned()),
            ("four parts", format!("{good_token}.AAAA")),
            ("five parts, as a JWE", format!("{good_token}.AAAA.AAAA")),
            ("no token at all", "garbage".to_owned()),
        ])
        .await;
}

/// JB-1: a key serves the algorithm of its own kind.
#[tokio::test]
async fn jb1_a_key_is_not_used_for_another_algorithm() {
    let place = place().await;
    let rsa = &keys().rsa;
    place
        .refuses_each(vec![
            ("says ES256, key is RSA", good().by(rsa).header("alg", "ES256").sign()),
            ("says RS256, key is P-256", good().header("alg", "RS256").sign()),
            ("says EdDSA, key is P-256", good().header("alg", "EdDSA").sign()),
        ])
        .await;
}

/// JB-1: a JWK that names its algorithm serves that one alone.
#[tokio::test]
async fn jb1_a_key_bound_to_one_algorithm_serves_no_other() {
    let agency = Agency::hello().await;
    let mut jwk = keys().rsa.jwk();
    jwk["alg"] = json!("PS256");
    let dir = crate::support::gateway::directory(&standard(&agency.url()).yaml());
    let file = dir.path().join("certs/sso.jwks.json");
    std::fs::write(file, json!({ "keys": [jwk] }).to_string()).expect("our own directory");
    let gateway = Gateway::start_in(dir).await;
    let place = Place { agency, gateway };
    place.passes("PS256", good().by(&keys().rsa).header("alg", "PS256").sign()).await;
    place.refuses("RS256", good().by(&keys().rsa).sign()).await;
}

/// JB-2, AT-5
#[tokio::test]
async fn jb2_unsigned_and_symmetric_tokens_are_refused() {
    let place = place().await;
    let mut tokens = vec![("HS256 with the public key", good().signed_with_public_key(&keys().rsa))];
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        tokens.push((alg, good().unsigned(alg)));
    }
    tokens.push(("none with a signature", good().header("alg", "none").sign()));
    tokens.push(("no alg", good().without_header("alg").sign()));
    tokens.push(("zip", good().header("zip", "DEF").sign()));
    place.refuses_each(tokens).await;
}

/// JB-3: a header that must be understood and is not; headers that would bring their own key.
#[tokio::test]
async fn jb3_crit_is_refused_and_brought_keys_are_ignored() {
    let place = place().await;
    place.refuses("crit", good().header("crit", json!(["exp"])).sign()).await;
    place.refuses("crit b64", good().header("crit", json!(["b64"])).header("b64", false).sign()).await;
    place.refuses("an empty crit", good().header("crit", json!([])).sign()).await;
    let stranger = &keys().stranger;
    place.refuses("its own jwk", good().secretly_by(stranger).header("jwk", stranger.jwk()).sign()).await;
    place.refuses("its own jwk by name", good().by(stranger).header("jwk", stranger.jwk()).sign()).await;
    place.agency.assert_untouched();
    let url = "https://attacker.example/keys";
    place.passes("jku and x5u are not looked at", good().header("jku", url).header("x5u", url).sign()).await;
}

/// JB-4: a key's name is only a name.
#[tokio::test]
async fn jb4_a_kid_is_only_looked_up() {
    let place = place().await;
    let named = |kid: &str| good().header("kid", kid).sign();
    place
        .refuses_each(vec![
            ("a path", named("../../certs/gateway.key")),
            ("a query", named("' OR 1=1 --")),
            ("empty", named("")),
            ("long", named(&"k".repeat(2000))),
            ("a number", good().header("kid", 7).sign()),
            ("another key's", named("rsa-1")),
        ])
        .await;
}

/// Contract section 5: a missing `kid` is allowed when exactly one key fits the algorithm.
#[tokio::test]
async fn a_token_without_kid_passes_when_one_key_fits() {
    let place = place().await;
    place.passes("one P-256 key", good().without_header("kid").sign()).await;
}

/// Contract section 5: with two that fit, a `kid` is needed.
#[tokio::test]
async fn a_token_without_kid_is_refused_when_two_keys_fit() {
    let agency = Agency::hello().await;
    let dir = crate::support::gateway::directory(&standard(&agency.url()).yaml());
    let two = crate::support::sso::jwks_of(&[&keys().p256, &keys().stranger]);
    std::fs::write(dir.path().join("certs/sso.jwks.json"), two).expect("our own directory");
    let gateway = Gateway::start_in(dir).await;
    let place = Place { agency, gateway };
    place.passes("named", good().sign()).await;
    place.refuses("unnamed", good().without_header("kid").sign()).await;
}

/// JB-9: two keys under one name are both unusable; the others still serve.
#[tokio::test]
async fn jb9_two_keys_of_one_name_are_both_unusable() {
    let agency = Agency::hello().await;
    let dir = crate::support::gateway::directory(&standard(&agency.url()).yaml());
    let mut twin = keys().stranger.jwk();
    twin["kid"] = json!(keys().p256.kid);
    let jwks = json!({"keys": [keys().p256.jwk(), twin, keys().rsa.jwk()]});
    std::fs::write(dir.path().join("certs/sso.jwks.json"), jwks.to_string()).expect("our own directory");
    let gateway = Gateway::start_in(dir).await;
    let place = Place { agency, gateway };
    place.refuses("the first", good().sign()).await;
    place.refuses("the second", good().secretly_by(&keys().stranger).sign()).await;
    place.passes("another", good().by(&keys().rsa).sign()).await;
}

/// JB-7
#[tokio::test]
async fn jb7_a_member_written_twice_is_refused() {
    let place = place().await;
    place
        .refuses_each(vec![
            ("sub", good().repeating("sub", "citizen-2").sign()),
            ("acr", good().repeating("acr", "urn:example:level:3").sign()),
            ("exp", good().repeating("exp", now() + 600).sign()),
            ("alg", good().repeating_header("alg", "none").sign()),
            ("kid", good().repeating_header("kid", "rsa-1").sign()),
            ("a claim nobody reads", good().claim("x", 1).repeating("x", 2).sign()),
        ])
        .await;
}

/// JB-7: strict base64url, JSON objects.
#[tokio::test]
async fn jb7_sloppy_encoding_is_refused() {
    let place = place().await;
    let good_token = good().sign();
    let parts: Vec<&str> = good_token.split('.').collect();
    place
        .refuses_each(vec![
            ("padding", format!("{}.{}.{}==", parts[0], parts[1], parts[2])),
            ("the other alphabet", format!("{}.{}.+/{}", parts[0], parts[1], &parts[2][2..])),
            ("claims are a list", good().payload("[]").sign()),
            ("claims are a string", good().payload("\"sub\"").sign()),
            ("claims are nothing", good().payload("").sign()),
            ("claims are cut short", good().payload("{\"sub\":\"x\"").sign()),
            ("a tail after the claims", good().payload("{} {}").sign()),
            ("a header of nothing", format!("{}.{}.{}", b64("{}"), parts[1], parts[2])),
        ])
        .await;
}

/// JB-7: 8 KiB is more than any token needs.
#[tokio::test]
async fn jb7_a_huge_token_is_refused() {
    let place = place().await;
    place.refuses("20 KiB", good().claim("padding", "x".repeat(20_000)).sign()).await;
    place.agency.assert_untouched();
}

/// Contract section 3: no refusal repeats what was sent.
#[tokio::test]
async fn a_refusal_says_nothing_of_the_token() {
    let place = place().await;
    let token = good().subject("somebody-in-particular").claim("exp", now() - 4000).sign();
    let answer =
        send(&place.gateway, crate::support::client::get("/l1/x", &[&crate::support::client::bearer(&token)])).await;
    let all = format!("{:?} {}", answer.head.fields, answer.text());
    for part in token.split('.').chain(["somebody-in-particular"]) {
        assert!(!all.contains(part), "{part} in {all}");
    }
}
