//! The fields of both directions: what belongs to one hop goes, what an agency must know is added (HP, FW, TC; RFC 9110 §7.6).
//!
//! Stripping comes before adding: a caller who names one of our own fields in `Connection` removes nothing of ours (HP-1).

use std::net::IpAddr;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Version};

use super::failure::Failure;
use super::present::{Present, is_gateways};
use crate::auth::Permit;
use crate::auth::assertion::Signer;
use crate::balance::AgencyLive;
use crate::chance;
use crate::clock::UnixTime;
use crate::config::model::IdentityKind;
use crate::digits::Digits;
use crate::http1::lines::Lines;
use crate::intake::Arrived;
use crate::message::{cookie_pairs, list_items};
use crate::secret::Secret;
use crate::words::ConnInfo;

/// How this deployment is called in `Via`, `Forwarded` and `Proxy-Status`: a pseudonym, no host name (HP-2).
pub const PSEUDONYM: &str = "darvazeh";
/// Gateways may stand behind each other; a request that met this many is going round.
const LOOPS: usize = 4;
/// Cookies with this prefix are the gateway's: an agency can neither set nor read them.
pub const OWN_COOKIES: &[u8] = b"__Host-darvazeh";

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const X_GATEWAY_ASSERTION: HeaderName = HeaderName::from_static("x-gateway-assertion");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
const X_POWERED_BY: HeaderName = HeaderName::from_static("x-powered-by");

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
/// `Alt-Svc` would lead callers around the gateway; the rest tells of an agency's software, or speaks in our name.
static SOFTWARE: [(Present, HeaderName); 4] = [
    (Present::SERVER, header::SERVER),
    (Present::X_POWERED_BY, X_POWERED_BY),
    (Present::ALT_SVC, header::ALT_SVC),
    (Present::PROXY_STATUS, PROXY_STATUS),
];

/// Makes a caller's fields the agency's. Gives those that are added, as lines; `headers` has no other of their names.
pub fn to_agency(
    headers: &mut HeaderMap,
    arrived: &Arrived,
    conn: &ConnInfo,
    permit: &Permit,
    agency: &AgencyLive,
    signer: &Signer,
    now: UnixTime,
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
    via(headers, arrived.version, present, &mut added)?;
    forwarded(headers, arrived, conn, present, &mut added);
    let host = arrived.authority.written();
    if !host.is_empty() && headers.get(header::HOST).is_none_or(|given| given.as_bytes() != host) {
        headers.insert(header::HOST, shared(host.clone()));
    }
    added.field("x-request-id", arrived.request_id.as_bytes());
    trace(headers, arrived.trusted, present, &mut added);
    max_forwards(headers, &arrived.method);
    identity(&mut (headers, &mut added), authorization, permit, agency, signer, now);
    Ok(added.into_bytes())
}

