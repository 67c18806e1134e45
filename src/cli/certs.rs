//! `darvazeh certs dev`: a development CA with one server and one client certificate, so that TLS and mTLS can be tried
//! on a laptop without `openssl`.
//!
//! The demo and the tests call [`dev`]. It must not be mistaken for a PKI: the CA's key lies beside what it signed. What it
//! did not make itself it never overwrites.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::clock::{Clock, UnixTime};

/// By this name a certificate is known to be ours to renew.
const CA_NAME: &str = "Darvazeh development CA";
const CA_DAYS: u64 = 365;
const LEAF_DAYS: u64 = 90;
const DAY: u64 = 24 * 3600;
/// Clocks of containers and laptops lag.
const BACKDATED: u64 = 3600;
/// What every server certificate names besides the hosts asked for.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// `darvazeh certs dev`, as the command line takes it.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Directory for the files; made if it is not there
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// A host name or address for the server certificate, besides localhost, 127.0.0.1 and ::1
    #[arg(long = "host", value_name = "NAME")]
    pub hosts: Vec<String>,
}

/// What lies in the directory now.
#[derive(Clone, Debug)]
pub struct DevCerts {
    pub ca: PathBuf,
    pub ca_key: PathBuf,
    pub gateway: PathBuf,
    pub gateway_key: PathBuf,
    pub client: PathBuf,
    pub client_key: PathBuf,
    /// The names in the server certificate.
    pub names: Vec<String>,
    /// Whether the CA was there before: who trusts it need not be told anew.
    pub ca_reused: bool,
}

