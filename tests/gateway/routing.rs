//! Which route a request meets: host first, then the path from the left, then the method; whatever the order in the file.

use crate::support::agency::{Agency, ok};
use crate::support::client::{self, H2, h2_get, request, send};
use crate::support::gateway::Gateway;
use crate::support::verdict::{assert_passed, assert_refused};
use crate::support::wire::Message;
use crate::support::world::Config;

/// Routes of level 0 whose agency is told which of them it was by an added prefix.
async fn start(agency: &Agency, routes: &[(&str, &str)]) -> Gateway {
    let config = Config::new().agency("registry", &agency.url());
    let add = |config: Config, (name, matches): &(&str, &str)| {
        config.route(&format!(
            "name: {name}, agency: registry, match: {{ {matches} }}, require: {{ level: 0 }}, rewrite: {{ add_prefix: /{name} }}"
        ))
    };
    routes.iter().fold(config, add).start().await
}

/// Answers with the first segment of what it was asked: the route's name.
async fn telling() -> Agency {
    Agency::start(|request| {
        let name = request.head.target().split(['/', '?']).nth(1).unwrap_or_default().to_owned();
        if request.head.method() == "HEAD" { ok("") } else { ok(&name) }
    })
    .await
}

async fn ask(gateway: &Gateway, method: &str, host: &str, path: &str) -> Message {
    send(gateway, format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await
}

#[tokio::test]
async fn the_most_specific_host_and_path_win_whatever_their_order() {
    let agency = telling().await;
    let gateway = start(
        &agency,
        &[
            ("any-host", "prefix: /"),
            ("wild-deep", "hosts: ['*.example.ir'], path: /a/b/c"),
            ("wild", "hosts: ['*.example.ir'], prefix: /"),
            ("exact", "hosts: [api.example.ir], prefix: /"),
            ("prefix-a", "hosts: [api.example.ir], prefix: /a"),
            ("param", "hosts: [api.example.ir], path: '/a/{id}'"),
            ("literal", "hosts: [api.example.ir], path: /a/b"),
            ("param-then-literal", "hosts: [api.example.ir], path: '/a/{id}/c'"),
            ("literal-then-prefix", "hosts: [api.example.ir], prefix: /a/b"),
            ("post-only", "hosts: [api.example.ir], path: /a/b, methods: [POST]"),
        ],
    )
    .await;
    let table = [
        ("GET", "api.example.ir", "/a/b", "literal"),
        ("POST", "api.example.ir", "/a/b", "post-only"),
        ("GET", "api.example.ir", "/a/x", "param"),
        ("GET", "api.example.ir", "/a/b/c", "literal-then-prefix"),
        ("GET", "api.example.ir", "/a/x/c", "param-then-literal"),
        ("GET", "api.example.ir", "/a/x/d", "prefix-a"),
        ("GET", "api.example.ir", "/a", "prefix-a"),
        ("GET", "api.example.ir", "/a/", "prefix-a"),
        ("GET", "api.example.ir", "/ab", "exact"),
        ("GET", "api.example.ir", "/", "exact"),
        ("GET", "API.Example.IR", "/a/b", "literal"),
        ("GET", "api.example.ir:8443", "/a/b", "literal"),
        ("GET", "other.example.ir", "/a/b/c", "wild-deep"),
        ("GET", "other.example.ir", "/a/b", "wild"),
        ("GET", "a.b.example.ir", "/a/b", "any-host"),
        ("GET", "example.ir", "/a/b", "any-host"),
        ("GET", "example.com", "/a/b/c", "any-host"),
    ];
    for (method, host, path, route) in table {
        let answer = ask(&gateway, method, host, path).await;
        assert_eq!(answer.text(), route, "{method} {host} {path}: {:?}", answer.head);
    }
}

#[tokio::test]
async fn what_no_route_matches_is_404() {
    let agency = Agency::hello().await;
    let gateway = start(
        &agency,
        &[
            ("p", "hosts: [api.example.ir], prefix: /a"),
            ("q", "hosts: [api.example.ir], path: /b"),
            ("r", "hosts: [api.example.ir], path: '/c/{id}/d'"),
        ],
    )
    .await;
    let unmatched = ["/", "/ab", "/A", "/b/", "/b/c", "/c/1", "/c/1/d/", "/c/1/2/d", "/%61b"];
    for path in unmatched {
        assert_refused(&ask(&gateway, "GET", "api.example.ir", path).await, 404, "route_unknown");
    }
    // Contract section 5: so is a host that no route has.
    assert_refused(&ask(&gateway, "GET", "other.example.ir", "/a").await, 404, "route_unknown");
    assert_refused(&ask(&gateway, "GET", "api.example.ir.evil.com", "/a").await, 404, "route_unknown");
    agency.assert_untouched();
    assert_passed(&ask(&gateway, "GET", "api.example.ir", "/a/").await);
}

#[tokio::test]
async fn a_wrong_method_is_405_with_all_that_are_allowed() {
    let agency = Agency::hello().await;
    let gateway = start(
        &agency,
        &[
            ("get", "path: /doc, methods: [GET]"),
            ("put", "path: /doc, methods: [PUT]"),
            ("below", "prefix: /doc, methods: [DELETE]"),
        ],
    )
    .await;
    let answer = ask(&gateway, "POST", "api.example.ir", "/doc").await;
    assert_refused(&answer, 405, "method_not_allowed");
    let mut allowed: Vec<&str> = answer.head.get("allow").expect("Allow").split(", ").collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["DELETE", "GET", "HEAD", "PUT"]);
    agency.assert_untouched();
    // A route whose method does not fit is passed over for one that is less specific.
    assert_passed(&ask(&gateway, "DELETE", "api.example.ir", "/doc").await);
}

