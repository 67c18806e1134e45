//! The request that another proxy asks about, rebuilt from the one it asks with. For `pipeline::verify`.
//!
//! Proxies tell of it in two ways: in fields of their own (NGINX, Apache, HAProxy: `X-Original-*`; Traefik, Caddy:
//! `X-Forwarded-*`), or by passing the request on under a prefix (Envoy). What is told in both ways, twice, or in part is
//! refused: where a proxy forgets a field, its client could write it. Who may ask is not decided here, and nothing is
//! judged here: what comes out goes through [`Arrived::parse`](super::Arrived::parse) like any other request.

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Version};

use crate::body::Body;
use crate::fields::Fields;
use crate::message::{Inbound, Interim, Target, Upgrade};

/// Method, host and URI, by those who write them for this purpose alone.
const ORIGINAL: [HeaderName; 3] = [
    HeaderName::from_static("x-original-method"),
    HeaderName::from_static("x-original-host"),
    HeaderName::from_static("x-original-uri"),
];
/// The same by Traefik and Caddy.
const FORWARDED: [HeaderName; 3] = [
    HeaderName::from_static("x-forwarded-method"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-uri"),
];

const TWO_WAYS: &str = "the original request is told in two ways";
const IN_PART: &str = "the original request is told in part: its method, host and URI are needed, once each";
const MISSPELT: &str = "a header about the original request is spelt with `_`";
const BAD_METHOD: &str = "the original method is malformed";

/// Out of the fields of the asking request. Errors: the text is for the operator of the asking proxy.
pub fn from_fields(mut headers: Fields) -> Result<Inbound, &'static str> {
    if headers.keys().any(is_misspelt) {
        return Err(MISSPELT);
    }
    // `X-Forwarded-Host` alone is in many requests and says nothing of the way.
    let forwarded = headers.contains_key(&FORWARDED[0]) || headers.contains_key(&FORWARDED[2]);
    let original = ORIGINAL.iter().any(|name| headers.contains_key(name));
    let names = match (original, forwarded) {
        (true, true) => return Err(TWO_WAYS),
        (true, false) => &ORIGINAL,
        (false, _) => &FORWARDED,
    };
    let [method, host, uri] = [&names[0], &names[1], &names[2]].map(|name| only(&headers, name));
    let (Some(method), Some(host), Some(uri)) = (method, host, uri) else { return Err(IN_PART) };
    remove_told(&mut headers);
    assemble(method.as_bytes(), host, Bytes::copy_from_slice(uri.as_bytes()), headers)
}

/// Out of a request whose path is the original behind a prefix of `prefix` bytes.
pub fn from_path(mut inbound: Inbound, prefix: usize) -> Result<Inbound, &'static str> {
    let told = |name: &HeaderName| is_misspelt(name) || ORIGINAL.contains(name) || is_forwarded_only(name);
    if inbound.headers.keys().any(told) {
        return Err(TWO_WAYS);
    }
    if let Target::Origin { path_and_query, .. } | Target::Absolute { path_and_query, .. } = &mut inbound.target {
        *path_and_query = path_and_query.slice(prefix.min(path_and_query.len())..);
    }
    Ok(Inbound { body: Body::Empty, interim: Interim::none(), upgrade: Upgrade::No, ..inbound })
}

/// From parts that the asking proxy gives in a message of its own. `headers`: those of the original request; a `Host` among
/// them does not count.
pub fn assemble(method: &[u8], host: HeaderValue, target: Bytes, mut headers: Fields) -> Result<Inbound, &'static str> {
    let method = Method::from_bytes(method).map_err(|_| BAD_METHOD)?;
    headers.insert(header::HOST, host);
    Ok(Inbound {
        method,
        target: Target::Origin { path_and_query: target, authority: None },
        // What it came by is not told, and what depends on it was the asking proxy's to judge.
        version: Version::HTTP_11,
        headers,
        body: Body::Empty,
        interim: Interim::none(),
        upgrade: Upgrade::No,
    })
}

fn only(headers: &Fields, name: &HeaderName) -> Option<HeaderValue> {
    let mut values = headers.get_all(name);
    let first = values.next()?;
    values.next().is_none().then(|| first.clone())
}

/// `X_Original_URI` is another field to us and the same one to a CGI: nobody honest sends it.
fn is_misspelt(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with('x') && name.contains('_') && {
        let folded = name.replace('_', "-");
        ORIGINAL.iter().chain(&FORWARDED).any(|known| known.as_str() == folded)
    }
}

