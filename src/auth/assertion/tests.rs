use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::auth::jwk::{KeySet, Lookup};
use crate::auth::testing::*;
use crate::config::defaults;
use crate::config::model::{Algorithm, SecretSource};
use crate::secret::Secret;
use crate::words::Level;

fn settings() -> AssertionSettings {
    AssertionSettings { issuer: "darvazeh".into(), lifetime: Duration::from_secs(60), key: None }
}

fn caller(subject: &str) -> Permit {
    Permit::of(Some(Rc::new(verified(subject))))
}

/// The claims of an assertion, after its signature was checked against the published keys.
fn opened(signer: &Signer, assertion: &HeaderValue) -> Value {
    let text = assertion.to_str().unwrap();
    let (signed, signature) = text.rsplit_once('.').unwrap();
    let (header, payload) = signed.split_once('.').unwrap();
    let read = |part| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    let (keys, left_out) = KeySet::parse(signer.jwks().as_bytes(), &defaults::ALGORITHMS, None).unwrap();
    assert!(left_out.is_empty());
    let header = read(header);
    assert_eq!((&header["alg"], &header["typ"]), (&json!("ES256"), &json!("JWT")));
    let Lookup::Found(key) = keys.find(header["kid"].as_str(), Algorithm::ES256) else {
        panic!("the key is published")
    };
    assert!(key.verifies(Algorithm::ES256, signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()));
    read(payload)
}

/// AS-12, PV-3 and the contract's list of claims
#[test]
fn an_agency_can_verify_who_asks_and_how_strongly() {
    let directory = tempfile::tempdir().unwrap();
    let signer = Signer::load_or_create(&settings(), directory.path()).unwrap();
    let permit = caller("0012345678");
    let mut claims = opened(&signer, &signer.assertion(&permit, &"tax".into(), NOW));
    assert_eq!(claims["sub"], json!(signer.pairwise(&permit, &"tax".into()).unwrap().as_str()));
    assert!(claims["jti"].as_str().unwrap().len() >= 22);
    claims["sub"].take();
    claims["jti"].take();
    let expected = json!({
        "iss": "darvazeh", "aud": "tax", "sub": null, "acr": "urn:example:level:2", "level": 2, "auth_time": NOW - 120,
        "jti": null, "iat": NOW, "exp": NOW + 60
    });
    assert_eq!(claims, expected);
}

#[test]
fn every_assertion_has_its_own_id() {
    let directory = tempfile::tempdir().unwrap();
    let signer = Signer::load_or_create(&settings(), directory.path()).unwrap();
    let permit = caller("a");
    let jti = || opened(&signer, &signer.assertion(&permit, &"tax".into(), NOW))["jti"].clone();
    assert_ne!(jti(), jti());
}

#[test]
fn an_anonymous_caller_is_level_0_without_a_subject() {
    let directory = tempfile::tempdir().unwrap();
    let signer = Signer::load_or_create(&settings(), directory.path()).unwrap();
    let claims = opened(&signer, &signer.assertion(&Permit::of(None), &"tax".into(), NOW));
    assert_eq!(claims["level"], json!(Level::NONE.number()));
    assert!(["sub", "acr", "auth_time"].iter().all(|name| claims.get(*name).is_none()));
    assert!(signer.pairwise(&Permit::of(None), &"tax".into()).is_none());
}

/// PV-1
#[test]
fn a_pairwise_subject_is_the_hmac_of_the_standard() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("pairwise.key"), format!("7.{}\n", b64([9; 32]))).unwrap();
    let signer = Signer::load_or_create(&settings(), directory.path()).unwrap();
    let message = [b"nw1\0tax\0".as_slice(), ISS.as_bytes(), b"\0", b"0012345678"].concat();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &[9; 32]), &message);
    assert_eq!(signer.pairwise(&caller("0012345678"), &"tax".into()).unwrap().as_str(), format!("7.{}", b64(tag)));
}

