//! The fields of both directions: what belongs to one hop goes, what an agency must know is added (HP, FW, TC; RFC 9110 §7.6).
//!
//! Stripping comes before adding: a caller who names one of our own fields in `Connection` removes nothing of ours (HP-1).

mod from_agency;
mod identity;
mod kept;
mod to_agency;

use std::collections::HashSet;

use http::header::{self, HeaderName};

pub use self::from_agency::{clean_bodiless, from_agency, is_event_stream};
pub use self::identity::{Told, identity};
pub use self::to_agency::to_agency;
use super::present::Present;
use crate::fields::Fields;
use crate::message::list_items;

/// How this deployment is called in `Via`, `Forwarded` and `Proxy-Status`: a pseudonym, no host name (HP-2).
pub const PSEUDONYM: &str = "darvazeh";
/// Cookies with this prefix are the gateway's: an agency can neither set nor read them.
pub const OWN_COOKIES: &[u8] = b"__Host-darvazeh";

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Fields of one hop, whatever `Connection` says (HP-1). Framing is written anew by each hop. [`Present::HOP`] is all of them.
static HOP: [(Present, HeaderName); 9] = [
    (Present::CONNECTION, header::CONNECTION),
    (Present::KEEP_ALIVE, KEEP_ALIVE),
    (Present::PROXY_CONNECTION, PROXY_CONNECTION),
    (Present::TE, header::TE),
    (Present::TRANSFER_ENCODING, header::TRANSFER_ENCODING),
    (Present::UPGRADE, header::UPGRADE),
    (Present::PROXY_AUTHORIZATION, header::PROXY_AUTHORIZATION),
    (Present::PROXY_AUTHENTICATE, header::PROXY_AUTHENTICATE),
    (Present::TRAILER, header::TRAILER),
];

/// `spared`: what `Connection` cannot take away.
fn strip_hop(headers: &mut Fields, present: Present, spared: Option<HeaderName>) {
    if present.has(Present::CONNECTION) {
        // The usual options name what goes in any case.
        let others = |option: &&[u8]| {
            let usual = [&b"keep-alive"[..], b"upgrade"];
            !usual.iter().any(|usual| option.eq_ignore_ascii_case(usual))
        };
        let named: HashSet<HeaderName> = headers
            .get_all(header::CONNECTION)
            .flat_map(|value| list_items(value.as_bytes()).filter(others))
            .filter_map(|option| HeaderName::from_bytes(option).ok())
            .filter(|name| Some(name) != spared.as_ref())
            .collect();
        headers.retain(|name, _| !named.contains(name));
    }
    remove(headers, present, &HOP);
}

fn remove(headers: &mut Fields, present: Present, names: &'static [(Present, HeaderName)]) {
    for (kind, name) in names {
        if present.has(*kind) {
            headers.remove(name);
        }
    }
}

fn is_own_cookie(cookie: &[u8]) -> bool {
    cookie.get(..OWN_COOKIES.len()).is_some_and(|start| start.eq_ignore_ascii_case(OWN_COOKIES))
}

#[cfg(test)]
mod tests;
