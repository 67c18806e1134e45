//! How often a caller may come: `limits.rate {requests, per, by}` of one route.
//!
//! GCRA (ITU-T I.371, the leaky bucket as a meter): of each key only one instant is kept, the one at which its whole
//! budget is back. `requests` may come at once; then one every `per / requests`. All workers share a route's limiter, and a
//! reload carries it over while the route's rate stays the same. It knows neither HTTP nor who the caller is: keys are
//! hashes, made with a secret of this process, so that nobody can choose whom to collide with.

use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::model::Rate;

#[cfg(test)]
mod tests;

/// Keys remembered for one route, at most: 4 MiB. A key counts only until its budget is back, so this bounds the callers
/// within one `per`, not the country. What happens beyond it: see [`RateLimiter`].
pub const MAX_KEYS: usize = 256 * 1024;

/// Few, as every route with a rate has them: a lock is held for some 20 ns.
const SHARDS: usize = 8;
/// Keys that share one place; one cache line holds four.
const WAYS: usize = 8;

/// The counters of one route.
///
/// Memory grows with the callers and never beyond the bound. At the bound, a new key takes the place of the one (of the
/// eight it shares a place with) whose budget is nearest to being whole: an innocent caller is never refused because the
/// table is full, and the one forgotten gains the least. A flood of more keys than that is a matter for limits by route.
#[derive(Debug)]
pub struct RateLimiter {
    rate: Rate,
    /// Nanoseconds in which one request comes back; rounded up, so that the rate is never exceeded.
    interval: u64,
    /// How far ahead of now a key's instant may lie for a request to be allowed still, in nanoseconds.
    tolerance: u64,
    epoch: Instant,
    secret: RandomState,
    shards: [Mutex<Shard>; SHARDS],
    /// Most places of one shard, a power of two.
    max_places: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// Requests that would be allowed at this very instant after this one.
    pub remaining: u32,
    /// When the whole budget would be back, were there no other until then.
    pub whole_after: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited {
    /// When the next request would be allowed, were there no other until then. For `Retry-After`, round it up.
    pub retry_after: Duration,
}

impl RateLimiter {
    /// `rate.requests` and `rate.per` are at least 1 (config sees to it; 0 counts as 1). `keys`: see [`MAX_KEYS`];
    /// rounded up to a power of two, at least 64.
    pub fn new(rate: Rate, keys: usize) -> RateLimiter {
        let (interval, tolerance) = gcra(rate);
        RateLimiter {
            rate,
            interval,
            tolerance,
            epoch: Instant::now(),
            secret: RandomState::new(),
            shards: Default::default(),
            max_places: keys.div_ceil(SHARDS * WAYS).next_power_of_two(),
        }
    }

    /// What it was made for: a reload keeps the limiter when this stays the same.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// The key of a caller's name, such as `(iss, sub)`; of the whole route, `()`.
    pub fn key(&self, of: impl Hash) -> u64 {
        self.secret.hash_one(of)
    }

    /// The key of a caller's address. Whoever has an IPv6 address has its /64, which therefore counts as one.
    pub fn key_for_address(&self, address: IpAddr) -> u64 {
        match address.to_canonical() {
            IpAddr::V4(address) => self.key(address.octets()),
            IpAddr::V6(address) => self.key(address.to_bits() >> 64),
        }
    }

    /// Counts one request of `key` at `now`, unless it is one too many. Costs one short lock and no system call; it
    /// allocates only when the table grows.
    pub fn check(&self, key: u64, now: Instant) -> Result<Allowed, Limited> {
        // Two clocks read apart by two workers may be out of order: nanoseconds, to the caller's good or bad alike.
        let now = self.instant(now);
        let mut shard = self.shard(key);
        let entry = shard.entry(key / SHARDS as u64, now, self.max_places);
        let whole_at = entry.whole_at.max(now);
        let ahead = whole_at - now;
        if ahead > self.tolerance {
            return Err(Limited { retry_after: Duration::from_nanos(ahead - self.tolerance) });
        }
        entry.whole_at = whole_at.saturating_add(self.interval);
        let remaining = (self.tolerance - ahead) / self.interval;
        let whole_after = Duration::from_nanos(ahead.saturating_add(self.interval));
        Ok(Allowed { remaining: u32::try_from(remaining).unwrap_or(u32::MAX), whole_after })
    }

