//! `cors`: whose pages may read the answers, at the top level for all routes or on a route in its stead.

use std::time::Duration;

use super::{Context, DAY, Field, codes, defaults, duration_or, pattern, url};
use crate::config::model::Cors;
use crate::config::read::shown;

const KEYS: [&str; 6] = ["origins", "methods", "headers", "expose", "credentials", "max_age"];

/// `off`, or the settings.
pub fn read(field: &Field<'_>, cx: &mut Context<'_>) -> Option<Cors> {
    if field.is_off() {
        return None;
    }
    if !field.is_table() {
        return field.wrong_type(
            cx.faults,
            "a mapping or `off`",
            "write `cors: { origins: [https://…] }`, or `cors: off`",
        );
    }
    let table = field.table(cx.faults, &KEYS)?;
    let remedy = "list the pages' origins: `origins: [https://portal.example.ir]`";
    let listed = table.need(cx.faults, "origins", remedy);
    let origins = listed.map_or_else(Vec::new, |f| list(&f, origin, cx));
    let credentials = table.get("credentials").and_then(|f| f.flag(cx.faults)).unwrap_or(false);
    if let Some(field) = listed.filter(|_| origins.iter().any(|o| o == "*")) {
        if credentials {
            let message = "`*` with `credentials: true` would let every page on the web act for the caller";
            field.fault(cx.faults, codes::CORS_WILDCARD, message, "list the origins, or remove `credentials`");
        } else if origins.len() > 1 {
            field.fault(
                cx.faults,
                codes::CORS_WILDCARD,
                "`*` already holds the other origins",
                "keep `*` alone, or remove it",
            );
        }
    }
    let names = |key, cx: &mut Context<'_>| table.get(key).map_or_else(Vec::new, |f| list(&f, header, cx));
    Some(Cors {
        origins,
        methods: table.get("methods").map_or_else(Vec::new, |f| list(&f, pattern::method, cx)),
        headers: names("headers", cx),
        expose: names("expose", cx),
        credentials,
        max_age: duration_or(&table, "max_age", Duration::ZERO, DAY, defaults::CORS_MAX_AGE, cx),
    })
}

fn list<T>(field: &Field<'_>, read: fn(&Field<'_>, &mut Context<'_>) -> Option<T>, cx: &mut Context<'_>) -> Vec<T> {
    let mut found = Vec::new();
    let Some(items) = field.some_items(cx.faults) else { return found };
    for item in items {
        found.extend(read(&item, cx));
    }
    found
}

/// As browsers send it (RFC 6454 §6.2): scheme, host in lower case, a port only when it is not the scheme's own.
fn origin(field: &Field<'_>, cx: &mut Context<'_>) -> Option<String> {
    let text = field.text(cx.faults)?;
    if text == "*" {
        return Some(text.to_owned());
    }
    let as_sent = url::absolute(text).and_then(|uri| {
        let (scheme, host) = (uri.scheme_str()?, uri.host()?.to_ascii_lowercase());
        let own = if scheme == "https" { 443 } else { 80 };
        match uri.port_u16().filter(|port| *port != own) {
            Some(port) => Some(format!("{scheme}://{host}:{port}")),
            None => Some(format!("{scheme}://{host}")),
        }
    });
    if as_sent.as_deref() == Some(text) {
        return as_sent;
    }
    let remedy = as_sent.map_or("write `https://HOST` or `https://HOST:PORT`".to_owned(), |o| format!("write `{o}`"));
    field.fault(cx.faults, codes::BAD_ORIGIN, format!("no browser sends the origin `{}`", url::public(text)), remedy);
    None
}

fn header(field: &Field<'_>, cx: &mut Context<'_>) -> Option<String> {
    let text = field.text(cx.faults)?;
    if http::HeaderName::from_bytes(text.as_bytes()).is_err() {
        let message = format!("`{}` is not a header name", shown(text));
        field.fault(cx.faults, codes::BAD_HEADER_NAME, message, "write letters, digits and `-`");
        return None;
    }
    Some(text.to_owned())
}
