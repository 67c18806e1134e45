//! A request that may be looked at: its host, path, client and id are settled.

use std::borrow::Cow;
use std::net::IpAddr;

use bytes::Bytes;
use http::header;
use http::{Method, Version};
use http_body::Body as _;
use ipnet::IpNet;

use super::host::{self, Authority};
use super::{client_addr, path, spoof};
use crate::body::Body;
use crate::chance;
use crate::fields::Fields;
use crate::message::{Inbound, Interim, Target, Upgrade};
use crate::words::{Code, ConnInfo, RequestId};

#[derive(Debug)]
pub struct Arrived {
    pub method: Method,
    pub version: Version,
    pub authority: Authority,
    /// Canonical (contract section 5): judged and forwarded in this one form.
    pub path: Bytes,
    /// Without `?`. Never logged.
    pub query: Option<Bytes>,
    /// Without what only the gateway may write.
    pub headers: Fields,
    pub client: IpAddr,
    /// The peer is a trusted proxy: its forwarding headers are continued.
    pub trusted: bool,
    pub request_id: RequestId,
    pub upgrade: Upgrade,
}

/// What goes on to the agency besides the head.
pub struct Payload {
    pub body: Body,
    pub interim: Interim,
}

/// Why a request is refused before it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    Malformed(&'static str),
    UriTooLong,
    PathAmbiguous(&'static str),
    /// CONNECT and TRACE: no route can have them (HP-3).
    MethodNotAllowed,
    /// An `Expect` that is not `100-continue`.
    Expectation,
}

impl Rejected {
    pub const fn code(self) -> Code {
        match self {
            Rejected::Malformed(_) => Code::RequestMalformed,
            Rejected::UriTooLong => Code::UriTooLong,
            Rejected::PathAmbiguous(_) => Code::PathAmbiguous,
            Rejected::MethodNotAllowed => Code::MethodNotAllowed,
            Rejected::Expectation => Code::ExpectationFailed,
        }
    }
}

/// What a rejected request still says of itself: enough to dress the answer.
#[derive(Debug)]
pub struct Remains {
    pub method: Method,
    pub headers: Fields,
    pub request_id: RequestId,
    pub why: Rejected,
    /// Bytes that its body has at least.
    pub announced: u64,
}

impl Arrived {
    /// Settles a request. `uri`: the most bytes its target may have.
    pub fn parse(
        conn: &ConnInfo,
        trusted: &[IpNet],
        uri: usize,
        inbound: Inbound,
    ) -> Result<(Arrived, Payload), Box<Remains>> {
        let Inbound { method, target, version, mut headers, body, interim, upgrade } = inbound;
        let trusted_peer = client_addr::is_trusted(conn.peer.ip(), trusted);
        let client = match trusted_peer {
            true => client_addr::behind_proxies(conn.peer.ip(), &headers, trusted),
            false => conn.peer.ip().to_canonical(),
        };
        spoof::clean(&mut headers, trusted_peer);
        // Anybody else's is gone already.
        let given = if trusted_peer { headers.remove("x-request-id") } else { None };
        let request_id = given
            .and_then(|given| RequestId::from_trusted(given.as_bytes()))
            .unwrap_or_else(|| RequestId::from_bits(chance::bits()));
        let settled = settle(&method, &target, version, &headers, uri);
        match settled {
            Ok(Settled { authority, path, query }) => {
                let arrived = Arrived {
                    method,
                    version,
                    authority,
                    path,
                    query,
                    headers,
                    client,
                    request_id,
                    upgrade,
                    trusted: trusted_peer,
                };
                Ok((arrived, Payload { body, interim }))
            }
            Err(why) => {
                let announced = body.size_hint().lower();
                Err(Box::new(Remains { method, headers, request_id, why, announced }))
            }
        }
    }
}

struct Settled {
    authority: Authority,
    path: Bytes,
    query: Option<Bytes>,
}

fn settle(
    method: &Method,
    target: &Target,
    version: Version,
    headers: &Fields,
    uri: usize,
) -> Result<Settled, Rejected> {
    if *method == Method::TRACE || *target == Target::Authority {
        return Err(Rejected::MethodNotAllowed);
    }
    let authority = host::of(target, headers, version).map_err(Rejected::Malformed)?;
    if version == Version::HTTP_2 && headers.contains_key(header::EXPECT) {
        let only_100 = headers.get_all(header::EXPECT).all(|v| v.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        if !only_100 {
            return Err(Rejected::Expectation);
        }
    }
    let (path, query) = match target {
        Target::Origin { path_and_query, .. } | Target::Absolute { path_and_query, .. } => split(path_and_query, uri)?,
        // RFC 9112 §3.2.4: asks about the server as a whole; no route has this path.
        Target::Asterisk | Target::Authority => (Bytes::from_static(b"*"), None),
    };
    Ok(Settled { authority, path, query })
}

fn split(target: &Bytes, uri: usize) -> Result<(Bytes, Option<Bytes>), Rejected> {
    if target.len() > uri {
        return Err(Rejected::UriTooLong);
    }
    if memchr::memchr(b'#', target).is_some() {
        return Err(Rejected::PathAmbiguous("the target holds a fragment"));
    }
    let mark = memchr::memchr(b'?', target);
    let raw = target.slice(..mark.unwrap_or(target.len()));
    let query = mark.map(|at| target.slice(at + 1..));
    if query.as_ref().is_some_and(|q| q.iter().any(|b| !(0x21..0x7f).contains(b))) {
        return Err(Rejected::Malformed("the query holds a character that must be percent-encoded"));
    }
    let path = match path::canonical(&raw).map_err(|ambiguous| Rejected::PathAmbiguous(ambiguous.0))? {
        Cow::Borrowed(_) => raw,
        Cow::Owned(canonical) => Bytes::from(canonical),
    };
    Ok((path, query))
}
