//! What the nodes share: `rates`, and how a Redis is written wherever one is named.

use std::path::PathBuf;
use std::time::Duration;

use http::Uri;

use super::{Context, Field, MILLISECOND, SECOND, Table, certificate, codes, duration_or, top, url};
use crate::config::defaults;
use crate::config::model::{RedisAddress, RedisServer, SharedRates};
use crate::secret::Secret;

/// Longer would keep callers waiting for a count.
const TIMEOUT_MAX: Duration = SECOND;
const PORT: u16 = 6379;

/// `rates: { shared: redis://HOST, timeout: 50ms }`
pub fn rates(top: &Table<'_>, cx: &mut Context<'_>) -> Option<SharedRates> {
    let field = top.get("rates")?;
    let table = field.table(cx.faults, &["shared", "timeout"])?;
    let timeout = duration_or(&table, "timeout", MILLISECOND, TIMEOUT_MAX, defaults::SHARED_RATES_TIMEOUT, cx);
    let remedy = "name the Redis that counts for all nodes: `shared: redis://HOST`";
    let server = redis(&table.need(cx.faults, "shared", remedy)?, cx)?;
    Some(SharedRates { server, timeout })
}

/// A Redis: its URL, or `{ url, username, password, ca }`.
pub fn redis(field: &Field<'_>, cx: &mut Context<'_>) -> Option<RedisServer> {
    if !field.is_table() {
        return server(field, cx);
    }
    let table = field.table(cx.faults, &["url", "username", "password", "ca"])?;
    let username = table.get("username").and_then(|f| f.text(cx.faults).map(str::to_owned));
    let password = table.get("password").and_then(|f| password(&f, cx));
    let ca = table.get("ca");
    let roots = ca.as_ref().and_then(|f| certificate::roots(f, cx));
    let server = server(&table.need(cx.faults, "url", "write `url: redis://HOST`")?, cx)?;
    if let (Some(field), RedisAddress::Unix(_) | RedisAddress::Tcp { tls: false, .. }) = (&ca, &server.address) {
        let message = format!("`{}` is no TLS, so `ca` would never be used", server.url);
        field.fault(cx.faults, codes::BAD_URL, message, "write `rediss://`, or remove `ca`");
    }
    Some(RedisServer { username, password, roots, ..server })
}

fn server(field: &Field<'_>, cx: &mut Context<'_>) -> Option<RedisServer> {
    let text = field.text(cx.faults)?;
    let wrong = |message: String, remedy: &str, cx: &mut Context<'_>| {
        field.fault(cx.faults, codes::BAD_URL, message, remedy);
        None
    };
    if text.contains('@') {
        let remedy = "write `{ url: redis://HOST, username: NAME, password: ${NAME} }`, or `password: { file: PATH }`";
        return wrong("a password does not belong into the URL".to_owned(), remedy, cx);
    }
    let Some((address, database)) = address(text) else {
        let remedy = "write `redis://HOST:PORT/DATABASE`, `rediss://…` for TLS, or `unix:///PATH`";
        return wrong(format!("`{}` names no Redis", url::public(text)), remedy, cx);
    };
    Some(RedisServer { url: text.into(), address, database, username: None, password: None, roots: None })
}

/// Where it is, and the number of the database.
fn address(text: &str) -> Option<(RedisAddress, i64)> {
    if let Some(path) = text.strip_prefix("unix://") {
        return path.starts_with('/').then(|| (RedisAddress::Unix(PathBuf::from(path)), 0));
    }
    let uri: Uri = text.parse().ok()?;
    let tls = match uri.scheme_str()? {
        "redis" => false,
        "rediss" => true,
        _ => return None,
    };
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']');
    let database = match uri.path().trim_start_matches('/') {
        "" => 0,
        number => number.parse().ok().filter(|n: &i64| *n >= 0)?,
    };
    let port = match uri.port() {
        Some(port) => port.as_str().parse().ok()?,
        None => PORT,
    };
    let plain = !host.is_empty() && uri.query().is_none() && !text.contains('#');
    plain.then(|| (RedisAddress::Tcp { host: host.to_owned(), port, tls }, database))
}

/// One line: what an editor puts behind it is no part of it.
fn password(field: &Field<'_>, cx: &mut Context<'_>) -> Option<Secret<String>> {
    let (_, bytes) = top::secret(field, cx)?;
    let text = std::str::from_utf8(bytes.expose()).ok().map(|text| text.trim_end_matches(['\r', '\n']).to_owned());
    if text.is_none() {
        field.fault(cx.faults, codes::NO_SECRET, "the password is not UTF-8", "write it as text");
    }
    text.map(Secret::new)
}
