//! One difference, as a consequence for somebody: what kind, whether it asks less or more, and of whom.
//!
//! The kinds are a closed set, listed in `docs/diff.md`: tools match on them. Made by the comparing files beside this one,
//! written by `write`.

use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::config::model::Position;

/// Whether less is asked than before, or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Weaker,
    Stronger,
    Neutral,
}

macro_rules! kinds {
    ($($name:ident = $text:literal,)*) => {
        /// What differs. The texts are stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Kind { $($name,)* }

        impl Kind {
            #[cfg(test)]
            pub const ALL: &'static [Kind] = &[$(Kind::$name,)*];

            pub const fn as_str(self) -> &'static str {
                match self { $(Kind::$name => $text,)* }
            }
        }
    };
}

kinds! {
    RouteAdded = "route_added",
    RouteRemoved = "route_removed",
    RouteRenamed = "route_renamed",
    RouteMoved = "route_moved",
    PathsTakenOver = "paths_taken_over",
    OverlapUnexamined = "overlap_unexamined",
    HostAdded = "host_added",
    HostRemoved = "host_removed",
    MethodAdded = "method_added",
    MethodRemoved = "method_removed",
    PathChanged = "path_changed",
    ListenerOpened = "listener_opened",
    ListenerClosed = "listener_closed",
    RewriteChanged = "rewrite_changed",
    LevelLowered = "level_lowered",
    LevelRaised = "level_raised",
    ScopeRemoved = "scope_removed",
    ScopeAdded = "scope_added",
    MaxAgeRaised = "max_age_raised",
    MaxAgeLowered = "max_age_lowered",
    IssuerChanged = "issuer_changed",
    WayInOpened = "way_in_opened",
    WayInClosed = "way_in_closed",
    RateLoosened = "rate_loosened",
    RateTightened = "rate_tightened",
    BodyLimitRaised = "body_limit_raised",
    BodyLimitLowered = "body_limit_lowered",
    TimeoutChanged = "timeout_changed",
    RetryChanged = "retry_changed",
    PriorityChanged = "priority_changed",
    CorsOpened = "cors_opened",
    CorsClosed = "cors_closed",
    CorsChanged = "cors_changed",
    IdentityReleased = "identity_released",
    IdentityWithheld = "identity_withheld",
    ClientAdded = "client_added",
    ClientRemoved = "client_removed",
    ClientChanged = "client_changed",
    ClaimReleased = "claim_released",
    ClaimWithheld = "claim_withheld",
    IssuerAdded = "issuer_added",
    IssuerRemoved = "issuer_removed",
    IssuerRenamed = "issuer_renamed",
    AudienceAdded = "audience_added",
    AudienceRemoved = "audience_removed",
    AlgorithmAdded = "algorithm_added",
    AlgorithmRemoved = "algorithm_removed",
    TokenTypeAdded = "token_type_added",
    TokenTypeRemoved = "token_type_removed",
    ClockSkewRaised = "clock_skew_raised",
    ClockSkewLowered = "clock_skew_lowered",
    MaxLevelRaised = "max_level_raised",
    MaxLevelLowered = "max_level_lowered",
    LevelClaimChanged = "level_claim_changed",
    LevelValueRaised = "level_value_raised",
    LevelValueLowered = "level_value_lowered",
    KeysSourceChanged = "keys_source_changed",
    KeysChanged = "keys_changed",
    KeysScheduleChanged = "keys_schedule_changed",
    TrustWidened = "trust_widened",
    TrustNarrowed = "trust_narrowed",
    AgencyAdded = "agency_added",
    AgencyRemoved = "agency_removed",
    AgencyDescribed = "agency_described",
    AskerAdded = "asker_added",
    AskerRemoved = "asker_removed",
    AskerNamesChanged = "asker_names_changed",
    ForwardingEnded = "forwarding_ended",
    ForwardingBegun = "forwarding_begun",
    EndpointAdded = "endpoint_added",
    EndpointRemoved = "endpoint_removed",
    EndpointWeight = "endpoint_weight",
    EndpointZone = "endpoint_zone",
    EncryptionDropped = "encryption_dropped",
    EncryptionAdded = "encryption_added",
    UpstreamTlsChanged = "upstream_tls_changed",
    HealthChanged = "health_changed",
    OutlierChanged = "outlier_changed",
    BalanceChanged = "balance_changed",
    HedgeChanged = "hedge_changed",
    AgencyLimitsChanged = "agency_limits_changed",
    ListenerAdded = "listener_added",
    ListenerRemoved = "listener_removed",
    ListenerRenamed = "listener_renamed",
    ListenerMoved = "listener_moved",
    MinVersionLowered = "min_version_lowered",
    MinVersionRaised = "min_version_raised",
    ClientAuthLowered = "client_auth_lowered",
    ClientAuthRaised = "client_auth_raised",
    CertificateAdded = "certificate_added",
    CertificateRemoved = "certificate_removed",
    CertificateChanged = "certificate_changed",
    TrustedProxyAdded = "trusted_proxy_added",
    TrustedProxyRemoved = "trusted_proxy_removed",
    LimitRaised = "limit_raised",
    LimitLowered = "limit_lowered",
    AdminExposed = "admin_exposed",
    AdminChanged = "admin_changed",
    AccessLogChanged = "access_log_changed",
    WorkersChanged = "workers_changed",
    ZoneChanged = "zone_changed",
    StateDirChanged = "state_dir_changed",
    WatchChanged = "watch_changed",
    DrainChanged = "drain_changed",
    ContactChanged = "contact_changed",
    AssertionChanged = "assertion_changed",
    SessionsLonger = "sessions_longer",
    SessionsShorter = "sessions_shorter",
    SessionsChanged = "sessions_changed",
    OverloadChanged = "overload_changed",
    SharedRatesChanged = "shared_rates_changed",
    ExpectationAdded = "expectation_added",
    ExpectationRemoved = "expectation_removed",
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

/// One difference. `what` of the JSON is `about: phrase`.
#[derive(Clone, Debug)]
pub struct Change {
    pub kind: Kind,
    pub severity: Severity,
    /// Callers who got through before are refused now.
    pub refuses: bool,
    /// Whom or what it is about: "route `city-news`".
    pub about: String,
    /// What happens: "level 2 becomes 1". Never holds a name that differs from route to route, so that alike can be told.
    pub phrase: String,
    pub route: Option<Arc<str>>,
    pub agency: Option<Arc<str>>,
    pub from: Option<String>,
    pub to: Option<String>,
    /// In the new file; in the old one for what is gone.
    pub at: Option<Position>,
}

impl Change {
    /// Less is asked than before.
    pub fn weaker(kind: Kind, phrase: impl Into<String>) -> Change {
        Change::new(kind, Severity::Weaker, false, phrase.into())
    }

    /// More is asked than before, and nobody who comes the usual way notices.
    pub fn stronger(kind: Kind, phrase: impl Into<String>) -> Change {
        Change::new(kind, Severity::Stronger, false, phrase.into())
    }

    /// More is asked than before, so that some callers are refused now.
    pub fn refusing(kind: Kind, phrase: impl Into<String>) -> Change {
        Change::new(kind, Severity::Stronger, true, phrase.into())
    }

    pub fn neutral(kind: Kind, phrase: impl Into<String>) -> Change {
        Change::new(kind, Severity::Neutral, false, phrase.into())
    }

    fn new(kind: Kind, severity: Severity, refuses: bool, phrase: String) -> Change {
        let (route, agency, from, to, at) = (None, None, None, None, None);
        Change { kind, severity, refuses, about: String::new(), phrase, route, agency, from, to, at }
    }

    pub fn from(mut self, text: impl Into<String>) -> Change {
        self.from = Some(text.into());
        self
    }

    pub fn to(mut self, text: impl Into<String>) -> Change {
        self.to = Some(text.into());
        self
    }

    pub fn about(mut self, about: impl Into<String>) -> Change {
        self.about = about.into();
        self
    }

    pub fn on(mut self, route: &Arc<str>, agency: &Arc<str>) -> Change {
        self.route = Some(route.clone());
        self.of(agency)
    }

    pub fn of(mut self, agency: &Arc<str>) -> Change {
        self.agency = Some(agency.clone());
        self
    }

    pub fn at(mut self, at: &Position) -> Change {
        self.at = Some(at.clone());
        self
    }

    pub fn what(&self) -> String {
        format!("{}: {}", self.about, self.phrase)
    }
}

/// The members that the contract names (section 5, "JSON").
impl Serialize for Change {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Written<'c> {
            kind: Kind,
            severity: Severity,
            what: String,
            route: Option<&'c str>,
            agency: Option<&'c str>,
            from: Option<&'c str>,
            to: Option<&'c str>,
        }
        let Change { kind, severity, route, agency, from, to: new, .. } = self;
        let (route, agency) = (route.as_deref(), agency.as_deref());
        let (from, new) = (from.as_deref(), new.as_deref());
        Written { kind: *kind, severity: *severity, what: self.what(), route, agency, from, to: new }.serialize(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_documented() {
        let documented = include_str!("../../../docs/diff.md");
        for kind in Kind::ALL {
            let text = kind.as_str();
            assert!(documented.contains(&format!("`{text}`")), "docs/diff.md does not tell of `{text}`");
        }
    }
}
