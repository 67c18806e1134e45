//! `sessions`: how callers who logged in are remembered.

use std::sync::Arc;
use std::time::Duration;

use super::top::secret;
use super::{Context, codes};
use crate::config::defaults;
use crate::config::model::{Rate, RateBy, RedisServer, SessionKey, SessionLimit, SessionStore, Sessions};
use crate::config::read::{Field, Table, shown};

const KEYS: [&str; 9] = ["store", "shared", "keys", "cookie", "levels", "per_subject", "max", "grace", "logins"];
const SECOND: Duration = Duration::from_secs(1);
/// NIST SP 800-63B §4.1.3: once a month at the latest, also at its lowest level.
const LONGEST: Duration = Duration::from_secs(30 * 86400);
/// A new key, the one before it, and two that a mistake left behind.
const MOST_KEYS: usize = 4;

pub fn sessions(top: &Table<'_>, cx: &mut Context<'_>) -> Sessions {
    let mut sessions = Sessions {
        store: SessionStore::Memory { max: defaults::SESSIONS_MAX },
        keys: Vec::new(),
        cookie: Arc::from(defaults::SESSION_COOKIE),
        levels: defaults::SESSION_LEVELS,
        per_subject: defaults::SESSIONS_PER_SUBJECT,
        grace: defaults::SESSION_GRACE,
        logins: defaults::LOGINS,
    };
    let Some(field) = top.get("sessions") else { return sessions };
    let Some(table) = field.table(cx.faults, &KEYS) else { return sessions };
    if let Some(field) = table.get("keys") {
        sessions.keys = keys(&field, cx);
    }
    sessions.store = store(&table, cx);
    if let Some(cookie) = table.get("cookie").and_then(|field| cookie(&field, cx)) {
        sessions.cookie = cookie;
    }
    if let Some(field) = table.get("levels") {
        levels(&field, &mut sessions.levels, cx);
    }
    if let Some(count) = table.get("per_subject").and_then(|field| field.count(cx.faults, 1..=1000)) {
        sessions.per_subject = count as u32;
    }
    if let Some(grace) = table.get("grace").and_then(|f| f.duration(cx.faults, Duration::ZERO..=SECOND * 300)) {
        sessions.grace = grace;
    }
    if let Some(rate) = table.get("logins").and_then(|field| logins(&field, cx)) {
        sessions.logins = rate;
    }
    sessions
}

fn store(table: &Table<'_>, cx: &mut Context<'_>) -> SessionStore {
    let field = table.get("store");
    let store = match &field {
        Some(field) if field.is_table() => redis(field, cx).map(SessionStore::Redis),
        Some(field) => {
            let is_cookie = field.word(cx.faults, &[("memory", false), ("cookie", true)]);
            is_cookie.filter(|is| *is).map(|_| SessionStore::Cookie { shared: None })
        }
        None => None,
    };
    let store = shared(table, store, cx);
    let max = table.get("max");
    let Some(store) = store else {
        let max = max.and_then(|field| field.count(cx.faults, 1..=100_000_000));
        return SessionStore::Memory { max: max.map_or(defaults::SESSIONS_MAX, |max| max as u32) };
    };
    let uncounted = [max, table.get("per_subject").filter(|_| matches!(store, SessionStore::Cookie { .. }))];
    for (key, field) in ["max", "per_subject"].into_iter().zip(uncounted) {
        if let Some(field) = field {
            let message =
                format!("`{key}` has no meaning here: this gateway cannot count sessions that are not in its memory");
            let remedy = format!("take `{key}` out, or write `store: memory`");
            field.fault(cx.faults, codes::OUT_OF_BOUNDS, message, remedy);
        }
    }
    if !table.has("keys") {
        let message = "sessions that leave this machine need a key that every gateway of the fleet has";
        let remedy = "make one: `openssl rand -base64 32 > FILE`, and write `keys: [FILE]`";
        table.fault(cx.faults, codes::MISSING_KEY, message, remedy);
    }
    store
}

