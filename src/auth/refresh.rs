//! Brings an issuer its keys: by schedule, on demand, and again and again while the SSO is away (JB-10, DI-1).
//!
//! One task per issuer on the control runtime; it holds the issuer weakly and ends with it. Whatever goes wrong, the last
//! good keys stay in force until `keep_keys` is over; that it began and that it ended is said once each.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use http::{HeaderMap, Uri, header};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::demand::Allowance;
use super::json;
use super::jwk::{KeySet, MAX_JWKS};
use super::kept::Kept;
use super::keys::{Issuer, RefreshOutcome};
use crate::clock::{Clock, UnixTime};
use crate::config::model::{self, JwksSource};
use crate::fetch::{FetchError, Fetched, Fetcher};
use crate::private_file;

/// A discovery document is 2 to 8 KiB.
const MAX_DISCOVERY: usize = 64 * 1024;

/// How fast things go, apart from what the configuration says; other values are for tests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub demand: Allowance,
    /// The wait after the first failure; it doubles up to `last_retry`.
    pub first_retry: Duration,
    pub last_retry: Duration,
    /// How often a key file is looked at.
    pub file_poll: Duration,
    /// One GET, from resolution to its last byte.
    pub fetch_limit: Duration,
    /// A `max-age` below this does not make us fetch more often.
    pub least_max_age: Duration,
}

impl Pace {
    pub(super) const DEFAULT: Pace = Pace {
        demand: Allowance::DEFAULT,
        first_retry: Duration::from_secs(1),
        last_retry: Duration::from_secs(30),
        file_poll: Duration::from_secs(1),
        // With `Allowance::every` this keeps what a fetch that hangs costs within the time in which new keys must come.
        fetch_limit: Duration::from_secs(5),
        least_max_age: Duration::from_secs(30),
    };
}

pub(super) struct Refresher {
    model: Arc<model::Issuer>,
    fetcher: Fetcher,
    kept: Kept,
    clock: Clock,
    pace: Pace,
    wake: Arc<Notify>,
    /// Of the keys in force.
    fetched_at: Option<UnixTime>,
    /// In a row.
    failures: u32,
    /// The key file as it was last read.
    seen: Option<Stamp>,
    /// What was last said of unusable keys, so that it is said once and not with every refresh.
    said: String,
}

/// What changes when a file does, also when it is replaced by `mv` or by a symbolic link.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

/// What was fetched, and how long it may be believed.
struct Answer {
    jwks: bytes::Bytes,
    max_age: Option<Duration>,
}

impl Refresher {
    pub(super) fn new(issuer: &Issuer, state_dir: &Path, clock: Clock, pace: Pace) -> Refresher {
        Refresher {
            fetcher: Fetcher::new(issuer.model.fetch_roots.clone()),
            kept: Kept::new(state_dir, &issuer.model.name),
            model: issuer.model.clone(),
            wake: issuer.demand.wake.clone(),
            clock,
            pace,
            fetched_at: None,
            failures: 0,
            seen: None,
            said: String::new(),
        }
    }

    /// What can be had without a network: the key file, or the keys of an earlier run.
    pub(super) fn load(&mut self, issuer: &Issuer) {
        if let JwksSource::File(path) = &self.model.clone().jwks {
            self.poll_file(issuer, path);
            return;
        }
        match self.kept.load(&self.model.issuer) {
            Ok(Some((fetched_at, jwks))) => self.load_kept(issuer, fetched_at, &jwks),
            Ok(None) => {}
            Err(why) => self.warn(&format!("no keys from an earlier run: {why}")),
        }
    }

    /// Until the issuer is gone.
    pub(super) async fn run(mut self, issuer: Weak<Issuer>) {
        let mut next = Instant::now();
        if let JwksSource::File(_) = self.model.jwks {
            next += self.pace.file_poll;
        }
        let due = || issuer.upgrade().map(|issuer| issuer.demand.due());
        while let Some(due) = due() {
            let at = due.map_or(next, |left| next.min(Instant::now() + left));
            tokio::select! {
                () = tokio::time::sleep_until(at) => {}
                () = self.wake.notified() => continue,
            }
            let Some(issuer) = issuer.upgrade() else { return };
            issuer.demand.begin();
            let wait = self.turn(&issuer).await;
            next = Instant::now() + wait;
            issuer.demand.finish(self.failures == 0);
        }
    }

