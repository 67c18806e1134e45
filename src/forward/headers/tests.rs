use http::header::HeaderValue;
use http::{StatusCode, Version};

use super::from_agency::{SOFTWARE, has_foreign_challenge};
use super::to_agency::{TRACEPARENT, TRACESTATE, X_FORWARDED_PROTO, continued, drop_own_cookies, trace, via};
use super::*;
use crate::forward::failure::Failure;
use crate::http1::lines::Lines;

fn map(fields: &[(&'static str, &'static str)]) -> Fields {
    let mut headers = Fields::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers
}

/// What is added.
fn added(add: impl FnOnce(&mut Lines)) -> Fields {
    let mut lines = Lines::default();
    add(&mut lines);
    crate::http1::lines::fields(&lines.into_bytes()).collect()
}

/// HP-1
#[test]
fn fields_of_the_hop_and_those_it_names_are_removed() {
    let mut headers = map(&[
        ("connection", "close, x-private"),
        ("connection", "keep-alive"),
        ("x-private", "1"),
        ("close", "1"),
        ("keep-alive", "5"),
        ("te", "gzip"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("proxy-authorization", "Basic x"),
        ("accept", "*/*"),
    ]);
    let present = Present::of(&headers);
    strip_hop(&mut headers, present, None);
    assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["accept"]);
}

/// HP-1: a field that is looked for in vain would stay.
#[test]
fn every_field_of_the_hop_is_looked_for() {
    for (kind, name) in &HOP {
        let headers = Fields::from_iter([(name.clone(), HeaderValue::from_static("x"))]);
        let present = Present::of(&headers);
        assert!(present == *kind && present.has(Present::HOP), "{name}");
    }
    for (kind, name) in &SOFTWARE {
        let headers = Fields::from_iter([(name.clone(), HeaderValue::from_static("x"))]);
        assert_eq!(Present::of(&headers), *kind, "{name}");
    }
    for (name, kind) in [
        (TRACESTATE, Present::TRACE),
        (X_FORWARDED_PROTO, Present::X_FORWARDED),
        (HeaderName::from_static("x_gateway-level"), Present::GATEWAYS),
    ] {
        let headers = Fields::from_iter([(name.clone(), HeaderValue::from_static("x"))]);
        assert!(Present::of(&headers).has(kind), "{name}");
    }
    assert_eq!(Present::of(&map(&[("accept", "x"), ("x-gateways", "x")])), Present::of(&Fields::new()));
}

/// HP-2
#[test]
fn via_is_appended_and_a_loop_is_noticed() {
    let mut headers = map(&[("via", "1.1 edge")]);
    let added = added(|lines| via(&mut headers, Version::HTTP_2, Present::VIA, lines).unwrap());
    assert_eq!(added[header::VIA], "1.1 edge, 2 darvazeh");
    assert!(headers.is_empty(), "it is said once");
    let mut looping = map(&[("via", "1.1 darvazeh, 1.1 darvazeh"), ("via", "2 darvazeh, 1.1 darvazeh")]);
    assert_eq!(via(&mut looping, Version::HTTP_11, Present::VIA, &mut Lines::default()), Err(Failure::Loop));
}

/// TC
#[test]
fn only_a_valid_trace_is_continued() {
    let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    assert_eq!(continued(good.as_bytes()).unwrap().1, *b"01");
    assert!(continued(format!("cc{}-more", &good[2..]).as_bytes()).is_some());
    for bad in [
        "",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
    ] {
        assert!(continued(bad.as_bytes()).is_none(), "{bad}");
    }
}

/// TC
#[test]
fn a_strangers_trace_is_not_taken_over() {
    let mut headers =
        map(&[("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), ("tracestate", "a=b")]);
    let before = headers[TRACEPARENT].clone();
    let present = Present::of(&headers);
    let added = added(|lines| trace(&mut headers, false, present, lines));
    assert_ne!(added[TRACEPARENT], before);
    assert!(headers.is_empty());
    assert!(continued(added[TRACEPARENT].as_bytes()).is_some());
}

#[test]
fn the_gateways_cookies_neither_come_from_nor_go_to_an_agency() {
    let mut request = map(&[("cookie", "a=1; __Host-darvazeh=secret; b=2")]);
    drop_own_cookies(&mut request);
    assert_eq!(request[header::COOKIE], "a=1; b=2");
    let mut answer = map(&[("set-cookie", "__host-Darvazeh-x=1; Path=/"), ("set-cookie", "ok=1")]);
    from_agency(StatusCode::OK, &mut answer, false).unwrap();
    assert_eq!(answer.get_all(header::SET_COOKIE).collect::<Vec<_>>(), ["ok=1"]);
}

#[test]
fn an_answer_loses_what_tells_of_software_or_speaks_in_our_name() {
    let mut answer = map(&[
        ("server", "x"),
        ("x-powered-by", "y"),
        ("x-gateway-error", "z"),
        ("x_gateway_level", "3"),
        ("alt-svc", "h3"),
        ("content-length", "5"),
        ("etag", "e"),
    ]);
    from_agency(StatusCode::OK, &mut answer, true).unwrap();
    let mut left: Vec<_> = answer.keys().map(HeaderName::as_str).collect();
    left.sort_unstable();
    assert_eq!(left, ["cache-control", "content-length", "etag"]);
}

/// HP-11
#[test]
fn an_agencys_own_challenge_does_not_reach_a_browser() {
    let mut basic = map(&[("www-authenticate", "Basic realm=x")]);
    assert_eq!(from_agency(StatusCode::UNAUTHORIZED, &mut basic, false), Err(Failure::ForeignChallenge));
    let mut bearer = map(&[("www-authenticate", "Bearer realm=x")]);
    assert_eq!(from_agency(StatusCode::UNAUTHORIZED, &mut bearer, false), Ok(()));
}

/// HP-11
#[test]
fn a_foreign_challenge_is_found_wherever_it_stands() {
    let foreign = |value| has_foreign_challenge(&map(&[("www-authenticate", "Bearer"), ("www-authenticate", value)]));
    for value in
        ["Basic realm=\"x\"", "basic", "Bearer realm=\"a, b\", Basic realm=\"x\"", "DPoP,NTLM", "Negotiate a==, Bearer"]
    {
        assert!(foreign(value), "{value}");
    }
    for value in
        ["Bearer realm=\"x, Basic y\"", "Bearer realm=\"\\\", Basic \", error=\"x\"", "Bearer error=\"basic\"", ""]
    {
        assert!(!foreign(value), "{value}");
    }
}

/// BE-7: an agency that names the field in `Connection` has said nothing to the next hop.
#[test]
fn what_was_stripped_with_the_hop_says_nothing_of_caching() {
    let mut headers = map(&[("connection", "cache-control"), ("cache-control", "public")]);
    from_agency(http::StatusCode::OK, &mut headers, true).unwrap();
    assert_eq!(headers[header::CACHE_CONTROL], "no-store");
}