/// Where nodes tell each other what ended, beside sessions in cookies. `None`: sessions in memory.
fn shared(table: &Table<'_>, store: Option<SessionStore>, cx: &mut Context<'_>) -> Option<SessionStore> {
    let Some(field) = table.get("shared") else { return store };
    if matches!(store, Some(SessionStore::Cookie { .. })) {
        return Some(SessionStore::Cookie { shared: super::store::redis(&field, cx) });
    }
    let message = "`shared` is for sessions in cookies: a Redis shares sessions by itself, and a memory none";
    field.fault(cx.faults, codes::OUT_OF_BOUNDS, message, "take `shared` out, or write `store: cookie`");
    store
}

/// `{ redis: … }`
fn redis(field: &Field<'_>, cx: &mut Context<'_>) -> Option<RedisServer> {
    let table = field.table(cx.faults, &["redis"])?;
    super::store::redis(&table.need(cx.faults, "redis", "write `store: { redis: redis://HOST }`")?, cx)
}

/// `{ requests: 300, per: 1m }`, of one address.
fn logins(field: &Field<'_>, cx: &mut Context<'_>) -> Option<Rate> {
    let table = field.table(cx.faults, &["requests", "per"])?;
    let remedy = "write `logins: { requests: 300, per: 1m }`";
    let requests = table.need(cx.faults, "requests", remedy).and_then(|f| f.count(cx.faults, 1..=1_000_000));
    let per = table.need(cx.faults, "per", remedy).and_then(|f| f.duration(cx.faults, SECOND..=SECOND * 86400));
    Some(Rate { requests: requests? as u32, per: per?, by: RateBy::Address })
}

/// The first seals, all open.
fn keys(field: &Field<'_>, cx: &mut Context<'_>) -> Vec<SessionKey> {
    let Some(items) = field.some_items(cx.faults) else { return Vec::new() };
    let mut keys = Vec::new();
    for item in items {
        let Some((_, text)) = secret(&item, cx) else { continue };
        match SessionKey::parse(text.expose()) {
            Some(key) if keys.contains(&key) => {
                item.fault(cx.faults, codes::BAD_SESSION_KEY, "this key is named twice", "name each key once");
            }
            Some(key) => keys.push(key),
            None => {
                let remedy = "make one: `openssl rand -base64 32 > FILE`";
                item.fault(cx.faults, codes::BAD_SESSION_KEY, "this is not the base64 of 32 bytes", remedy);
            }
        }
    }
    if keys.len() > MOST_KEYS {
        let message = format!("{} keys open sessions", keys.len());
        let remedy = "keep the new key and the one before it: a key is of no use once what it sealed has expired";
        field.fault(cx.faults, codes::OUT_OF_BOUNDS, message, remedy);
    }
    keys
}

/// The prefix is not for taste: with it, browsers refuse a cookie that another host, or plain HTTP, tries to plant.
fn cookie(field: &Field<'_>, cx: &mut Context<'_>) -> Option<Arc<str>> {
    let text = field.text(cx.faults)?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let rest = text.strip_prefix("__Host-").unwrap_or_default();
    if rest.is_empty() || text.len() > 64 || !text.bytes().all(plain) {
        let message = format!("`{}` cannot be the session's cookie", shown(text));
        let remedy = "write `__Host-` and a name of letters, digits, `-` and `_`, like `__Host-darvazeh`";
        field.fault(cx.faults, codes::BAD_NAME, message, remedy);
        return None;
    }
    Some(Arc::from(text))
}

fn levels(field: &Field<'_>, levels: &mut [SessionLimit; 3], cx: &mut Context<'_>) {
    let Some(table) = field.table(cx.faults, &["1", "2", "3"]) else { return };
    for (limit, key) in levels.iter_mut().zip(["1", "2", "3"]) {
        let Some(entry) = table.get(key) else { continue };
        let Some(entry) = entry.table(cx.faults, &["absolute", "idle"]) else { continue };
        if let Some(absolute) = entry.get("absolute").and_then(|f| f.duration(cx.faults, SECOND * 60..=LONGEST)) {
            limit.absolute = absolute;
        }
        match entry.get("idle") {
            Some(idle) if idle.is_off() => limit.idle = None,
            Some(idle) => limit.idle = idle.duration(cx.faults, SECOND * 60..=LONGEST).or(limit.idle),
            None => {}
        }
    }
}