/// The command: writes the files and says which.
pub fn run(options: &Options) -> ExitCode {
    match dev(&options.out, &options.hosts) {
        Ok(made) => {
            let ca = if made.ca_reused { "kept  " } else { "wrote " };
            println!("{ca} {}  (valid {CA_DAYS} days; trust it on this machine alone)", made.ca.display());
            println!("wrote  {}  for {}", made.gateway.display(), made.names.join(", "));
            println!("wrote  {}  for mTLS, as client or towards an agency", made.client.display());
            println!("Each has its .key beside it, readable by you alone. Never commit or deploy them.");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("darvazeh certs dev: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Makes `ca`, `gateway` and `client` (`.pem` and `.key`) in `out`. A development CA that is there and good for as long as the
/// new leaves is used again; the leaves are always new. Errors: a host that is no name, a file that cannot be written, or
/// a certificate under one of these names that is not ours.
pub fn dev(out: &Path, hosts: &[String]) -> Result<DevCerts, String> {
    let file = |name: &str| out.join(name);
    let made = DevCerts {
        ca: file("ca.pem"),
        ca_key: file("ca.key"),
        gateway: file("gateway.pem"),
        gateway_key: file("gateway.key"),
        client: file("client.pem"),
        client_key: file("client.key"),
        names: names(hosts)?,
        ca_reused: false,
    };
    for (certificate, key) in
        [(&made.ca, &made.ca_key), (&made.gateway, &made.gateway_key), (&made.client, &made.client_key)]
    {
        refuse_foreign(certificate, key)?;
    }
    fs::create_dir_all(out).map_err(|e| format!("{}: {e}", out.display()))?;

    let now = Clock::system().now();
    let kept = kept_authority(&made, now);
    let ca_reused = kept.is_some();
    let issuer = match kept {
        Some(issuer) => issuer,
        None => new_authority(&made, now).map_err(failed(&made.ca))?,
    };
    let server = [ExtendedKeyUsagePurpose::ServerAuth];
    issue(&issuer, &made.names, server, now, &made.gateway, &made.gateway_key).map_err(failed(&made.gateway))?;
    let client = [ExtendedKeyUsagePurpose::ClientAuth];
    issue(&issuer, &[], client, now, &made.client, &made.client_key).map_err(failed(&made.client))?;
    Ok(DevCerts { ca_reused, ..made })
}

fn failed(file: &Path) -> impl FnOnce(Failure) -> String {
    let file = file.display().to_string();
    move |failure| match failure {
        Failure::Io(e) => format!("{file}: {e}"),
        Failure::Crypto(e) => format!("{file}: {e}"),
    }
}

enum Failure {
    Io(io::Error),
    Crypto(rcgen::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Io(error)
    }
}

impl From<rcgen::Error> for Failure {
    fn from(error: rcgen::Error) -> Failure {
        Failure::Crypto(error)
    }
}

/// The hosts asked for in lower case, then loopback; each once.
fn names(hosts: &[String]) -> Result<Vec<String>, String> {
    let mut names: Vec<String> = Vec::new();
    for host in hosts.iter().map(String::as_str).chain(LOOPBACK) {
        let name = host.to_ascii_lowercase();
        let address = name.parse::<std::net::IpAddr>().is_ok();
        if !address && !is_dns_name(&name) {
            return Err(format!("`{host}` is neither a DNS name (in ASCII, `xn--…` for others) nor an address"));
        }
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Letters, digits and hyphens in labels of at most 63 (RFC 1034 section 3.5); the first label may be `*`.
fn is_dns_name(name: &str) -> bool {
    let label = |l: &str| {
        let plain = l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        plain && (1..=63).contains(&l.len()) && !l.starts_with('-') && !l.ends_with('-')
    };
    let rest = name.strip_prefix("*.").unwrap_or(name);
    rest.len() <= 253 && rest.split('.').all(label)
}

/// A certificate in our way that our CA did not issue may be somebody's real one, and so may a key without a certificate.
fn refuse_foreign(certificate: &Path, key: &Path) -> Result<(), String> {
    if !certificate.exists() && !key.exists() {
        return Ok(());
    }
    let ours = CertificateDer::from_pem_file(certificate).is_ok_and(|der| {
        let parsed = x509_parser::parse_x509_certificate(&der);
        parsed.is_ok_and(|(_, cert)| {
            cert.issuer().iter_common_name().any(|name| name.as_str().is_ok_and(|name| name == CA_NAME))
        })
    });
    if ours {
        return Ok(());
    }
    let file = if certificate.exists() { certificate } else { key };
    Err(format!("{} was not made by `darvazeh certs dev`; move it away or choose another --out", file.display()))
}

/// The CA in the directory, if it is whole and outlives the leaves it is to sign.
fn kept_authority(made: &DevCerts, now: UnixTime) -> Option<Issuer<'static, KeyPair>> {
    let key = KeyPair::from_pem(&fs::read_to_string(&made.ca_key).ok()?).ok()?;
    let der = CertificateDer::from_pem_file(&made.ca).ok()?;
    let (_, ca) = x509_parser::parse_x509_certificate(&der).ok()?;
    let outlives = ca.validity().not_after.timestamp() >= now.saturating_add_unsigned(LEAF_DAYS * DAY);
    let fits = *ca.public_key().subject_public_key.data == *key.public_key_raw();
    if outlives && fits { Issuer::from_ca_cert_der(&der, key).ok() } else { None }
}

fn new_authority(made: &DevCerts, now: UnixTime) -> Result<Issuer<'static, KeyPair>, Failure> {
    let key = KeyPair::generate()?;
    let mut params = params(CA_NAME, now, CA_DAYS);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    write(&made.ca_key, &key.serialize_pem(), 0o600)?;
    write(&made.ca, &params.self_signed(&key)?.pem(), 0o644)?;
    Ok(Issuer::new(params, key))
}

/// A leaf with a fresh P-256 key: the cheapest handshake that every client understands.
fn issue(
    issuer: &Issuer<'static, KeyPair>,
    names: &[String],
    purpose: [ExtendedKeyUsagePurpose; 1],
    now: UnixTime,
    certificate: &Path,
    key_file: &Path,
) -> Result<(), Failure> {
    let key = KeyPair::generate()?;
    let common_name = names.first().map_or("darvazeh-dev-client", String::as_str);
    let mut params = params(common_name, now, LEAF_DAYS);
    params.subject_alt_names = CertificateParams::new(names)?.subject_alt_names;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = purpose.into();
    params.use_authority_key_identifier_extension = true;
    let pem = params.signed_by(&key, issuer)?.pem();
    write(key_file, &key.serialize_pem(), 0o600)?;
    write(certificate, &pem, 0o644)?;
    Ok(())
}

fn params(common_name: &str, now: UnixTime, days: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let now = date_time_ymd(1970, 1, 1) + Duration::from_secs(now.unsigned_abs());
    params.not_before = now - Duration::from_secs(BACKDATED);
    params.not_after = now + Duration::from_secs(days * DAY);
    params
}

/// Whole or not at all, and never readable by others for a moment: a new file, then a rename.
fn write(file: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let fresh = file.with_file_name(name);
    match fs::remove_file(&fresh) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut out = OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh)?;
    out.write_all(text.as_bytes())?;
    fs::rename(&fresh, file)
}

#[cfg(test)]
mod tests;
