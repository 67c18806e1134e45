//! The verdict for Envoy over gRPC: `envoy.service.auth.v3.Authorization/Check`, its messages written and read by hand.

use http::Request;

use crate::support::certs::Trust;
use crate::support::client::{H2, H2Answer, HOST};
use crate::support::token::{acr, token};
use crate::support::world::Config;
use crate::verify::asked_about;

const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

/// A field of a message: its number and, as its value, text or a message (Protobuf encoding, wire type 2).
fn field(number: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    let mut length = value.len();
    while length >= 0x80 {
        bytes.push(length as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend_from_slice(value);
    bytes
}

/// The values of a message's fields of this number; fields of other types are passed over.
fn values(mut message: &[u8], number: u64) -> Vec<Vec<u8>> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        value
    }
    let mut found = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message);
        let value = match key & 7 {
            0 => varint(&mut message).to_be_bytes().to_vec(),
            2 => {
                let length = varint(&mut message) as usize;
                let (value, rest) = message.split_at(length);
                message = rest;
                value.to_vec()
            }
            other => panic!("wire type {other}"),
        };
        if key >> 3 == number {
            found.push(value);
        }
    }
    found
}

fn only(message: &[u8], number: u64) -> Vec<u8> {
    let mut found = values(message, number);
    assert_eq!(found.len(), 1, "field {number} of {message:?}");
    found.remove(0)
}

/// `attributes` with source, request, and a destination and extensions that nobody asked for.
fn check(method: &str, path: &str, client: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let pair =
        |(name, value): &(&str, &str)| field(3, &[field(1, name.as_bytes()), field(2, value.as_bytes())].concat());
    let mut http = [field(1, b"42"), field(2, method.as_bytes())].concat();
    http.extend(pair(&(":method", "BREW")));
    http.extend(pair(&(":path", "/open")));
    headers.iter().for_each(|header| http.extend(pair(header)));
    http.extend(
        [field(4, path.as_bytes()), field(5, HOST.as_bytes()), field(6, b"https"), field(10, b"HTTP/2")].concat(),
    );
    let address = field(1, &field(1, &[field(2, client.as_bytes()), vec![3 << 3, 80]].concat()));
    let extensions = field(10, &[field(1, b"a"), field(2, b"b")].concat());
    let parts = [field(1, &address), field(2, &address), field(4, &field(2, &http)), extensions];
    field(1, &parts.concat())
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&[0][..], &(message.len() as u32).to_be_bytes(), message].concat()
}

async fn call(h2: &H2, body: &[u8]) -> H2Answer {
    let request = Request::post(format!("https://{HOST}{CHECK}")).header("content-type", "application/grpc");
    h2.request(request.header("te", "trailers").body(()).expect("good parts"), body).await
}

/// What Envoy does with a request.
#[derive(Debug)]
enum Verdict {
    Pass { set: Vec<(String, String)>, remove: Vec<String> },
    Refuse { status: u64, headers: Vec<(String, String)>, body: String },
}

fn options(message: &[u8], number: u64) -> Vec<(String, String)> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    let options = values(message, number).into_iter();
    options
        .map(|option| {
            assert_eq!(only(&option, 2), b"", "`append` is false: a client's own is replaced, never joined");
            let header = only(&option, 1);
            (text(only(&header, 1)), text(only(&header, 2)))
        })
        .collect()
}

fn verdict(answer: &H2Answer) -> Verdict {
    assert_eq!((answer.status, answer.get("content-type")), (200, Some("application/grpc")));
    let trailers = answer.trailers.as_ref().unwrap_or_else(|| panic!("a gRPC error: {:?}", answer.headers));
    assert_eq!(trailers["grpc-status"], "0");
    let (prefix, message) = answer.body.split_at(5);
    assert_eq!((prefix[0], &prefix[1..]), (0, &(message.len() as u32).to_be_bytes()[..]));
    let text = |bytes: &Vec<u8>| String::from_utf8(bytes.clone()).expect("text");
    let code = values(&only(message, 1), 1);
    match (values(message, 2).first(), values(message, 3).first()) {
        (Some(denied), None) => {
            assert_ne!(code, Vec::<Vec<u8>>::new(), "a refusal has a code other than OK");
            let status = only(&only(denied, 1), 1);
            Verdict::Refuse {
                status: u64::from_be_bytes(status.try_into().expect("a number")),
                headers: options(denied, 2),
                body: values(denied, 3).first().map(text).unwrap_or_default(),
            }
        }
        (None, Some(allowed)) => {
            assert_eq!(code, Vec::<Vec<u8>>::new(), "OK is zero, and zero is not written");
            Verdict::Pass { set: options(allowed, 2), remove: values(allowed, 5).iter().map(text).collect() }
        }
        other => panic!("neither yes nor no: {other:?}"),
    }
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
}

