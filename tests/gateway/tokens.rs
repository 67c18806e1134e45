//! Which access tokens pass, and which do not (RFC 9068, RFC 8725). A token that is refused is refused with the same
//! code whatever is wrong with it: nobody learns from the answer how close a forgery came.

use serde_json::json;

use crate::support::agency::Agency;
use crate::support::client::{get_with, send};
use crate::support::gateway::Gateway;
use crate::support::sso::{AUDIENCE, keys};
use crate::support::token::{Token, now, token};
use crate::support::verdict::{assert_challenged, assert_passed};
use crate::support::world::{self, standard};

mod signatures;

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