/// `spared`: what `Connection` cannot take away.
fn strip_hop(headers: &mut HeaderMap, present: Present, spared: Option<HeaderName>) {
    if present.has(Present::CONNECTION) {
        // The usual options name what goes in any case.
        let others = |option: &&[u8]| {
            let usual = [&b"keep-alive"[..], b"upgrade"];
            !usual.iter().any(|usual| option.eq_ignore_ascii_case(usual))
        };
        let named: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .iter()
            .flat_map(|value| list_items(value.as_bytes()).filter(others))
            .filter_map(|option| HeaderName::from_bytes(option).ok())
            .filter(|name| Some(name) != spared.as_ref())
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    remove(headers, present, &HOP);
}

fn remove(headers: &mut HeaderMap, present: Present, names: &'static [(Present, HeaderName)]) {
    for (kind, name) in names {
        if present.has(*kind) {
            headers.remove(name);
        }
    }
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &[u8]) -> bool {
    let fits = |option: &[u8]| option.eq_ignore_ascii_case(token);
    headers.get_all(name).iter().any(|value| list_items(value.as_bytes()).any(fits))
}

/// HP-2; RFC 9110 §7.6.3.
fn via(headers: &mut HeaderMap, version: Version, present: Present, added: &mut Lines) -> Result<(), Failure> {
    let ours: &[u8] = match version {
        Version::HTTP_10 => b"1.0 darvazeh",
        Version::HTTP_2 => b"2 darvazeh",
        _ => b"1.1 darvazeh",
    };
    let before = if present.has(Present::VIA) { take_list(headers, &header::VIA) } else { Vec::new() };
    let is_ours = |hop: &&[u8]| hop.rsplit(|b| *b == b' ').next() == Some(PSEUDONYM.as_bytes());
    if list_items(&before).filter(is_ours).count() >= LOOPS {
        return Err(Failure::Loop);
    }
    added.write("via", |out| {
        out.extend_from_slice(&before);
        out.extend_from_slice(ours);
    });
    Ok(())
}

/// FW: RFC 7239 and its older cousins. From a trusted proxy the lists are continued, else begun.
fn forwarded(headers: &mut HeaderMap, arrived: &Arrived, conn: &ConnInfo, present: Present, added: &mut Lines) {
    let peer = if arrived.trusted { conn.peer.ip().to_canonical() } else { arrived.client };
    let (host, scheme) = (arrived.authority.written(), conn.scheme.as_str().as_bytes());
    let is_begun = present.has(Present::X_FORWARDED);
    let mut begun = |name| if is_begun { take_list(headers, name) } else { Vec::new() };
    let (addresses, hops) = (begun(&X_FORWARDED_FOR), begun(&header::FORWARDED));
    if !is_begun || !headers.contains_key(X_FORWARDED_PROTO) {
        added.field("x-forwarded-proto", scheme);
    }
    if !host.is_empty() && (!is_begun || !headers.contains_key(X_FORWARDED_HOST)) {
        added.field("x-forwarded-host", host);
    }
    added.write("x-forwarded-for", |out| {
        out.extend_from_slice(&addresses);
        write_address(out, peer);
    });
    added.write("forwarded", |out| {
        out.extend_from_slice(&hops);
        out.extend_from_slice(b"for=");
        match peer {
            IpAddr::V4(_) => write_address(out, peer),
            IpAddr::V6(_) => {
                out.extend_from_slice(b"\"[");
                write_address(out, peer);
                out.extend_from_slice(b"]\"");
            }
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

/// An IPv4 address by hand: every request has one, and the general formatter costs more than all else here.
fn write_address(out: &mut Vec<u8>, address: IpAddr) {
    use std::io::Write;
    let IpAddr::V4(address) = address else {
        let _ = write!(out, "{address}");
        return;
    };
    for (n, octet) in address.octets().into_iter().enumerate() {
        if n > 0 {
            out.push(b'.');
        }
        let digits = [b'0' + octet / 100, b'0' + octet / 10 % 10, b'0' + octet % 10];
        let leading = match octet {
            100.. => 0,
            10.. => 1,
            _ => 2,
        };
        out.extend_from_slice(&digits[leading..]);
    }
}

/// Takes a list out of the fields: its elements so far, and what separates them from the next.
fn take_list(headers: &mut HeaderMap, name: &HeaderName) -> Vec<u8> {
    let mut list = Vec::new();
    for value in headers.get_all(name) {
        list.extend_from_slice(value.as_bytes());
        list.extend_from_slice(b", ");
    }
    headers.remove(name);
    list
}

/// TC: a trusted proxy's trace goes on with a new parent id; anybody else's is not taken over.
fn trace(headers: &mut HeaderMap, trusted: bool, present: Present, added: &mut Lines) {
    let given = if present.has(Present::TRACE) { headers.remove(TRACEPARENT) } else { None };
    let theirs = given.filter(|_| trusted).and_then(|value| continued(value.as_bytes()));
    if theirs.is_none() && present.has(Present::TRACE) {
        headers.remove(TRACESTATE);
    }
    added.write("traceparent", |out| {
        out.extend_from_slice(b"00-");
        match theirs {
            Some((trace_id, _)) => out.extend_from_slice(&trace_id),
            None => put_hex(out, &chance::bits().to_be_bytes()),
        }
        out.extend_from_slice(b"-");
        put_hex(out, &(chance::bits() as u64 | 1).to_be_bytes());
        out.extend_from_slice(b"-");
        out.extend_from_slice(theirs.as_ref().map_or(b"00", |(_, flags)| flags));
    });
}

/// Trace id and flags of a valid `traceparent` (W3C Trace Context §3.2): lower-case hex, no zero ids, version not `ff`.
fn continued(value: &[u8]) -> Option<([u8; 32], [u8; 2])> {
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

/// At most 16 bytes.
fn put_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut text = [[0; 2]; 16];
    for (pair, byte) in text.iter_mut().zip(bytes) {
        *pair = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
    }
    let text = text.as_flattened();
    out.extend_from_slice(&text[..bytes.len() * 2]);
}

/// HP-3: on OPTIONS the number of hops left goes down. (Zero is answered before a request comes here.)
fn max_forwards(headers: &mut HeaderMap, method: &Method) {
    if *method != Method::OPTIONS {
        return;
    }
    let left = headers.get(header::MAX_FORWARDS).and_then(|v| v.to_str().ok()?.parse::<u32>().ok());
    if let Some(left) = left {
        headers.insert(header::MAX_FORWARDS, left.saturating_sub(1).into());
    }
}

/// Where the agency is told of the caller.
pub trait Told {
    /// What may be seen by everybody on the way.
    fn plain(&mut self, name: &'static str, value: &[u8]);
    /// What lets its bearer in.
    fn secret(&mut self, name: HeaderName, value: HeaderValue);
}

/// The fields of a verdict.
impl Told for HeaderMap {
    fn plain(&mut self, name: &'static str, value: &[u8]) {
        self.insert(name, HeaderValue::from_bytes(value).unwrap_or(HeaderValue::from_static("")));
    }

    fn secret(&mut self, name: HeaderName, value: HeaderValue) {
        self.insert(name, value);
    }
}

/// A request's own fields, and those that are added.
impl Told for (&mut HeaderMap, &mut Lines) {
    fn plain(&mut self, name: &'static str, value: &[u8]) {
        self.1.field(name, value);
    }

    fn secret(&mut self, name: HeaderName, value: HeaderValue) {
        self.0.insert(name, value);
    }
}

/// What the agency is told of the caller (contract section 3). Also what a verdict tells the agency's own proxy, which has
/// the caller's `Authorization` itself.
pub fn identity(
    told: &mut impl Told,
    authorization: Option<HeaderValue>,
    permit: &Permit,
    agency: &AgencyLive,
    signer: &Signer,
    now: UnixTime,
) {
    match agency.identity {
        IdentityKind::None => {}
        IdentityKind::Assertion => {
            told.secret(X_GATEWAY_ASSERTION, signer.assertion(permit, &agency.name, now));
        }
        IdentityKind::Headers => {
            if let Some(subject) = signer.pairwise(permit, &agency.name) {
                told.plain("x-gateway-subject", subject.as_bytes());
            }
            told.plain("x-gateway-level", Digits::of(permit.level().number().into()).as_bytes());
        }
        // On level 0 credentials are ignored and not forwarded (contract section 5, "Credentials").
        IdentityKind::Token => {
            let token = permit.token().and_then(|caller| match caller.access_token() {
                Some(token) => bearer(token),
                None => authorization.filter(|_| !caller.is_session()),
            });
            if let Some(token) = token {
                told.secret(header::AUTHORIZATION, token);
            }
        }
    }
}

fn bearer(token: &Secret<String>) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The gateway's own cookies never cross to an agency.
fn drop_own_cookies(headers: &mut HeaderMap) {
    let holds_ours = |value: &HeaderValue| cookies(value.as_bytes()).any(is_own_cookie);
    if !headers.get_all(header::COOKIE).iter().any(holds_ours) {
        return;
    }
    let kept: Vec<Vec<u8>> = headers
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|value| cookies(value.as_bytes()).filter(|c| !is_own_cookie(c)).map(<[u8]>::to_vec))
        .collect();
    headers.remove(header::COOKIE);
    if !kept.is_empty() {
        headers.insert(header::COOKIE, shared(kept.join(&b"; "[..]).into()));
    }
}

fn cookies(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    cookie_pairs(value).map(<[u8]>::trim_ascii).filter(|c| !c.is_empty())
}

fn is_own_cookie(cookie: &[u8]) -> bool {
    cookie.get(..OWN_COOKIES.len()).is_some_and(|start| start.eq_ignore_ascii_case(OWN_COOKIES))
}

/// Makes an agency's fields fit for the caller. Errors: an answer that must not be passed on.
pub fn from_agency(status: http::StatusCode, headers: &mut HeaderMap, authenticated: bool) -> Result<(), Failure> {
    if status == http::StatusCode::UNAUTHORIZED && has_foreign_challenge(headers) {
        return Err(Failure::ForeignChallenge);
    }
    let present = Present::of(headers);
    clean(headers, present);
    // RFC 9110 §8.6: some readers would take what follows for a body.
    if status.is_informational() || status == http::StatusCode::NO_CONTENT {
        headers.remove(header::CONTENT_LENGTH);
    }
    // BE-7: what was said to one caller is not kept for another, unless the agency decides.
    // (It may have been named in `Connection`, and gone with the hop.)
    if authenticated && !(present.has(Present::CACHE_CONTROL) && headers.contains_key(header::CACHE_CONTROL)) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    Ok(())
}

/// The same for what has no body of its own: a 1xx head, and trailers. Cookies are set by an answer's own head.
pub fn clean_bodiless(headers: &mut HeaderMap) {
    clean(headers, Present::of(headers));
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::SET_COOKIE);
}

/// Removes from an agency's fields what belongs to the hop, tells of software, or speaks in our name.
fn clean(headers: &mut HeaderMap, present: Present) {
    if present.has(Present::HOP) {
        // An answer's length may stand in `Connection` too, and stays: one to HEAD has nothing else to be learnt from.
        strip_hop(headers, present, Some(header::CONTENT_LENGTH));
    }
    remove(headers, present, &SOFTWARE);
    if present.has(Present::GATEWAYS) {
        while let Some(name) = headers.keys().find(|name| is_gateways(name.as_str())).cloned() {
            headers.remove(&name);
        }
    }
    if present.has(Present::SET_COOKIE) {
        refuse_own_cookies(headers);
    }
}

fn has_foreign_challenge(headers: &HeaderMap) -> bool {
    const FOREIGN: [&[u8]; 4] = [b"basic", b"digest", b"ntlm", b"negotiate"];
    headers.get_all(header::WWW_AUTHENTICATE).iter().any(|value| {
        outside_quotes(value.as_bytes()).any(|element| {
            let scheme = element.trim_ascii().split(u8::is_ascii_whitespace).next().unwrap_or_default();
            FOREIGN.iter().any(|foreign| scheme.eq_ignore_ascii_case(foreign))
        })
    })
}

/// The elements of a list, one field line of which may hold several challenges (RFC 9110 §11.6.1). A comma within quotes
/// separates nothing.
fn outside_quotes(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    value.split(move |byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            b',' => return !quoted,
            _ => {}
        }
        false
    })
}

/// Server-sent events: an answer without an end.
pub fn is_event_stream(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}

fn refuse_own_cookies(headers: &mut HeaderMap) {
    let own = |value: &HeaderValue| {
        let cookie = value.as_bytes().trim_ascii();
        // A cookie without a name, `=NAME=VALUE`, is sent back as `NAME=VALUE` by browsers that take it.
        is_own_cookie(cookie.strip_prefix(b"=").unwrap_or(cookie).trim_ascii_start())
    };
    if !headers.get_all(header::SET_COOKIE).iter().any(own) {
        return;
    }
    let kept: Vec<HeaderValue> = headers.get_all(header::SET_COOKIE).iter().filter(|v| !own(v)).cloned().collect();
    headers.remove(header::SET_COOKIE);
    for value in kept {
        headers.append(header::SET_COOKIE, value);
    }
}

/// A value made of pieces that were valid values before.
fn shared(bytes: Bytes) -> HeaderValue {
    HeaderValue::from_maybe_shared(bytes).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests;
