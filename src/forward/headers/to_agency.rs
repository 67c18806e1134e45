//! From a caller's fields to those that the agency gets: the hop's go, and what it must know of the way is added as lines.

use std::borrow::Cow;
use std::net::IpAddr;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Version};

use super::identity::identity;
use super::{PSEUDONYM, is_own_cookie, kept, strip_hop};
use crate::auth::Permit;
use crate::auth::assertion::Signer;
use crate::balance::AgencyLive;
use crate::chance;
use crate::clock::UnixTime;
use crate::digits::hex;
use crate::fields::Fields;
use crate::forward::failure::Failure;
use crate::forward::present::Present;
use crate::http1::lines::Lines;
use crate::intake::Arrived;
use crate::message::{cookie_pairs, list_items};
use crate::words::ConnInfo;

/// Gateways may stand behind each other; a request that met this many is going round.
const LOOPS: usize = 4;
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(super) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Makes a caller's fields the agency's. Gives those that are added, as lines; `headers` has no other of their names.
pub fn to_agency(
    headers: &mut Fields,
    arrived: &Arrived,
    conn: &ConnInfo,
    permit: &Permit,
    agency: &AgencyLive,
    signer: &Signer,
    now: impl FnOnce() -> UnixTime,
) -> Result<Vec<u8>, Failure> {
    let present = Present::of(headers);
    let authorization = if present.has(Present::AUTHORIZATION) { headers.remove(header::AUTHORIZATION) } else { None };
    if present.has(Present::HOP) {
        let te_trailers = present.has(Present::TE) && has_token(headers, &header::TE, b"trailers");
        strip_hop(headers, present, None);
        if te_trailers {
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
        }
    }
    if present.has(Present::CONTENT_LENGTH) {
        headers.remove(header::CONTENT_LENGTH);
    }
    if present.has(Present::EXPECT) {
        headers.remove(header::EXPECT);
    }
    if present.has(Present::COOKIE) {
        drop_own_cookies(headers);
    }
    let mut added = Lines::default();
    way(headers, arrived, conn, present, &mut added)?;
    let host = arrived.authority.written();
    if !host.is_empty() && headers.get(header::HOST).is_none_or(|given| given != host) {
        headers.insert(header::HOST, host.clone());
    }
    added.field("x-request-id", arrived.request_id.as_bytes());
    trace(headers, arrived.trusted, present, &mut added);
    max_forwards(headers, &arrived.method);
    identity(&mut (headers, &mut added), authorization, permit, agency, signer, now);
    Ok(added.into_bytes())
}

fn has_token(headers: &Fields, name: &HeaderName, token: &[u8]) -> bool {
    let fits = |option: &[u8]| option.eq_ignore_ascii_case(token);
    headers.get_all(name).any(|value| list_items(value.as_bytes()).any(fits))
}

/// How the request came here: `Via`, and what is forwarded.
fn way(
    headers: &mut Fields,
    arrived: &Arrived,
    conn: &ConnInfo,
    present: Present,
    added: &mut Lines,
) -> Result<(), Failure> {
    if arrived.trusted || present.has(Present::VIA) || present.has(Present::X_FORWARDED) {
        via(headers, arrived.version, present, added)?;
        forwarded(headers, arrived, conn, present, added);
        return Ok(());
    }
    let host = arrived.authority.written().as_bytes();
    let way = kept::Way { peer: arrived.client, host, scheme: conn.scheme, version: arrived.version };
    kept::add(way, added, |added| {
        added.field("via", our_hop(arrived.version));
        forwarded(headers, arrived, conn, present, added);
    });
    Ok(())
}

/// HP-2; RFC 9110 §7.6.3.
pub(super) fn via(headers: &mut Fields, version: Version, present: Present, added: &mut Lines) -> Result<(), Failure> {
    let before = if present.has(Present::VIA) { take_list(headers, &header::VIA) } else { Vec::new() };
    let is_ours = |hop: &&[u8]| hop.rsplit(|b| *b == b' ').next() == Some(PSEUDONYM.as_bytes());
    if list_items(&before).filter(is_ours).count() >= LOOPS {
        return Err(Failure::Loop);
    }
    added.write("via", |out| {
        out.extend_from_slice(&before);
        out.extend_from_slice(our_hop(version));
    });
    Ok(())
}

fn our_hop(version: Version) -> &'static [u8] {
    match version {
        Version::HTTP_10 => b"1.0 darvazeh",
        Version::HTTP_2 => b"2 darvazeh",
        _ => b"1.1 darvazeh",
    }
}

/// FW: RFC 7239 and its older cousins. From a trusted proxy the lists are continued, else begun.
fn forwarded(headers: &mut Fields, arrived: &Arrived, conn: &ConnInfo, present: Present, added: &mut Lines) {
    let peer = if arrived.trusted { conn.peer.ip().to_canonical() } else { arrived.client };
    let (host, scheme) = (arrived.authority.written().as_bytes(), conn.scheme.as_str().as_bytes());
    let is_begun = present.has(Present::X_FORWARDED);
    let mut begun = |name| if is_begun { take_list(headers, name) } else { Vec::new() };
    let (addresses, hops) = (begun(&X_FORWARDED_FOR), begun(&header::FORWARDED));
    if !is_begun || !headers.contains_key(X_FORWARDED_PROTO) {
        added.field("x-forwarded-proto", scheme);
    }
    if !host.is_empty() && (!is_begun || !headers.contains_key(X_FORWARDED_HOST)) {
        added.field("x-forwarded-host", host);
    }
    let mut address = [0; 15];
    let address = written(peer, &mut address);
    added.write("x-forwarded-for", |out| {
        out.extend_from_slice(&addresses);
        out.extend_from_slice(&address);
    });
    added.write("forwarded", |out| {
        out.extend_from_slice(&hops);
        out.extend_from_slice(b"for=");
        if peer.is_ipv4() {
            out.extend_from_slice(&address);
        } else {
            out.extend_from_slice(b"\"[");
            out.extend_from_slice(&address);
            out.extend_from_slice(b"]\"");
        }
        out.extend_from_slice(b";proto=");
        out.extend_from_slice(scheme);
        if !host.is_empty() {
            // Only a token may stand unquoted, and a port makes it none; a valid host holds no quote.
            out.extend_from_slice(b";host=\"");
            out.extend_from_slice(host);
            out.extend_from_slice(b"\"");
        }
        out.extend_from_slice(b";by=_darvazeh");
    });
}

