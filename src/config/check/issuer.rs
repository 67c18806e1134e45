//! `issuers`: whose tokens are believed, and what their claim values are worth.

mod client;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;

use super::names::{self, Names};
use super::{Context, DAY, Field, Place, SECOND, Table, certificate, codes, defaults, duration_or, top, url};
use crate::config::model::{Algorithm, Issuer, JwksSource};
use crate::config::read::{list, shown};
use crate::words::Level;

const KEYS: [&str; 13] = [
    "issuer",
    "audiences",
    "jwks",
    "algorithms",
    "token_types",
    "clock_skew",
    "max_level",
    "levels",
    "metadata",
    "refresh",
    "keep_keys",
    "ca",
    "client",
];

pub fn all(top: &Table<'_>, cx: &mut Context<'_>) -> (Vec<Option<Issuer>>, Names) {
    let mut names = Names::new("issuer", codes::UNKNOWN_ISSUER);
    let mut issuers = Vec::new();
    let Some(field) = top.get("issuers") else { return (issuers, names) };
    let Some(table) = field.named(cx.faults, "a mapping of issuers by name") else { return (issuers, names) };
    let mut seen = HashMap::new();
    let mut places = Vec::new();
    for (name, place, field) in table.iter() {
        places.push(place);
        names::check_key(name, place, &field, cx.faults);
        names.add_key(name, issuers.len(), place, &field, cx.faults);
        issuers.push(issuer(name, place, &field, &mut seen, cx));
    }
    client::warn_of_mix_ups(&issuers, &places, cx);
    (issuers, names)
}

fn issuer(
    name: &str,
    place: Place,
    field: &Field<'_>,
    seen: &mut HashMap<String, Place>,
    cx: &mut Context<'_>,
) -> Option<Issuer> {
    let table = field.table(cx.faults, &KEYS)?;
    let iss = table.need(cx.faults, "issuer", "write the exact `iss` of the tokens: `issuer: https://…`");
    let issuer = iss.and_then(|f| exact_issuer(&f, seen, cx));
    let remedy = "list what `aud` may hold: `audiences: [https://api.example.ir]`";
    let audiences = table.need(cx.faults, "audiences", remedy).and_then(|f| f.some_texts(cx.faults));
    let metadata = table.get("metadata").map(|f| Metadata::read(&f, cx));
    // Of metadata at fault nothing is known: neither where keys are, nor that they are elsewhere.
    let known = metadata.unwrap_or_else(|| Some(Metadata::default()));
    let jwks = known.as_ref().and_then(|metadata| key_source(&table, metadata, issuer, cx));
    let (level_claim, levels) = levels(&table, cx);
    let max_level = table.get("max_level").and_then(|f| level(&f, cx)).unwrap_or(Level::THREE);
    let fetch_roots = table.get("ca").map(|f| certificate::roots(&f, cx));
    let client = table.get("client").map(|f| client::read(&f, known.as_ref(), issuer, cx));
    Some(Issuer {
        at: cx.position(place),
        name: Arc::from(name),
        fetch_roots: fetch_roots.flatten(),
        algorithms: table.get("algorithms").map_or(defaults::ALGORITHMS.to_vec(), |f| algorithms(&f, cx)),
        token_types: table.get("token_types").map_or_else(default_token_types, |f| token_types(&f, cx)),
        clock_skew: duration_or(
            &table,
            "clock_skew",
            Duration::ZERO,
            defaults::CLOCK_SKEW_MAX,
            defaults::CLOCK_SKEW,
            cx,
        ),
        max_level,
        level_claim,
        levels,
        refresh: duration_or(&table, "refresh", SECOND, DAY, defaults::KEYS_REFRESH, cx),
        keep_keys: duration_or(&table, "keep_keys", Duration::ZERO, 30 * DAY, defaults::KEEP_KEYS, cx),
        client: client.flatten().map(Arc::new),
        // Last, so that everything is read before one missing part ends it.
        issuer: issuer?.to_owned(),
        audiences: audiences?,
        jwks: jwks?,
    })
}

/// The `iss` that only this issuer has: a token must have one issuer.
fn exact_issuer<'a>(field: &Field<'a>, seen: &mut HashMap<String, Place>, cx: &mut Context<'_>) -> Option<&'a str> {
    let text = field.text(cx.faults)?;
    if let Some(first) = seen.get(text) {
        let message = format!("two issuers have the `iss` `{}`", shown(text));
        let remedy = "keep one issuer for each `iss`";
        field.fault(cx.faults, codes::ISSUER_TWICE, message, remedy).see(*first, "first used here");
    } else {
        seen.insert(text.to_owned(), field.place());
    }
    Some(text)
}