/// HP-3 and contract section 5
#[tokio::test]
async fn hp3_connect_and_trace_are_refused() {
    let agency = Agency::hello().await;
    let gateway = start(&agency, &[("all", "prefix: /")]).await;
    assert_refused(&ask(&gateway, "TRACE", "api.example.ir", "/x").await, 405, "method_not_allowed");
    let answer = send(&gateway, "CONNECT api.example.ir:443 HTTP/1.1\r\nHost: api.example.ir:443\r\n\r\n").await;
    assert_eq!(answer.status(), 405, "{:?}", answer.head);
    agency.assert_untouched();
}

/// HP-3
#[tokio::test]
async fn hp3_options_with_no_hops_left_is_answered_here_and_with_some_goes_on_with_one_less() {
    let agency = Agency::hello().await;
    let gateway = start(&agency, &[("all", "prefix: /")]).await;
    let none = send(&gateway, request("OPTIONS", "/x", &["Max-Forwards: 0"])).await;
    assert_eq!(none.status(), 204);
    agency.assert_untouched();
    assert_passed(&send(&gateway, request("OPTIONS", "/x", &["Max-Forwards: 3"])).await);
    assert_eq!(agency.only().head.get("max-forwards"), Some("2"));
}

#[tokio::test]
async fn get_implies_head_and_options_is_a_method_like_others() {
    let agency = Agency::hello().await;
    let gateway =
        start(&agency, &[("get", "path: /doc, methods: [GET]"), ("opt", "path: /o, methods: [OPTIONS]")]).await;
    let head = send(&gateway, request("HEAD", "/doc", &[])).await;
    assert_eq!((head.status(), head.head.get("content-length")), (200, Some("5")));
    assert_eq!(agency.only().head.method(), "HEAD");
    assert_refused(&ask(&gateway, "OPTIONS", "api.example.ir", "/doc").await, 405, "method_not_allowed");
    assert_passed(&ask(&gateway, "OPTIONS", "api.example.ir", "/o").await);
    assert_refused(&ask(&gateway, "GET", "api.example.ir", "/o").await, 405, "method_not_allowed");
}

/// A method of the caller's own making passes where a route lists none, and is forwarded as it was.
#[tokio::test]
async fn an_unusual_method_is_forwarded_where_no_list_forbids_it() {
    let agency = Agency::hello().await;
    let gateway = start(&agency, &[("all", "prefix: /")]).await;
    assert_passed(&ask(&gateway, "PROPFIND", "api.example.ir", "/x").await);
    assert_eq!(agency.only().head.method(), "PROPFIND");
    // Methods are case-sensitive (RFC 9110 §9.1).
    let lists = start(&agency, &[("get", "prefix: /, methods: [GET]")]).await;
    assert_refused(&ask(&lists, "get", "api.example.ir", "/x").await, 405, "method_not_allowed");
}

