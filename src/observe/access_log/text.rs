//! A line as text.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Line;
use crate::digits::Digits;
use crate::observe::names::{Names, RouteName, StatId};
use crate::words::METHODS;

/// What lines say of their route, ready to be written: each has its place by its number, where another's may stand. A number's
/// name never changes, so there is nothing to renew.
#[derive(Default)]
pub(super) struct Labels(Vec<Label>);

/// In one place, so that a route which was not heard of for thousands of lines is not looked for in three.
#[repr(C, align(64))]
#[derive(Clone)]
struct Label {
    stat: StatId,
    /// 0: nobody's.
    length: u8,
    text: [u8; Label::ROOM],
}

impl Label {
    /// Up to the end of its third cache line; most end in their first.
    const ROOM: usize = 183;
    const NOBODYS: Label = Label { stat: StatId::UNROUTED, length: 0, text: [0; Label::ROOM] };
}

impl Labels {
    /// As many as numbers in use, up to 768 KiB.
    const MOST: usize = 4096;

    /// `None`: the route is gone.
    pub(super) fn of(&mut self, stat: StatId, names: &Names) -> Option<Cow<'_, [u8]>> {
        let at = stat.slot as usize % Labels::MOST;
        if self.0.len() <= at {
            self.0.resize((at + 1).next_power_of_two(), Label::NOBODYS);
        }
        let place = &mut self.0[at];
        if place.stat != stat || place.length == 0 {
            let label = label(&names.name(stat)?);
            // Two long names have more to say than there is room.
            let Some(room) = place.text.get_mut(..label.len()) else { return Some(Cow::Owned(label)) };
            room.copy_from_slice(&label);
            (place.stat, place.length) = (stat, label.len() as u8);
        }
        Some(Cow::Borrowed(&place.text[..usize::from(place.length)]))
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
    use std::sync::Arc;

    #[test]
    fn a_label_is_its_routes_own() {
        let names = Names::default();
        let long = "n".repeat(100);
        let of = |route: &str| (Arc::from(route), Arc::from(long.as_str()));
        let lease = names.lease((0..Labels::MOST).map(|n| of(&n.to_string())).chain([of("last"), of(&long)]));
        let mut labels = Labels::default();
        let mut text = |at: usize| String::from_utf8(labels.of(lease[at], &names).unwrap().into()).unwrap();
        // Of the first and the last but one, and of the second and the last, the places are the same.
        assert_eq!(lease[0].slot as usize + Labels::MOST, lease[Labels::MOST].slot as usize);
        for at in [0, Labels::MOST, 0, 1, Labels::MOST + 1, 1, 2, 2] {
            let route = match at.checked_sub(Labels::MOST) {
                None => at.to_string(),
                Some(0) => "last".to_owned(),
                Some(_) => long.clone(),
            };
            assert_eq!(text(at), format!(",\"route\":\"{route}\",\"agency\":\"{long}\""));
        }
        let gone = StatId { slot: lease[2].slot, epoch: 7 };
        assert!(labels.of(gone, &names).is_none());
    }

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
