//! Header and trailer fields on their way: what is removed, what is set, what a caller cannot fake (HP-1, HP-2, FW, TC).

use crate::support::agency::{Agency, ok};
use crate::support::client::{H2, bearer, connect, get, get_with, h2_get, request, send};
use crate::support::gateway::Gateway;
use crate::support::token::token;
use crate::support::verdict::{assert_passed, assert_refused};
use crate::support::wire::Head;
use crate::support::world::{self, Config, standard_with};

async fn place() -> (Agency, Gateway) {
    let agency = Agency::hello().await;
    let gateway = world::before(&agency.url()).await;
    (agency, gateway)
}

/// One where loopback clients are trusted proxies.
async fn behind_a_proxy() -> (Agency, Gateway) {
    let agency = Agency::hello().await;
    let gateway =
        world::standard(&agency.url()).listener_with("trusted_proxies: [127.0.0.0/8, 10.0.0.0/8]").start().await;
    (agency, gateway)
}

async fn forwarded(gateway: &Gateway, agency: &Agency, fields: &[&str]) -> Head {
    assert_passed(&send(gateway, get("/open", fields)).await);
    agency.last().head
}

/// HP-1
#[tokio::test]
async fn hp1_hop_by_hop_fields_are_removed() {
    let (agency, gateway) = place().await;
    let seen = forwarded(
        &gateway,
        &agency,
        &[
            "Connection: x-mine, keep-alive",
            "X-Mine: 1",
            "Keep-Alive: timeout=5",
            "Proxy-Connection: keep-alive",
            "Proxy-Authorization: Basic abc",
            "Proxy: http://evil.example",
            "TE: gzip",
            "Upgrade: h2c",
            "X-Stays: yes",
        ],
    )
    .await;
    for name in ["x-mine", "keep-alive", "proxy-connection", "proxy-authorization", "proxy", "upgrade"] {
        assert!(!seen.has(name), "{name}: {seen:?}");
    }
    assert!(!seen.all("te").contains(&"gzip"));
    assert!(!seen.all("connection").iter().any(|v| v.contains("x-mine")));
    assert_eq!(seen.get("x-stays"), Some("yes"));
}

/// HP-1's guard: naming our fields in Connection does not take them away.
#[tokio::test]
async fn hp1_connection_cannot_name_away_what_the_gateway_sets() {
    let agency = Agency::hello().await;
    let gateway = standard_with(&agency.url(), "identity: headers").start().await;
    let named = "Connection: close, authorization, x-forwarded-for, x-forwarded-proto, x-forwarded-host, forwarded, via, \
                 traceparent, x-request-id, x-gateway-subject, x-gateway-level, host, content-length";
    let answer = get_with(&gateway, "/l2", &token(2).sign(), &[named]).await;
    assert_passed(&answer);
    let seen = agency.only().head;
    for name in [
        "host",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "forwarded",
        "via",
        "traceparent",
        "x-request-id",
    ] {
        assert!(seen.has(name), "{name}: {seen:?}");
    }
    assert_eq!(seen.get("x-gateway-level"), Some("2"));
    assert!(seen.get("x-gateway-subject").is_some_and(|s| !s.is_empty()));
}

/// HP-1's guard: nor does it hide a credential from the judge.
#[tokio::test]
async fn hp1_connection_cannot_hide_the_authorization() {
    let (agency, gateway) = place().await;
    let two = bearer(&token(1).sign());
    let answer = send(&gateway, get("/l1", &["Connection: authorization", &two, &two])).await;
    assert_refused(&answer, 400, "credentials_malformed");
    agency.assert_untouched();
    assert_passed(&send(&gateway, get("/l1", &["Connection: authorization", &two])).await);
}

/// AS-12: what only the gateway may say is removed from headers, in every spelling, on every route.
#[tokio::test]
async fn as12_a_callers_gateway_fields_are_removed() {
    let agency = Agency::hello().await;
    let gateway = standard_with(&agency.url(), "identity: none").start().await;
    let fields = [
        "X-Gateway-Subject: admin",
        "x-gateway-level: 3",
        "X_Gateway_Subject: admin",
        "X-Gateway_Level: 3",
        "x_gateway-Assertion: abc",
        "X-GATEWAY-ANYTHING: 1",
        "X-Gatewayish: stays",
    ];
    for (path, credential) in [("/open", None), ("/l2", Some(bearer(&token(2).sign())))] {
        let all: Vec<&str> = fields.into_iter().chain(credential.as_deref()).collect();
        assert_passed(&send(&gateway, get(path, &all)).await);
        let seen = agency.last().head;
        let ours = |name: &str| name.replace('_', "-").starts_with("x-gateway-");
        assert!(!seen.fields.iter().any(|(n, _)| ours(n)), "{path}: {seen:?}");
        assert_eq!(seen.get("x-gatewayish"), Some("stays"));
    }
}

