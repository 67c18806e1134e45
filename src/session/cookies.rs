//! The session's cookies: found in a request, set in an answer, and taken out of what goes to an agency and what comes
//! from one (RFC 6265, BF-2, BF-6).
//!
//! A large sealed session takes several cookies: `NAME`, `NAME.1`, `NAME.2`, ... What of a request's field is not ours is
//! kept byte for byte.

use std::sync::Arc;

use http::{HeaderValue, header};

use crate::fields::Fields;
use crate::message::cookie_pairs;

/// Bytes of a value: browsers take 4096 for name, value and attributes together.
pub(super) const CHUNK: usize = 3800;
/// More would not fit in the heads that servers and proxies take.
pub(super) const CHUNKS: usize = 5;

/// What an answer sets, ready to be appended to its fields.
#[derive(Clone, Default)]
pub struct SetCookies(Vec<HeaderValue>);

impl std::fmt::Debug for SetCookies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SetCookies({})", self.0.len())
    }
}

impl SetCookies {
    pub fn append_to(&self, headers: &mut Fields) {
        for value in &self.0 {
            headers.append(header::SET_COOKIE, value.clone());
        }
    }

    pub fn values(&self) -> &[HeaderValue] {
        &self.0
    }
}

/// The cookies of one name.
#[derive(Clone, Debug)]
pub struct Jar {
    name: Arc<str>,
}