#[tokio::test]
async fn a_good_token_passes_with_the_assertion_in_place_of_what_the_client_sent() {
    let gateway = asked_about().start().await;
    let h2 = H2::connect(&gateway).await;
    let bearer = format!("Bearer {}", token(2).sign());
    let headers = [
        ("authorization", &*bearer),
        ("x-gateway-assertion", "forged"),
        ("x-gateway-level", "3"),
        ("x_gateway_x", "y"),
    ];
    let answer = call(&h2, &framed(&check("GET", "/l2/x?q=1", "192.0.2.1", &headers))).await;
    let Verdict::Pass { set, mut remove } = verdict(&answer) else { panic!("{answer:?}") };
    assert_eq!(set.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["x-gateway-assertion"]);
    assert!(header(&set, "x-gateway-assertion").is_some_and(|a| a.split('.').count() == 3));
    remove.sort();
    assert_eq!(remove, ["authorization", "cookie", "x-gateway-level", "x_gateway_x"]);
}

/// BE-1, SU-1: with status, challenge and body, for Envoy to give to the client.
#[tokio::test]
async fn a_refusal_is_what_the_client_would_have_got() {
    let gateway = asked_about().start().await;
    let h2 = H2::connect(&gateway).await;
    let weak = format!("Bearer {}", token(1).sign());
    let answer = call(&h2, &framed(&check("GET", "/l2", "192.0.2.1", &[("authorization", &weak)]))).await;
    let Verdict::Refuse { status, headers, body } = verdict(&answer) else { panic!("{answer:?}") };
    assert_eq!((status, header(&headers, "x-gateway-error")), (401, Some("level_too_low")));
    let challenge = header(&headers, "www-authenticate").expect("a challenge");
    assert!(challenge.contains(&acr(2)) && challenge.contains("insufficient_user_authentication"), "{challenge}");
    let body: serde_json::Value = serde_json::from_str(&body).expect("problem+json");
    assert_eq!(body["code"], "level_too_low");
    for (path, headers, wanted) in [
        ("/open/../l3", &[][..], 400),
        ("//l3", &[], 400),
        ("/open/%2e%2e/l3", &[], 400),
        ("/nowhere", &[], 404),
        ("/l1", &[("content-type", "application/grpc")], 401),
        ("/l1", &[("authorization", "Bearer a,Bearer b")], 400),
        ("/foreign", &[], 403),
        ("", &[], 400),
        ("*", &[], 400),
    ] {
        let answer = call(&h2, &framed(&check("GET", path, "192.0.2.1", headers))).await;
        let Verdict::Refuse { status, .. } = verdict(&answer) else { panic!("{path}: {answer:?}") };
        assert_eq!(status, wanted, "{path}");
    }
}

/// The client is whom Envoy names, and not what the client wrote about itself.
#[tokio::test]
async fn rates_count_the_client_that_envoy_names() {
    let gateway = asked_about().start().await;
    let h2 = H2::connect(&gateway).await;
    for (client, lie, pass) in [
        ("192.0.2.1", "192.0.2.7", true),
        ("192.0.2.1", "192.0.2.8", true),
        ("192.0.2.1", "192.0.2.9", false),
        ("2001:db8::1", "192.0.2.1", true),
    ] {
        let answer = call(&h2, &framed(&check("GET", "/rated", client, &[("x-forwarded-for", lie)]))).await;
        match verdict(&answer) {
            Verdict::Pass { .. } => assert!(pass, "{client}"),
            Verdict::Refuse { status, headers, .. } => {
                assert!(!pass && status == 429 && header(&headers, "retry-after").is_some(), "{client}");
            }
        }
    }
}

/// What is no question gets no verdict, and an error is a no to Envoy.
#[tokio::test]
async fn what_is_no_question_is_an_error() {
    let gateway = asked_about().start().await;
    let h2 = H2::connect(&gateway).await;
    let good = check("GET", "/open", "192.0.2.1", &[]);
    let many: Vec<(&str, &str)> = vec![("a", "b"); 1100];
    let mut compressed = framed(&good);
    compressed[0] = 1;
    let mut longer = framed(&good);
    longer.push(0);
    for (body, status) in [
        (Vec::new(), "3"),
        (vec![0, 0, 0], "3"),
        (framed(&[0xff; 40]), "3"),
        (longer, "3"),
        (framed(&good)[..20].to_vec(), "3"),
        (compressed, "12"),
        (framed(&vec![0; 200 * 1024]), "8"),
    ] {
        let answer = call(&h2, &body).await;
        assert_eq!((answer.status, answer.get("grpc-status")), (200, Some(status)), "{} bytes", body.len());
        assert!(answer.body.is_empty());
    }
    for message in [Vec::new(), check("GET", "/open", "192.0.2.1", &many), check("G T", "/open", "x", &[])] {
        let Verdict::Refuse { status, .. } = verdict(&call(&h2, &framed(&message)).await) else { panic!("a yes") };
        assert_eq!(status, 400);
    }
    // The connection is none the worse.
    assert!(matches!(verdict(&call(&h2, &framed(&good)).await), Verdict::Pass { .. }));
}

/// For whoever may not ask, it is a path like others.
#[tokio::test]
async fn nobody_else_may_call() {
    let config = Config::new().own_proxy("tax", "verify: { from: [10.9.9.9] }").simple("open", "tax", 0);
    let gateway = config.start().await;
    let h2 = H2::connect_as(&gateway, HOST, &Trust { alpn: &["h2"], ..Trust::default() }).await;
    let answer = call(&h2, &framed(&check("GET", "/open", "192.0.2.1", &[]))).await;
    assert_eq!((answer.get("x-gateway-error"), answer.get("grpc-status")), (Some("route_unknown"), Some("12")));
}
