//! Forgeries: signatures, keys and encodings (RFC 8725, RFC 7515).

use serde_json::json;

use super::{Place, good, place};
use crate::support::agency::Agency;
use crate::support::gateway::{Gateway, directory};
use crate::support::sso::{b64, jwks_of, keys};
use crate::support::token::{now, token};
use crate::support::world::standard;

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
    let dir = directory(&standard(&agency.url()).yaml());
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
    let dir = directory(&standard(&agency.url()).yaml());
    let two = jwks_of(&[&keys().p256, &keys().stranger]);
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
    let dir = directory(&standard(&agency.url()).yaml());
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
