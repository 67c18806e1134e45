//! From a request as people write it to the request a listener would hand on: the same parser, the same bounds.
//!
//! For `explain` and for expectations. Nothing is sent: the request is written out as HTTP/1.1 and read back by the code
//! that reads callers, so that what that code refuses is refused here.

use bytes::{BufMut, BytesMut};
use http::{HeaderName, HeaderValue, header};

use crate::config::model::Listener;
use crate::config::written::Written;
use crate::http1::head::{HeadFault, HeadLimits, Scan, parse_request, write_fields};
use crate::http1::server::imagined;
use crate::intake::Arrived;
use crate::intake::arrived::{Payload, Remains};
use crate::words::{ConnInfo, Scheme};

/// Somebody on the internet (RFC 5737: an address for examples).
const CALLER: [u8; 4] = [192, 0, 2, 1];

/// Why a request is refused before it is looked at.
#[derive(Debug)]
pub enum Stopped {
    Head(HeadFault),
    Rejected(Box<Remains>),
}

/// The connection by which `request` would come in. A name is sent in the handshake, an address is not (RFC 6066 §3).
pub fn connection(request: &Written, listener: &Listener) -> ConnInfo {
    let scheme = if listener.tls.is_some() { Scheme::Https } else { Scheme::Http };
    let host = request.authority.rsplit_once(':').map_or(&*request.authority, |(host, _)| host);
    let is_name = host.parse::<std::net::IpAddr>().is_err() && !host.starts_with('[');
    let sni = (scheme == Scheme::Https && is_name).then(|| host.to_ascii_lowercase().into());
    ConnInfo {
        listener: listener.name.clone(),
        peer: (CALLER, 0).into(),
        local: listener.address,
        scheme,
        sni,
        client_cert: None,
    }
}

/// Settles the request. A `Host` among `fields` replaces that of the URL.
pub fn arrive(
    request: &Written,
    fields: &[(HeaderName, HeaderValue)],
    conn: &ConnInfo,
    listener: &Listener,
) -> Result<(Arrived, Payload), Stopped> {
    let limits = &listener.limits;
    let bounds = HeadLimits { block: limits.headers, count: limits.header_count, uri: limits.uri };
    let mut buffer = write(request, fields);
    let head = parse_request(&mut buffer, &mut Scan::default(), &bounds).map_err(Stopped::Head)?;
    let head = head.ok_or(Stopped::Head(HeadFault::Malformed("the head breaks off")))?;
    let inbound = imagined(head).map_err(Stopped::Head)?;
    Arrived::parse(conn, &listener.trusted_proxies, limits.uri, inbound).map_err(Stopped::Rejected)
}

fn write(request: &Written, fields: &[(HeaderName, HeaderValue)]) -> BytesMut {
    let mut out = BytesMut::with_capacity(1024);
    out.put_slice(request.method.as_str().as_bytes());
    out.put_slice(b" ");
    out.put_slice(request.target.as_bytes());
    out.put_slice(b" HTTP/1.1\r\n");
    if fields.iter().all(|(name, _)| name != header::HOST) {
        out.put_slice(b"host: ");
        out.put_slice(request.authority.as_bytes());
        out.put_slice(b"\r\n");
    }
    write_fields(&mut out, fields.iter().map(|(name, value)| (name, value)));
    out.put_slice(b"\r\n");
    out
}
