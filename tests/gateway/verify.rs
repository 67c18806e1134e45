//! The verdict for other proxies, over HTTP: `/.gateway/verify`. The same answer as a request would get, to those who may ask.

use crate::support::agency::Agency;
use crate::support::certs::{Authority, Trust, ca};
use crate::support::client::{H2, bearer, connect, connect_as, connect_plain, get, h2_get, request, send};
use crate::support::gateway::{Gateway, Metrics};
use crate::support::sso::unb64;
use crate::support::token::{acr, token};
use crate::support::verdict::{Challenge, assert_refused};
use crate::support::wire::Message;
use crate::support::within;
use crate::support::world::{Config, TLS};

/// Agency `tax` with a proxy of its own on this host: `/l1`… by level, `/open`, and `/post` for one method.
pub fn asked_about() -> Config {
    let keys = "verify: { from: [127.0.0.0/8] }";
    let route = |text: &str| format!("agency: tax, {text}");
    Config::new()
        .own_proxy("tax", keys)
        .own_proxy("land", "identity: headers, verify: { from: [127.0.0.0/8] }")
        .own_proxy("elsewhere", "verify: { from: [10.9.9.9] }")
        .simple("open", "tax", 0)
        .simple("l1", "tax", 1)
        .simple("l2", "tax", 2)
        .simple("l3", "tax", 3)
        .simple("plain", "land", 2)
        .simple("foreign", "elsewhere", 1)
        .route(&route("name: written, match: { path: /written, methods: [POST] }, require: { level: 1, scopes: [tax.write] }"))
        .route(&route("name: by-host, match: { hosts: [strict.example.ir], prefix: / }, require: { level: 3 }"))
        .route(&route(
            "name: rated, match: { prefix: /rated }, require: { level: 0 }, limits: { rate: { requests: 2, per: 1h, by: address } }",
        ))
}

/// What the families of fields call method, host and URI.
const FAMILIES: [&str; 2] = ["X-Original", "X-Forwarded"];

/// A question about a request, as NGINX (`X-Original`) or Caddy (`X-Forwarded`) would put it.
fn question(family: &str, method: &str, uri: &str, fields: &[&str]) -> String {
    let told = [
        format!("{family}-Method: {method}"),
        format!("{family}-Host: api.example.ir"),
        format!("{family}-Uri: {uri}"),
    ];
    let fields: Vec<&str> = told.iter().map(String::as_str).chain(fields.iter().copied()).collect();
    get("/.gateway/verify", &fields)
}

async fn ask(gateway: &Gateway, method: &str, uri: &str, fields: &[&str]) -> Message {
    send(gateway, question(FAMILIES[0], method, uri, fields)).await
}

#[track_caller]
fn assert_allowed(answer: &Message) {
    assert_eq!(answer.status(), 200, "{:?}: {}", answer.head, answer.text());
    assert!(!answer.head.has("x-gateway-error") && answer.payload.bytes.is_empty());
    assert_eq!(answer.head.get("cache-control"), Some("no-store"));
    assert!(answer.head.get("x-request-id").is_some_and(|id| !id.is_empty()));
}

/// The claims of the assertion, its signature left to `identity`.
fn claims(answer: &Message) -> serde_json::Value {
    let assertion = answer.head.get("x-gateway-assertion").unwrap_or_else(|| panic!("none: {:?}", answer.head));
    serde_json::from_slice(&unb64(assertion.split('.').nth(1).expect("a JWS"))).expect("JSON")
}

