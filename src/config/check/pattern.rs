//! What a route matches: hosts, path, methods, each in the one form in which requests are judged.

use std::hash::Hash;

use ahash::AHashSet;
use http::Method;

use super::{Context, Field, Place, Table, codes};
use crate::config::model::{HostPattern, PathPattern, Segment};
use crate::config::nearest::likely;
use crate::config::read::shown;
use crate::intake::path::canonical;

/// `match`, read. The path is `None` when it was at fault.
pub struct Match {
    pub place: Place,
    pub hosts: Vec<HostPattern>,
    pub path: Option<PathPattern>,
    pub methods: Vec<Method>,
}

/// `default_hosts`: of a route that names none.
pub fn read(field: &Field<'_>, default_hosts: &[HostPattern], cx: &mut Context<'_>) -> Option<Match> {
    let table = field.table(cx.faults, &["hosts", "path", "prefix", "methods"])?;
    let hosts = table.get("hosts").map_or_else(|| default_hosts.to_vec(), |f| hosts(&f, cx));
    let methods = table.get("methods").map_or_else(Vec::new, |f| each(&f, method, cx));
    Some(Match { place: field.place(), hosts, path: path(&table, cx), methods })
}

pub fn hosts(field: &Field<'_>, cx: &mut Context<'_>) -> Vec<HostPattern> {
    each(field, host, cx)
}

/// The items of a list that must hold some, each once.
fn each<T: Clone + Eq + Hash>(
    field: &Field<'_>,
    read: fn(&Field<'_>, &mut Context<'_>) -> Option<T>,
    cx: &mut Context<'_>,
) -> Vec<T> {
    let mut seen = AHashSet::new();
    let items = field.some_items(cx.faults).into_iter().flatten();
    items.filter_map(|item| read(&item, cx)).filter(|value| seen.insert(value.clone())).collect()
}

fn path(table: &Table<'_>, cx: &mut Context<'_>) -> Option<PathPattern> {
    match (table.get("path"), table.get("prefix")) {
        (Some(field), None) => segments(&field, cx).map(PathPattern::Exact),
        (None, Some(field)) => segments(&field, cx).map(|mut list| {
            list.pop_if(|last| matches!(last, Segment::Literal(text) if text.is_empty()));
            PathPattern::Prefix(list)
        }),
        (None, None) => {
            let message = "neither `path` nor `prefix` is given";
            table.fault(cx.faults, codes::PATH_OR_PREFIX, message, "write `prefix: /` to match every path");
            None
        }
        (Some(_), Some(prefix)) => {
            let message = "`path` and `prefix` cannot both be given";
            prefix.fault(cx.faults, codes::PATH_OR_PREFIX, message, "keep one, or make two routes");
            None
        }
    }
}

/// A pattern's segments; `{name}` is a parameter.
fn segments(field: &Field<'_>, cx: &mut Context<'_>) -> Option<Vec<Segment>> {
    let text = escaped(field.text(cx.faults)?);
    let mut names = AHashSet::new();
    let mut probe = String::with_capacity(text.len());
    let mut list = Vec::new();
    for part in text.strip_prefix('/').unwrap_or_default().split('/') {
        probe.push('/');
        match parameter(part) {
            Ok(None) => {
                probe.push_str(part);
                list.push(Segment::Literal(part.to_owned()));
            }
            Ok(Some(name)) => {
                if !names.insert(name) {
                    let message = format!("the parameter `{{{name}}}` is there twice");
                    field.fault(cx.faults, codes::PARAMETER_TWICE, message, "give each parameter a name of its own");
                }
                probe.push('x');
                list.push(Segment::Any(name.to_owned()));
            }
            Err(message) => {
                let remedy = "write a parameter as a whole segment: `/a/{id}/b`";
                field.fault(cx.faults, codes::BAD_PATH, message, remedy);
                return None;
            }
        }
    }
    if matches!(list.first(), Some(Segment::Literal(first)) if first == RESERVED) {
        let message = format!("paths below `/{RESERVED}` are the gateway's own");
        field.fault(cx.faults, codes::RESERVED_PATH, message, "choose another path");
    }
    let probe = if text.starts_with('/') { probe } else { text };
    is_canonical(field, &probe, &list, cx).then_some(list)
}

const RESERVED: &str = ".gateway";

