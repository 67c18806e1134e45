//! How patterns and limits read on a terminal: for `routes` and `diff`.

use std::fmt::Write;

use crate::admin::config_view;
use crate::config::model::{PathPattern, Rate, RateBy, Route, Timeouts};
use crate::config::units::show_duration;

/// A path with its escapes read as letters where they are UTF-8 letters: `/%D8%B4` is `/ش`. Other escapes stay.
pub fn readable(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let run = &rest[at..];
        let escapes = run.as_bytes().chunks_exact(3).map_while(escape);
        let bytes: Vec<u8> = escapes.collect();
        let (run, after) = run.split_at((bytes.len() * 3).max(1));
        match std::str::from_utf8(&bytes) {
            Ok(text) if !bytes.is_empty() && text.chars().all(is_shown) => out.push_str(text),
            _ => out.push_str(run),
        }
        rest = after;
    }
    out + rest
}

/// Letters and digits beyond ASCII, and the joiners that Persian is written with: nothing that acts on a terminal.
fn is_shown(c: char) -> bool {
    !c.is_ascii() && (c.is_alphanumeric() || matches!(c, '\u{200c}' | '\u{200d}' | '\u{64b}'..='\u{65f}'))
}

fn escape(chunk: &[u8]) -> Option<u8> {
    let digits = chunk.strip_prefix(b"%").and_then(|digits| std::str::from_utf8(digits).ok())?;
    u8::from_str_radix(digits, 16).ok()
}

/// `/insurance/pensions/{id}`; a prefix with `/**` at its end.
pub fn path(pattern: &PathPattern) -> String {
    match pattern {
        PathPattern::Exact(segments) => readable(&config_view::path(segments)),
        PathPattern::Prefix(segments) if segments.is_empty() => "/**".to_owned(),
        PathPattern::Prefix(segments) => readable(&config_view::path(segments)) + "/**",
    }
}

/// `a.example.ir,*.example.ir`; `*` for any.
pub fn hosts(route: &Route) -> String {
    match &*route.hosts {
        [] => "*".to_owned(),
        some => some.iter().map(config_view::host).collect::<Vec<_>>().join(","),
    }
}

/// `GET,PUT`; `*` for any.
pub fn methods(route: &Route) -> String {
    match &*route.methods {
        [] => "*".to_owned(),
        some => some.iter().map(http::Method::as_str).collect::<Vec<_>>().join(","),
    }
}

/// `5 in 1m by subject`
pub fn rate(rate: &Rate) -> String {
    let by = match rate.by {
        RateBy::Subject => "subject",
        RateBy::Client => "client",
        RateBy::Address => "address",
        RateBy::Route => "route",
    };
    format!("{} in {} by {by}", rate.requests, show_duration(rate.per))
}

/// Those of `one` that differ from `other`'s: `connect 2s, idle 60s`.
pub fn timeouts(one: &Timeouts, other: &Timeouts) -> String {
    let each = [
        ("connect", Some(one.connect), Some(other.connect)),
        ("response", Some(one.response), Some(other.response)),
        ("idle", Some(one.idle), Some(other.idle)),
        ("request", one.request, other.request),
    ];
    let mut text = String::new();
    for (name, time, _) in each.into_iter().filter(|(_, one, other)| one != other) {
        let comma = if text.is_empty() { "" } else { ", " };
        let time = time.map_or_else(|| "off".to_owned(), show_duration);
        // Writing to a string cannot fail.
        let _ = write!(text, "{comma}{name} {time}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn persian_reads_as_persian_and_nothing_else_is_decoded() {
        assert_eq!(readable("/%D8%B4%D9%87%D8%B1/a%20b"), "/شهر/a%20b");
        for same in ["/%E2%80%AE", "/%2F", "/%D8", "/100%", "/%", "/%zz", "/%C2%A0", "/plain"] {
            assert_eq!(readable(same), same);
        }
    }
}
