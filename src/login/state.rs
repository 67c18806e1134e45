//! One login attempt, from the redirect to the SSO until its answer: sealed in a cookie of its own (RP-1).
//!
//! Each tab has its own attempt under its own name, so that parallel tabs do not overwrite each other; more than a few at
//! once drop the oldest, so that cookies never pile up. PKCE verifier and nonce come of one secret, to stay small.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderValue, header};
use serde::{Deserialize, Serialize};

use super::kept_post::Ticket;
use super::random;
use crate::clock::UnixTime;
use crate::fields::Fields;
use crate::message::cookie_pairs;
use crate::session::Sealer;

/// RP-1: seconds that a login may take.
pub const LIFETIME: i64 = 600;
/// Attempts of one browser at one portal.
const MAX_ATTEMPTS: usize = 4;
/// Bytes of a way back: with the rest it must fit a cookie of 4096. A longer query is dropped.
pub const MAX_TO: usize = 1800;
const PREFIX: &str = "__Host-darvazeh-login-";
/// Where a page's script leaves what stands behind the `#`, which no server sees.
pub const FRAGMENT: &str = "__Host-darvazeh-at-";
const PURPOSE: &[u8] = b"login attempt";

#[derive(Clone, Serialize, Deserialize)]
pub struct Attempt {
    /// `state`, and what the cookie is called by.
    pub id: String,
    /// The id of the first attempt: what its page left is filed under it.
    pub root: String,
    /// base64url of 32 bytes: the PKCE verifier (RFC 7636 section 4.1).
    pub verifier: String,
    pub issuer: String,
    /// The SSO answers at an address that no other is given.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own_callback: bool,
    /// Scheme and host, as the browser sees this portal: `https://portal.example.ir`.
    pub origin: String,
    /// Path and query.
    pub to: String,
    pub level: u8,
    /// Seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<u64>,
    /// Asked with `prompt=none`.
    #[serde(default)]
    pub silent: bool,
    /// How often the level that came back was too low (AS-11).
    #[serde(default)]
    pub too_low: u8,
    pub begun: UnixTime,
    /// A form that waits for a higher level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub form: Option<Ticket>,
}

impl Attempt {
    pub fn fresh_id() -> String {
        URL_SAFE_NO_PAD.encode(random::<16>())
    }

    pub fn fresh_verifier() -> String {
        URL_SAFE_NO_PAD.encode(random::<32>())
    }

