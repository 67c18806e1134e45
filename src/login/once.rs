//! What counts once: the state of a login attempt, the `jti` of a logout token. Bounded in number and time.
//!
//! Once in a fleet that shares a Redis, and at least once on each node: while the Redis is away a node goes by what it saw.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::clock::UnixTime;
use crate::session::Hub;

/// At 500 logins a second, more than two minutes of them; the oldest go first.
const MAX: usize = 65_536;

#[derive(Default)]
pub struct Once(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    until: HashMap<[u8; 16], UnixTime>,
    /// When it was last cleared of what is over.
    swept: UnixTime,
}

impl Once {
    /// True the first time, until `until`, on any node. What could not be remembered is refused: there is no second look at
    /// it.
    pub async fn first(&self, hub: Option<&Hub>, kind: &str, name: &str, until: UnixTime, now: UnixTime) -> bool {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, format!("{kind}\0{name}").as_bytes());
        let mut key = [0; 16];
        key.copy_from_slice(&digest.as_ref()[..16]);
        if !self.first_here(key, until, now) {
            return false;
        }
        match hub {
            Some(hub) => hub.is_first(&URL_SAFE_NO_PAD.encode(key), until.saturating_sub(now)).await.unwrap_or(true),
            None => true,
        }
    }

    fn first_here(&self, key: [u8; 16], until: UnixTime, now: UnixTime) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.until.len() >= MAX || now.saturating_sub(seen.swept) > 60 {
            seen.until.retain(|_, until| *until > now);
            seen.swept = now;
        }
        if seen.until.len() >= MAX || seen.until.get(&key).is_some_and(|until| *until > now) {
            return false;
        }
        seen.until.insert(key, until);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_counts_once_in_its_time_and_kind() {
        let once = Once::default();
        assert!(once.first(None, "state", "a", 100, 0).await);
        assert!(!once.first(None, "state", "a", 100, 99).await);
        assert!(once.first(None, "jti", "a", 100, 99).await);
        assert!(once.first(None, "state", "a", 300, 200).await);
    }
}
