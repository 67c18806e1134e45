//! What `/metrics` tells of logins, logouts, refreshes and kept forms.

use prometheus::proto::{MetricFamily, MetricType};

use super::family::{counter, family};
use crate::login::stats::{KeptForm, LoginOutcome, LogoutKind, RefreshOutcome, Stats};

pub(super) fn families(stats: &Stats) -> Vec<MetricFamily> {
    let mut logins = family("logins_total", MetricType::COUNTER, "Logins and step-ups that came to an end.");
    for outcome in LoginOutcome::ALL {
        logins.mut_metric().push(counter(&[("outcome", outcome.as_str())], stats.logins(*outcome)));
    }
    let mut logouts = family("logouts_total", MetricType::COUNTER, "Logouts, and logout tokens that were refused.");
    for kind in LogoutKind::ALL {
        logouts.mut_metric().push(counter(&[("kind", kind.as_str())], stats.logouts(*kind)));
    }
    let mut refreshes =
        family("session_refreshes_total", MetricType::COUNTER, "New access tokens asked for, for sessions.");
    for outcome in RefreshOutcome::ALL {
        refreshes.mut_metric().push(counter(&[("outcome", outcome.as_str())], stats.refreshes(*outcome)));
    }
    let mut forms = family("kept_forms_total", MetricType::COUNTER, "Forms that waited for a step-up.");
    for what in KeptForm::ALL {
        forms.mut_metric().push(counter(&[("outcome", what.as_str())], stats.forms(*what)));
    }
    vec![logins, logouts, refreshes, forms]
}
