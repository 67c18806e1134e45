//! What counts once: the state of a login attempt, the `jti` of a logout token. Bounded in number and time.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::clock::UnixTime;

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
    /// True the first time, until `until`. What could not be remembered is refused: there is no second look at it.
    pub fn first(&self, kind: &str, name: &str, until: UnixTime, now: UnixTime) -> bool {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, format!("{kind}\0{name}").as_bytes());
        let mut key = [0; 16];
        key.copy_from_slice(&digest.as_ref()[..16]);
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

    #[test]
    fn a_name_counts_once_in_its_time_and_kind() {
        let once = Once::default();
        assert!(once.first("state", "a", 100, 0));
        assert!(!once.first("state", "a", 100, 99));
        assert!(once.first("jti", "a", 100, 99));
        assert!(once.first("state", "a", 300, 200));
    }
}