#[tokio::test]
async fn prefixes_are_stripped_and_added() {
    let agency = Agency::hello().await;
    let gateway = Config::new()
        .agency("registry", &agency.url())
        .route("name: s, agency: registry, match: { prefix: /a/b }, require: { level: 0 }, rewrite: { strip_prefix: /a/b }")
        .route(
            "name: sa, agency: registry, match: { prefix: /c }, require: { level: 0 }, \
             rewrite: { strip_prefix: /c, add_prefix: /v1/x }",
        )
        .start()
        .await;
    let table = [
        ("/a/b", "/"),
        ("/a/b/", "/"),
        ("/a/b/c/d?q=1", "/c/d?q=1"),
        ("/a/b?x", "/?x"),
        ("/c/d", "/v1/x/d"),
        ("/c/%d8%aa", "/v1/x/%D8%AA"),
    ];
    for (asked, forwarded) in table {
        assert_passed(&ask(&gateway, "GET", "api.example.ir", asked).await);
        assert_eq!(agency.last().head.target(), forwarded, "{asked}");
    }
}

/// HP-4: absolute-form replaces Host.
#[tokio::test]
async fn hp4_absolute_form_replaces_host() {
    let agency = Agency::hello().await;
    let gateway = start(&agency, &[("a", "hosts: [a.example.ir], prefix: /")]).await;
    let answer = send(&gateway, "GET https://a.example.ir/x?y HTTP/1.1\r\nHost: b.example.ir\r\n\r\n").await;
    assert_passed(&answer);
    let seen = agency.only();
    assert_eq!(seen.head.target(), "/a/x?y");
    assert_eq!(seen.head.get("x-forwarded-host"), Some("a.example.ir"));
    let answer = send(&gateway, "GET https://b.example.ir/x HTTP/1.1\r\nHost: a.example.ir\r\n\r\n").await;
    assert_refused(&answer, 404, "route_unknown");
}

/// A route may be kept to some listeners.
#[tokio::test]
async fn a_route_may_name_its_listeners() {
    let agency = Agency::hello().await;
    let gateway = Config::new()
        .listeners(&["{ name: public, address: 127.0.0.1:0 }", "{ name: inside, address: 127.0.0.1:0 }"])
        .agency("registry", &agency.url())
        .simple("everywhere", "registry", 0)
        .route("name: in, agency: registry, match: { prefix: /in }, require: { level: 0 }, listeners: [inside]")
        .start()
        .await;
    let ask = async |listener: &str, path: &str| {
        let mut wire = client::connect_plain(gateway.address_of(listener)).await;
        wire.send(client::get(path, &[])).await.expect("open");
        wire.answer().await
    };
    assert_passed(&ask("public", "/everywhere").await);
    assert_passed(&ask("inside", "/everywhere").await);
    assert_passed(&ask("inside", "/in").await);
    assert_refused(&ask("public", "/in").await, 404, "route_unknown");
}

#[tokio::test]
async fn http2_meets_the_same_routes() {
    let agency = telling().await;
    let gateway = start(
        &agency,
        &[("a", "hosts: [api.example.ir], prefix: /a, methods: [GET]"), ("b", "prefix: /a, methods: [PUT]")],
    )
    .await;
    let h2 = H2::connect(&gateway).await;
    let answer = h2.request(h2_get("/a/x?y=1").body(()).expect("good parts"), b"").await;
    assert_eq!(answer.body, b"a");
    let unknown = h2.request(h2_get("/b").body(()).expect("good parts"), b"").await;
    assert_refused(&unknown.message(), 404, "route_unknown");
    let method = h2.request(h2_get("/a").method("POST").body(()).expect("good parts"), b"").await;
    let method = method.message();
    assert_refused(&method, 405, "method_not_allowed");
    assert!(method.head.get("allow").expect("Allow").contains("PUT"));
}
