//! What `explain` says is what the gateway does: one table of requests, asked of both.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use serde_json::Value;

use super::support::*;

/// An agency that answers every request with the head it was sent.
fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || answer(stream));
        }
    });
    url
}

fn answer(mut stream: TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", head.len());
    let _ = stream.write_all(&[reply.as_bytes(), &head].concat());
}

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    lines.into_iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

pub fn ask(address: SocketAddr, method: &str, target: &str, headers: &[String]) -> Answer {
    let mut stream = TcpStream::connect(address).expect("the gateway accepts");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out can be set");
    let host = match headers.iter().any(|line| line.starts_with("Host:")) {
        true => "",
        false => "Host: api.example.ir\r\n",
    };
    let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let _ = stream.write_all(format!("{method} {target} HTTP/1.1\r\n{host}{lines}\r\n").as_bytes());
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{method} {target}: no answer: {text}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// Method, target, headers. `Connection: close` is added to each.
fn table() -> Vec<(&'static str, String, Vec<String>)> {
    let bearer = |token: String| vec![format!("Authorization: Bearer {token}")];
    let lines = |lines: &[&str]| lines.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (history, pension) = ("/insurance/x", "/insurance/pensions/7");
    let mut table: Vec<(&str, String, Vec<String>)> = Vec::new();
    let mut add = |method, target: &str, headers| table.push((method, target.to_owned(), headers));

    for target in [
        "/news",
        "/news/",
        "/news/a?q=1",
        "/%6eews/%d8%a7",
        "/newsx",
        "/",
        "/insurance",
        "/insurance/pensions/7",
        "/profile",
        "/inside",
        "/nowhere",
        "/.gateway/jwks.json",
        "/news/../x",
        "/news/%2e",
        "/news%2fa",
        "/news//a",
        "/news/a;b",
        "/news/%zz",
        "/news/%252e",
        "/news/#a",
        "/news\\a",
        "/profile?access_token=x",
        "/news?access_token=x",
        "/news/a b",
        "/news?a\u{e9}",
    ] {
        add("GET", target, Vec::new());
    }
    for method in ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "REPORT", "get"] {
        add(method, history, Vec::new());
        add(method, "/news/a", Vec::new());
    }
    for level in 1..=3 {
        add("GET", history, bearer(token(level)));
        add("PUT", pension, bearer(token(level)));
        add("GET", "/account", bearer(token(level)));
    }
    for claims in [
        with(claims(2), "exp", now() - 3600),
        with(claims(2), "nbf", now() + 3600),
        with(claims(2), "aud", "https://other"),
        with(claims(2), "acr", 3),
        with(claims(2), "scope", "other"),
        with(claims(2), "nonce", "n"),
        with(claims(2), "sub", ""),
    ] {
        add("GET", history, bearer(sign(&KEY, &claims)));
    }
    add("GET", history, bearer(sign(&new_key(), &claims(2))));
    add("PUT", pension, bearer(sign(&KEY, &with(claims(3), "auth_time", now() - 3600))));
    for token in ["", "a b", "a.b.c", "é"] {
        add("GET", "/profile", bearer(token.to_owned()));
    }
    add("GET", "/profile", lines(&["Authorization: Basic dTpw"]));
    add("GET", "/profile", lines(&["Authorization:"]));
    add("GET", "/profile", [bearer(token(1)), bearer(token(1))].concat());
    add(
        "GET",
        "/news",
        lines(&["X-Gateway-Subject: me", "x_gateway_level: 3", "X-Forwarded-For: 1.2.3.4", "Proxy: x"]),
    );
    add("GET", "/news", lines(&["Cookie: a=b; __Host-darvazeh=x", "TE: trailers", "X-Own: y", "X-Request-Id: mine"]));
    add("GET", "/news", lines(&["Host: a b"]));
    add("GET", "/news", lines(&["Host: tehran.cities.example.ir"]));
    add("GET", "/news", lines(&["Host: a.b.cities.example.ir"]));
    add("GET", "/news", lines(&["Expect: something"]));
    add("GET", "/news", lines(&["Transfer-Encoding: chunked", "Content-Length: 3"]));
    add("GET", "/news", lines(&["Via: 1.1 darvazeh, 1.1 darvazeh, 1.1 darvazeh, 1.1 darvazeh"]));
    add("PUT", pension, [bearer(token(3)), lines(&["Content-Length: 70000"])].concat());
    add("POST", "/nowhere", lines(&["Content-Length: 99000000"]));
    add("POST", "/news/../x", lines(&["Content-Length: 99000000"]));
    let preflight = |origin| lines(&[origin, "Access-Control-Request-Method: PUT"]);
    add("OPTIONS", "/news", preflight("Origin: https://portal.example.ir"));
    add("OPTIONS", "/profile", preflight("Origin: https://portal.example.ir"));
    add("GET", &format!("/news/{}", "a".repeat(9000)), Vec::new());
    add("GET", "/news", vec![format!("X-Long: {}", "a".repeat(40_000))]);
    table
}

