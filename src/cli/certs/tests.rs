use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::tls::certs::{load_identity, load_roots, load_server};

fn hosts(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn what_is_made_passes_the_gateways_own_checks() {
    let dir = tempfile::tempdir().unwrap();
    let made = dev(&dir.path().join("certs"), &hosts(&["API.example.ir", "*.example.ir", "10.0.0.1"])).unwrap();
    let now = Clock::system().now();
    let server = load_server(&made.gateway, &made.gateway_key, now).unwrap();
    assert_eq!(server.names, ["api.example.ir", "*.example.ir", "10.0.0.1", "localhost", "127.0.0.1", "::1"]);
    assert_eq!(server.names, made.names);
    assert_eq!(server.not_after, now + 90 * 24 * 3600);
    load_identity(&made.client, &made.client_key, now).unwrap();
    assert_eq!(load_roots(&made.ca).unwrap().len(), 1);
}

#[test]
fn keys_are_readable_by_their_owner_alone_even_when_renewed() {
    let dir = tempfile::tempdir().unwrap();
    let made = dev(dir.path(), &[]).unwrap();
    fs::set_permissions(&made.gateway_key, fs::Permissions::from_mode(0o644)).unwrap();
    dev(dir.path(), &[]).unwrap();
    for key in [&made.ca_key, &made.gateway_key, &made.client_key] {
        assert_eq!(fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600, "{}", key.display());
    }
}

#[test]
fn the_ca_is_kept_and_the_leaves_are_renewed() {
    let dir = tempfile::tempdir().unwrap();
    let first = dev(dir.path(), &[]).unwrap();
    let before = (fs::read(&first.ca).unwrap(), fs::read(&first.gateway).unwrap());
    let second = dev(dir.path(), &[]).unwrap();
    assert!(!first.ca_reused && second.ca_reused);
    assert_eq!(fs::read(&second.ca).unwrap(), before.0);
    assert_ne!(fs::read(&second.gateway).unwrap(), before.1);
    // Signed by the CA that was kept: a verifier that trusts it accepts the new leaf.
    let roots = load_roots(&second.ca).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(roots, provider).build().unwrap();
    let leaf = CertificateDer::from_pem_file(&second.gateway).unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let time = rustls::pki_types::UnixTime::now();
    rustls::client::danger::ServerCertVerifier::verify_server_cert(&*verifier, &leaf, &[], &name, &[], time).unwrap();
}

#[test]
fn a_ca_without_its_key_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let made = dev(dir.path(), &[]).unwrap();
    fs::remove_file(&made.ca_key).unwrap();
    assert!(!dev(dir.path(), &[]).unwrap().ca_reused);
}

#[test]
fn what_is_not_ours_is_never_overwritten() {
    let foreign = KeyPair::generate().unwrap();
    let foreign = CertificateParams::new(hosts(&["api.example.ir"])).unwrap().self_signed(&foreign).unwrap().pem();
    for name in ["ca.pem", "ca.key", "gateway.pem", "gateway.key", "client.pem", "client.key"] {
        for text in [foreign.as_str(), "not a certificate"] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(name), text).unwrap();
            let error = dev(dir.path(), &[]).unwrap_err();
            assert!(error.contains(name) && error.contains("--out"), "{error}");
            assert_eq!(fs::read_to_string(dir.path().join(name)).unwrap(), text);
        }
    }
}

#[test]
fn a_host_that_is_no_name_is_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    for bad in ["", "https://api.ir", "api.ir:443", "a b", "a..ir", "a.*.ir", "-a.ir", "درگاه.ir"] {
        assert!(dev(&dir.path().join("new"), &hosts(&[bad])).is_err(), "{bad}");
    }
    assert!(!dir.path().join("new").exists());
}