    /// RFC 7636 section 4.2, S256.
    pub fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest(&SHA256, self.verifier.as_bytes()))
    }

    pub fn nonce(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest(&SHA256, format!("nonce\0{}", self.verifier).as_bytes()))
    }

    pub fn redirect_uri(&self) -> String {
        format!("{}{}", self.origin, self.callback())
    }

    /// The path where the SSO is to answer.
    pub fn callback(&self) -> String {
        let own = if self.own_callback { format!("/{}", self.issuer) } else { String::new() };
        format!("{}{own}", super::callback::PATH)
    }

    /// The cookies to set: this attempt, and the end of the oldest where there are too many.
    pub fn cookies(&self, sealer: &Sealer, headers: &Fields, now: UnixTime) -> Vec<HeaderValue> {
        let text = serde_json::to_vec(self).expect("strings and numbers are JSON");
        let mut set = vec![written(&format!("{PREFIX}{}", self.id), &sealer.seal_text(PURPOSE, &text), LIFETIME)];
        let mut others: Vec<(UnixTime, String)> = ours(headers, PREFIX)
            .filter(|(id, _)| *id != self.id)
            .map(|(id, value)| (opened(sealer, value, now).map_or(0, |attempt| attempt.begun), id))
            .collect();
        others.sort();
        let surplus = (others.len() + 1).saturating_sub(MAX_ATTEMPTS);
        set.extend(others.iter().take(surplus).map(|(_, id)| cleared(&format!("{PREFIX}{id}"))));
        set.into_iter().flatten().collect()
    }

    /// The attempt that `state` belongs to, if it is this browser's and young enough.
    pub fn find(sealer: &Sealer, headers: &Fields, state: &str, now: UnixTime) -> Option<Attempt> {
        let (_, value) = ours(headers, PREFIX).find(|(id, _)| id == state)?;
        opened(sealer, value, now).filter(|attempt| attempt.id == state)
    }

    /// Clears the cookie of this attempt.
    pub fn clear(&self) -> Option<HeaderValue> {
        cleared(&format!("{PREFIX}{}", self.id))
    }

    pub fn clear_fragment(&self) -> Option<HeaderValue> {
        cleared(&format!("{FRAGMENT}{}", self.root))
    }

    /// What stood behind the `#` when the login began, with the `#`.
    pub fn fragment(&self, headers: &Fields) -> Option<String> {
        let (_, value) = ours(headers, FRAGMENT).find(|(id, _)| *id == self.root)?;
        let text = std::str::from_utf8(value).ok()?;
        let fit = |b: u8| (0x21..0x7f).contains(&b) && !matches!(b, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`');
        (text.starts_with('#') && text.bytes().all(fit)).then(|| text.to_owned())
    }
}

fn opened(sealer: &Sealer, value: &[u8], now: UnixTime) -> Option<Attempt> {
    let attempt: Attempt = serde_json::from_slice(&sealer.open_text(PURPOSE, value)?).ok()?;
    (now.saturating_sub(attempt.begun) <= LIFETIME).then_some(attempt)
}

/// Cookies whose names begin with `prefix`: the rest of the name, and the value.
pub fn ours<'h>(headers: &'h Fields, prefix: &'static str) -> impl Iterator<Item = (String, &'h [u8])> {
    let pairs = headers.get_all(header::COOKIE).flat_map(|value| cookie_pairs(value.as_bytes()));
    pairs.filter_map(move |pair| {
        let pair = pair.trim_ascii();
        let at = memchr::memchr(b'=', pair)?;
        let rest = pair[..at].strip_prefix(prefix.as_bytes())?;
        let plain = rest.len() <= 32 && rest.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        let rest = std::str::from_utf8(rest).ok().filter(|_| plain)?;
        Some((rest.to_owned(), &pair[at + 1..]))
    })
}

/// `seconds` until it goes. `Lax`: the way back from the SSO is a navigation from another site.
pub fn written(name: &str, value: &str, seconds: i64) -> Option<HeaderValue> {
    let text = format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={seconds}");
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

pub fn cleared(name: &str) -> Option<HeaderValue> {
    written(name, "", 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(begun: UnixTime) -> Attempt {
        Attempt {
            id: Attempt::fresh_id(),
            root: Attempt::fresh_id(),
            verifier: Attempt::fresh_verifier(),
            issuer: "sso".into(),
            own_callback: true,
            origin: "https://portal.example.ir".into(),
            to: "/a".into(),
            level: 2,
            max_age: None,
            silent: false,
            too_low: 0,
            begun,
            form: None,
        }
    }

    fn sealer() -> Sealer {
        Sealer::ephemeral().unwrap()
    }

    /// What a browser sends once it took what `set` sets.
    fn browser(cookies: &[HeaderValue], before: &Fields) -> Fields {
        let mut jar: Vec<(String, String)> = ours(before, PREFIX)
            .map(|(id, value)| (format!("{PREFIX}{id}"), String::from_utf8_lossy(value).into_owned()))
            .collect();
        for cookie in cookies {
            let (pair, rest) = cookie.to_str().unwrap().split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            jar.retain(|(known, _)| known != name);
            if !rest.ends_with("Max-Age=0") {
                jar.push((name.to_owned(), value.to_owned()));
            }
        }
        let text = jar.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
        let mut headers = Fields::new();
        headers.insert(header::COOKIE, text.parse().unwrap());
        headers
    }

    /// RP-1
    #[test]
    fn an_attempt_is_found_by_its_state_in_its_browser_and_for_ten_minutes() {
        let sealer = sealer();
        let attempt = attempt(1000);
        let headers = browser(&attempt.cookies(&sealer, &Fields::new(), 1000), &Fields::new());
        let found = |state: &str, headers: &Fields, now| Attempt::find(&sealer, headers, state, now).is_some();
        assert!(found(&attempt.id, &headers, 1600));
        assert!(!found(&attempt.id, &headers, 1601), "too old");
        assert!(!found("another", &headers, 1000));
        assert!(!found(&attempt.id, &Fields::new(), 1000), "another browser");
        assert!((43..=128).contains(&attempt.verifier.len()));
        assert_ne!(attempt.nonce(), attempt.challenge());
    }

    /// The "few and small": parallel tabs work, and cookies never pile up.
    #[test]
    fn many_tabs_keep_the_newest_attempts() {
        let sealer = sealer();
        let mut headers = Fields::new();
        let attempts: Vec<Attempt> = (0..9).map(|at| attempt(1000 + at)).collect();
        for attempt in &attempts {
            headers = browser(&attempt.cookies(&sealer, &headers, 1010), &headers);
        }
        assert_eq!(ours(&headers, PREFIX).count(), MAX_ATTEMPTS);
        let found = |attempt: &&Attempt| Attempt::find(&sealer, &headers, &attempt.id, 1010).is_some();
        assert_eq!(attempts.iter().filter(found).count(), MAX_ATTEMPTS);
        assert!(found(&&attempts[8]) && !found(&&attempts[0]));
    }

    #[test]
    fn the_largest_attempt_fits_a_cookie() {
        let sealer = sealer();
        let large = Attempt { to: "/".repeat(MAX_TO), origin: "h".repeat(260), ..attempt(1000) };
        let large = Attempt { form: Some(Ticket::fresh("x".repeat(43))), max_age: Some(u64::MAX), ..large };
        let cookies = large.cookies(&sealer, &Fields::new(), 1000);
        assert!(cookies[0].len() < 4096, "{}", cookies[0].len());
    }
}