/// Judges a path as a request's would be. `segments` tells which were parameters, for the remedy.
fn is_canonical(field: &Field<'_>, path: &str, segments: &[Segment], cx: &mut Context<'_>) -> bool {
    let form = match canonical(path.as_bytes()) {
        Ok(form) if *form == *path.as_bytes() => return true,
        Ok(form) => String::from_utf8_lossy(&form).into_owned(),
        Err(why) => {
            let remedy = "write an absolute path of plain segments, like `/insurance/pensions`";
            field.fault(cx.faults, codes::BAD_PATH, format!("no request has this path: {}", why.0), remedy);
            return false;
        }
    };
    let parts = form.split('/').skip(1).zip(segments).map(|(part, segment)| match segment {
        Segment::Any(name) => format!("/{{{name}}}"),
        Segment::Literal(_) => format!("/{part}"),
    });
    let remedy = format!("write `{}`", parts.collect::<String>());
    field.fault(cx.faults, codes::BAD_PATH, "the path is not in canonical form, so no request meets it", remedy);
    false
}

/// A literal path (no parameters) without its trailing slash, for `rewrite`; `/` is empty.
pub fn literal(field: &Field<'_>, cx: &mut Context<'_>) -> Option<String> {
    let text = escaped(field.text(cx.faults)?);
    if !is_canonical(field, &text, &[], cx) {
        return None;
    }
    Some(text.strip_suffix('/').unwrap_or(&text).to_owned())
}

/// Letters beyond ASCII, as a person writes them, become the escapes in which they arrive.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| out.push_str(&format!("%{byte:02X}")));
        }
    }
    out
}

/// `Ok(Some(name))` for `{name}`, `Ok(None)` for a literal. Errors: what is wrong.
fn parameter(part: &str) -> Result<Option<&str>, String> {
    if !part.contains(['{', '}']) {
        return Ok(None);
    }
    let name = part.strip_prefix('{').and_then(|p| p.strip_suffix('}'));
    let fits = |n: &&str| !n.is_empty() && n.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    match name.filter(fits) {
        Some(name) => Ok(Some(name)),
        None => Err(format!("`{}` is neither a literal nor a parameter", shown(part))),
    }
}

/// A host name, `*.` and a host name, or an IP address (IPv6 in brackets), as `Host` carries it, without a port.
fn host(field: &Field<'_>, cx: &mut Context<'_>) -> Option<HostPattern> {
    let text = field.text(cx.faults)?;
    let lower = text.to_ascii_lowercase();
    if let Some(rest) = lower.strip_prefix("*.").filter(|rest| is_host_name(rest)) {
        return Some(HostPattern::Wildcard(rest.to_owned()));
    }
    let address = lower.strip_prefix('[').and_then(|a| a.strip_suffix(']'));
    if is_host_name(&lower) || address.is_some_and(|a| a.parse::<std::net::Ipv6Addr>().is_ok()) {
        return Some(HostPattern::Exact(lower));
    }
    let remedy = match text {
        "*" => "leave `hosts` out to match any host",
        _ if text.contains("://") => "write the host alone, without a scheme",
        _ if !text.is_ascii() => "write the name in its ASCII form (`xn--…`)",
        _ if text.contains(':') => "write the host without a port; listeners have ports",
        _ if text.ends_with('.') => "write the host without the dot at its end",
        _ => "write `api.example.ir`, or `*.example.ir` for one label before it",
    };
    field.fault(cx.faults, codes::BAD_HOST, format!("`{}` is not a host", shown(text)), remedy);
    None
}

/// RFC 1123 §2.1, with the underscore that private networks use.
fn is_host_name(text: &str) -> bool {
    let label = |l: &str| {
        let plain = l.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        (1..=63).contains(&l.len()) && plain && !l.starts_with('-') && !l.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

const COMMON: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"];

/// A method as requests carry it: upper case by convention, compared with case (RFC 9110 §9.1).
pub fn method(field: &Field<'_>, cx: &mut Context<'_>) -> Option<Method> {
    let text = field.text(cx.faults)?;
    if matches!(text, "CONNECT" | "TRACE") {
        let message = format!("`{text}` is never forwarded");
        field.fault(cx.faults, codes::BAD_METHOD, message, "leave it out");
        return None;
    }
    let upper = !text.bytes().any(|b| b.is_ascii_lowercase());
    if let Some(method) = Method::from_bytes(text.as_bytes()).ok().filter(|_| upper) {
        return Some(method);
    }
    let near = likely(text, COMMON).map_or(String::new(), |near| format!(", did you mean `{near}`?"));
    let message = format!("`{}` is not a method{near}", shown(text));
    field.fault(cx.faults, codes::BAD_METHOD, message, "write methods in capitals, like `GET`");
    None
}