#[tokio::test]
async fn a_good_token_gets_a_yes_and_the_agencys_identity() {
    let gateway = asked_about().start().await;
    let authorization = bearer(&token(2).subject("citizen-9").sign());
    for family in FAMILIES {
        let forged = ["X-Gateway-Assertion: forged", "X-Gateway-Level: 3", &authorization];
        let answer = send(&gateway, question(family, "GET", "/l2/x?q=1", &forged)).await;
        assert_allowed(&answer);
        let claims = claims(&answer);
        assert_eq!((&claims["aud"], &claims["level"], &claims["acr"]), (&"tax".into(), &2.into(), &acr(2).into()));
        assert!(!answer.head.has("x-gateway-level") && !answer.head.has("authorization"));
        assert_eq!(answer.head.all("x-gateway-assertion").len(), 1);

        let answer = send(&gateway, question(family, "GET", "/plain", &forged)).await;
        assert_allowed(&answer);
        assert_eq!(answer.head.get("x-gateway-level"), Some("2"), "the forged level is not repeated");
        assert!(answer.head.get("x-gateway-subject").is_some_and(|s| !s.contains("citizen-9")), "PV-1");
    }
    let answer = ask(&gateway, "GET", "/open", &["Authorization: Bearer nonsense"]).await;
    assert_eq!(claims(&answer)["level"], 0, "on level 0 credentials are not looked at");
}

/// BE-1, BE-4, BE-6, SU-1: status, code and challenge are those of a request.
#[tokio::test]
async fn a_no_is_the_refusal_that_a_request_would_get() {
    let gateway = asked_about().start().await;
    let weak = bearer(&token(1).sign());
    let answer = ask(&gateway, "GET", "/l1", &[]).await;
    assert_refused(&answer, 401, "token_missing");
    assert_eq!(answer.head.get("www-authenticate"), Some("Bearer realm=\"public\""));
    let answer = ask(&gateway, "GET", "/l2", &[&weak]).await;
    assert_refused(&answer, 401, "level_too_low");
    let challenge = Challenge::of(&answer);
    assert_eq!(challenge.get("error"), Some("insufficient_user_authentication"));
    assert_eq!(challenge.get("acr_values"), Some(&*format!("{} {}", acr(2), acr(3))));
    let answer = ask(&gateway, "POST", "/written", &[&weak]).await;
    assert_refused(&answer, 403, "scope_missing");
    assert_eq!(Challenge::of(&answer).get("scope"), Some("tax.write"));
    let answer = ask(&gateway, "GET", "/written", &[&weak]).await;
    assert_refused(&answer, 405, "method_not_allowed");
    assert_eq!(answer.head.get("allow"), Some("POST"));
    assert_refused(&ask(&gateway, "TRACE", "/l1", &[&weak]).await, 405, "method_not_allowed");
    assert_refused(&ask(&gateway, "GET", "/nowhere", &[&weak]).await, 404, "route_unknown");
    assert_refused(&ask(&gateway, "GET", "/l1?access_token=x", &[&weak]).await, 400, "credentials_malformed");
    assert_refused(&ask(&gateway, "GET", "/l1", &["Authorization: Bearer x.y.z"]).await, 401, "token_invalid");
    assert_refused(&ask(&gateway, "GET", "/l1", &[&weak, &weak]).await, 400, "credentials_malformed");
    let long = format!("/l1/{}", "a".repeat(9000));
    assert_refused(&ask(&gateway, "GET", &long, &[&weak]).await, 414, "uri_too_long");
    let page = ask(&gateway, "GET", "/l1", &["Accept: text/html", "Accept-Language: en"]).await;
    assert_eq!((page.status(), page.head.get("content-type")), (401, Some("text/html; charset=utf-8")));
}

/// A gRPC caller is told a refusal inside a 200. The proxy that asks would let it in.
#[tokio::test]
async fn no_callers_dress_turns_a_no_into_a_200() {
    let gateway = asked_about().start().await;
    for kind in ["application/grpc", "application/grpc-web+proto", "application/soap+xml", "text/xml"] {
        let kind = format!("Content-Type: {kind}");
        for fields in [vec![&*kind], vec![&*kind, "SOAPAction: x"]] {
            let answer = ask(&gateway, "POST", "/l1/x", &fields).await;
            assert_eq!(
                (answer.status(), answer.head.get("x-gateway-error")),
                (401, Some("token_missing")),
                "{fields:?}"
            );
            assert!(!answer.head.has("x-gateway-assertion"));
        }
    }
}