/// `jwks` if written, else `metadata.jwks_uri`, else discovery at the issuer itself.
fn key_source(issuer: &Table<'_>, metadata: &Metadata, iss: Option<&str>, cx: &mut Context<'_>) -> Option<JwksSource> {
    if let Some(field) = issuer.get("jwks") {
        return jwks(&field, cx);
    }
    if let Some(uri) = metadata.url("jwks_uri") {
        return uri.map(JwksSource::Uri);
    }
    let (field, iss) = (issuer.get("issuer")?, iss?);
    let discovery = well_known(iss).filter(|_| url::fetched(&field, cx).is_some());
    if discovery.is_none() && well_known(iss).is_none() {
        let message = "without `jwks` the keys come by discovery, and this issuer is not a URL";
        let remedy = "add `jwks: { uri: https://… }` or `jwks: { file: … }`";
        field.fault(cx.faults, codes::BAD_URL, message, remedy);
    }
    discovery.map(JwksSource::Discovery)
}

/// Where OpenID Connect Discovery 1.0 section 4 has the metadata of an issuer (DI-1). `None`: it is not a URL.
fn well_known(iss: &str) -> Option<Uri> {
    url::absolute(&format!("{}/.well-known/openid-configuration", iss.trim_end_matches('/')))
}

fn jwks(field: &Field<'_>, cx: &mut Context<'_>) -> Option<JwksSource> {
    let table = field.table(cx.faults, &["file", "uri"])?;
    match (table.get("file"), table.get("uri")) {
        (Some(file), None) => {
            let path = cx.file(&file)?;
            refuse_useless_jwks(&file, &path, cx).then_some(JwksSource::File(path))
        }
        (None, Some(uri)) => url::fetched(&uri, cx).map(JwksSource::Uri),
        (None, None) => {
            table.fault(cx.faults, codes::MISSING_KEY, "`file` or `uri` is missing", "name where the keys are");
            None
        }
        (Some(_), Some(uri)) => {
            let message = "`file` and `uri` cannot both be the source of the keys";
            uri.fault(cx.faults, codes::TWO_KEY_SOURCES, message, "keep one of them");
            None
        }
    }
}

/// A key set is at most 256 KiB (JB-10).
const JWKS_MAX: u64 = 256 * 1024;

/// Whether the file is a JWK set with a key of a known type. Which keys are fit to verify is judged by `auth`.
fn refuse_useless_jwks(field: &Field<'_>, path: &Path, cx: &mut Context<'_>) -> bool {
    let too_large = std::fs::metadata(path).is_ok_and(|meta| meta.len() > JWKS_MAX);
    let bytes = match std::fs::read(path) {
        Ok(bytes) if !too_large => bytes,
        Ok(_) => {
            field.fault(cx.faults, codes::BAD_JWKS, "the key set is over 256 KiB", "keep only keys that are in use");
            return false;
        }
        Err(error) => {
            let message = format!("the key set cannot be read: {error}");
            field.fault(
                cx.faults,
                codes::FILE_UNREADABLE,
                message,
                "name a file that is there and that this user may read",
            );
            return false;
        }
    };
    let Ok(set) = serde_json::from_slice::<serde_json::Value>(&bytes) else {
        field.fault(cx.faults, codes::BAD_JWKS, "the key set is not JSON", "fetch the SSO's `jwks_uri` into the file");
        return false;
    };
    let keys = set.get("keys").and_then(|keys| keys.as_array());
    let known = |key: &serde_json::Value| matches!(key["kty"].as_str(), Some("RSA" | "EC" | "OKP"));
    let useful = keys.is_some_and(|keys| keys.iter().any(known));
    if !useful {
        let message = "the key set has no key of type RSA, EC or OKP";
        field.fault(cx.faults, codes::BAD_JWKS, message, "fetch the SSO's `jwks_uri` into the file");
    }
    useful
}

const METADATA_URLS: [&str; 9] = [
    "authorization_endpoint",
    "token_endpoint",
    "jwks_uri",
    "userinfo_endpoint",
    "end_session_endpoint",
    "introspection_endpoint",
    "revocation_endpoint",
    "pushed_authorization_request_endpoint",
    "registration_endpoint",
];
const METADATA_LISTS: [&str; 4] = [
    "acr_values_supported",
    "scopes_supported",
    "token_endpoint_auth_methods_supported",
    "code_challenge_methods_supported",
];

