//! A directory with a config and the SSO's keys, tokens signed by them, and the binary.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::{AsBigEndian, EcPublicKeyUncompressedBin};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tempfile::TempDir;

pub static KEY: LazyLock<EcdsaKeyPair> = LazyLock::new(new_key);

pub fn new_key() -> EcdsaKeyPair {
    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key can be made")
}

pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970").as_secs() as i64
}

/// The claims of a good token of this level.
pub fn claims(level: u8) -> Value {
    json!({
        "iss": "https://sso.example.ir", "aud": "https://api.example.ir", "sub": "0012345678", "client_id": "portal",
        "iat": now() - 60, "exp": now() + 600, "auth_time": now() - 60, "acr": format!("urn:example:level:{level}"),
        "scope": "insurance.read",
    })
}

/// The claims with one member changed.
pub fn with(mut claims: Value, name: &str, value: impl Into<Value>) -> Value {
    claims[name] = value.into();
    claims
}

pub fn sign(key: &EcdsaKeyPair, claims: &Value) -> String {
    let header = json!({ "alg": "ES256", "typ": "at+jwt", "kid": "k1" });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(claims));
    let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).expect("the key signs");
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

pub fn token(level: u8) -> String {
    sign(&KEY, &claims(level))
}

fn jwks() -> String {
    let point: EcPublicKeyUncompressedBin<'_> = KEY.public_key().as_be_bytes().expect("the key has a point");
    let (x, y) = point.as_ref()[1..].split_at(32);
    let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
    json!({ "keys": [{ "kty": "EC", "crv": "P-256", "kid": "k1", "x": x, "y": y }] }).to_string()
}

const SECTIONS: &str = r#"version: 1
listeners:
  - { name: public, address: 127.0.0.1:0 }
  - { name: internal, address: 127.0.0.1:0, trusted_proxies: [0.0.0.0/0], limits: { body: 1KiB } }
admin: { address: 127.0.0.1:0 }
access_log: { to: off }
issuers:
  sso:
    issuer: https://sso.example.ir
    audiences: [https://api.example.ir]
    jwks: JWKS
    levels: { claim: acr, values: { "urn:example:level:1": 1, "urn:example:level:2": 2, "urn:example:level:3": 3 } }
agencies:
  insurance: { endpoints: [AGENCY, { url: AGENCY, weight: 2 }], health: { path: / } }
  city: { endpoints: [AGENCY], health: { path: / }, identity: headers }
  bank: { endpoints: [AGENCY], health: { path: / }, identity: token }
routes:
  - name: history
    agency: insurance
    match: { hosts: [api.example.ir], prefix: /insurance, methods: [GET] }
    require: { level: 2, scopes: [insurance.read] }
    rewrite: { strip_prefix: /insurance }
  - name: pension
    agency: insurance
    match: { hosts: [api.example.ir], path: "/insurance/pensions/{id}", methods: [PUT] }
    require: { level: 3, max_age: 15m }
    limits: { body: 64KiB, rate: { requests: 1000, per: 1m, by: subject } }
  - name: news
    agency: city
    match: { hosts: [api.example.ir, "*.cities.example.ir"], prefix: /news }
    require: { level: 0 }
    cors: { origins: [https://portal.example.ir] }
  - name: profile
    agency: city
    match: { prefix: /profile }
    require: { level: 1 }
  - name: account
    agency: bank
    match: { prefix: /account }
    require: { level: 1 }
  - name: inside
    agency: city
    match: { prefix: /inside }
    require: { level: 0 }
    listeners: [internal]
"#;

/// Where nothing listens: what is only explained needs no agency.
pub const NOWHERE: &str = "http://127.0.0.1:9";

pub fn directory(agency: &str, more: &str) -> TempDir {
    directory_with(agency, "{ file: jwks.json }", more)
}

/// `keys`: the issuer's `jwks`.
pub fn directory_with(agency: &str, keys: &str, more: &str) -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let text = SECTIONS.replace("JWKS", keys).replace("AGENCY", agency) + more;
    std::fs::write(dir.path().join("routes.yaml"), text).expect("a file in our own directory");
    std::fs::write(dir.path().join("jwks.json"), jwks()).expect("a file in our own directory");
    dir
}

/// Runs the binary; the config comes behind the command's name.
pub fn darvazeh(dir: &Path, command: &str, arguments: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_darvazeh"));
    child.arg(command).arg("--config").arg(dir.join("routes.yaml")).args(arguments).current_dir(dir);
    child.output().expect("the binary can be run")
}

/// What `explain` says, for people, and its exit code.
pub fn explained(dir: &Path, arguments: &[&str]) -> (String, i32) {
    let output = darvazeh(dir, "explain", arguments);
    let text = String::from_utf8(output.stdout).expect("it speaks UTF-8");
    (text + &String::from_utf8_lossy(&output.stderr), output.status.code().expect("it ended by itself"))
}

/// What `explain` says, for programs, and its exit code.
pub fn json_of(dir: &Path, arguments: &[&str]) -> (Value, i32) {
    let output = darvazeh(dir, "explain", &[&["--format", "json"], arguments].concat());
    let text = String::from_utf8_lossy(&output.stdout);
    let value = serde_json::from_str(&text);
    let value = value.unwrap_or_else(|e| panic!("{e}: {text}{}", String::from_utf8_lossy(&output.stderr)));
    (value, output.status.code().expect("it ended by itself"))
}

/// A gateway under way; ended with its handle.
pub struct Gateway {
    child: Child,
    ready: String,
}

impl Gateway {
    pub fn start(dir: &Path) -> Gateway {
        let mut child = Command::new(env!("CARGO_BIN_EXE_darvazeh"))
            .args(["run", "--config"])
            .arg(dir.join("routes.yaml"))
            .env("DARVAZEH_WORKERS", "1")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary can be run");
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let ready = lines.by_ref().map_while(Result::ok).find(|line| line.starts_with("ready "));
        std::thread::spawn(move || lines.for_each(drop));
        Gateway { child, ready: ready.expect("the gateway starts") }
    }

    /// `ready listeners=public=127.0.0.1:8443,… admin=…`: where a listener is.
    pub fn address(&self, listener: &str) -> SocketAddr {
        let named = self.ready.split([' ', ',']).map(|part| part.trim_start_matches("listeners="));
        let found = named.filter_map(|part| part.split_once('=')).find(|(name, _)| *name == listener);
        let (_, address) = found.expect("the ready line names the listener");
        address.parse().expect("an address")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