/// HP-5: what the asking proxy may read in another way gets no verdict on any reading.
#[tokio::test]
async fn tricks_in_the_path_never_get_a_yes() {
    let gateway = asked_about().start().await;
    let strong = bearer(&token(3).sign());
    for trick in [
        "/open/../l3",
        "/open/%2e%2e/l3",
        "/open/.%2E/l3",
        "//l3",
        "/open//l3",
        "/open%2f..%2fl3",
        "/open/%2e/x",
        "/open\\l3",
        "/open%5cl3",
        "/open;/l3",
        "/open%3b/l3",
        "/open/%252e%252e/l3",
        "/open/x#y",
        "/open%00",
        "/open/%zz",
        "l3",
        "http://api.example.ir/l3",
        "*",
        "/open/%c0%ae%c0%ae/l3",
        "/open/\u{80}",
    ] {
        for family in FAMILIES {
            let answer = send(&gateway, question(family, "GET", trick, &[&strong])).await;
            assert_refused(&answer, 400, "path_ambiguous");
        }
        if trick.starts_with('/') {
            let behind = send(&gateway, get(&format!("/.gateway/verify{trick}"), &[&strong])).await;
            assert_eq!(behind.status(), 400, "{trick}");
        }
    }
    let answer = ask(&gateway, "GET", "/%6C3/x", &[]).await;
    assert_refused(&answer, 401, "token_missing");
    assert_refused(&ask(&gateway, "GET", "/open/a b", &[]).await, 400, "path_ambiguous");
    assert_refused(&ask(&gateway, "GET", "/open?a b", &[]).await, 400, "request_malformed");
}

#[tokio::test]
async fn an_original_request_must_have_one_reading() {
    let gateway = asked_about().start().await;
    let strong = bearer(&token(3).sign());
    let told = ["X-Original-Method: GET", "X-Original-Host: api.example.ir", "X-Original-URI: /open"];
    for missing in 0..3 {
        let left: Vec<&str> = (0..3).filter(|n| *n != missing).map(|n| told[n]).chain([&*strong]).collect();
        assert_refused(&send(&gateway, get("/.gateway/verify", &left)).await, 400, "request_malformed");
    }
    for extra in [
        "X-Original-URI: /open",
        "X-Original-Method: GET",
        "X-Original-Host: api.example.ir",
        "X-Forwarded-Uri: /open",
        "X-Forwarded-Method: GET",
        "X_Original_URI: /open",
        "X-Original_Host: b",
        "X_Forwarded_Method: GET",
    ] {
        let answer = ask(&gateway, "GET", "/open", &[extra]).await;
        assert_refused(&answer, 400, "request_malformed");
    }
    for bad in ["X-Original-Host: a b", "X-Original-Host: a,b", "X-Original-Host:", "X-Original-Host: a@b"] {
        let fields = [told[0], bad, told[2]];
        assert_refused(&send(&gateway, get("/.gateway/verify", &fields)).await, 400, "request_malformed");
    }
    let behind = send(&gateway, get("/.gateway/verify/open", &["X-Original-URI: /open"])).await;
    assert_refused(&behind, 400, "request_malformed");
    assert_refused(&send(&gateway, get("/.gateway/verify", &[])).await, 400, "request_malformed");
}

/// The host is the one that is told, wherever the question itself was sent.
#[tokio::test]
async fn the_original_host_finds_the_route() {
    let gateway = asked_about().start().await;
    let fields = ["X-Original-Method: GET", "X-Original-Host: STRICT.example.ir.:443", "X-Original-URI: /open"];
    assert_refused(&send(&gateway, get("/.gateway/verify", &fields)).await, 401, "token_missing");
    let behind = "GET /.gateway/verify/open HTTP/1.1\r\nHost: strict.example.ir\r\n\r\n";
    assert_refused(&send(&gateway, behind).await, 401, "token_missing");
}