#[test]
fn explain_and_the_gateway_give_one_answer() {
    let dir = directory(&echo(), "");
    let gateway = Gateway::start(dir.path());
    let table = table();
    assert!(table.len() > 60);
    let mut seen = HashMap::new();
    for listener in ["public", "internal"] {
        for (method, target, headers) in &table {
            let mut headers = headers.clone();
            headers.push("Connection: close".to_owned());
            let answer = ask(gateway.address(listener), method, target, &headers);
            let url = format!("http://api.example.ir{target}");
            let mut arguments = vec![*method, &url, "--listener", listener];
            headers.iter().for_each(|line| arguments.extend(["--header", line]));
            let (said, exit) = json_of(dir.path(), &arguments);
            let what = format!("{listener}: {method} {target:.80} {headers:.80?}\n{}\n{said:#}", answer.head);
            compare(&answer, &said, exit, &what);
            *seen.entry(said["decision"].to_string()).or_insert(0) += 1;
        }
    }
    // Of each decision there are some, or the table proves little.
    let enough = |decision: &str, least| seen.get(&format!("\"{decision}\"")).is_some_and(|n| *n >= least);
    let all = enough("forward", 30) && enough("refuse", 60) && enough("no_route", 20) && enough("answer", 2);
    assert!(all, "{seen:?}");
}

fn compare(answer: &Answer, said: &Value, exit: i32, what: &str) {
    assert_eq!(said["status"], answer.status, "{what}");
    assert_eq!(said["code"].as_str(), answer.header("x-gateway-error"), "{what}");
    let decision = match (answer.status, answer.header("x-gateway-error"), said["decision"].as_str()) {
        (_, Some(_), _) if answer.status == 404 || answer.status == 405 => ("no_route", 4),
        (_, Some(_), _) => ("refuse", 3),
        (_, None, Some("answer")) => ("answer", 0),
        _ => ("forward", 0),
    };
    assert_eq!((said["decision"].as_str(), exit), (Some(decision.0), decision.1), "{what}");
    for name in ["www-authenticate", "allow", "retry-after"] {
        if answer.header("x-gateway-error").is_some() {
            assert_eq!(said["answer"]["headers"][name].as_str(), answer.header(name), "{name}: {what}");
        }
    }
    // The echoed head is what the agency saw; an answer to HEAD has none.
    if decision.0 == "forward" && !answer.body.is_empty() {
        compare_heads(&answer.body, &said["headers"], what);
        let path = |target: &str| target.split('?').next().map(str::to_owned);
        let seen = answer.body.split(' ').nth(1).and_then(path);
        assert_eq!(said["target"].as_str().and_then(path), seen, "{what}");
    }
}

fn compare_heads(head: &str, said: &Value, what: &str) {
    /// Drawn anew for each request, or about where the caller is.
    const OWN: [&str; 5] = ["x-request-id", "traceparent", "x-forwarded-for", "forwarded", "connection"];
    let seen = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let mut names: Vec<String> = seen.clone().map(|(name, _)| name.to_ascii_lowercase()).collect();
    let mut told: Vec<String> = said.as_object().expect("an object").keys().cloned().collect();
    // Framing is each hop's own and comes after what is explained.
    names.retain(|name| name != "content-length" && name != "transfer-encoding" && name != "connection");
    names.sort();
    names.dedup();
    told.sort();
    assert_eq!(told, names, "{what}\n{head}");
    for (name, value) in seen {
        let name = name.to_ascii_lowercase();
        let shown = said[&name].as_str().unwrap_or("<");
        if !OWN.contains(&name.as_str()) && !shown.starts_with('<') {
            assert_eq!(shown, value, "{name}: {what}");
        }
    }
}
