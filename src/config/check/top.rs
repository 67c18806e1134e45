//! The small sections at the top level: version, access log, contact, assertion.

use std::path::PathBuf;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;

use super::{Context, Field, MILLISECOND, SECOND, Table, certificate, codes, url};
use crate::config::model::{AccessLog, AssertionSettings, AtStart, Contact, Overload, SecretSource, Title};
use crate::config::read::shown;
use crate::config::{defaults, secret_ref};
use crate::secret::Secret;

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

pub fn at_start(top: &Table<'_>, cx: &Context<'_>) -> AtStart {
    let at = |key| top.key_place(key).map(|place| cx.position(place));
    AtStart { admin: at("admin"), workers: at("workers") }
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

pub fn overload(top: &Table<'_>, cx: &mut Context<'_>) -> Overload {
    let default = Overload { queue_delay: Some(defaults::QUEUE_DELAY), memory: None };
    let Some(field) = top.get("overload") else { return default };
    let Some(table) = field.table(cx.faults, &["queue_delay", "memory"]) else { return default };
    let queue_delay = match table.get("queue_delay") {
        Some(delay) if delay.is_off() => None,
        Some(delay) => delay.duration(cx.faults, MILLISECOND..=SECOND),
        None => default.queue_delay,
    };
    // Below 16 MiB there is no room for the gateway itself.
    let memory = table.get("memory").and_then(|f| f.size(cx.faults, 16 << 20..=1 << 44));
    Overload { queue_delay, memory }
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

/// A P-256 key in PKCS#8 PEM, tried here as signing will use it: a file, or `${NAME}`.
fn assertion_key(field: &Field<'_>, cx: &mut Context<'_>) -> Option<SecretSource> {
    let (source, pem) = secret(field, cx)?;
    let key = PrivatePkcs8KeyDer::from_pem_slice(pem.expose()).ok();
    let fits = key
        .is_some_and(|key| EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_pkcs8_der()).is_ok());
    if !fits {
        let remedy = "make one: `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out FILE`";
        field.fault(cx.faults, codes::BAD_PEM, "this is not a P-256 key in PKCS#8 PEM", remedy);
        return None;
    }
    Some(source)
}

/// Where a secret comes from, and what it is now: a path, `{ file: PATH }` or `${NAME}`.
pub fn secret(field: &Field<'_>, cx: &mut Context<'_>) -> Option<(SecretSource, Secret<Vec<u8>>)> {
    if field.is_table() {
        let table = field.table(cx.faults, &["file"])?;
        return secret_file(&table.need(cx.faults, "file", "name the file: `{ file: PATH }`")?, cx);
    }
    let text = field.text_or_reference(cx.faults)?;
    if !secret_ref::is_reference(text) {
        return secret_file(field, cx);
    }
    let Some(name) = secret_ref::variable(text) else {
        let message = format!("`{}` names no environment variable", shown(text));
        let remedy = "write `${NAME}` and nothing else: letters, digits and `_`";
        field.fault(cx.faults, codes::NO_SECRET, message, remedy);
        return None;
    };
    match secret_ref::from_environment(name) {
        Ok(value) => {
            let bytes = Secret::new(value.expose().clone().into_bytes());
            Some((SecretSource::Value(value), bytes))
        }
        Err(why) => {
            let message = format!("the environment variable `{name}` {why}");
            let remedy = format!("set `{name}` for the gateway's process, or name a file: `{{ file: PATH }}`");
            field.fault(cx.faults, codes::NO_SECRET, message, remedy);
            None
        }
    }
}

fn secret_file(field: &Field<'_>, cx: &mut Context<'_>) -> Option<(SecretSource, Secret<Vec<u8>>)> {
    let path = cx.file(field)?;
    match std::fs::read(&path) {
        Ok(bytes) if bytes.trim_ascii().is_empty() => {
            let message = format!("`{}` is empty", path.display());
            field.fault(cx.faults, codes::NO_SECRET, message, "write the secret into the file");
            None
        }
        Ok(bytes) => {
            certificate::warn_if_readable_by_all(field, &path, cx);
            Some((SecretSource::File(path), Secret::new(bytes)))
        }
        Err(error) => {
            let message = format!("`{}` cannot be read: {error}", path.display());
            field.fault(cx.faults, codes::FILE_UNREADABLE, message, "name a file that this user may read");
            None
        }
    }
}