/// Envoy's way over HTTP: the request itself, its path behind the prefix.
#[tokio::test]
async fn a_request_behind_the_prefix_is_judged_by_its_own_method_and_path() {
    let gateway = asked_about().start().await;
    let strong = bearer(&token(3).scope("tax.write").sign());
    let answer = send(&gateway, request("POST", "/.gateway/verify/written?q=1", &[&strong, "Content-Length: 0"])).await;
    assert_allowed(&answer);
    assert_refused(&send(&gateway, get("/.gateway/verify/written", &[&strong])).await, 405, "method_not_allowed");
    assert_refused(&send(&gateway, get("/.gateway/verify/", &[&strong])).await, 404, "route_unknown");
    let head = send(&gateway, request("HEAD", "/.gateway/verify/l3", &[])).await;
    assert_eq!((head.status(), head.payload.bytes.len()), (401, 0));
    for not_it in ["/.gateway/verifyx", "/.gateway/verify*", "/.gateway/%76erify/open", "/.gateway", "/.gateway/other"]
    {
        assert_refused(&send(&gateway, get(not_it, &[&strong])).await, 404, "route_unknown");
    }
}

/// A HEAD that NGINX asks about comes as a GET, and the answer has its body.
#[tokio::test]
async fn the_answer_is_framed_for_the_question_and_not_for_what_it_is_about() {
    let gateway = asked_about().start().await;
    let answer = ask(&gateway, "HEAD", "/l1", &[]).await;
    assert_refused(&answer, 401, "token_missing");
    assert!(!answer.payload.bytes.is_empty());
}

/// Who may ask is believed about the request, and gets the agency's assertions: its own proxies alone.
#[tokio::test]
async fn nobody_else_may_ask() {
    let gateway = asked_about().start().await;
    let strong = bearer(&token(3).sign());
    assert_refused(&ask(&gateway, "GET", "/foreign", &[&strong]).await, 403, "verify_forbidden");
    let stranger =
        Config::new().own_proxy("tax", "verify: { from: [10.9.9.9] }").simple("open", "tax", 0).start().await;
    assert_refused(&ask(&stranger, "GET", "/open", &[&strong]).await, 403, "verify_forbidden");
    let behind = get("/.gateway/verify/open", &["X-Forwarded-For: 10.9.9.9"]);
    assert_refused(&send(&stranger, behind).await, 403, "verify_forbidden");
}

/// Where nobody may ask, the path is nothing; and a route for everything does not lead it to an agency.
#[tokio::test]
async fn without_askers_there_is_no_such_path() {
    let agency = Agency::hello().await;
    let everything = "name: all, agency: registry, match: { prefix: / }, require: { level: 0 }";
    let gateway = Config::new().agency("registry", &agency.url()).route(everything).start().await;
    for path in ["/.gateway/verify", "/.gateway/verify/x", "/.gateway/anything", "/.gateway"] {
        assert_refused(&send(&gateway, get(path, &[])).await, 404, "route_unknown");
    }
    assert_eq!(send(&gateway, get("/.gatewayx", &[])).await.status(), 200);
    agency.only();
}

#[tokio::test]
async fn an_agency_that_is_only_asked_about_is_not_forwarded_to() {
    let agency = Agency::hello().await;
    let keys = "verify: { from: [127.0.0.1] }";
    let gateway = asked_about().agency_with("both", &agency.url(), keys).simple("both", "both", 1).start().await;
    let strong = bearer(&token(3).sign());
    assert_refused(&send(&gateway, get("/l1", &[&strong])).await, 404, "route_unknown");
    assert_refused(&send(&gateway, get("/open", &[])).await, 404, "route_unknown");
    // One that has endpoints too is both.
    assert_allowed(&ask(&gateway, "GET", "/both", &[&strong]).await);
    assert_eq!(send(&gateway, get("/both", &[&strong])).await.status(), 200);
    assert_eq!(agency.only().head.get("x-gateway-subject"), None);
}

