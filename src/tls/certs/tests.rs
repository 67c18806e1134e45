use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};
use x509_parser::asn1_rs::{Any, FromDer, OctetString, Sequence};

use super::*;
use crate::tls::fixtures::{Authority, now};

/// Loads what `issue` gave.
fn load(ca: &Authority, (cert, key): (String, String)) -> Result<LoadedCertificate, CertFault> {
    load_server(&ca.write("a.pem", &cert), &ca.write("a.key", &key), now())
}

fn issue_and_load(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Result<LoadedCertificate, CertFault> {
    let ca = Authority::new();
    let issued = ca.issue(names, change);
    load(&ca, issued)
}

#[test]
fn a_good_certificate_tells_its_names_subject_and_end() {
    let loaded = issue_and_load(&["API.example.ir", "*.example.ir", "127.0.0.1", "::1"], |params| {
        params.distinguished_name.push(DnType::CommonName, "gateway");
        params.not_after = date_time_ymd(2090, 1, 1);
    })
    .unwrap();
    assert_eq!(loaded.names, ["api.example.ir", "*.example.ir", "127.0.0.1", "::1"]);
    assert_eq!(loaded.subject, "gateway");
    assert_eq!(loaded.not_after, date_time_ymd(2090, 1, 1).unix_timestamp());
}

#[test]
fn without_a_common_name_the_first_san_is_the_subject() {
    let loaded = issue_and_load(&["api.example.ir"], |params| params.distinguished_name = Default::default()).unwrap();
    assert_eq!(loaded.subject, "api.example.ir");
}

#[test]
fn a_missing_file_is_told_in_the_systems_words() {
    let ca = Authority::new();
    let (cert, key) = ca.issue(&["a.ir"], |_| {});
    let (cert, key) = (ca.write("a.pem", &cert), ca.write("a.key", &key));
    let absent = ca.dir.path().join("absent.pem");
    for (cert, key) in [(&absent, &key), (&cert, &absent)] {
        let Err(CertFault::Unreadable(text)) = load_server(cert, key, now()) else { panic!("must be unreadable") };
        assert!(text.contains("No such file"), "{text}");
    }
    assert!(matches!(load_roots(&absent), Err(CertFault::Unreadable(_))));
}

#[test]
fn a_file_without_what_it_should_hold_is_a_fault() {
    let ca = Authority::new();
    let (cert, key) = ca.issue(&["a.ir"], |_| {});
    assert_eq!(load(&ca, (key.clone(), key.clone())).unwrap_err(), CertFault::NoCertificate);
    assert_eq!(load(&ca, (String::new(), key)).unwrap_err(), CertFault::NoCertificate);
    assert_eq!(load(&ca, (cert.clone(), cert)).unwrap_err(), CertFault::NoKey);
}

#[test]
fn an_empty_ca_file_never_means_no_mtls() {
    let ca = Authority::new();
    assert_eq!(load_roots(&ca.write("ca.pem", "")).unwrap_err(), CertFault::NoCertificate);
    assert_eq!(load_roots(&ca.write("ca.pem", "# to do\n")).unwrap_err(), CertFault::NoCertificate);
    assert_eq!(load_roots(&ca.write("ca.pem", &(ca.pem() + &Authority::new().pem()))).unwrap().len(), 2);
}

#[test]
fn what_does_not_parse_is_malformed_and_not_quoted() {
    let ca = Authority::new();
    let (cert, key) = ca.issue(&["a.ir"], |_| {});
    let secret = "c2VjcmV0 not base64 !";
    let broken = |label: &str| format!("-----BEGIN {label}-----\n{secret}\n-----END {label}-----\n");
    let junk = |label: &str| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
    let cases = [
        (broken("CERTIFICATE"), key.clone()),
        (junk("CERTIFICATE"), key.clone()),
        (cert.clone(), broken("PRIVATE KEY")),
        (cert.clone(), junk("PRIVATE KEY")),
        (cert, key.replace("-----END", "")),
    ];
    for case in cases {
        let fault = load(&ca, case).unwrap_err();
        assert!(matches!(fault, CertFault::Malformed(_)), "{fault:?}");
        assert!(!format!("{fault:?}").contains("c2VjcmV0"), "{fault:?}");
    }
    assert!(matches!(load_roots(&ca.write("ca.pem", &junk("CERTIFICATE"))), Err(CertFault::Malformed(_))));
}

#[test]
fn a_key_of_another_certificate_is_a_mismatch() {
    let ca = Authority::new();
    let (cert, _) = ca.issue(&["a.ir"], |_| {});
    let (_, other) = ca.issue(&["a.ir"], |_| {});
    assert_eq!(load(&ca, (cert, other)).unwrap_err(), CertFault::KeyMismatch);
}

#[test]
fn a_certificate_is_good_only_between_its_dates() {
    let past = date_time_ymd(2001, 1, 1);
    let future = date_time_ymd(2099, 1, 1);
    let expired = issue_and_load(&["a.ir"], |params| params.not_after = past).unwrap_err();
    assert_eq!(expired, CertFault::Expired { not_after: past.unix_timestamp() });
    let early = issue_and_load(&["a.ir"], |params| params.not_before = future).unwrap_err();
    assert_eq!(early, CertFault::NotYetValid { not_before: future.unix_timestamp() });
}

#[test]
fn a_server_certificate_needs_a_san_and_a_client_certificate_does_not() {
    assert_eq!(issue_and_load(&[], |_| {}).unwrap_err(), CertFault::NoSan);
    let identity = Authority::new().client("agency");
    assert_eq!(identity.chain.len(), 1);
    assert_eq!(format!("{identity:?}"), "Identity(<redacted>)");
}

/// PKCS#8, and what `openssl ecparam -genkey` (SEC1) and `openssl genrsa -traditional` (PKCS#1) write.
#[test]
fn every_common_form_of_key_is_read() {
    let ca = Authority::new();
    let ec = KeyPair::generate().unwrap();
    let rsa = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    for (key, label) in [(&ec, "EC PRIVATE KEY"), (&rsa, "RSA PRIVATE KEY")] {
        let cert = ca.issue_for(key, &["a.ir"], |_| {});
        load(&ca, (cert.clone(), key.serialize_pem())).expect("PKCS#8");
        load(&ca, (cert, traditional(key, label))).expect(label);
    }
}

/// A PKCS#8 key (RFC 5958) wraps the traditional form in its first OCTET STRING.
fn traditional(key: &KeyPair, label: &str) -> String {
    let der = key.serialize_der();
    let (_, outer) = Sequence::from_der(&der).unwrap();
    let (rest, _version) = Any::from_der(&outer.content).unwrap();
    let (rest, _algorithm) = Any::from_der(rest).unwrap();
    let (_, inner) = OctetString::from_der(rest).unwrap();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(inner.as_cow()))
}
