//! CA bundles compared: who may vouch for a certificate. Asked for listeners, agencies and issuers alike.

use rustls::RootCertStore;

use super::change::{Change, Kind};

/// `None`: the system's, which is taken for wider than any bundle.
pub fn roots(of: &str, old: Option<&RootCertStore>, new: Option<&RootCertStore>) -> Vec<Change> {
    let (before, after) = match (old, new) {
        (None, None) => return Vec::new(),
        (Some(_), None) => {
            let phrase = format!("any CA of the system vouches for {of}, instead of a bundle");
            return vec![Change::weaker(Kind::TrustWidened, phrase).from("bundle").to("system")];
        }
        (None, Some(_)) => {
            let phrase = format!("a bundle vouches for {of}, instead of any CA of the system");
            return vec![Change::refusing(Kind::TrustNarrowed, phrase).from("system").to("bundle")];
        }
        (Some(before), Some(after)) => (&before.roots, &after.roots),
    };
    let added = after.iter().filter(|ca| !before.contains(ca)).count();
    let removed = before.iter().filter(|ca| !after.contains(ca)).count();
    let mut changes = Vec::new();
    let (from, to) = (cas(before.len()), cas(after.len()));
    if added > 0 {
        let phrase = format!("{} more vouch for {of}", cas(added));
        changes.push(Change::weaker(Kind::TrustWidened, phrase).from(&*from).to(&*to));
    }
    if removed > 0 {
        let phrase = format!("{} no longer vouch for {of}", cas(removed));
        changes.push(Change::refusing(Kind::TrustNarrowed, phrase).from(from).to(to));
    }
    changes
}

fn cas(count: usize) -> String {
    format!("{count} CA{}", if count == 1 { "" } else { "s" })
}