/// MT: a proxy beyond our own network is known by its certificate.
#[tokio::test]
async fn a_proxy_may_have_to_show_its_certificate() {
    let tls = TLS.replace("tls: {", "tls: { client_ca: certs/ca.pem, client_auth: optional,");
    let listener = format!("{{ name: public, address: 127.0.0.1:0, {tls} }}");
    let keys = "verify: { from: [127.0.0.1], client: [Proxy.Tax.example.ir] }";
    let gateway = Config::new().listeners(&[&listener]).own_proxy("tax", keys).simple("open", "tax", 0).start().await;
    let question = question(FAMILIES[0], "GET", "/open", &[]);
    let ours = ca().sign(&["proxy.tax.example.ir"]);
    let others = ca().sign(&["proxy.land.example.ir"]);
    for (certificate, allowed) in [(Some(&ours), true), (Some(&others), false), (None, false)] {
        let trust = Trust { certificate, ..Trust::default() };
        let mut wire = connect_as(&gateway, "api.example.ir", &trust).await;
        wire.send(&question).await.expect("it is read");
        let answer = wire.answer_to("GET").await;
        if allowed { assert_allowed(&answer) } else { assert_refused(&answer, 403, "verify_forbidden") }
    }
    // A certificate of somebody else's CA does not come through the handshake.
    let forged = Authority::new("Other CA").sign(&["proxy.tax.example.ir"]);
    let trust = Trust { certificate: Some(&forged), ..Trust::default() };
    let mut wire = connect_as(&gateway, "api.example.ir", &trust).await;
    let _ = wire.send(&question).await;
    assert!(wire.head().await.is_none());
}

/// The client's address is the one that the asking proxy tells.
#[tokio::test]
async fn rates_count_the_client_and_not_the_proxy() {
    let gateway = asked_about().start().await;
    let from = |address: &str| format!("X-Forwarded-For: {address}");
    for _ in 0..2 {
        assert_allowed(&ask(&gateway, "GET", "/rated", &[&from("192.0.2.1")]).await);
    }
    let answer = ask(&gateway, "GET", "/rated", &[&from("192.0.2.1")]).await;
    assert_refused(&answer, 429, "rate_limited");
    assert!(answer.head.has("retry-after"));
    assert_allowed(&ask(&gateway, "GET", "/rated", &[&from("192.0.2.2")]).await);
    // What the client wrote in front of its own address does not count.
    assert_refused(&ask(&gateway, "GET", "/rated", &[&from("192.0.2.9, 192.0.2.1")]).await, 429, "rate_limited");
}

#[tokio::test]
async fn verdicts_are_logged_and_counted_as_such() {
    let gateway = asked_about().start().await;
    let strong = bearer(&token(3).sign());
    let allowed = ask(&gateway, "POST", "/l2", &[&strong, "X-Request-Id: from-the-proxy"]).await;
    assert_eq!(allowed.head.get("x-request-id"), Some("from-the-proxy"));
    let line = gateway.log_of("from-the-proxy").await;
    let seen = (&line["route"], &line["agency"], &line["method"], &line["status"], &line["level"], &line["verdict"]);
    assert_eq!(seen, (&"l2".into(), &"tax".into(), &"POST".into(), &200.into(), &3.into(), &true.into()));
    assert!(line["subject"].is_string() && line.get("upstream_us").is_none());
    ask(&gateway, "GET", "/l2", &[]).await;
    ask(&gateway, "GET", "/foreign", &[]).await;
    let count = |m: &Metrics, route: &str, outcome: &str| {
        m.sum("darvazeh_verdicts_total", &[&format!("route=\"{route}\""), &format!("outcome=\"{outcome}\"")])
    };
    gateway
        .metrics_when("three verdicts", |m| {
            count(m, "l2", "allowed") == 1.0
                && count(m, "l2", "token_missing") == 1.0
                && count(m, "foreign", "verify_forbidden") == 1.0
        })
        .await;
    assert!(!gateway.output().contains(&*strong));
}

/// What a route says of listeners holds for questions too: proxies can be kept apart from callers.
#[tokio::test]
async fn a_route_is_judged_on_its_listeners_alone() {
    let inner = "{ name: inner, address: 127.0.0.1:0 }";
    let public = format!("{{ name: public, address: 127.0.0.1:0, {TLS} }}");
    let route = "name: open, agency: tax, match: { prefix: /open }, require: { level: 0 }, listeners: [inner]";
    let config = Config::new().listeners(&[&public, inner]).own_proxy("tax", "verify: { from: [127.0.0.1] }");
    let gateway = config.route(route).start().await;
    assert_refused(&ask(&gateway, "GET", "/open", &[]).await, 404, "route_unknown");
    let mut wire = connect_plain(gateway.address_of("inner")).await;
    wire.send(question(FAMILIES[0], "GET", "/open", &[])).await.expect("it is read");
    assert_allowed(&wire.answer_to("GET").await);
}

