//! The files that the configs of this directory name: certificates good and bad, a key set, an empty file.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256, date_time_ymd,
};

pub fn write(dir: &Path) {
    let put = |name: &str, text: &str| fs::write(dir.join(name), text).expect("the file is written");
    let private = |name: &str, text: &str| {
        put(name, text);
        fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o600)).expect("the file is ours");
    };
    let ca_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name.push(DnType::CommonName, "Test CA");
    let ca = CertifiedIssuer::self_signed(ca, ca_key).unwrap();
    put("ca.pem", &ca.pem());

    let issue = |name: &str, sans: &[&str], from: i32, until: (i32, u8, u8)| {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = CertificateParams::new(sans.iter().map(|s| s.to_string()).collect::<Vec<_>>()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(until.0, until.1, until.2);
        let cert = params.signed_by(&key, &ca).unwrap();
        put(&format!("{name}.pem"), &cert.pem());
        private(&format!("{name}.key"), &key.serialize_pem());
        if name == "good" {
            put("readable.key", &key.serialize_pem());
        }
    };
    issue("good", &["api.example.ir", "*.gov.example.ir"], 2025, (2027, 1, 1));
    issue("soon", &["api.example.ir"], 2025, (2026, 1, 15));
    issue("expired", &["api.example.ir"], 2025, (2025, 12, 1));
    issue("nosan", &[], 2025, (2027, 1, 1));
    issue("future", &["api.example.ir"], 2027, (2028, 1, 1));

    put("empty.pem", "");
    put("garbage.pem", "this is no certificate\n");
    put(
        "jwks.json",
        r#"{"keys":[{"kty":"EC","crv":"P-256","x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs","y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA"}]}"#,
    );
    put("oct.json", r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#);
    put("nokeys.json", r#"{"keys":[]}"#);
    put("nojson.json", "<html>");

    private("session.key", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=\n");
    private("old-session.key", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n");
}