/// An address as text. IPv4 by hand, into `room`: every request has one, and the general formatter costs more than all else here.
fn written(address: IpAddr, room: &mut [u8; 15]) -> Cow<'_, [u8]> {
    let IpAddr::V4(address) = address else { return Cow::Owned(address.to_string().into_bytes()) };
    let mut length = 0;
    for (n, octet) in address.octets().into_iter().enumerate() {
        if n > 0 {
            room[length] = b'.';
            length += 1;
        }
        let digits = [b'0' + octet / 100, b'0' + octet / 10 % 10, b'0' + octet % 10];
        let leading = match octet {
            100.. => 0,
            10.. => 1,
            _ => 2,
        };
        for digit in &digits[leading..] {
            room[length] = *digit;
            length += 1;
        }
    }
    Cow::Borrowed(&room[..length])
}

/// Takes a list out of the fields: its elements so far, and what separates them from the next.
fn take_list(headers: &mut Fields, name: &HeaderName) -> Vec<u8> {
    let mut list = Vec::new();
    for value in headers.get_all(name) {
        list.extend_from_slice(value.as_bytes());
        list.extend_from_slice(b", ");
    }
    headers.remove(name);
    list
}

/// TC: a trusted proxy's trace goes on with a new parent id; anybody else's is not taken over.
pub(super) fn trace(headers: &mut Fields, trusted: bool, present: Present, added: &mut Lines) {
    let given = if present.has(Present::TRACE) { headers.remove(TRACEPARENT) } else { None };
    let theirs = given.filter(|_| trusted).and_then(|value| continued(value.as_bytes()));
    if theirs.is_none() && present.has(Present::TRACE) {
        headers.remove(TRACESTATE);
    }
    added.write("traceparent", |out| {
        out.extend_from_slice(b"00-");
        match theirs {
            Some((trace_id, _)) => out.extend_from_slice(&trace_id),
            None => out.extend_from_slice(hex(chance::bits().to_be_bytes()).as_flattened()),
        }
        out.extend_from_slice(b"-");
        out.extend_from_slice(hex((chance::bits() as u64 | 1).to_be_bytes()).as_flattened());
        out.extend_from_slice(b"-");
        out.extend_from_slice(theirs.as_ref().map_or(b"00", |(_, flags)| flags));
    });
}

/// Trace id and flags of a valid `traceparent` (W3C Trace Context §3.2): lower-case hex, no zero ids, version not `ff`.
pub(super) fn continued(value: &[u8]) -> Option<([u8; 32], [u8; 2])> {
    let hex = |part: &[u8]| part.iter().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b));
    let dashes = value.len() >= 55 && [2, 35, 52].iter().all(|at| value[*at] == b'-');
    if !dashes || (value.len() > 55 && (&value[..2] == b"00" || value[55] != b'-')) {
        return None;
    }
    let (version, trace_id, parent, flags) = (&value[..2], &value[3..35], &value[36..52], &value[53..55]);
    let well_formed = [version, trace_id, parent, flags].into_iter().all(hex);
    let zero = |id: &[u8]| id.iter().all(|b| *b == b'0');
    if !well_formed || version == b"ff" || zero(trace_id) || zero(parent) {
        return None;
    }
    Some((trace_id.try_into().ok()?, flags.try_into().ok()?))
}

/// HP-3: on OPTIONS the number of hops left goes down. (Zero is answered before a request comes here.)
fn max_forwards(headers: &mut Fields, method: &Method) {
    if *method != Method::OPTIONS {
        return;
    }
    let left = headers.get(header::MAX_FORWARDS).and_then(|v| v.to_str().ok()?.parse::<u32>().ok());
    if let Some(left) = left {
        headers.insert(header::MAX_FORWARDS, left.saturating_sub(1).into());
    }
}

/// The gateway's own cookies never cross to an agency.
pub(super) fn drop_own_cookies(headers: &mut Fields) {
    let holds_ours = |value: &HeaderValue| cookies(value.as_bytes()).any(is_own_cookie);
    if !headers.get_all(header::COOKIE).any(holds_ours) {
        return;
    }
    let kept: Vec<Vec<u8>> = headers
        .get_all(header::COOKIE)
        .flat_map(|value| cookies(value.as_bytes()).filter(|c| !is_own_cookie(c)).map(<[u8]>::to_vec))
        .collect();
    headers.remove(header::COOKIE);
    if !kept.is_empty() {
        // Made of pieces that were valid values before.
        let kept = HeaderValue::from_maybe_shared(Bytes::from(kept.join(&b"; "[..])));
        headers.insert(header::COOKIE, kept.unwrap_or(HeaderValue::from_static("")));
    }
}

fn cookies(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    cookie_pairs(value).map(<[u8]>::trim_ascii).filter(|c| !c.is_empty())
}
