//! A request made ready for one agency. Takes a [`Permit`]: there is no other way to a [`Prepared`].

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::header;

use super::deadline::Limits;
use super::failure::Failure;
use super::headers;
use super::upgrade::Wish;
use crate::auth::Permit;
use crate::auth::assertion::Signer;
use crate::balance::AgencyLive;
use crate::clock::UnixTime;
use crate::config::model::Timeouts;
use crate::fields::Fields;
use crate::http1::client::Outgoing;
use crate::intake::Arrived;
use crate::words::ConnInfo;

/// What a route changes on the way.
#[derive(Clone, Debug)]
pub struct Way {
    pub strip_prefix: Option<Bytes>,
    pub add_prefix: Option<Bytes>,
    pub timeouts: Timeouts,
    pub retry: bool,
}

pub struct Prepared {
    pub(super) outgoing: Outgoing,
    pub(super) wish: Wish,
    pub(super) timeouts: Timeouts,
    pub(super) retry: bool,
    /// What the agency is told of its time.
    pub(super) limits: Limits,
    /// For `hash_subject`.
    pub(super) subject: Option<u64>,
    /// The answer belongs to a caller who proved who they are.
    pub(super) authenticated: bool,
}

impl Prepared {
    /// What the agency would be sent: for `explain`.
    pub fn outgoing(&self) -> &Outgoing {
        &self.outgoing
    }

    /// The fields, for the answer's dress: what it is chosen by (`Accept` and the like) is end to end.
    pub fn into_headers(self) -> Fields {
        self.outgoing.headers
    }
}

/// Consumes the arrived request's fields. Errors: a loop, or an upgrade that cannot be passed on.
pub fn prepare(
    arrived: &mut Arrived,
    permit: &Permit,
    conn: &ConnInfo,
    agency: &AgencyLive,
    way: &Way,
    signer: &Signer,
    now: impl FnOnce() -> UnixTime,
) -> Result<Prepared, Failure> {
    let mut headers = std::mem::take(&mut arrived.headers);
    let wish = Wish::of(&arrived.upgrade, &headers);
    let key = if wish.is_upgrade() { headers.get(header::SEC_WEBSOCKET_KEY).cloned() } else { None };
    let added = headers::to_agency(&mut headers, arrived, conn, permit, agency, signer, now)?;
    let wish = wish.prepare(&mut headers, key)?;
    let limits = Limits::of(way.timeouts.request, &headers);
    limits.tell(&mut headers, Duration::ZERO);
    let outgoing = Outgoing {
        method: arrived.method.clone(),
        target: target(&arrived.path, arrived.query.as_ref(), way),
        headers,
        added,
        upgrade: wish.is_upgrade(),
    };
    Ok(Prepared {
        outgoing,
        wish,
        timeouts: way.timeouts,
        retry: way.retry,
        limits,
        subject: permit.token().map(|token| token.subject_key),
        authenticated: permit.token().is_some(),
    })
}

/// The canonical path, rewritten, with the query as it came.
fn target(path: &Bytes, query: Option<&Bytes>, way: &Way) -> Bytes {
    let rest = match &way.strip_prefix {
        Some(prefix) if path.starts_with(prefix) && matches!(path.get(prefix.len()), None | Some(b'/')) => {
            path.slice(prefix.len()..)
        }
        _ => path.clone(),
    };
    if way.add_prefix.is_none() && query.is_none() && !rest.is_empty() {
        return rest;
    }
    let add = way.add_prefix.as_deref().unwrap_or_default();
    let mut target = BytesMut::with_capacity(add.len() + rest.len() + 2 + query.map_or(0, |q| q.len()));
    target.put_slice(add);
    target.put_slice(&rest);
    if target.is_empty() {
        target.put_u8(b'/');
    }
    if let Some(query) = query {
        target.put_u8(b'?');
        target.put_slice(query);
    }
    target.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::defaults::TIMEOUTS;

    fn rewritten(path: &'static str, query: Option<&'static str>, strip: &'static str, add: &'static str) -> String {
        let part = |text: &'static str| (!text.is_empty()).then(|| Bytes::from_static(text.as_bytes()));
        let way = Way { strip_prefix: part(strip), add_prefix: part(add), timeouts: TIMEOUTS, retry: true };
        let query = query.map(|q| Bytes::from_static(q.as_bytes()));
        String::from_utf8(target(&Bytes::from_static(path.as_bytes()), query.as_ref(), &way).to_vec()).unwrap()
    }

    #[test]
    fn a_prefix_is_stripped_at_a_segments_end_only() {
        assert_eq!(rewritten("/insurance/x", None, "/insurance", ""), "/x");
        assert_eq!(rewritten("/insurance", None, "/insurance", ""), "/");
        assert_eq!(rewritten("/insurance/", None, "/insurance", ""), "/");
        assert_eq!(rewritten("/insurances", None, "/insurance", ""), "/insurances");
    }

    #[test]
    fn a_prefix_is_added_and_the_query_kept() {
        assert_eq!(rewritten("/a", Some("q=1&%20"), "", "/v2"), "/v2/a?q=1&%20");
        assert_eq!(rewritten("/a", Some(""), "/a", "/v2"), "/v2?");
        assert_eq!(rewritten("/a", None, "/a", ""), "/");
    }
}