/// PV-1: two agencies never see the same id
#[test]
fn no_two_agencies_or_people_share_a_subject() {
    let directory = tempfile::tempdir().unwrap();
    let signer = Signer::load_or_create(&settings(), directory.path()).unwrap();
    let (one, two) = (caller("a"), caller("b"));
    let subject = |permit: &Permit, agency: &str| signer.pairwise(permit, &agency.into()).unwrap();
    assert_ne!(subject(&one, "tax"), subject(&one, "insurance"));
    assert_ne!(subject(&one, "tax"), subject(&two, "tax"));
    assert_eq!(subject(&one, "tax"), subject(&caller("a"), "tax"));
    assert!(subject(&one, "tax").as_str().starts_with("1."));
}

#[test]
fn a_restart_changes_neither_key_nor_subjects() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("var");
    let first = Signer::load_or_create(&settings(), &state).unwrap();
    let again = Signer::load_or_create(&settings(), &state).unwrap();
    assert_eq!(first.jwks(), again.jwks());
    assert_eq!(first.pairwise(&caller("a"), &"tax".into()), again.pairwise(&caller("a"), &"tax".into()));
    for file in ["assertion.key", "pairwise.key"] {
        assert_eq!(fs::metadata(state.join(file)).unwrap().permissions().mode() & 0o777, 0o600, "{file}");
    }
}

#[test]
fn a_key_can_be_given() {
    let directory = tempfile::tempdir().unwrap();
    let given = directory.path().join("given.pem");
    fs::write(&given, new_key().unwrap()).unwrap();
    let pem = fs::read_to_string(&given).unwrap();
    let settings = AssertionSettings { key: Some(SecretSource::File(given)), ..settings() };
    let state = directory.path().join("var");
    let signer = Signer::load_or_create(&settings, &state).unwrap();
    opened(&signer, &signer.assertion(&caller("a"), &"tax".into(), NOW));
    assert!(!state.join("assertion.key").exists());
    let inline = AssertionSettings { key: Some(SecretSource::Value(Secret::new(pem))), ..settings.clone() };
    assert_eq!(Signer::load_or_create(&inline, &state).unwrap().jwks(), signer.jwks());
    let missing = AssertionSettings { key: Some(SecretSource::File(directory.path().join("absent.pem"))), ..settings };
    assert!(Signer::load_or_create(&missing, &state).unwrap_err().contains("absent.pem"));
}

#[test]
fn a_malformed_file_is_an_error_and_stays_as_it_is() {
    for file in ["assertion.key", "pairwise.key"] {
        for broken in ["", "1.short\n", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join(file);
            fs::write(&path, broken).unwrap();
            assert!(Signer::load_or_create(&settings(), directory.path()).unwrap_err().contains(file));
            assert_eq!(fs::read_to_string(&path).unwrap(), broken);
        }
    }
}

#[test]
fn the_version_of_a_pairwise_secret_is_short_and_plain() {
    let directory = tempfile::tempdir().unwrap();
    let subject = |version: &str| {
        fs::write(directory.path().join("pairwise.key"), format!("{version}.{}\n", b64([9; 32]))).unwrap();
        let signer = Signer::load_or_create(&settings(), directory.path())?;
        Ok::<_, String>(signer.pairwise(&caller("a"), &"tax".into()).unwrap())
    };
    let longest = "v".repeat(PairwiseSubject::VERSION);
    assert!(subject(&longest).unwrap().as_str().starts_with(&format!("{longest}.")));
    for wrong in ["", "a-b", &format!("{longest}v")] {
        assert!(subject(wrong).unwrap_err().contains("1 to 16 letters and digits"), "{wrong}");
    }
}

#[test]
fn an_assertion_never_lives_longer_than_a_minute() {
    let directory = tempfile::tempdir().unwrap();
    let long = AssertionSettings { lifetime: Duration::from_secs(3600), ..settings() };
    let signer = Signer::load_or_create(&long, directory.path()).unwrap();
    assert_eq!(opened(&signer, &signer.assertion(&caller("a"), &"tax".into(), NOW))["exp"], json!(NOW + 60));
}