/// AS-12, HP-7: the same in trailers, over both protocols.
#[tokio::test]
async fn as12_a_callers_gateway_trailers_are_removed() {
    let (agency, gateway) = place().await;
    let mut wire = connect(&gateway).await;
    let body = "5\r\nhello\r\n0\r\nX-Gateway-Subject: admin\r\nX_Gateway_Level: 3\r\nAuthorization: Bearer x\r\nX-Sum: 9\r\n\r\n";
    wire.send(request("POST", "/open", &["Transfer-Encoding: chunked", "TE: trailers", "Trailer: X-Sum"]) + body)
        .await
        .expect("open");
    assert_passed(&wire.answer().await);
    let trailers = agency.last().payload.trailers;
    assert_eq!(trailers, [("x-sum".to_owned(), "9".to_owned())]);

    let h2 = H2::connect(&gateway).await;
    let mut sender = h2.send.clone().ready().await.expect("open");
    let request = h2_get("/open").method("POST").body(()).expect("good parts");
    let (answer, mut stream) = sender.send_request(request, false).expect("open");
    stream.send_data("hello".into(), false).expect("open");
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-gateway-subject", "admin".parse().expect("plain"));
    trailers.insert("x_gateway_level", "3".parse().expect("plain"));
    trailers.insert("x-sum", "9".parse().expect("plain"));
    stream.send_trailers(trailers).expect("open");
    assert_eq!(answer.await.expect("an answer").status(), 200);
    assert_eq!(agency.last().payload.trailers, [("x-sum".to_owned(), "9".to_owned())]);
}

/// HP-2
#[tokio::test]
async fn hp2_via_is_appended_and_names_no_inner_host() {
    let (agency, gateway) = place().await;
    let seen = forwarded(&gateway, &agency, &["Via: 1.0 elder"]).await;
    let via = seen.all("via").join(", ");
    let (first, ours) = via.split_once(", ").expect("two members");
    assert_eq!(first, "1.0 elder");
    assert!(ours.starts_with("1.1 ") && !ours.contains("127.0.0.1") && !ours.contains("localhost"), "{via}");
    let h2 = H2::connect(&gateway).await;
    assert_eq!(h2.request(h2_get("/open").body(()).expect("good parts"), b"").await.status, 200);
    let via = agency.last().head;
    assert!(via.get("via").is_some_and(|v| v.starts_with("2 ") || v.starts_with("2.0 ")), "{via:?}");
}

