//! What a request presents as its credential: nothing, another scheme, or a Bearer token (RFC 6750 §2.1).
//!
//! Only syntax is judged here, and only on routes that ask for a level: `auth::admit` calls it there alone. What the
//! token says is `token`'s business. Nothing is copied.

use std::borrow::Cow;

use http::header;

use crate::fields::Fields;

/// What was presented.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Presented<'a> {
    None,
    /// `Basic`, `DPoP`, … : well formed, but nothing that this gateway takes.
    OtherScheme,
    /// Not empty, of any length; [`token68`] judges its characters.
    Bearer(&'a [u8]),
}

/// Why the credentials are broken (BE-2). The text is for the developer and repeats nothing that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// Reads `Authorization`, the only place a token may come from (BE-6), and refuses one in `query` (without `?`).
pub fn presented<'a>(headers: &'a Fields, query: Option<&[u8]>) -> Result<Presented<'a>, Malformed> {
    if query.is_some_and(holds_access_token) {
        return Err(Malformed("a token in the query string is not accepted"));
    }
    let mut lines = headers.get_all(header::AUTHORIZATION);
    let Some(value) = lines.next() else { return Ok(Presented::None) };
    if lines.next().is_some() {
        return Err(Malformed("more than one Authorization header"));
    }
    scheme_and_token(value.as_bytes())
}

/// `auth-scheme [ 1*SP token68 ]` (RFC 9110 §11.4). The scheme is compared without case (BE-5).
fn scheme_and_token(value: &[u8]) -> Result<Presented<'_>, Malformed> {
    let value = value.trim_ascii();
    let end = value.iter().position(|b| *b == b' ').unwrap_or(value.len());
    let (scheme, rest) = value.split_at(end);
    if scheme.is_empty() {
        return Err(Malformed("the Authorization header is empty"));
    }
    if !scheme.iter().all(is_token_char) {
        return Err(Malformed("the Authorization header does not begin with a scheme"));
    }
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Ok(Presented::OtherScheme);
    }
    let spaces = rest.iter().take_while(|b| **b == b' ').count();
    let token = &rest[spaces..];
    if token.is_empty() {
        return Err(Malformed("Bearer without a token"));
    }
    Ok(Presented::Bearer(token))
}

/// `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="` (RFC 9110 §11.2, BE-5). Apart from [`presented`], because
/// it looks at every byte: a token that equals one which passed needs no second look.
pub fn token68(token: &[u8]) -> Result<&str, Malformed> {
    let padding = token.iter().rev().take_while(|b| **b == b'=').count();
    let body = &token[..token.len() - padding];
    let in_alphabet = |b: &u8| b.is_ascii_alphanumeric() || b"-._~+/".contains(b);
    match std::str::from_utf8(token) {
        Ok(text) if !body.is_empty() && body.iter().all(in_alphabet) => Ok(text),
        _ => Err(Malformed("the Bearer token has characters that no token has")),
    }
}

/// `tchar` (RFC 9110 §5.6.2).
fn is_token_char(b: &u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b)
}

/// `;` separates too: some agencies' frameworks still split there.
fn holds_access_token(query: &[u8]) -> bool {
    query.split(|b| matches!(b, b'&' | b';')).any(|pair| {
        let Some(end) = memchr::memchr(b'=', pair) else { return false };
        unescaped(&pair[..end]).as_ref() == b"access_token"
    })
}

/// Percent-decoded once; a broken escape stays as it is.
fn unescaped(name: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'%', name).is_none() {
        return Cow::Borrowed(name);
    }
    let mut plain = Vec::with_capacity(name.len());
    let mut rest = name;
    while let [first, tail @ ..] = rest {
        match tail {
            [high, low, after @ ..] if *first == b'%' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                plain.push(nibble(*high) << 4 | nibble(*low));
                rest = after;
            }
            _ => {
                plain.push(*first);
                rest = tail;
            }
        }
    }
    Cow::Owned(plain)
}

fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn with(values: &[&[u8]]) -> Fields {
        let mut headers = Fields::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    fn bearer(value: &str) -> Option<String> {
        match presented(&with(&[value.as_bytes()]), None) {
            Ok(Presented::Bearer(token)) => token68(token).ok().map(str::to_owned),
            _ => None,
        }
    }

    fn malformed(headers: &Fields, query: Option<&[u8]>) -> bool {
        match presented(headers, query) {
            Ok(Presented::Bearer(token)) => token68(token).is_err(),
            judged => judged.is_err(),
        }
    }

    /// BE-5
    #[test]
    fn the_scheme_is_compared_without_case() {
        for value in ["Bearer a.b.c", "bearer a.b.c", "BEARER a.b.c", "Bearer   a.b.c", " Bearer a.b.c "] {
            assert_eq!(bearer(value).as_deref(), Some("a.b.c"), "{value}");
        }
        assert_eq!(bearer("Bearer a-._~+/9==").as_deref(), Some("a-._~+/9=="));
    }

    /// BE-5
    #[test]
    fn token68_is_exactly_this_alphabet() {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/";
        for b in 0..=255 {
            assert_eq!(token68(&[b]).is_ok(), alphabet.contains(&b), "{b}");
        }
    }

    /// BE-1
    #[test]
    fn nothing_and_another_scheme_are_no_credentials() {
        assert!(presented(&with(&[]), None) == Ok(Presented::None));
        for value in [&b"Basic dTpw"[..], b"DPoP a.b.c", b"Negotiate", b"Bearerx a", b"Digest a=\"b\", c=d"] {
            assert!(presented(&with(&[value]), None) == Ok(Presented::OtherScheme), "{value:?}");
        }
    }

    /// BE-2
    #[test]
    fn broken_syntax_is_malformed() {
        for value in [
            &b""[..],
            b" ",
            b"Bearer",
            b"Bearer ",
            b"Bearer a b",
            b"Bearer a,b",
            b"Bearer \"a\"",
            b"Bearer a=b",
            b"Bearer =",
        ] {
            assert!(malformed(&with(&[value]), None), "{value:?}");
        }
        for value in [&b"Bearer\ta"[..], b"Bearer a, Bearer b", b"Bearer \xd8\xaf", b"=a", b"Be(arer a"] {
            assert!(malformed(&with(&[value]), None), "{value:?}");
        }
        assert!(malformed(&with(&[b"Bearer a.b.c", b"Bearer a.b.c"]), None));
        assert!(malformed(&with(&[b"Basic a", b"Bearer a.b.c"]), None));
    }

    /// BE-6
    #[test]
    fn a_token_in_the_query_is_refused_however_it_is_spelled() {
        let none = with(&[]);
        for query in [
            "access_token=a",
            "x=1&access_token=",
            "access%5Ftoken=a",
            "%61ccess_token=a",
            "x;access_token=a",
            "access%5ftoken=a",
        ] {
            assert!(malformed(&none, Some(query.as_bytes())), "{query}");
        }
        for query in
            ["", "access_tokens=a", "token=access_token", "a=access_token=b", "access%255Ftoken=a", "access_token%zz=1"]
        {
            assert!(!malformed(&none, Some(query.as_bytes())), "{query}");
        }
        assert!(malformed(&with(&[b"Bearer a.b.c"]), Some(b"access_token=a.b.c")), "two methods at once");
    }
}
