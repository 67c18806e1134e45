use serde_json::json;

use super::*;
use crate::auth::testing::*;
use crate::config::defaults;

fn parse(keys: &[Value]) -> (KeySet, Vec<String>) {
    KeySet::parse(jwks(keys).as_bytes(), &defaults::ALGORITHMS, None).unwrap()
}

/// Why a single key is left out.
fn left_out(key: Value) -> Option<String> {
    let (set, why) = parse(std::slice::from_ref(&key));
    assert_eq!(set.is_empty(), !why.is_empty(), "{key}");
    why.into_iter().next()
}

fn changed(mut key: Value, name: &str, value: Value) -> Value {
    key[name] = value;
    key
}

fn found(set: &KeySet, kid: Option<&str>, algorithm: Algorithm) -> bool {
    matches!(set.find(kid, algorithm), Lookup::Found(_))
}

fn ed_jwk() -> Value {
    json!({ "kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" })
}

fn vector_verifies(set: &KeySet, algorithm: Algorithm, jws: &str) -> bool {
    let (signed, signature) = jws.rsplit_once('.').unwrap();
    let Lookup::Found(key) = set.find(None, algorithm) else { return false };
    key.verifies(algorithm, signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap())
}

/// RFC 8037, appendix A.4
#[test]
fn the_ed25519_vector_verifies() {
    let (set, _) = parse(&[ed_jwk()]);
    let jws = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    assert!(vector_verifies(&set, Algorithm::EdDSA, jws));
    assert!(!vector_verifies(&set, Algorithm::EdDSA, &jws.replace(".RXhh", ".RXhi")));
}

/// RFC 7515, appendix A.3
#[test]
fn the_es256_vector_verifies() {
    let (set, _) = parse(&[json!({
        "kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
    })]);
    let jws = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    assert!(vector_verifies(&set, Algorithm::ES256, jws));
}

/// JB-1
#[test]
fn a_key_serves_only_the_algorithms_of_its_type_and_alg() {
    let (set, why) =
        parse(&[rsa_jwk("any"), changed(rsa_jwk("ps"), "alg", json!("PS256")), ec_jwk(&EC, "ec"), ed_jwk()]);
    assert!(why.is_empty(), "{why:?}");
    assert!(found(&set, Some("any"), Algorithm::RS256) && found(&set, Some("any"), Algorithm::PS256));
    assert!(found(&set, Some("ps"), Algorithm::PS256) && !found(&set, Some("ps"), Algorithm::RS256));
    assert!(found(&set, Some("ec"), Algorithm::ES256) && !found(&set, Some("ec"), Algorithm::RS256));
    assert!(found(&set, Some("ed"), Algorithm::EdDSA) && !found(&set, Some("ed"), Algorithm::ES256));
    assert!(!found(&set, Some("any"), Algorithm::RS512), "the issuer does not allow it");
    for (key, alg) in
        [(rsa_jwk("k"), "ES256"), (ec_jwk(&EC, "k"), "RS256"), (ed_jwk(), "ES256"), (ec_jwk(&EC, "k"), "ES384")]
    {
        assert!(left_out(changed(key, "alg", json!(alg))).is_some(), "{alg}");
    }
    for alg in [json!("RS512"), json!("HS256"), json!("none"), json!("RSA-OAEP"), json!(1)] {
        assert!(left_out(changed(rsa_jwk("k"), "alg", alg.clone())).is_some(), "{alg}");
    }
    assert_eq!(left_out(changed(ed_jwk(), "alg", json!("Ed25519"))), None, "RFC 9864");
    assert!(left_out(changed(ec_jwk(&EC, "k"), "crv", json!("Ed25519"))).is_some());
    assert!(left_out(changed(ec_jwk(&EC, "k"), "crv", json!("secp256k1"))).is_some());
    assert!(left_out(json!({ "kty": "oct", "k": "c2VjcmV0", "kid": "k" })).is_some());
    assert!(left_out(json!({ "kty": "AKP" })).is_some() && left_out(json!("x")).is_some());
}

/// JB-1
#[test]
fn a_key_for_something_else_is_left_out() {
    assert!(left_out(changed(rsa_jwk("k"), "use", json!("enc"))).is_some());
    assert!(left_out(changed(rsa_jwk("k"), "key_ops", json!(["encrypt"]))).is_some());
    assert_eq!(left_out(changed(rsa_jwk("k"), "key_ops", json!(["verify", "encrypt"]))), None);
    assert!(left_out(changed(ec_jwk(&EC, "k"), "d", json!("AA"))).unwrap().contains("private"));
}