    /// One refresh; returns how long to wait for the next.
    async fn turn(&mut self, issuer: &Issuer) -> Duration {
        let model = self.model.clone();
        let fetched = match &model.jwks {
            JwksSource::File(path) => {
                self.poll_file(issuer, path);
                return self.pace.file_poll;
            }
            JwksSource::Uri(uri) => self.fetch_keys(uri).await,
            JwksSource::Discovery(uri) => match self.discover(uri).await {
                Ok(jwks_uri) => self.fetch_keys(&jwks_uri).await,
                Err(why) => Err(why),
            },
        };
        match fetched.and_then(|answer| self.accept(issuer, &answer.jwks).map(|()| answer.max_age)) {
            Ok(max_age) => self.succeeded(issuer, max_age),
            Err(why) => self.failed(issuer, &why),
        }
    }

    async fn fetch_keys(&self, uri: &Uri) -> Result<Answer, String> {
        let Fetched { headers, body } = self.get(uri, MAX_JWKS).await.map_err(|e| format!("key set: {e}"))?;
        Ok(Answer { jwks: body, max_age: max_age(&headers) })
    }

    /// Where the keys are, from the issuer's own metadata, which must be of exactly this issuer (DI-1).
    async fn discover(&self, uri: &Uri) -> Result<Uri, String> {
        let document = self.get(uri, MAX_DISCOVERY).await.map_err(|e| format!("discovery: {e}"))?.body;
        let document = json::object(&document).map_err(|_| "discovery: not a JSON object with every member once")?;
        if document.get("issuer").and_then(Value::as_str) != Some(&self.model.issuer) {
            return Err("discovery: the document is of another issuer".into());
        }
        let jwks_uri = document.get("jwks_uri").and_then(Value::as_str).ok_or("discovery: no `jwks_uri`")?;
        jwks_uri.parse().map_err(|_| "discovery: `jwks_uri` is not a URI".into())
    }

    async fn get(&self, uri: &Uri, max: usize) -> Result<Fetched, FetchError> {
        self.fetcher.get(uri, self.pace.fetch_limit, max).await
    }

    /// Puts a fetched set in force and keeps it. A set without a usable key is believed too: its keys were withdrawn.
    fn accept(&mut self, issuer: &Issuer, jwks: &[u8]) -> Result<(), String> {
        let set = self.parse(issuer, jwks)?;
        let usable = !set.is_empty();
        issuer.install(Some(set));
        let now = self.clock.now();
        self.fetched_at = Some(now);
        if let Err(why) = self.kept.store(&self.model.issuer, now, jwks) {
            self.say_once(format!("the keys cannot be kept for a restart: {why}"));
        }
        if usable { Ok(()) } else { Err("key set: no usable key".into()) }
    }

    fn parse(&mut self, issuer: &Issuer, jwks: &[u8]) -> Result<KeySet, String> {
        let previous = issuer.key_set();
        let (set, left_out) = KeySet::parse(jwks, &self.model.algorithms, previous.as_deref())
            .map_err(|why| format!("key set: {why}"))?;
        if left_out.is_empty() {
            self.said.clear();
        } else {
            self.say_once(format!("unusable keys are left out: {}", left_out.join("; ")));
        }
        Ok(set)
    }

    fn succeeded(&mut self, issuer: &Issuer, max_age: Option<Duration>) -> Duration {
        if self.failures > 0 {
            self.warn("keys are fetched again");
        }
        self.failures = 0;
        issuer.stats.count(RefreshOutcome::Ok);
        issuer.stats.set_last_success(self.clock.now());
        issuer.stats.set_on_kept_keys(false);
        // Longer than configured is never believed: a withdrawn key must go within `refresh`.
        let asked = max_age.map_or(self.model.refresh, |age| age.max(self.pace.least_max_age));
        jittered(asked.min(self.model.refresh), 0.9, 1.1)
    }

