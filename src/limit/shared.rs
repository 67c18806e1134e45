//! Rates that all nodes count together, in Redis: one script, one round trip, GCRA by the server's own clock.
//!
//! What stands there means nothing to whoever reads it: a key is a keyed hash of route, rate and caller, under a secret that
//! the nodes share; its value is an instant, gone when the budget is back. It decides nothing for a time without Redis: its
//! caller then counts with the node's own [`RateLimiter`](super::rate::RateLimiter).

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use redis::Value;

use super::rate::{Allowed, Limited, gcra};
use crate::config::model::Rate;
use crate::store::{Missing, Script, Server, Store};

/// KEYS[1]: whose. ARGV: the interval, and the tolerance, in nanoseconds. Gives the microseconds by which the budget was used
/// before this request, or -1 less those after which the next is allowed. An instant further ahead than a whole budget comes
/// from another server's clock (a replica took over), and is brought back.
static GCRA: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local t = redis.call('TIME')\n\
         local now = t[1] * 1000000 + t[2]\n\
         local interval, tolerance = ARGV[1] / 1000, ARGV[2] / 1000\n\
         local whole = tonumber(redis.call('GET', KEYS[1]) or now) or now\n\
         local ahead = math.min(math.max(whole - now, 0), tolerance + interval)\n\
         if ahead > tolerance then\n\
           if whole - now > ahead then\n\
             redis.call('SET', KEYS[1], string.format('%.2f', now + ahead), 'PX', math.ceil(ahead / 1000))\n\
           end\n\
           return -1 - math.ceil(ahead - tolerance)\n\
         end\n\
         local used = ahead + interval\n\
         redis.call('SET', KEYS[1], string.format('%.2f', now + used), 'PX', math.ceil(used / 1000))\n\
         return math.floor(ahead)",
    )
});

/// Where all rates of a configuration are counted.
pub struct Counting {
    pub server: Arc<Server>,
    /// How long a request waits for its count.
    pub timeout: Duration,
    secret: hmac::Key,
}

impl Counting {
    /// `secret`: the same on every node, and nowhere else.
    pub fn new(server: Arc<Server>, timeout: Duration, secret: &[u8]) -> Counting {
        Counting { server, timeout, secret: hmac::Key::new(hmac::HMAC_SHA256, secret) }
    }

    /// The counter of one route. A rate that changes is another counter: it begins anew.
    pub fn counter(self: &Arc<Counting>, route: &str, rate: Rate) -> Counter {
        let mut keys = hmac::Context::with_key(&self.secret);
        let rate_text = format!("\0{}\0{}\0{:?}\0", rate.requests, rate.per.as_nanos(), rate.by);
        keys.update(route.as_bytes());
        keys.update(rate_text.as_bytes());
        let (interval, tolerance) = gcra(rate);
        let nanoseconds = |n| i64::try_from(n).unwrap_or(i64::MAX);
        Counter { shared: self.clone(), keys, arguments: [nanoseconds(interval), nanoseconds(tolerance)] }
    }
}

pub struct Counter {
    shared: Arc<Counting>,
    /// Has been told all but the caller.
    keys: hmac::Context,
    arguments: [i64; 2],
}

/// Before each key, so that a Redis that others use too shows whose these are.
const PREFIX: &[u8] = b"darvazeh:rate:";
/// Bytes of the hash that are kept: two callers in 2^64 share a key by chance.
const KEPT: usize = 16;

impl Counter {
    /// Counts one request of whom `caller` names in parts, unless it is one too many.
    pub async fn check(&self, store: &Store, caller: &[&[u8]]) -> Result<Result<Allowed, Limited>, Missing> {
        let key = self.key(caller);
        match store.run(&GCRA, &key, &self.arguments, self.shared.timeout).await? {
            Value::Int(ahead) => Ok(self.read(ahead)),
            _ => Err(Missing::Failed),
        }
    }

    fn read(&self, ahead: i64) -> Result<Allowed, Limited> {
        let [interval, tolerance] = self.arguments;
        if ahead < 0 {
            return Err(Limited { retry_after: Duration::from_micros((-1 - ahead).unsigned_abs()) });
        }
        let ahead = ahead.saturating_mul(1000).min(tolerance);
        let remaining = u32::try_from((tolerance - ahead) / interval.max(1)).unwrap_or(u32::MAX);
        let whole_after = Duration::from_nanos((ahead.saturating_add(interval)).unsigned_abs());
        Ok(Allowed { remaining, whole_after })
    }

    fn key(&self, caller: &[&[u8]]) -> [u8; PREFIX.len() + KEPT.div_ceil(3) * 4 - 2] {
        let mut context = self.keys.clone();
        for part in caller {
            // With its length: of ("ab", "c") and ("a", "bc") each has its own key.
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
        let mut key = [0; _];
        key[..PREFIX.len()].copy_from_slice(PREFIX);
        let written = URL_SAFE_NO_PAD.encode_slice(&context.sign().as_ref()[..KEPT], &mut key[PREFIX.len()..]);
        debug_assert_eq!(written, Ok(key.len() - PREFIX.len()));
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::{RateBy, RedisAddress, RedisServer};

    fn counter(secret: &[u8], requests: u32) -> Counter {
        let address = RedisAddress::Unix("/nowhere".into());
        let url = "unix:///nowhere".into();
        let model = RedisServer { url, address, database: 0, username: None, password: None, roots: None };
        let shared = Arc::new(Counting::new(Server::new(model, "").unwrap(), Duration::from_secs(1), secret));
        shared.counter("route", Rate { requests, per: Duration::from_secs(60), by: RateBy::Subject })
    }

    #[tokio::test]
    async fn a_key_says_nothing_and_is_the_same_on_every_node() {
        let key = counter(b"one", 5).key(&[b"https://sso.example", b"0012345678"]);
        assert_eq!(key, counter(b"one", 5).key(&[b"https://sso.example", b"0012345678"]));
        assert!(!String::from_utf8_lossy(&key).contains("0012345678") && key.starts_with(PREFIX));
        assert_ne!(key, counter(b"two", 5).key(&[b"https://sso.example", b"0012345678"]), "another secret");
        assert_ne!(key, counter(b"one", 6).key(&[b"https://sso.example", b"0012345678"]), "another rate");
        assert_ne!(key, counter(b"one", 5).key(&[b"https://sso.example0", b"012345678"]), "parts are kept apart");
    }

    #[tokio::test]
    async fn what_the_script_says_is_read_as_a_budget() {
        let five = counter(b"one", 5);
        let allowed = five.read(0).unwrap();
        assert_eq!((allowed.remaining, allowed.whole_after), (4, Duration::from_secs(12)));
        assert_eq!(five.read(48_000_000).unwrap().remaining, 0);
        assert_eq!(five.read(-1 - 2_000_000).unwrap_err().retry_after, Duration::from_secs(2));
    }
}
