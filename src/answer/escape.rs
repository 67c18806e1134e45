//! Making text safe inside JSON, markup and a header. Nothing is copied when nothing needs escaping.
//!
//! What is escaped here are fixed texts and the operator's contact lines, never what a caller sent; it is done all the
//! same, because one careless text must not become a hole.

use std::borrow::Cow;
use std::fmt::Write;

/// For between the quotes of a JSON string (RFC 8259 §7).
pub fn json(text: &str) -> Cow<'_, str> {
    // By bytes first: most texts have nothing to escape, and to take them for characters costs several times as much.
    if !text.bytes().any(|b| b < b' ' || b == b'"' || b == b'\\') {
        return Cow::Borrowed(text);
    }
    replaced(
        text,
        |c| matches!(c, '"' | '\\' | '\0'..='\x1f'),
        |c, out| match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            control => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
        },
    )
}

/// For element content and quoted attribute values of HTML and XML alike. Characters that XML 1.0 (§2.2) cannot hold
/// become U+FFFD.
pub fn markup(text: &str) -> Cow<'_, str> {
    let special = |c| matches!(c, '&' | '<' | '>' | '"' | '\'' | '\u{fffe}' | '\u{ffff}' | '\0'..='\x1f' | '\x7f');
    replaced(text, special, |c, out| match c {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '"' => out.push_str("&#34;"),
        '\'' => out.push_str("&#39;"),
        '\t' | '\n' | '\r' => out.push(' '),
        _ => out.push('\u{fffd}'),
    })
}

/// Percent-encoding of every byte that `keep` does not spare.
pub fn percent(text: &str, keep: impl Fn(u8) -> bool) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii() && byte != b'%' && keep(byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    out
}

fn replaced(text: &str, special: impl Fn(char) -> bool, replace: impl Fn(char, &mut String)) -> Cow<'_, str> {
    let Some(first) = text.find(&special) else { return Cow::Borrowed(text) };
    let mut out = String::with_capacity(text.len() + 16);
    out.push_str(&text[..first]);
    for c in text[first..].chars() {
        if special(c) { replace(c, &mut out) } else { out.push(c) }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_not_copied() {
        assert!(matches!(json("ورود لازم است"), Cow::Borrowed(_)));
        assert!(matches!(markup("plain"), Cow::Borrowed(_)));
    }

    #[test]
    fn json_survives_a_round_trip() {
        let nasty = "a\"b\\c\n\u{1}\u{7f}و";
        let read: String = serde_json::from_str(&format!("\"{}\"", json(nasty))).unwrap();
        assert_eq!(read, nasty);
    }

    #[test]
    fn markup_leaves_no_way_out_of_text_or_attribute() {
        assert_eq!(markup("a<b>\"'&\u{0}\n"), "a&lt;b&gt;&#34;&#39;&amp;\u{fffd} ");
    }

    #[test]
    fn percent_encoding_is_reversible() {
        assert_eq!(percent("50% و", |b| b == b' ' || b.is_ascii_digit()), "50%25 %D9%88");
    }
}
