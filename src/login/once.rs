//! What counts once: the state of a login attempt, the `jti` of a logout token. Bounded in number and time.
//!
//! Once in a fleet that shares a Redis, and at least once on each node: while the Redis is away a node goes by what it saw.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::clock::UnixTime;
use crate::session::Hub;

/// Some 20 MB when full. At 400 logins a second it holds all of the ten minutes that a login may take.
const MAX: usize = 1 << 18;

#[derive(Default)]
pub struct Once(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    until: HashMap<[u8; 16], UnixTime>,
    /// The oldest first.
    order: VecDeque<([u8; 16], UnixTime)>,
}

impl Once {
    /// True the first time, until `until`, on any node. Beyond the bound the oldest is forgotten, so that a crowd keeps nobody
    /// out: a code counts once for the SSO too, and its cookie is gone from the browser.
    pub async fn first(&self, hub: Option<&Hub>, kind: &str, name: &str, until: UnixTime, now: UnixTime) -> bool {
        let key = key(kind, name);
        if !self.first_here(key, MAX, until, now) {
            return false;
        }
        match hub {
            Some(hub) => hub.is_first(&URL_SAFE_NO_PAD.encode(key), until.saturating_sub(now)).await.unwrap_or(true),
            None => true,
        }
    }

    /// It did not count after all.
    pub async fn forget(&self, hub: Option<&Hub>, kind: &str, name: &str) {
        let key = key(kind, name);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).until.remove(&key);
        if let Some(hub) = hub {
            hub.forget(&URL_SAFE_NO_PAD.encode(key)).await;
        }
    }

    fn first_here(&self, key: [u8; 16], max: usize, until: UnixTime, now: UnixTime) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.until.get(&key).is_some_and(|until| *until > now) {
            return false;
        }
        while let Some((oldest, until)) =
            seen.order.front().copied().filter(|(_, u)| *u <= now || seen.order.len() >= max)
        {
            seen.order.pop_front();
            // It may have come again since.
            if seen.until.get(&oldest) == Some(&until) {
                seen.until.remove(&oldest);
            }
        }
        seen.until.insert(key, until);
        seen.order.push_back((key, until));
        true
    }
}

fn key(kind: &str, name: &str) -> [u8; 16] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, format!("{kind}\0{name}").as_bytes());
    let mut key = [0; 16];
    key.copy_from_slice(&digest.as_ref()[..16]);
    key
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
        assert!(!once.first(None, "state", "a", 300, 200).await);
        once.forget(None, "state", "a").await;
        assert!(once.first(None, "state", "a", 300, 200).await && !once.first(None, "state", "a", 300, 200).await);
    }

    /// Anybody can begin logins and give them up: that must neither keep others out nor fill the memory.
    #[test]
    fn a_crowd_keeps_nobody_out_and_takes_bounded_room() {
        let once = Once::default();
        for n in 0_u128..1000 {
            assert!(once.first_here(n.to_be_bytes(), 10, 600, 0), "{n}");
            assert!(!once.first_here(n.to_be_bytes(), 10, 600, 0), "{n}, just now");
        }
        let seen = once.0.lock().unwrap();
        assert_eq!((seen.until.len(), seen.order.len()), (10, 10));
    }
}
