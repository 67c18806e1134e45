//! What counts once: the state of a login attempt, the `jti` of a logout token. Bounded in number and time.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use crate::clock::UnixTime;

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
    /// True the first time, until `until`. Beyond the bound the oldest is forgotten, so that a crowd keeps nobody out: a
    /// code counts once for the SSO too, and its cookie is gone from the browser.
    pub fn first(&self, name: &str, until: UnixTime, now: UnixTime) -> bool {
        self.first_of(MAX, name, until, now)
    }

    fn first_of(&self, max: usize, name: &str, until: UnixTime, now: UnixTime) -> bool {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, name.as_bytes());
        let mut key = [0; 16];
        key.copy_from_slice(&digest.as_ref()[..16]);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_counts_once_in_its_time() {
        let once = Once::default();
        assert!(once.first("a", 100, 0));
        assert!(!once.first("a", 100, 99));
        assert!(once.first("b", 100, 99));
        assert!(once.first("a", 300, 200) && !once.first("a", 300, 200));
    }

    /// Anybody can begin logins and give them up: that must neither keep others out nor fill the memory.
    #[test]
    fn a_crowd_keeps_nobody_out_and_takes_bounded_room() {
        let once = Once::default();
        for n in 0..1000 {
            assert!(once.first_of(10, &n.to_string(), 600, 0), "{n}");
            assert!(!once.first_of(10, &n.to_string(), 600, 0), "{n}, just now");
        }
        let seen = once.0.lock().unwrap();
        assert_eq!((seen.until.len(), seen.order.len()), (10, 10));
    }
}
