//! CORS as a browser applies it. SEC: CORS only by config, an origin never reflected.

use std::time::Duration;

use super::*;

const PORTAL: &str = "https://portal.example.ir";

fn cors() -> Cors {
    Cors {
        origins: vec![PORTAL.into(), "https://m.example.ir".into()],
        methods: vec![],
        headers: vec![],
        expose: vec!["X-Total".into(), "retry-after".into()],
        credentials: true,
        max_age: Duration::from_secs(600),
    }
}

fn compiled() -> CompiledCors {
    CompiledCors::compile(&cors(), &[Method::GET, Method::PUT])
}

fn any_origin() -> CompiledCors {
    CompiledCors::compile(&Cors { origins: vec!["*".into()], credentials: true, ..cors() }, &[])
}

fn headers(pairs: &[(&'static str, &'static str)]) -> Fields {
    pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
}

fn all<'a>(map: &'a Fields, name: &str) -> Vec<&'a str> {
    map.get_all(name).map(|v| v.to_str().unwrap()).collect()
}

#[test]
fn only_a_preflight_is_a_preflight() {
    let asking = headers(&[("origin", PORTAL), ("access-control-request-method", "PUT")]);
    assert_eq!(Preflight::of(&Method::OPTIONS, &asking), Some(Preflight { method: Method::PUT }));
    assert_eq!(Preflight::of(&Method::GET, &asking), None);
    assert_eq!(Preflight::of(&Method::OPTIONS, &headers(&[("origin", PORTAL)])), None);
    assert_eq!(Preflight::of(&Method::OPTIONS, &headers(&[("access-control-request-method", "PUT")])), None);
    let broken = headers(&[("origin", PORTAL), ("access-control-request-method", "P UT")]);
    assert_eq!(Preflight::of(&Method::OPTIONS, &broken), None);
}

#[test]
fn a_listed_origin_is_told_what_it_may_do() {
    let answer = compiled().answer_preflight(&headers(&[("origin", PORTAL)]));
    assert_eq!(answer.status, 204);
    assert!(answer.body.is_empty());
    let answer = &answer.headers;
    assert_eq!(all(answer, "access-control-allow-origin"), [PORTAL]);
    assert_eq!(all(answer, "access-control-allow-credentials"), ["true"]);
    assert_eq!(all(answer, "access-control-allow-methods"), ["GET, PUT, HEAD"]);
    assert_eq!(all(answer, "access-control-allow-headers"), ["Authorization, Content-Type"]);
    assert_eq!(all(answer, "access-control-max-age"), ["600"]);
    assert_eq!(all(answer, "vary"), ["Origin, Access-Control-Request-Method, Access-Control-Request-Headers"]);
    assert!(!answer.contains_key("content-length"), "RFC 9110 §8.6: never with 204");
}

#[test]
fn other_origins_get_nothing_but_vary() {
    for origin in
        ["https://portal.example.ir.evil.com", "http://portal.example.ir", "HTTPS://PORTAL.example.ir", "null"]
    {
        let request = headers(&[("origin", origin)]);
        let preflight = compiled().answer_preflight(&request);
        assert_eq!(preflight.headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["vary"]);
        let mut answer = Fields::new();
        compiled().mark(&request, &mut answer);
        assert_eq!(answer, headers(&[("vary", "Origin")]), "{origin}");
    }
    let mut two = headers(&[("origin", PORTAL)]);
    two.append(ORIGIN, HeaderValue::from_static("https://m.example.ir"));
    let mut answer = Fields::new();
    compiled().mark(&two, &mut answer);
    assert!(!answer.contains_key("access-control-allow-origin"));
}

/// SU-6: a script can read the challenge.
#[test]
fn a_refusal_is_readable_for_the_portal() {
    let mut answer = headers(&[("www-authenticate", "Bearer"), ("vary", "Accept, Accept-Language")]);
    compiled().mark(&headers(&[("origin", PORTAL)]), &mut answer);
    assert_eq!(all(&answer, "access-control-allow-origin"), [PORTAL]);
    assert_eq!(all(&answer, "access-control-allow-credentials"), ["true"]);
    assert_eq!(
        all(&answer, "access-control-expose-headers"),
        ["WWW-Authenticate, X-Request-Id, X-Gateway-Error, Retry-After, X-Total"]
    );
    assert_eq!(all(&answer, "vary"), ["Accept, Accept-Language", "Origin"]);
}

#[test]
fn vary_is_not_said_twice() {
    for known in ["accept-encoding , ORIGIN", "*"] {
        let mut answer = Fields::new();
        answer.insert(VARY, HeaderValue::from_static(known));
        compiled().mark(&Fields::new(), &mut answer);
        assert_eq!(all(&answer, "vary"), [known]);
    }
}

#[test]
fn what_the_agency_says_about_cors_is_dropped() {
    let mut answer = headers(&[
        ("access-control-allow-origin", "*"),
        ("access-control-expose-headers", "x-secret"),
        ("access-control-allow-private-network", "true"),
        ("etag", "\"1\""),
    ]);
    answer.append(http::header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("https://evil.example"));
    compiled().mark(&headers(&[("origin", "https://evil.example")]), &mut answer);
    assert_eq!(answer, headers(&[("etag", "\"1\""), ("vary", "Origin")]));
}

/// SEC: never every origin together with credentials.
#[test]
fn any_origin_means_no_credentials() {
    let request = headers(&[("origin", "https://elsewhere.example")]);
    let preflight = any_origin().answer_preflight(&request);
    assert_eq!(all(&preflight.headers, "access-control-allow-origin"), ["*"]);
    assert_eq!(all(&preflight.headers, "access-control-allow-methods"), ["GET, HEAD, POST, PUT, PATCH, DELETE"]);
    let mut answer = Fields::new();
    any_origin().mark(&Fields::new(), &mut answer);
    assert_eq!(all(&answer, "access-control-allow-origin"), ["*"]);
    assert!(!answer.contains_key("access-control-allow-credentials") && !answer.contains_key("vary"));
}

#[test]
fn configured_lists_replace_the_usual_ones() {
    let cors = Cors {
        methods: vec![Method::POST],
        headers: vec!["X-Trace".into(), "x-trace".into(), "not a token".into()],
        ..cors()
    };
    let compiled = CompiledCors::compile(&cors, &[Method::GET]);
    let answer = compiled.answer_preflight(&headers(&[("origin", PORTAL)]));
    assert_eq!(all(&answer.headers, "access-control-allow-methods"), ["POST"]);
    assert_eq!(all(&answer.headers, "access-control-allow-headers"), ["X-Trace"]);
}
