//! The small sections at the top level: version, access log, contact, assertion.

use std::path::PathBuf;

use super::{Context, Field, SECOND, Table, codes, url};
use crate::config::defaults;
use crate::config::model::{AccessLog, AssertionSettings, Contact, Title};

pub fn version(top: &Table<'_>, cx: &mut Context<'_>) {
    let remedy = "write `version: 1`";
    let Some(field) = top.need(cx.faults, "version", remedy) else { return };
    match field.count(cx.faults, 0..=u64::MAX) {
        None | Some(1) => {}
        Some(other) => {
            field.fault(cx.faults, codes::UNKNOWN_VERSION, format!("version {other} is unknown"), remedy);
        }
    }
}

pub fn text_or<'a>(table: &'a Table<'_>, key: &'static str, default: &'a str, cx: &mut Context<'_>) -> String {
    table.get(key).and_then(|field| field.text(cx.faults)).unwrap_or(default).to_owned()
}

pub fn access_log(top: &Table<'_>, cx: &mut Context<'_>) -> AccessLog {
    let Some(field) = top.get("access_log") else { return AccessLog::Stdout };
    let Some(table) = field.table(cx.faults, &["to"]) else { return AccessLog::Stdout };
    let Some(to) = table.need(cx.faults, "to", "write `to: stdout`, `to: off` or the path of a file") else {
        return AccessLog::Stdout;
    };
    if to.is_off() {
        return AccessLog::Off;
    }
    match to.text(cx.faults) {
        None | Some("stdout") => AccessLog::Stdout,
        Some(file) => AccessLog::File(log_file(&to, file, cx)),
    }
}

/// The file itself may be made later; the directory must be there.
fn log_file(field: &Field<'_>, file: &str, cx: &mut Context<'_>) -> PathBuf {
    let path = cx.path(field, file);
    if !path.parent().is_some_and(|dir| dir.is_dir()) {
        let message = format!("the directory of `{file}` does not exist");
        field.fault(cx.faults, codes::FILE_UNREADABLE, message, "make the directory, or name another file");
    }
    path
}

/// `{fa, en}`: both, since pages are made in both languages.
pub fn title(field: &Field<'_>, cx: &mut Context<'_>) -> Option<Title> {
    let table = field.table(cx.faults, &["fa", "en"])?;
    let remedy = "give the name in both languages: `{ fa: …, en: … }`";
    let fa = table.need(cx.faults, "fa", remedy).and_then(|f| f.text(cx.faults));
    let en = table.need(cx.faults, "en", remedy).and_then(|f| f.text(cx.faults));
    Some(Title { fa: fa?.to_owned(), en: en?.to_owned() })
}

pub fn contact(top: &Table<'_>, cx: &mut Context<'_>) -> Contact {
    let Some(field) = top.get("contact") else { return Contact::default() };
    let Some(table) = field.table(cx.faults, &["name", "phone", "email", "url"]) else { return Contact::default() };
    let text = |key, cx: &mut Context<'_>| table.get(key).and_then(|f| f.text(cx.faults).map(str::to_owned));
    Contact {
        name: table.get("name").and_then(|f| title(&f, cx)),
        phone: text("phone", cx),
        email: text("email", cx),
        url: table.get("url").and_then(|f| url::page(&f, cx)),
    }
}

pub fn assertion(top: &Table<'_>, cx: &mut Context<'_>) -> AssertionSettings {
    let default = AssertionSettings {
        issuer: defaults::ASSERTION_ISSUER.to_owned(),
        lifetime: defaults::ASSERTION_LIFETIME,
        key: None,
    };
    let Some(field) = top.get("assertion") else { return default };
    let Some(table) = field.table(cx.faults, &["issuer", "lifetime", "key"]) else { return default };
    let bounds = SECOND..=defaults::ASSERTION_LIFETIME;
    let lifetime = table.get("lifetime").and_then(|f| f.duration(cx.faults, bounds)).unwrap_or(default.lifetime);
    let key = table.get("key").and_then(|f| assertion_key(&f, cx));
    AssertionSettings { issuer: text_or(&table, "issuer", &default.issuer, cx), lifetime, key }
}

/// A P-256 key in PKCS#8 PEM, tried here as signing will use it.
fn assertion_key(field: &Field<'_>, cx: &mut Context<'_>) -> Option<PathBuf> {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
    use rustls::pki_types::PrivatePkcs8KeyDer;
    use rustls::pki_types::pem::PemObject;

    let path = cx.file(field)?;
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) => {
            let message = format!("the key cannot be read: {error}");
            field.fault(cx.faults, codes::FILE_UNREADABLE, message, "name a file that this user may read");
            return None;
        }
    };
    let key = PrivatePkcs8KeyDer::from_pem_slice(&bytes).ok();
    let fits = key
        .is_some_and(|key| EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_pkcs8_der()).is_ok());
    if !fits {
        let remedy = "make one: `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out FILE`";
        field.fault(cx.faults, codes::BAD_PEM, "this is not a P-256 key in PKCS#8 PEM", remedy);
        return None;
    }
    Some(path)
}