/// A body is not read as a verdict's, and never as the next question.
#[tokio::test]
async fn a_body_is_no_part_of_a_question() {
    let gateway = asked_about().start().await;
    let smuggled = get("/.gateway/verify/open", &[]);
    let length = format!("Content-Length: {}", smuggled.len());
    let mut wire = connect_as(&gateway, "api.example.ir", &Trust::default()).await;
    wire.send(request("PUT", "/.gateway/verify/l1", &[&length]) + &smuggled).await.expect("it is read");
    assert_refused(&wire.answer_to("PUT").await, 401, "token_missing");
    let _ = wire.send(question(FAMILIES[0], "GET", "/nowhere", &[])).await;
    if let Some(answer) = wire.try_answer_to("GET").await {
        assert_refused(&answer, 404, "route_unknown");
    }
}

#[tokio::test]
async fn questions_come_over_http_2_as_well() {
    let gateway = asked_about().start().await;
    let h2 = H2::connect(&gateway).await;
    let strong = format!("Bearer {}", token(3).sign());
    let behind = h2_get("/.gateway/verify/l3").header("authorization", &strong).body(()).expect("good parts");
    assert_allowed(&h2.request(behind, b"").await.message());
    let fields = h2_get("/.gateway/verify").header("x-forwarded-method", "GET").header("x-forwarded-uri", "/l3");
    let fields = fields.header("x-forwarded-host", "api.example.ir").body(()).expect("good parts");
    assert_refused(&h2.request(fields, b"").await.message(), 401, "token_missing");
}

/// Who may ask changes with a reload, for the connections that are open too.
#[tokio::test]
async fn a_reload_changes_who_may_ask() {
    let config = |from: &str| {
        let keys = format!("verify: {{ from: [{from}] }}");
        Config::new().own_proxy("tax", &keys).simple("open", "tax", 0)
    };
    let gateway = config("127.0.0.1").start().await;
    let mut wire = connect_as(&gateway, "api.example.ir", &Trust::default()).await;
    let question = question(FAMILIES[0], "GET", "/open", &[]);
    wire.send(&question).await.expect("it is read");
    assert_allowed(&wire.answer_to("GET").await);
    std::fs::write(gateway.config_file(), config("10.9.9.9").yaml()).expect("a file in our own directory");
    assert_eq!(gateway.admin("POST", "/reload").await.status(), 200);
    wire.send(&question).await.expect("it is read");
    assert_refused(&wire.answer_to("GET").await, 403, "verify_forbidden");
}

/// Many questions come on one connection.
#[tokio::test]
async fn a_refused_question_leaves_the_connection_open() {
    let gateway = asked_about().start().await;
    let mut wire = connect_as(&gateway, "api.example.ir", &Trust::default()).await;
    for (uri, status) in [("/l1", 401), ("//", 400), ("/open", 200), ("/nowhere", 404)] {
        wire.send(question(FAMILIES[1], "GET", uri, &[])).await.expect("it is read");
        assert_eq!(wire.answer_to("GET").await.status(), status, "{uri}");
    }
}

/// Questions are load like requests, and are shed like them. Every process takes more than 16 MiB.
#[tokio::test]
async fn a_worker_with_too_much_to_bear_sheds_questions_too() {
    let config = asked_about().top("overload: { memory: 16MiB, queue_delay: off }\nworkers: 1");
    let gateway = config.start().await;
    // Later connections would be turned away.
    let mut wire = connect(&gateway).await;
    let shed = async {
        loop {
            wire.send(question(FAMILIES[0], "GET", "/open", &[])).await.expect("kept alive");
            let answer = wire.answer().await;
            if answer.status() != 200 {
                return answer;
            }
        }
    };
    let answer = within("a question is shed", shed).await;
    assert_refused(&answer, 503, "overloaded");
    assert!(answer.head.has("retry-after"));
}
