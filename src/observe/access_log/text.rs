//! A line as text.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Line;
use crate::digits::Digits;
use crate::observe::names::{Names, RouteName, StatId};
use crate::words::METHODS;

/// What lines say of their route, ready to be written. A number's name never changes, so there is nothing to renew.
#[derive(Default)]
pub(super) struct Labels(HashMap<StatId, Box<[u8]>, ahash::RandomState>);

impl Labels {
    /// Some hundred bytes each; with more routes in use than this, it begins anew.
    const MOST: usize = 4096;

    /// `None`: the route is gone.
    pub(super) fn of(&mut self, stat: StatId, names: &Names) -> Option<&[u8]> {
        if self.0.len() >= Labels::MOST && !self.0.contains_key(&stat) {
            self.0.clear();
        }
        match self.0.entry(stat) {
            Entry::Occupied(known) => Some(known.into_mut()),
            Entry::Vacant(new) => Some(new.insert(label(&names.name(stat)?).into())),
        }
    }
}

fn label(name: &RouteName) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(b",\"route\":");
    json_string(&mut out, &name.route);
    out.extend_from_slice(b",\"agency\":");
    json_string(&mut out, &name.agency);
    out
}

pub(super) fn format(out: &mut Vec<u8>, line: &Line, at: SystemTime, label: &[u8], day: &mut Day) {
    out.extend_from_slice(b"{\"time\":\"");
    day.write(out, at);
    out.extend_from_slice(b"\",\"request_id\":\"");
    out.extend_from_slice(line.request_id.as_bytes());
    out.extend_from_slice(b"\",\"method\":\"");
    out.extend_from_slice(METHODS[usize::from(line.method)].as_bytes());
    out.push(b'"');
    out.extend_from_slice(label);
    number(out, ",\"status\":", u64::from(line.status));
    out.extend_from_slice(b",\"code\":");
    match line.code {
        Some(code) => {
            out.push(b'"');
            out.extend_from_slice(code.as_str().as_bytes());
            out.push(b'"');
        }
        None => out.extend_from_slice(b"null"),
    }
    number(out, ",\"level\":", u64::from(line.level.number()));
    if let Some(subject) = &line.subject {
        // Digits, a dot and base64url.
        out.extend_from_slice(b",\"subject\":\"");
        out.extend_from_slice(subject.as_bytes());
        out.push(b'"');
    }
    number(out, ",\"duration_us\":", micros(line.took));
    if let Some(upstream) = line.upstream {
        number(out, ",\"upstream_us\":", micros(upstream));
    }
    number(out, ",\"bytes_in\":", line.bytes_in);
    number(out, ",\"bytes_out\":", line.bytes_out);
    if line.verdict {
        out.extend_from_slice(b",\"verdict\":true");
    }
    if line.cut {
        out.extend_from_slice(b",\"cut\":true");
    }
    out.extend_from_slice(b"}\n");
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn number(out: &mut Vec<u8>, key: &str, value: u64) {
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(Digits::of(value).as_bytes());
}

/// Names are configuration, but a quote in one must not break the line.
fn json_string(out: &mut Vec<u8>, text: &str) {
    if text.bytes().all(|b| b >= b' ' && b != b'"' && b != b'\\') {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        let _ = serde_json::to_writer(out, text);
    }
}

/// RFC 3339 in UTC with milliseconds; the part up to the second is formatted once a second.
#[derive(Default)]
pub(super) struct Day {
    second: u64,
    text: String,
}

impl Day {
    fn write(&mut self, out: &mut Vec<u8>, at: SystemTime) {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        if self.second != since.as_secs() || self.text.is_empty() {
            self.second = since.as_secs();
            self.text = date_and_time(self.second);
        }
        out.extend_from_slice(self.text.as_bytes());
        out.push(b'.');
        out.extend_from_slice(Digits::padded(u64::from(since.subsec_millis()), 3).as_bytes());
        out.push(b'Z');
    }
}

/// `2026-11-24T10:00:00` from seconds since 1970 (proleptic Gregorian calendar, days counted from 0000-03-01).
fn date_and_time(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::access_log::tests::line;

    #[test]
    fn seconds_become_dates() {
        assert_eq!(date_and_time(0), "1970-01-01T00:00:00");
        assert_eq!(date_and_time(951_782_400), "2000-02-29T00:00:00");
        assert_eq!(date_and_time(1_795_514_400), "2026-11-24T10:00:00");
        assert_eq!(date_and_time(4_107_542_399), "2100-02-28T23:59:59");
    }

    #[test]
    fn a_line_is_json_with_the_listed_fields_only() {
        let mut out = Vec::new();
        let name = RouteName { route: "a\"b".into(), agency: "x".into() };
        let at = UNIX_EPOCH + Duration::from_millis(1_500);
        format(&mut out, &line(), at, &label(&name), &mut Day::default());
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["time"], "1970-01-01T00:00:01.500Z");
        assert_eq!((&value["route"], &value["code"]), (&"a\"b".into(), &"token_missing".into()));
        assert_eq!(value.as_object().unwrap().len(), 12);
    }
}
