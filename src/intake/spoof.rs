//! Headers that only the gateway, or a proxy it trusts, may write. A caller's own are removed on every route.
//!
//! Names are compared with `_` read as `-`: agencies behind CGI cannot tell the two apart (SM-11, AS-12).

use http::header::HeaderName;

use crate::fields::Fields;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    Yes,
    Never,
    /// Where a trusted proxy wrote it, and in its proper spelling.
    FromTrusted,
}

/// Removes what the caller must not say. `trusted`: the peer is one of the listener's `trusted_proxies`.
pub fn clean(headers: &mut Fields, trusted: bool) {
    // The usual cost is one look at each name's first letter.
    headers.retain(|name, _| stays(name, trusted));
}

/// Removes from trailers what must not come that way either (RFC 9110 §6.5.1).
pub fn clean_trailers(trailers: &mut Fields) {
    const FORBIDDEN: [&str; 18] = [
        "authorization",
        "cookie",
        "set-cookie",
        "host",
        "content-length",
        "transfer-encoding",
        "content-encoding",
        "content-type",
        "content-range",
        "te",
        "trailer",
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "upgrade",
        "expect",
        "traceparent",
    ];
    trailers.retain(|name, _| stays(name, false) && !FORBIDDEN.contains(&name.as_str()));
}

fn stays(name: &HeaderName, trusted: bool) -> bool {
    let name = name.as_str();
    let underscored = name.contains('_');
    if !underscored && !matches!(name.as_bytes()[0], b'x' | b'f' | b'c' | b'p') {
        return true;
    }
    let keep = if underscored { judge_folded(&name.replace('_', "-")) } else { judge(name) };
    match keep {
        Keep::Yes => true,
        Keep::Never => false,
        Keep::FromTrusted => trusted && !underscored,
    }
}

/// A name that was written with `_`: besides what [`judge`] knows, it must not imitate a field of framing or of the hop.
fn judge_folded(name: &str) -> Keep {
    const IMITATED: [&str; 6] = [
        "content-length",
        "transfer-encoding",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "content-type",
    ];
    if IMITATED.contains(&name) { Keep::Never } else { judge(name) }
}

fn judge(name: &str) -> Keep {
    if let Some(rest) = name.strip_prefix("x-") {
        if rest.starts_with("gateway-") || rest == "gateway" || rest.starts_with("ssl-") {
            return Keep::Never;
        }
        return match rest {
            "forwarded-client-cert" | "client-cert" | "client-verify" => Keep::Never,
            "request-id" | "real-ip" => Keep::FromTrusted,
            _ if rest.starts_with("forwarded-") => Keep::FromTrusted,
            _ => Keep::Yes,
        };
    }
    match name {
        "forwarded" => Keep::FromTrusted,
        // MT-3; RFC 9440. `Proxy` would become HTTP_PROXY in a CGI environment (httpoxy).
        "client-cert" | "client-cert-chain" | "proxy" => Keep::Never,
        _ => Keep::Yes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn left(names: &[&'static str], trusted: bool) -> Vec<String> {
        let mut headers = Fields::new();
        for name in names {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static("x"));
        }
        clean(&mut headers, trusted);
        headers.keys().map(ToString::to_string).collect()
    }

    /// AS-12, SM-11
    #[test]
    fn the_gateways_own_headers_are_removed_in_any_spelling() {
        let names = ["x-gateway-subject", "x_gateway_level", "x-gateway_assertion", "x_gateway-x", "accept"];
        assert_eq!(left(&names, false), ["accept"]);
        assert_eq!(left(&names, true), ["accept"]);
    }

    /// FW, MT-3
    #[test]
    fn forwarding_headers_are_kept_only_from_trusted_proxies() {
        let names = ["forwarded", "x-forwarded-for", "x_forwarded_for", "x-request-id", "client-cert", "proxy"];
        assert!(left(&names, false).is_empty());
        assert_eq!(left(&names, true), ["forwarded", "x-forwarded-for", "x-request-id"]);
        assert!(left(&["x-forwarded-client-cert", "client_cert", "x-ssl-client-dn"], true).is_empty());
    }

    #[test]
    fn other_headers_are_nobodys_business() {
        let names = ["x-csrf-token", "cookie", "x-gate", "x_custom", "priority"];
        assert_eq!(left(&names, false).len(), names.len());
    }

    /// HP-7
    #[test]
    fn trailers_carry_neither_identity_nor_framing() {
        let mut trailers = Fields::new();
        for name in ["x-gateway-subject", "authorization", "content-length", "grpc-status", "upgrade", "traceparent"] {
            trailers.append(HeaderName::from_static(name), HeaderValue::from_static("x"));
        }
        clean_trailers(&mut trailers);
        assert_eq!(trailers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["grpc-status"]);
    }
}