/// An issuer's metadata by hand.
#[derive(Default)]
struct Metadata {
    /// By key; `None`: at fault.
    urls: Vec<(&'static str, Option<Uri>)>,
    says_iss: bool,
}

impl Metadata {
    fn read(field: &Field<'_>, cx: &mut Context<'_>) -> Option<Metadata> {
        let known: Vec<&str> = METADATA_URLS.into_iter().chain(METADATA_LISTS).chain([client::ISS_PARAMETER]).collect();
        let table = field.table(cx.faults, &known)?;
        for key in METADATA_LISTS {
            table.get(key).map(|f| f.some_texts(cx.faults));
        }
        let url = |key| table.get(key).map(|f| (key, url::fetched(&f, cx)));
        let urls = METADATA_URLS.into_iter().filter_map(url).collect();
        let says_iss = table.get(client::ISS_PARAMETER).and_then(|f| f.flag(cx.faults)).unwrap_or(false);
        Some(Metadata { urls, says_iss })
    }

    /// `None`: not written; `None` inside: at fault.
    fn url(&self, key: &str) -> Option<Option<Uri>> {
        self.urls.iter().find(|(known, _)| *known == key).map(|(_, uri)| uri.clone())
    }
}

fn algorithms(field: &Field<'_>, cx: &mut Context<'_>) -> Vec<Algorithm> {
    let items: Vec<_> = field.some_items(cx.faults).into_iter().flatten().collect();
    items.iter().filter_map(|item| algorithm(item, cx)).collect()
}

fn algorithm(field: &Field<'_>, cx: &mut Context<'_>) -> Option<Algorithm> {
    let text = field.text(cx.faults)?;
    if text.eq_ignore_ascii_case("none") || text.to_ascii_uppercase().starts_with("HS") {
        let message = format!("`{}` is never allowed: it proves nothing about who signed", shown(text));
        let remedy = format!("write some of {}", list(Algorithm::ALL.map(Algorithm::as_str)));
        field.fault(cx.faults, codes::BAD_ALGORITHM, message, remedy);
        return None;
    }
    let words = Algorithm::ALL.map(|a| (a.as_str(), a));
    field.word(cx.faults, &words)
}

fn default_token_types() -> Vec<String> {
    defaults::TOKEN_TYPES.map(str::to_owned).to_vec()
}

/// Media types as RFC 7515 §4.1.9 compares them: without case and without a leading `application/`.
fn token_types(field: &Field<'_>, cx: &mut Context<'_>) -> Vec<String> {
    let written = field.some_texts(cx.faults).unwrap_or_default();
    let plain = |text: String| text.to_ascii_lowercase().trim_start_matches("application/").to_owned();
    written.into_iter().map(plain).collect()
}

fn level(field: &Field<'_>, cx: &mut Context<'_>) -> Option<Level> {
    field.count(cx.faults, 1..=3).and_then(|n| Level::new(n as u8))
}

fn levels(issuer: &Table<'_>, cx: &mut Context<'_>) -> (String, Vec<(String, Level)>) {
    let default = (defaults::LEVEL_CLAIM.to_owned(), Vec::new());
    let Some(field) = issuer.get("levels") else { return default };
    let Some(table) = field.table(cx.faults, &["claim", "values"]) else { return default };
    let claim = top::text_or(&table, "claim", defaults::LEVEL_CLAIM, cx);
    let remedy = "map each claim value to a level: `values: { \"urn:example:level:2\": 2 }`";
    let Some(values) = table.need(cx.faults, "values", remedy) else { return (claim, Vec::new()) };
    let Some(values) = values.named(cx.faults, "a mapping of claim values to levels") else {
        return (claim, Vec::new());
    };
    let levels = values.iter().filter_map(|(value, place, field)| {
        if value.is_empty() || value.contains(|c: char| !(' '..='~').contains(&c) || matches!(c, ' ' | '"' | '\\')) {
            // `acr_values` is a space-separated, quoted list of these (RFC 9470 §3): such a value could not be asked for.
            let message = format!("`{}` cannot be a claim value", shown(value));
            let remedy = "write visible ASCII without spaces, quotes and backslashes".to_owned();
            cx.faults.add(codes::BAD_CLAIM_VALUE, place, field.path(), message, remedy);
        }
        level(&field, cx).map(|level| (value.to_owned(), level))
    });
    let levels = levels.collect();
    (claim, levels)
}