impl Jar {
    pub fn new(name: Arc<str>) -> Jar {
        Jar { name }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value of chunk 0. Of two, the first counts: browsers send the more specific first.
    pub(super) fn first<'h>(&self, headers: &'h Fields) -> Option<&'h [u8]> {
        let name = self.name.as_bytes();
        cookies(headers).find_map(|(n, value)| (n == name).then_some(value))
    }

    /// Chunks beyond the first, in order, until one is missing.
    pub(super) fn rest<'h>(&self, headers: &'h Fields) -> Vec<&'h [u8]> {
        let mut found: [Option<&[u8]>; CHUNKS] = [None; CHUNKS];
        for (name, value) in cookies(headers) {
            if let Some(at) = self.chunk(name).filter(|at| *at < CHUNKS) {
                found[at].get_or_insert(value);
            }
        }
        found.into_iter().skip(1).map_while(|chunk| chunk).collect()
    }

    /// Which chunk a cookie of this name is; `None`: not ours. Whatever follows the dot is ours, also what
    /// is never set.
    fn chunk(&self, name: &[u8]) -> Option<usize> {
        let rest = name.strip_prefix(self.name.as_bytes())?;
        if rest.is_empty() {
            return Some(0);
        }
        std::str::from_utf8(rest.strip_prefix(b".")?).ok().map(|number| number.parse().unwrap_or(usize::MAX))
    }

    pub fn is_ours(&self, name: &[u8]) -> bool {
        self.chunk(name).is_some()
    }

    /// Takes our cookies out of a request for an agency. Other cookies keep their bytes and order.
    pub fn strip_request(&self, headers: &mut Fields) {
        self.strip_request_also(headers, &[]);
    }

    /// The same, with other names that begin with one of `prefixes` gone too.
    pub fn strip_request_also(&self, headers: &mut Fields, prefixes: &[&[u8]]) {
        let goes = |pair: &[u8]| {
            let name = split(pair).0;
            self.is_ours(name) || prefixes.iter().any(|prefix| name.starts_with(prefix))
        };
        let any = |value: &HeaderValue| cookie_pairs(value.as_bytes()).any(&goes);
        if !headers.get_all(header::COOKIE).any(any) {
            return;
        }
        let kept: Vec<HeaderValue> =
            headers.get_all(header::COOKIE).filter_map(|value| without(value, &goes)).collect();
        headers.remove(header::COOKIE);
        for value in kept {
            headers.append(header::COOKIE, value);
        }
    }

    /// Takes out of an agency's answer what would set, or clear, a cookie of ours.
    pub fn strip_answer(&self, headers: &mut Fields) {
        let ours = |value: &HeaderValue| {
            let pair = value.as_bytes().split(|b| *b == b';').next().unwrap_or_default();
            // A cookie without a name, `=NAME=VALUE`, is sent back as `NAME=VALUE` by browsers that take it.
            let (name, value) = split(pair);
            self.is_ours(if name.is_empty() { split(value).0 } else { name })
        };
        headers.retain(|name, value| *name != header::SET_COOKIE || !ours(value));
    }

    /// Sets `value`, in chunks, and clears the chunks beyond that `headers` brought. `None`: too large.
    pub(super) fn set(&self, value: &str, stale: Option<&Fields>) -> Option<SetCookies> {
        let chunks: Vec<&str> =
            (0..value.len()).step_by(CHUNK).map(|at| &value[at..value.len().min(at + CHUNK)]).collect();
        if chunks.len() > CHUNKS {
            return None;
        }
        let mut set: Vec<HeaderValue> =
            chunks.iter().enumerate().filter_map(|(at, chunk)| self.written(at, chunk, "")).collect();
        set.extend(stale.iter().flat_map(|headers| self.cleared(headers, chunks.len())));
        Some(SetCookies(set))
    }

    /// Clears every cookie of ours that `headers` brought, and the first in any case.
    pub(super) fn clear(&self, headers: &Fields) -> SetCookies {
        let first = self.written(0, "", "; Max-Age=0");
        SetCookies(first.into_iter().chain(self.cleared(headers, 1)).collect())
    }

    fn cleared(&self, headers: &Fields, from: usize) -> Vec<HeaderValue> {
        let mut old: Vec<usize> = cookies(headers).filter_map(|(name, _)| self.chunk(name)).collect();
        old.retain(|at| (from..usize::MAX).contains(at));
        old.sort_unstable();
        old.dedup();
        old.truncate(2 * CHUNKS);
        old.into_iter().filter_map(|at| self.written(at, "", "; Max-Age=0")).collect()
    }

    /// No `Domain` and `Path=/`: what the `__Host-` prefix demands. `Lax`, so that the way back from the SSO, a navigation
    /// from another site, brings it.
    fn written(&self, at: usize, value: &str, more: &str) -> Option<HeaderValue> {
        let number = if at == 0 { String::new() } else { format!(".{at}") };
        let text = format!("{}{number}={value}; Path=/; Secure; HttpOnly; SameSite=Lax{more}", self.name);
        HeaderValue::try_from(text).ok().map(|mut value| {
            value.set_sensitive(true);
            value
        })
    }
}

/// Name and value of each cookie of a request.
fn cookies(headers: &Fields) -> impl Iterator<Item = (&[u8], &[u8])> {
    let values = headers.get_all(header::COOKIE);
    values.flat_map(|value| cookie_pairs(value.as_bytes()).map(split))
}

/// Quotes round a value are part of it (RFC 6265bis §5.6).
fn split(pair: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'=', pair) {
        Some(at) => (pair[..at].trim_ascii(), pair[at + 1..].trim_ascii()),
        None => (&[], pair.trim_ascii()),
    }
}

/// The field without the pairs that go; `None` when nothing is left.
fn without(value: &HeaderValue, goes: &impl Fn(&[u8]) -> bool) -> Option<HeaderValue> {
    if !cookie_pairs(value.as_bytes()).any(goes) {
        return Some(value.clone());
    }
    let kept: Vec<&[u8]> = cookie_pairs(value.as_bytes()).filter(|pair| !goes(pair)).collect();
    let joined = kept.join(&b';');
    let joined = joined.trim_ascii_start();
    // What was a field value is one after pairs are taken out.
    (!joined.is_empty()).then(|| HeaderValue::from_bytes(joined).ok()).flatten()
}

#[cfg(test)]
mod tests;
