//! What `/metrics` tells of logins. Counted where they happen, never on the way of a request with a session.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($(#[$doc:meta])* $name:ident { $($(#[$what:meta])* $outcome:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$what])* $outcome,)* }

        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$outcome,)*];

            pub const fn as_str(self) -> &'static str {
                match self { $($name::$outcome => $text,)* }
            }
        }
    };
}

counters! {
    /// How a login or step-up came out.
    LoginOutcome {
        /// A session began.
        Ok = "ok",
        /// The same without a page of the SSO's.
        Silent = "silent",
        /// A session went on at a higher level, or with a fresh login.
        SteppedUp = "stepped_up",
        TooLow = "too_low",
        /// The SSO, or the caller there, said no.
        Declined = "declined",
        /// No such attempt in this browser, or it is too old or used.
        Expired = "expired",
        /// The SSO's answer does not hold.
        Invalid = "invalid",
        SsoAway = "sso_away",
    }
}

counters! {
    LogoutKind {
        Portal = "portal",
        BackChannel = "back_channel",
        FrontChannel = "front_channel",
        /// A logout token that does not hold.
        Refused = "refused",
    }
}

counters! {
    RefreshOutcome {
        Ok = "ok",
        /// The SSO takes the refresh token no more.
        Refused = "refused",
        SsoAway = "sso_away",
    }
}

counters! {
    /// What came of a form that needed more than its session had.
    KeptForm {
        Kept = "kept",
        Sent = "sent",
        /// Too large, or too many are kept.
        NoRoom = "no_room",
        /// It was too late, or not this session's.
        Gone = "gone",
    }
}

#[derive(Debug, Default)]
pub struct Stats {
    logins: [AtomicU64; LoginOutcome::ALL.len()],
    logouts: [AtomicU64; LogoutKind::ALL.len()],
    refreshes: [AtomicU64; RefreshOutcome::ALL.len()],
    forms: [AtomicU64; KeptForm::ALL.len()],
}

impl Stats {
    pub fn login(&self, outcome: LoginOutcome) {
        self.logins[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn logout(&self, kind: LogoutKind) {
        self.logouts[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn refresh(&self, outcome: RefreshOutcome) {
        self.refreshes[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn form(&self, what: KeptForm) {
        self.forms[what as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn logins(&self, outcome: LoginOutcome) -> u64 {
        self.logins[outcome as usize].load(Ordering::Relaxed)
    }

    pub fn logouts(&self, kind: LogoutKind) -> u64 {
        self.logouts[kind as usize].load(Ordering::Relaxed)
    }

    pub fn refreshes(&self, outcome: RefreshOutcome) -> u64 {
        self.refreshes[outcome as usize].load(Ordering::Relaxed)
    }

    pub fn forms(&self, what: KeptForm) -> u64 {
        self.forms[what as usize].load(Ordering::Relaxed)
    }
}