    fn failed(&mut self, issuer: &Issuer, why: &str) -> Duration {
        issuer.stats.count(RefreshOutcome::Failed);
        let had_keys = issuer.key_set().is_some();
        if self.failures == 0 {
            let meanwhile = match had_keys {
                true => format!("the last good ones stay in use, at most {:?}", self.model.keep_keys),
                false => "its routes answer 503 until they are".to_owned(),
            };
            self.warn(&format!("keys cannot be fetched ({why}); {meanwhile}"));
        }
        if had_keys && !self.may_keep(self.fetched_at) {
            self.warn("the last good keys are too old to be used any longer; its routes answer 503");
            issuer.install(None);
        }
        issuer.stats.set_on_kept_keys(issuer.key_set().is_some());
        let doubled = self.pace.first_retry.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        jittered(doubled.min(self.pace.last_retry), 0.5, 1.0)
    }

    fn may_keep(&self, fetched_at: Option<UnixTime>) -> bool {
        let keep = i64::try_from(self.model.keep_keys.as_secs()).unwrap_or(i64::MAX);
        fetched_at.is_some_and(|at| self.clock.now().saturating_sub(at) <= keep)
    }

    fn load_kept(&mut self, issuer: &Issuer, fetched_at: UnixTime, jwks: &[u8]) {
        if !self.may_keep(Some(fetched_at)) {
            return;
        }
        match self.parse(issuer, jwks) {
            Ok(set) => {
                issuer.install(Some(set));
                self.fetched_at = Some(fetched_at);
                issuer.stats.set_last_success(fetched_at);
                issuer.stats.set_on_kept_keys(issuer.key_set().is_some());
            }
            Err(why) => self.warn(&format!("no keys from an earlier run: {why}")),
        }
    }

    /// Reads the key file if it is not the one that was read last. A bad file never replaces good keys.
    fn poll_file(&mut self, issuer: &Issuer, path: &Path) {
        let stamp = std::fs::metadata(path).map(|found| Stamp {
            modified: found.modified().ok(),
            length: found.len(),
            inode: found.ino(),
        });
        if let (Ok(now), Some(seen)) = (&stamp, &self.seen)
            && now == seen
        {
            return;
        }
        self.seen = stamp.as_ref().ok().copied();
        let read = private_file::read_bounded(path, MAX_JWKS).map_err(|e| e.to_string());
        let set = read.and_then(|bytes| self.parse(issuer, &bytes));
        match set.and_then(|set| if set.is_empty() { Err("key set: no usable key".into()) } else { Ok(set) }) {
            Ok(set) => {
                issuer.install(Some(set));
                issuer.stats.count(RefreshOutcome::Ok);
                issuer.stats.set_last_success(self.clock.now());
                issuer.stats.set_on_kept_keys(false);
            }
            Err(why) => {
                issuer.stats.count(RefreshOutcome::Failed);
                issuer.stats.set_on_kept_keys(issuer.key_set().is_some());
                self.say_once(format!("{}: {why}", path.display()));
            }
        }
    }

    fn say_once(&mut self, what: String) {
        if self.said != what {
            self.warn(&what);
            self.said = what;
        }
    }

    fn warn(&self, what: &str) {
        eprintln!("warn: issuer {}: {what}", self.model.name);
    }
}

/// `max-age` of `Cache-Control` (RFC 9111 §5.2.2.1).
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|v| v.to_str().ok());
    let mut directives = values.flat_map(|v| v.split(',')).filter_map(|d| d.trim().split_once('='));
    let (_, seconds) = directives.find(|(name, _)| name.eq_ignore_ascii_case("max-age"))?;
    seconds.trim_matches('"').parse().ok().map(Duration::from_secs)
}

/// A random part between `least` and `most` of it, so that many gateways do not ask at once.
fn jittered(wait: Duration, least: f64, most: f64) -> Duration {
    let mut random = [0; 4];
    // Without randomness the waits are merely even.
    let _ = aws_lc_rs::rand::fill(&mut random);
    let part = f64::from(u32::from_ne_bytes(random)) / f64::from(u32::MAX);
    wait.mul_f64(least + (most - least) * part)
}

#[cfg(test)]
mod tests;