/// FW: a stranger's own word on where it comes from is replaced.
#[tokio::test]
async fn fw_a_strangers_forwarded_fields_are_replaced() {
    let (agency, gateway) = place().await;
    let seen = forwarded(
        &gateway,
        &agency,
        &[
            "X-Forwarded-For: 1.2.3.4",
            "X-Forwarded-Proto: http",
            "X-Forwarded-Host: evil.example",
            "X_Forwarded_For: 1.2.3.4",
            "X-Forwarded-Prefix: /evil",
            "X-Forwarded-Client-Cert: x",
            "Client-Cert: :abc=:",
            "Client_Cert: :abc=:",
            "Forwarded: for=1.2.3.4;host=evil.example",
        ],
    )
    .await;
    assert_eq!(seen.get("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.get("x-forwarded-proto"), Some("https"));
    assert_eq!(seen.get("x-forwarded-host"), Some("api.example.ir"));
    let text = format!("{:?}", seen.fields);
    for trace in ["1.2.3.4", "evil", "client-cert", "client_cert", "x_forwarded_for"] {
        assert!(!text.contains(trace), "{trace}: {text}");
    }
    let forwarded = seen.get("forwarded").expect("Forwarded");
    for part in ["for=127.0.0.1", "proto=https", "host=api.example.ir"] {
        assert!(forwarded.replace('"', "").contains(part), "{forwarded}");
    }
}

/// FW: a trusted proxy's lists are appended to.
#[tokio::test]
async fn fw_a_trusted_proxys_lists_are_appended_to() {
    let (agency, gateway) = behind_a_proxy().await;
    let seen = forwarded(
        &gateway,
        &agency,
        &["X-Forwarded-For: 9.9.9.9, 203.0.113.7, 10.1.2.3", "Forwarded: for=203.0.113.7;proto=https"],
    )
    .await;
    assert_eq!(seen.all("x-forwarded-for").join(", "), "9.9.9.9, 203.0.113.7, 10.1.2.3, 127.0.0.1");
    let forwarded = seen.all("forwarded").join(", ");
    assert!(forwarded.starts_with("for=203.0.113.7;proto=https, "), "{forwarded}");
}

/// TC
#[tokio::test]
async fn tc_a_stranger_starts_a_new_trace_and_a_trusted_proxy_continues_one() {
    const PARENT: &str = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let (agency, gateway) = place().await;
    for fields in [&[][..], &[PARENT, "tracestate: a=b"]] {
        let seen = forwarded(&gateway, &agency, fields).await;
        let parent = seen.get("traceparent").expect("traceparent");
        let parts: Vec<&str> = parent.split('-').collect();
        assert_eq!(parts.iter().map(|p| p.len()).collect::<Vec<_>>(), [2, 32, 16, 2], "{parent}");
        assert_ne!(parts[1], "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(parts[1].bytes().any(|b| b != b'0') && parts[2].bytes().any(|b| b != b'0'), "{parent}");
        assert!(!seen.has("tracestate"), "{seen:?}");
    }
    let (agency, gateway) = behind_a_proxy().await;
    let seen = forwarded(&gateway, &agency, &[PARENT, "tracestate: a=b"]).await;
    let parent = seen.get("traceparent").expect("traceparent");
    assert!(parent.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"), "{parent}");
    assert_eq!(seen.get("tracestate"), Some("a=b"));
    for bad in [
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "nonsense",
    ] {
        let seen = forwarded(&gateway, &agency, &[&format!("traceparent: {bad}"), "tracestate: a=b"]).await;
        let parent = seen.get("traceparent").expect("traceparent").to_ascii_lowercase();
        assert!(!parent.contains("4bf92f3577b34da6a3ce929d0e0e4736"), "{bad}: {parent}");
        assert!(!seen.has("tracestate"), "{bad}");
    }
}

#[tokio::test]
async fn a_request_id_is_kept_from_a_trusted_proxy_alone() {
    let (agency, gateway) = place().await;
    let answer = send(&gateway, get("/open", &["X-Request-Id: mine-1", "X_Request_Id: mine-2"])).await;
    let id = answer.head.get("x-request-id").expect("X-Request-Id").to_owned();
    assert_ne!(id, "mine-1");
    assert_eq!(agency.last().head.get("x-request-id"), Some(id.as_str()));
    let (agency, gateway) = behind_a_proxy().await;
    let answer = send(&gateway, get("/open", &["X-Request-Id: mine-1"])).await;
    assert_eq!(answer.head.get("x-request-id"), Some("mine-1"));
    assert_eq!(agency.last().head.get("x-request-id"), Some("mine-1"));
    let refused = send(&gateway, get("/l1", &["X-Request-Id: mine-2"])).await;
    assert_refused(&refused, 401, "token_missing");
    assert_eq!(refused.head.get("x-request-id"), Some("mine-2"));
}

#[tokio::test]
async fn every_request_has_an_id_of_its_own() {
    let (_agency, gateway) = place().await;
    let mut wire = connect(&gateway).await;
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..20 {
        wire.send(get("/open", &[])).await.expect("open");
        ids.insert(wire.answer().await.head.get("x-request-id").expect("X-Request-Id").to_owned());
    }
    assert_eq!(ids.len(), 20);
}

/// The answer loses what is between the agency and the gateway, and keeps the rest.
#[tokio::test]
async fn answers_lose_hop_by_hop_and_telling_fields() {
    let agency = Agency::start(|_| {
        b"HTTP/1.1 200 OK\r\nServer: Apache/2.2 (secret)\r\nX-Powered-By: PHP/5\r\nX-Gateway-Error: forged\r\n\
          X_Gateway_Subject: forged\r\nConnection: keep-alive, x-mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=5\r\n\
          Proxy-Connection: keep-alive\r\nX-Request-Id: forged\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\
          Cache-Control: max-age=60\r\nETag: \"x\"\r\nContent-Length: 2\r\n\r\nok"
            .to_vec()
    })
    .await;
    let gateway = world::before(&agency.url()).await;
    let answer = send(&gateway, get("/open", &[])).await;
    assert_passed(&answer);
    for name in
        ["server", "x-powered-by", "x-gateway-error", "x_gateway_subject", "x-mine", "keep-alive", "proxy-connection"]
    {
        assert!(!answer.head.has(name), "{name}: {:?}", answer.head);
    }
    assert_ne!(answer.head.get("x-request-id"), Some("forged"));
    assert_eq!(answer.head.all("set-cookie").len(), 2);
    assert_eq!(answer.head.get("cache-control"), Some("max-age=60"));
    assert_eq!(answer.head.get("etag"), Some("\"x\""));
}

/// Both ways, also where a name stands more than once: that order of lines of one name counts is RFC 9110 §5.3, the rest is
/// what readers of logs and captures expect.
#[tokio::test]
async fn fields_keep_the_order_in_which_they_came() {
    let named = |head: &Head| {
        let ours = head.fields.iter().filter(|(name, _)| name.to_ascii_lowercase().starts_with("x-o"));
        ours.map(|(name, value)| format!("{}={value}", name.to_ascii_lowercase())).collect::<Vec<_>>().join(" ")
    };
    let agency = Agency::start(|_| {
        b"HTTP/1.1 200 OK\r\nX-Ob: 1\r\nServer: x\r\nX-Oa: 2\r\nX-Ob: 3\r\nX-Oc: 4\r\nContent-Length: 2\r\n\r\nok"
            .to_vec()
    })
    .await;
    let gateway = world::before(&agency.url()).await;
    let sent = ["X-Oc: 1", "Connection: x-gone", "X-Gone: 1", "X-Oa: 2", "X-Oc: 3", "X-Ob: 4"];
    let answer = send(&gateway, get("/open", &sent)).await;
    assert_passed(&answer);
    assert_eq!(named(&agency.last().head), "x-oc=1 x-oa=2 x-oc=3 x-ob=4");
    assert_eq!(named(&answer.head), "x-ob=1 x-oa=2 x-ob=3 x-oc=4");
}

/// HP-10: conditional and range requests are the agency's business.
#[tokio::test]
async fn hp10_conditional_and_range_fields_pass_unchanged() {
    let agency = Agency::start(|_| {
        b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-1/5\r\nContent-Length: 2\r\n\r\nhe".to_vec()
    })
    .await;
    let gateway = world::before(&agency.url()).await;
    let fields = ["Range: bytes=0-1", "If-None-Match: \"a\", W/\"b\"", "If-Range: \"a\"", "Accept-Encoding: br"];
    let answer = send(&gateway, get("/open", &fields)).await;
    assert_eq!((answer.status(), answer.head.get("content-range")), (206, Some("bytes 0-1/5")));
    let seen = agency.only().head;
    assert_eq!(seen.get("range"), Some("bytes=0-1"));
    assert_eq!(seen.get("if-none-match"), Some("\"a\", W/\"b\""));
    assert_eq!(seen.get("accept-encoding"), Some("br"));
}

/// Statuses without a body stay without one.
#[tokio::test]
async fn answers_without_a_body_have_none() {
    let agency = Agency::start(|request| match request.head.target() {
        "/open/304" => b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 100\r\n\r\n".to_vec(),
        "/open/204" => b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 9\r\n\r\n\
                         HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n"
            .to_vec(),
        _ => ok("x"),
    })
    .await;
    let gateway = world::before(&agency.url()).await;
    let mut wire = connect(&gateway).await;
    for (path, statuses) in [("/open/304", &[304][..]), ("/open/204", &[103, 204]), ("/open/x", &[200])] {
        wire.send(get(path, &[])).await.expect("open");
        for status in statuses {
            let answer = wire.answer().await;
            assert_eq!(answer.status(), *status, "{path}");
            assert!(!(matches!(status, 103 | 204) && answer.head.has("content-length")), "{:?}", answer.head);
        }
    }
}

/// The token never reaches an agency that was not given it.
#[tokio::test]
async fn the_authorization_is_removed_unless_the_agency_takes_tokens() {
    let agency = Agency::hello().await;
    let mut config = Config::new();
    for identity in ["assertion", "headers", "token", "none"] {
        config = config.agency_with(&format!("a-{identity}"), &agency.url(), &format!("identity: {identity}")).simple(
            identity,
            &format!("a-{identity}"),
            2,
        );
    }
    let gateway = config.start().await;
    let token = token(2).sign();
    for identity in ["assertion", "headers", "token", "none"] {
        assert_passed(&get_with(&gateway, &format!("/{identity}"), &token, &["Authorization_: x"]).await);
        let seen = agency.last().head;
        let text = format!("{:?}", seen.fields);
        assert_eq!(seen.get("authorization").is_some(), identity == "token", "{identity}: {text}");
        assert_eq!(text.contains(&token), identity == "token", "{identity}: {text}");
    }
}

/// A folded name is the same name: `Authorization` cannot be smuggled past as another.
#[tokio::test]
async fn a_folded_authorization_never_reaches_an_agency() {
    let (agency, gateway) = place().await;
    for path in ["/open", "/l1"] {
        let bearer = bearer(&token(1).sign());
        let answer = send(&gateway, get(path, &[&bearer, "AUTHORIZATION_X: stays"])).await;
        assert_passed(&answer);
        assert!(!agency.last().head.has("authorization"));
    }
}
