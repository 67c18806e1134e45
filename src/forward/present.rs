//! Which kinds of fields a message has at all: one look at each name that is there, in place of a search for
//! each of thirty that might be. Most messages have few of them.

use crate::fields::Fields;

/// A set of kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Present(u32);

impl Present {
    pub const CONTENT_LENGTH: Present = Present(1);
    pub const EXPECT: Present = Present(1 << 1);
    pub const AUTHORIZATION: Present = Present(1 << 2);
    pub const COOKIE: Present = Present(1 << 3);
    pub const VIA: Present = Present(1 << 4);
    pub const X_FORWARDED: Present = Present(1 << 5);
    pub const TRACE: Present = Present(1 << 6);
    pub const SET_COOKIE: Present = Present(1 << 7);
    pub const CACHE_CONTROL: Present = Present(1 << 8);
    /// What only the gateway may write.
    pub const GATEWAYS: Present = Present(1 << 9);
    /// Fields of one hop but for `Content-Length`, which most messages have.
    pub const HOP: Present = Present(0x1ff << 10);
    pub const CONNECTION: Present = Present(1 << 10);
    pub const KEEP_ALIVE: Present = Present(1 << 11);
    pub const PROXY_CONNECTION: Present = Present(1 << 12);
    pub const TE: Present = Present(1 << 13);
    pub const TRANSFER_ENCODING: Present = Present(1 << 14);
    pub const UPGRADE: Present = Present(1 << 15);
    pub const TRAILER: Present = Present(1 << 16);
    pub const PROXY_AUTHORIZATION: Present = Present(1 << 17);
    pub const PROXY_AUTHENTICATE: Present = Present(1 << 18);
    pub const SERVER: Present = Present(1 << 19);
    pub const X_POWERED_BY: Present = Present(1 << 20);
    pub const ALT_SVC: Present = Present(1 << 21);
    pub const PROXY_STATUS: Present = Present(1 << 22);

    pub fn of(headers: &Fields) -> Present {
        Present(headers.keys().fold(0, |found, name| found | kind(name.as_str()).0))
    }

    /// Whether the message has any of `kinds`.
    pub const fn has(self, kinds: Present) -> bool {
        self.0 & kinds.0 != 0
    }
}

fn kind(name: &str) -> Present {
    match name {
        "connection" => Present::CONNECTION,
        "keep-alive" => Present::KEEP_ALIVE,
        "proxy-connection" => Present::PROXY_CONNECTION,
        "te" => Present::TE,
        "transfer-encoding" => Present::TRANSFER_ENCODING,
        "upgrade" => Present::UPGRADE,
        "trailer" => Present::TRAILER,
        "proxy-authorization" => Present::PROXY_AUTHORIZATION,
        "proxy-authenticate" => Present::PROXY_AUTHENTICATE,
        "content-length" => Present::CONTENT_LENGTH,
        "expect" => Present::EXPECT,
        "authorization" => Present::AUTHORIZATION,
        "cookie" => Present::COOKIE,
        "via" => Present::VIA,
        "x-forwarded-for" | "x-forwarded-proto" | "x-forwarded-host" | "forwarded" => Present::X_FORWARDED,
        "traceparent" | "tracestate" => Present::TRACE,
        "server" => Present::SERVER,
        "x-powered-by" => Present::X_POWERED_BY,
        "alt-svc" => Present::ALT_SVC,
        "proxy-status" => Present::PROXY_STATUS,
        "set-cookie" => Present::SET_COOKIE,
        "cache-control" => Present::CACHE_CONTROL,
        name if is_gateways(name) => Present::GATEWAYS,
        _ => Present(0),
    }
}

/// Whether only the gateway may write a field of this name, in whatever spelling.
pub fn is_gateways(name: &str) -> bool {
    const START: &[u8] = b"x-gateway-";
    let spelt_alike = |(theirs, ours): (&u8, &u8)| theirs == ours || (*theirs == b'_' && *ours == b'-');
    name.len() >= START.len() && name.as_bytes().iter().zip(START).all(spelt_alike)
}
