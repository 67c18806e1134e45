//! What `/metrics` tells of sessions. Counted where sessions begin and end, never on the way of a request.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The caller logged out at a portal.
    Logout,
    /// The SSO said so.
    BySso,
    /// No level stands any more.
    Expired,
    /// A login or a step-up went on under a new id.
    Replaced,
    /// The subject has too many: the oldest.
    PerSubject,
    /// The store is full: the longest idle.
    Room,
}

impl Ended {
    pub const ALL: [Ended; 6] =
        [Ended::Logout, Ended::BySso, Ended::Expired, Ended::Replaced, Ended::PerSubject, Ended::Room];

    pub const fn as_str(self) -> &'static str {
        match self {
            Ended::Logout => "logout",
            Ended::BySso => "by_sso",
            Ended::Expired => "expired",
            Ended::Replaced => "replaced",
            Ended::PerSubject => "per_subject",
            Ended::Room => "room",
        }
    }
}

#[derive(Debug, Default)]
pub struct Stats {
    created: AtomicU64,
    ended: [AtomicU64; Ended::ALL.len()],
}

impl Stats {
    pub(super) fn created(&self) {
        self.created.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn ended(&self, reason: Ended) {
        self.ended[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn sessions_created(&self) -> u64 {
        self.created.load(Ordering::Relaxed)
    }

    pub fn sessions_ended(&self, reason: Ended) -> u64 {
        self.ended[reason as usize].load(Ordering::Relaxed)
    }
}
