//! `application/x-www-form-urlencoded` both ways (WHATWG URL section 5): queries, forms, and what token endpoints are sent.

use std::fmt::Write;

use bytes::BytesMut;
use http_body::Body as HttpBody;

use crate::body::Body;

/// More parameters than any answer of an SSO or form of ours has.
const MAX_PAIRS: usize = 32;

/// A form in the making.
#[derive(Default)]
pub struct Form(String);

impl Form {
    pub fn new(pairs: &[(&str, &str)]) -> Form {
        let mut form = Form::default();
        pairs.iter().for_each(|(name, value)| form.push(name, value));
        form
    }

    pub fn push(&mut self, name: &str, value: &str) {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        encode_to(&mut self.0, name);
        self.0.push('=');
        encode_to(&mut self.0, value);
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.split('&').any(|pair| pair.split('=').next() == Some(name))
    }

    pub fn into_string(self) -> String {
        self.0
    }

    /// Behind a URL that may have a query of its own (RFC 6749 section 3.1).
    pub fn behind(&self, url: &str) -> String {
        format!("{url}{}{}", if url.contains('?') { '&' } else { '?' }, self.0)
    }
}

pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    encode_to(&mut out, text);
    out
}

fn encode_to(out: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => drop(write!(out, "%{byte:02X}")),
        }
    }
}

/// Names and values, decoded. `None`: too many, or a parameter stands twice, which is never good (RFC 6749 section 3.1).
pub fn parse(text: &[u8]) -> Option<Entries> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for pair in text.split(|b| *b == b'&').filter(|pair| !pair.is_empty()) {
        let at = memchr::memchr(b'=', pair).unwrap_or(pair.len());
        let name = decode(&pair[..at]);
        let value = decode(pair.get(at + 1..).unwrap_or_default());
        if fields.len() == MAX_PAIRS || fields.iter().any(|(known, _)| *known == name) {
            return None;
        }
        fields.push((name, value));
    }
    Some(Entries(fields))
}

/// The names alone, each once, in their order; at most `max`. For what is shown and not acted on.
pub fn names(text: &[u8], max: usize) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for pair in text.split(|b| *b == b'&').filter(|pair| !pair.is_empty()) {
        let at = memchr::memchr(b'=', pair).unwrap_or(pair.len());
        let name = decode(&pair[..at]);
        if names.len() < max && !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn decode(text: &[u8]) -> String {
    let mut out = Vec::with_capacity(text.len());
    let hex = |at: usize| text.get(at).and_then(|b| char::from(*b).to_digit(16));
    let mut at = 0;
    while at < text.len() {
        match (text[at], hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 2;
            }
            (b'+', ..) => out.push(b' '),
            (byte, ..) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

pub struct Entries(Vec<(String, String)>);

impl Entries {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A body of at most `max` bytes. `None`: larger, or it broke off.
pub async fn read(body: Body, max: usize) -> Option<BytesMut> {
    let mut body = std::pin::pin!(body);
    let mut kept = BytesMut::new();
    while let Some(frame) = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let Ok(data) = frame.ok()?.into_data() else { continue };
        if kept.len() + data.len() > max {
            return None;
        }
        kept.extend_from_slice(&data);
    }
    Some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded_again() {
        let nasty = "a b&c=d%+é/?#\u{0}";
        let form = Form::new(&[("x", nasty), ("y", "")]).into_string();
        let fields = parse(form.as_bytes()).unwrap();
        assert_eq!((fields.get("x"), fields.get("y"), fields.get("z")), (Some(nasty), Some(""), None));
    }

    #[test]
    fn a_parameter_that_stands_twice_is_refused() {
        assert!(parse(b"code=1&state=2&code=3").is_none());
        assert!(parse(b"a=1&%61=2").is_none());
    }

    #[test]
    fn a_query_is_put_behind_a_query() {
        let form = Form::new(&[("a", "b")]);
        assert_eq!(form.behind("https://x/y"), "https://x/y?a=b");
        assert_eq!(form.behind("https://x/y?t=1"), "https://x/y?t=1&a=b");
    }
}
