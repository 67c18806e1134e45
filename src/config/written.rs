//! A request as people write it: `GET https://api.example.ir/insurance/x`. For `explain` and for the expectations of a file.
//!
//! Taken apart and no more: whether the gateway would take such a request is for the code that takes requests to say.

use std::fmt;

use http::Method;

use super::model::Listener;

#[derive(Clone, PartialEq, Eq)]
pub struct Written {
    pub method: Method,
    /// `https://`.
    pub secure: bool,
    /// Host, perhaps with a port.
    pub authority: String,
    /// From the path on, as it would be sent: never empty.
    pub target: String,
}

/// Without the query, which may hold what must not be shown.
impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.target.split(['?', '#']).next().unwrap_or_default();
        write!(f, "{} {}://{}{path}", self.method, self.scheme(), self.authority)
    }
}

impl Written {
    /// Errors: why this is no request, with what to write instead.
    pub fn parse(method: &str, url: &str) -> Result<Written, &'static str> {
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| "the method is not one word, such as `GET`")?;
        let (secure, rest) = match (strip_scheme(url, "https://"), strip_scheme(url, "http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err("the URL does not begin with `https://` or `http://`"),
        };
        if rest.contains(['\r', '\n', '\0']) {
            return Err("a URL is one line");
        }
        let (authority, target) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.is_empty() || authority.contains('@') {
            return Err("the URL names no host, or a user as well");
        }
        let slash = if target.starts_with('/') { "" } else { "/" };
        Ok(Written { method, secure, authority: authority.to_owned(), target: format!("{slash}{target}") })
    }

    pub const fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }

    /// The listener that such a request would most likely come in by: of the URL's port, else of its scheme, else the first.
    pub fn listener<'a>(&self, listeners: &'a [Listener]) -> Option<&'a Listener> {
        let port = self.authority.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        let of_port = listeners.iter().find(|l| port.is_some_and(|port| port != 0 && l.address.port() == port));
        let of_scheme = || listeners.iter().find(|l| l.tls.is_some() == self.secure);
        of_port.or_else(of_scheme).or(listeners.first())
    }
}

/// Schemes are compared without case (RFC 3986 §3.1).
fn strip_scheme<'a>(url: &'a str, scheme: &str) -> Option<&'a str> {
    let (start, rest) = url.split_at_checked(scheme.len())?;
    start.eq_ignore_ascii_case(scheme).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> Result<(bool, String, String), &'static str> {
        Written::parse("GET", url).map(|w| (w.secure, w.authority, w.target))
    }

    #[test]
    fn a_url_is_taken_apart_and_left_as_it_is() {
        let is = |secure, authority: &str, target: &str| Ok((secure, authority.to_owned(), target.to_owned()));
        assert_eq!(parsed("https://a.ir/x%2f/../?q#f"), is(true, "a.ir", "/x%2f/../?q#f"));
        assert_eq!(parsed("HTTP://[::1]:8080"), is(false, "[::1]:8080", "/"));
        assert_eq!(parsed("http://a?q=1"), is(false, "a", "/?q=1"));
        for bad in ["", "/a", "a.ir/x", "ftp://a", "http://", "https:///x", "http://u@a/", "http://a/\r\nX: y", "سلام"]
        {
            assert!(parsed(bad).is_err(), "{bad}");
        }
        assert!(Written::parse("GE T", "http://a").is_err() && Written::parse("", "http://a").is_err());
    }

    /// PV-4
    #[test]
    fn debug_output_has_no_query() {
        let written = Written::parse("GET", "https://a.ir/x?code=0012345678").unwrap();
        assert_eq!(format!("{written:?}"), "GET https://a.ir/x");
    }
}