/// JB-5
#[test]
fn a_weak_or_impossible_key_is_left_out() {
    for e in ["AQ", "Ag", "AQAA", "", "AA", "AAE"] {
        assert!(left_out(changed(rsa_jwk("k"), "e", json!(e))).is_some(), "e = {e}");
    }
    let modulus = |bytes: usize| b64([vec![0xc1; bytes - 1], vec![1]].concat());
    for n in [modulus(128), modulus(255), modulus(1025), b64([vec![0x41], vec![0xc1; 255]].concat()), String::new()] {
        assert!(left_out(changed(rsa_jwk("k"), "n", json!(n))).is_some(), "{} bytes", n.len() * 3 / 4);
    }
    let ec = ec_jwk(&EC, "k");
    let off_curve = changed(ec.clone(), "y", ec["x"].clone());
    assert!(left_out(off_curve).unwrap().contains("curve"));
    assert!(left_out(changed(ec.clone(), "x", json!(b64([1; 31])))).is_some());
    assert!(left_out(changed(ec, "x", json!("AB=="))).is_some());
    assert!(left_out(changed(ed_jwk(), "x", json!(b64([1; 33])))).is_some());
}

#[test]
fn a_leading_zero_of_a_modulus_is_forgiven() {
    let key = rsa_jwk("rsa");
    let n = URL_SAFE_NO_PAD.decode(key["n"].as_str().unwrap()).unwrap();
    assert_eq!(left_out(changed(key, "n", json!(b64([vec![0], n].concat())))), None);
}

/// JB-9
#[test]
fn two_keys_with_one_kid_are_both_unusable() {
    let (set, why) = parse(&[rsa_jwk("k"), ec_jwk(&EC, "k"), ed_jwk()]);
    assert_eq!((set.len(), why.len()), (1, 2));
    assert!(matches!(set.find(Some("k"), Algorithm::RS256), Lookup::Unfit));
    assert!(matches!(set.find(None, Algorithm::RS256), Lookup::Unfit), "nor without its kid");
    let (mixed, _) = parse(&[rsa_jwk("k"), json!({ "kty": "oct", "k": "AA", "kid": "k" })]);
    assert!(mixed.is_empty(), "a set that mixes kinds under one kid");
}

/// Contract section 5: without a `kid`, exactly one key must fit
#[test]
fn a_missing_kid_is_allowed_when_one_key_fits() {
    let (set, _) = parse(&[rsa_jwk("a"), ec_jwk(&EC, "b")]);
    assert!(found(&set, None, Algorithm::RS256) && found(&set, None, Algorithm::ES256));
    assert!(!found(&set, None, Algorithm::EdDSA));
    let (two, _) = parse(&[rsa_jwk("a"), changed(rsa_jwk("b"), "e", json!("Aw"))]);
    assert!(!found(&two, None, Algorithm::RS256));
    assert!(matches!(two.find(Some("c"), Algorithm::RS256), Lookup::Unknown));
}

/// JB-10
#[test]
fn a_set_is_bounded() {
    let many: Vec<_> = (0..101).map(|n| json!({ "kty": "x", "kid": n.to_string() })).collect();
    assert!(KeySet::parse(jwks(&many).as_bytes(), &defaults::ALGORITHMS, None).is_err());
    let large = json!({ "keys": [], "x": "x".repeat(MAX_JWKS) }).to_string();
    assert!(KeySet::parse(large.as_bytes(), &defaults::ALGORITHMS, None).is_err());
    for broken in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#] {
        assert!(KeySet::parse(broken.as_bytes(), &defaults::ALGORITHMS, None).is_err(), "{broken}");
    }
}

/// JB-10
#[test]
fn unchanged_keys_are_carried_over_and_removed_ones_die() {
    let (first, _) = parse(&[rsa_jwk("rsa"), ec_jwk(&EC, "ec"), ed_jwk()]);
    let life = |kid| first.by_kid[kid].as_ref().unwrap().life().clone();
    let next = jwks(&[ec_jwk(&ec_key(), "ec"), rsa_jwk("rsa")]);
    let (next, _) = KeySet::parse(next.as_bytes(), &defaults::ALGORITHMS, Some(&first)).unwrap();
    first.end_all_but(Some(&next));
    assert!(life("rsa").is_alive(), "published unchanged");
    assert!(!life("ec").is_alive(), "the same kid, but another key");
    assert!(!life("ed").is_alive(), "no longer published");
    assert!(next.keys.iter().all(|key| key.life.is_alive()));
}
