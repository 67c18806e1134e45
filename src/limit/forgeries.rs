//! Tokens with a wrong signature, by the address that sends them: a flood of them meets this limit, and not a public-key
//! operation for each.
//!
//! Only what was verified in vain counts: nobody pays for good tokens, however many share an address. Beyond the limit, tokens
//! of the address that were never proved are put off; those that any worker has proved are verified again, and so is everything
//! on a connection that has shown a good token and never a forged one, such as an office's browsers had before somebody beside
//! them began. Asked by `auth::admit`, and only where a signature is due.

use std::cell::Cell;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::rate::{Limited, MAX_KEYS, RateLimiter};
use crate::config::model::{Rate, RateBy};

/// What the limit is counted in.
const PER: Duration = Duration::from_secs(60);

/// Proved tokens that are remembered, a power of two: as many as a worker's cache holds.
const PROVED: usize = 32 * 1024;

/// The forged tokens of one listener's callers: 4 MiB at most, and a quarter of one for what was proved. Shared by its workers.
pub struct Forgeries {
    limiter: RateLimiter,
    /// Keyed hashes of tokens that were proved, each in the place that its low bits choose: a worker learns of what another
    /// has in its cache. A forged token cannot be made to have the hash of a good one.
    proved: Box<[AtomicU64]>,
}

/// What a connection has shown of its callers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    #[default]
    Unknown,
    /// A good token, and none that was forged.
    Good,
    /// A forged token. It is never good again: whoever has one good token could else have any number of others verified.
    Lost,
}

/// Who sends a token.
#[derive(Clone, Copy)]
pub struct Sender<'a> {
    pub forgeries: &'a Forgeries,
    pub address: IpAddr,
    /// Of the connection.
    pub standing: &'a Cell<Standing>,
}

impl Forgeries {
    /// `per_minute`: of one address.
    pub fn new(per_minute: u32) -> Forgeries {
        let rate = Rate { requests: per_minute, per: PER, by: RateBy::Address };
        let proved = (0..PROVED).map(|_| AtomicU64::new(0)).collect();
        Forgeries { limiter: RateLimiter::new(rate, MAX_KEYS), proved }
    }

    pub fn per_minute(&self) -> u32 {
        self.limiter.rate().requests
    }

    fn place(&self, token: u64) -> &AtomicU64 {
        &self.proved[token as usize & (PROVED - 1)]
    }
}

impl Sender<'_> {
    /// Whether the signature of `token`, a keyed hash, may be verified. Errors: when it may be.
    pub fn may_try(&self, token: u64) -> Result<(), Limited> {
        if self.standing.get() == Standing::Good {
            return Ok(());
        }
        let limited = self.forgeries.limiter.look(self.key(), Instant::now());
        limited.or_else(|limited| match self.forgeries.place(token).load(Ordering::Relaxed) == token {
            true => Ok(()),
            false => Err(limited),
        })
    }

    /// A signature was good.
    pub fn proved(&self, token: u64) {
        self.forgeries.place(token).store(token, Ordering::Relaxed);
    }

    /// A good token was brought, seen before or not.
    pub fn sent_good(&self) {
        if self.standing.get() == Standing::Unknown {
            self.standing.set(Standing::Good);
        }
    }

    pub fn sent_forged(&self) {
        self.standing.set(Standing::Lost);
        // Beyond the limit there is nothing more to count.
        let _ = self.forgeries.limiter.check(self.key(), Instant::now());
    }

    fn key(&self) -> u64 {
        self.forgeries.limiter.key_for_address(self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender<'a>(forgeries: &'a Forgeries, address: &str, standing: &'a Cell<Standing>) -> Sender<'a> {
        Sender { forgeries, address: address.parse().unwrap(), standing }
    }

    #[test]
    fn only_forged_tokens_count_and_only_against_their_address() {
        let forgeries = Forgeries::new(3);
        let (unknown, other) = (Cell::default(), Cell::default());
        let flood = sender(&forgeries, "192.0.2.1", &unknown);
        (0..100).for_each(|_| assert!(flood.may_try(7).is_ok(), "asking counts nothing"));
        (0..3).for_each(|_| flood.sent_forged());
        let wait = flood.may_try(7).unwrap_err().retry_after;
        assert!(!wait.is_zero() && wait <= PER / 3, "{wait:?}");
        assert!(sender(&forgeries, "192.0.2.2", &other).may_try(7).is_ok());
        assert!(sender(&forgeries, "::ffff:192.0.2.1", &other).may_try(7).is_err(), "the same, written otherwise");
    }

    #[test]
    fn what_was_proved_once_is_looked_at_again() {
        let forgeries = Forgeries::new(1);
        let (flood, office) = (Cell::default(), Cell::default());
        sender(&forgeries, "192.0.2.1", &flood).sent_forged();
        let beside = sender(&forgeries, "192.0.2.1", &office);
        beside.proved(7);
        assert!(beside.may_try(7).is_ok());
        assert!(beside.may_try(7 + PROVED as u64).is_err(), "another in the same place");
    }

    #[test]
    fn an_ipv6_network_is_one_sender() {
        let forgeries = Forgeries::new(1);
        let standing = Cell::default();
        sender(&forgeries, "2001:db8::1", &standing).sent_forged();
        assert!(sender(&forgeries, "2001:db8::2", &standing).may_try(7).is_err());
        assert!(sender(&forgeries, "2001:db8:0:1::1", &standing).may_try(7).is_ok());
    }

    #[test]
    fn a_connection_in_good_standing_is_not_put_off_and_loses_it_once() {
        let forgeries = Forgeries::new(1);
        let (flood, office) = (Cell::default(), Cell::default());
        sender(&forgeries, "192.0.2.1", &flood).sent_forged();
        let beside = sender(&forgeries, "192.0.2.1", &office);
        assert!(beside.may_try(7).is_err(), "it has shown nothing yet");
        beside.sent_good();
        assert!(beside.may_try(7).is_ok());
        beside.sent_forged();
        beside.sent_good();
        assert!(beside.may_try(7).is_err(), "a good token does not buy it back");
    }
}