    /// Whether a request of `key` at `now` would be one too many; counts nothing, and remembers nobody.
    pub fn look(&self, key: u64, now: Instant) -> Result<(), Limited> {
        let now = self.instant(now);
        let ahead = self.shard(key).whole_at(key / SHARDS as u64).saturating_sub(now);
        match ahead.checked_sub(self.tolerance) {
            Some(wait @ 1..) => Err(Limited { retry_after: Duration::from_nanos(wait) }),
            _ => Ok(()),
        }
    }

    /// Never 0, which is no instant.
    fn instant(&self, now: Instant) -> u64 {
        nanoseconds(now.saturating_duration_since(self.epoch)).max(1)
    }

    fn shard(&self, key: u64) -> MutexGuard<'_, Shard> {
        let shard = &self.shards[key as usize % SHARDS];
        // A panic while the lock is held leaves at worst one count missing: no reason to refuse everybody after it.
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The interval in which one request comes back, rounded up, and how far ahead a key may be; nanoseconds.
pub fn gcra(rate: Rate) -> (u64, u64) {
    let requests = u64::from(rate.requests.max(1));
    let per = u64::try_from(rate.per.as_nanos()).unwrap_or(u64::MAX);
    let interval = per.div_ceil(requests).max(1);
    (interval, interval.saturating_mul(requests - 1))
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// One key's budget. An entry whose instant has come is the same as none.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    key: u64,
    /// When the whole budget is back, in nanoseconds since the limiter's epoch.
    whole_at: u64,
}

/// A set-associative table that doubles while a place overflows.
#[derive(Debug, Default)]
struct Shard {
    /// Empty until the first request, then a power of two.
    places: Vec<[Entry; WAYS]>,
}

impl Shard {
    /// When the whole budget of `key` is back; 0 when it is.
    fn whole_at(&self, key: u64) -> u64 {
        let Some(entries) = self.places.get(place(key, self.places.len().max(1))) else { return 0 };
        entries.iter().filter(|entry| entry.key == key).map(|entry| entry.whole_at).max().unwrap_or(0)
    }

    /// The entry of `key`, or one made for it where nothing, or as little as can be, is lost.
    fn entry(&mut self, key: u64, now: u64, max_places: usize) -> &mut Entry {
        if self.places.is_empty() {
            self.places = vec![Default::default()];
        }
        loop {
            let place = place(key, self.places.len());
            let entries = &self.places[place];
            if let Some(way) = entries.iter().position(|entry| entry.key == key && entry.whole_at > now) {
                return &mut self.places[place][way];
            }
            let way = (0..WAYS).min_by_key(|way| entries[*way].whole_at).expect("a place has ways");
            if entries[way].whole_at <= now || self.places.len() >= max_places {
                self.places[place][way] = Entry { key, whole_at: now };
                return &mut self.places[place][way];
            }
            self.double(now);
        }
    }

    /// Each place becomes two, so that none overflows; what has no further meaning is left behind.
    fn double(&mut self, now: u64) {
        let size = self.places.len() * 2;
        let mut bigger = vec![[Entry::default(); WAYS]; size];
        let mut filled = vec![0; size];
        for entry in self.places.iter().flatten().filter(|entry| entry.whole_at > now) {
            let place = place(entry.key, size);
            bigger[place][filled[place]] = *entry;
            filled[place] += 1;
        }
        self.places = bigger;
    }
}

/// Keys are uniform hashes: their low bits choose.
fn place(key: u64, places: usize) -> usize {
    key as usize & (places - 1)
}
