//! The host a request is meant for: one, valid, in lower case (HP-4; RFC 9112 §3.2; RFC 9113 §8.3.1).

use bytes::Bytes;
use http::header;
use http::{HeaderValue, Version};

use crate::fields::Fields;
use crate::message::Target;

/// A request's authority. Empty only for HTTP/1.0 without `Host`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    written: HeaderValue,
    /// How much of it is the name.
    length: usize,
    /// The name, where it was written otherwise.
    lower: Option<Box<[u8]>>,
}

impl Authority {
    /// As written, port included: what the agency sees as `Host`.
    pub fn written(&self) -> &HeaderValue {
        &self.written
    }

    /// Lower case, without port and trailing dot: what routes are matched with.
    pub fn name(&self) -> &[u8] {
        self.lower.as_deref().unwrap_or(&self.written.as_bytes()[..self.length])
    }
}

/// The request's authority. Errors: missing, repeated, malformed, or two that differ; the text is for the developer.
pub fn of(target: &Target, headers: &Fields, version: Version) -> Result<Authority, &'static str> {
    let mut hosts = headers.get_all(header::HOST);
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err("Host is repeated");
    }
    let named = match (target, host) {
        (Target::Absolute { authority, .. }, Some(_)) => value(authority),
        (Target::Absolute { authority, .. }, None) if version == Version::HTTP_10 => value(authority),
        (Target::Origin { authority: Some(authority), .. }, None) => value(authority),
        (Target::Origin { authority: Some(authority), .. }, Some(host)) => {
            if !authority.eq_ignore_ascii_case(host.as_bytes()) {
                return Err(":authority and Host differ");
            }
            value(authority)
        }
        (_, Some(host)) => Some(host.clone()),
        (_, None) if version == Version::HTTP_10 => {
            return Ok(Authority { written: HeaderValue::from_static(""), length: 0, lower: None });
        }
        (_, None) => return Err("Host is missing"),
    };
    named.and_then(parse).ok_or("Host is malformed")
}

fn value(authority: &Bytes) -> Option<HeaderValue> {
    HeaderValue::from_maybe_shared(authority.clone()).ok()
}

/// RFC 3986 §3.2.2 without user information: a name, an IPv4 or a bracketed IPv6 address, and perhaps a port.
fn parse(written: HeaderValue) -> Option<Authority> {
    let text = written.as_bytes();
    let (host, port) = if text.first() == Some(&b'[') {
        let close = memchr::memchr(b']', text)?;
        std::str::from_utf8(&text[1..close]).ok()?.parse::<std::net::Ipv6Addr>().ok()?;
        text.split_at(close + 1)
    } else {
        let (host, port) = text.split_at(memchr::memchr(b':', text).unwrap_or(text.len()));
        let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
        if host.is_empty() || !host.iter().all(plain) {
            return None;
        }
        (host, port)
    };
    let port_fits = match port {
        [] | [b':'] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !port_fits || host.len() > 255 {
        return None;
    }
    let name = host.strip_suffix(b".").filter(|name| !name.is_empty()).unwrap_or(host);
    let lower = name.iter().any(u8::is_ascii_uppercase).then(|| name.to_ascii_lowercase().into());
    Some(Authority { length: name.len(), lower, written })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(authority: Option<&'static str>) -> Target {
        Target::Origin {
            path_and_query: Bytes::from_static(b"/"),
            authority: authority.map(|a| Bytes::from_static(a.as_bytes())),
        }
    }

    fn headers(hosts: &[&'static str]) -> Fields {
        hosts.iter().map(|h| (header::HOST, HeaderValue::from_static(h))).collect()
    }

    fn name(target: &Target, hosts: &[&'static str]) -> Result<String, &'static str> {
        of(target, &headers(hosts), Version::HTTP_11).map(|a| String::from_utf8(a.name().to_vec()).unwrap())
    }

    /// HP-4
    #[test]
    fn a_host_is_one_valid_name() {
        assert_eq!(name(&origin(None), &["Api.Example.IR.:8443"]).unwrap(), "api.example.ir");
        assert_eq!(name(&origin(None), &["[2001:DB8::1]:443"]).unwrap(), "[2001:db8::1]");
        assert_eq!(name(&origin(None), &[]), Err("Host is missing"));
        assert_eq!(name(&origin(None), &["a", "a"]), Err("Host is repeated"));
        for bad in ["", "a b", "a@b", "a/b", "a:b", "a:123456", ":80", "a,b", "[::1", "[x]", "a\\b", "a%41"] {
            assert_eq!(name(&origin(None), &[bad]), Err("Host is malformed"), "{bad}");
        }
    }

    /// HP-4
    #[test]
    fn absolute_form_replaces_host() {
        let target = Target::Absolute {
            authority: Bytes::from_static(b"real.example.ir"),
            path_and_query: Bytes::from_static(b"/"),
        };
        assert_eq!(name(&target, &["other.example.ir"]).unwrap(), "real.example.ir");
        assert_eq!(name(&target, &[]), Err("Host is missing"));
    }

    /// HP-4
    #[test]
    fn an_authority_must_not_differ_from_host() {
        assert_eq!(name(&origin(Some("a.ir")), &["A.ir"]).unwrap(), "a.ir");
        assert_eq!(name(&origin(Some("a.ir")), &["b.ir"]), Err(":authority and Host differ"));
    }

    #[test]
    fn http_1_0_may_come_without_a_host() {
        let found = of(&origin(None), &headers(&[]), Version::HTTP_10).unwrap();
        assert!(found.name().is_empty());
    }
}