fn is_forwarded_only(name: &HeaderName) -> bool {
    *name == FORWARDED[0] || *name == FORWARDED[2]
}

/// What told of the request is no part of it.
fn remove_told(headers: &mut Fields) {
    for name in ORIGINAL.iter().chain(&FORWARDED) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> Fields {
        let mut headers = Fields::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    const NGINX: [(&str, &str); 3] =
        [("x-original-method", "POST"), ("x-original-host", "a.ir"), ("x-original-uri", "/x?q=1")];
    const CADDY: [(&str, &str); 3] =
        [("x-forwarded-method", "POST"), ("x-forwarded-host", "a.ir"), ("x-forwarded-uri", "/x?q=1")];

    #[test]
    fn both_families_tell_of_the_same_request() {
        for family in [NGINX, CADDY] {
            let mut given = headers(&family);
            given.insert(header::HOST, HeaderValue::from_static("gateway.internal"));
            given.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
            let inbound = from_fields(given).unwrap();
            assert_eq!(inbound.method, Method::POST);
            let path_and_query = Bytes::from_static(b"/x?q=1");
            assert_eq!(inbound.target, Target::Origin { path_and_query, authority: None });
            assert_eq!(inbound.headers[header::HOST], "a.ir");
            assert_eq!(inbound.headers.len(), 2, "what told of the request is no part of it");
        }
    }

    #[test]
    fn a_request_told_in_part_or_twice_is_refused() {
        for family in [NGINX, CADDY] {
            for missing in 0..3 {
                let mut fields = family.to_vec();
                let taken = fields.remove(missing);
                assert_eq!(from_fields(headers(&fields)).err(), Some(IN_PART), "{taken:?}");
                fields.extend([taken, taken]);
                assert_eq!(from_fields(headers(&fields)).err(), Some(IN_PART), "{taken:?} twice");
            }
        }
        assert_eq!(from_fields(Fields::new()).err(), Some(IN_PART));
    }

    /// What a client writes into the other family must not count, and must not be ignored by one reader and read by another.
    #[test]
    fn a_request_told_in_two_ways_is_refused() {
        for extra in [("x-forwarded-uri", "/open"), ("x-forwarded-method", "GET")] {
            let fields = [&NGINX[..], &[extra]].concat();
            assert_eq!(from_fields(headers(&fields)).err(), Some(TWO_WAYS), "{extra:?}");
        }
        for extra in [("x-original-uri", "/open"), ("x-original-host", "b.ir"), ("x-original-method", "GET")] {
            let fields = [&CADDY[..], &[extra]].concat();
            assert_eq!(from_fields(headers(&fields)).err(), Some(TWO_WAYS), "{extra:?}");
        }
        for extra in [("x_original_uri", "/open"), ("x-forwarded_uri", "/open"), ("x_forwarded_host", "b.ir")] {
            let fields = [&NGINX[..], &[extra]].concat();
            assert_eq!(from_fields(headers(&fields)).err(), Some(MISSPELT), "{extra:?}");
        }
        let plain = [&NGINX[..], &[("x-forwarded-host", "b.ir")]].concat();
        assert_eq!(from_fields(headers(&plain)).unwrap().headers[header::HOST], "a.ir");
    }

    fn behind(target: &'static str, fields: &[(&'static str, &'static str)]) -> Result<Inbound, &'static str> {
        let inbound =
            assemble(b"GET", HeaderValue::from_static("a.ir"), Bytes::from_static(target.as_bytes()), headers(fields));
        from_path(inbound.unwrap(), "/.gateway/verify".len())
    }

    #[test]
    fn a_path_behind_the_prefix_is_the_original() {
        let target = behind("/.gateway/verify/a/b?q", &[]).unwrap().target;
        assert_eq!(target, Target::Origin { path_and_query: Bytes::from_static(b"/a/b?q"), authority: None });
        for told in ["x-original-uri", "x-original-method", "x-forwarded-uri", "x-forwarded-method", "x_original_uri"] {
            assert_eq!(behind("/.gateway/verify/a", &[(told, "/b")]).err(), Some(TWO_WAYS), "{told}");
        }
    }

    #[test]
    fn a_method_is_a_token() {
        let mut fields = NGINX;
        fields[0].1 = "GET /";
        assert_eq!(from_fields(headers(&fields)).err(), Some(BAD_METHOD));
    }
}
