//! An agency most of whose endpoints fail, those who call it, and those who leave in the middle of a call.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::HELLO;
use crate::script::Step::{self, *};
use crate::script::{self, Agency};
use crate::support::certs::{Trust, client_config};
use crate::support::client::{H2, HOST, h2_get, handshake};
use crate::support::wire::{Message, Wire};
use crate::support::within;
use crate::support::world::Config;

const ENDPOINTS: &[&[Step]] = &[
    HELLO,
    HELLO,
    &[Refuse],
    &[Head, Reset],
    &[Head, Body, Stall],
    &[Head, Body, Say("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello"), Close],
    &[Head, Body, Say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"), Stall],
    &[Head, Body, Say("no HTTP\r\n\r\n"), Close],
    &[Head, Body, Flood("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")],
];
/// All that may come of a call; `cut` is seen by the caller.
const EXPECTED: &[&str] = &[
    "200",
    "200 cut",
    "reset",
    "502 connect_failed",
    "502 upstream_broke",
    "504 upstream_timeout",
    "503 no_healthy_endpoint",
    "503 overloaded",
];
const CALLERS: usize = 4;
const LEAVERS: usize = 2;
const PAUSE: Duration = Duration::from_millis(20);

pub struct Trouble {
    endpoints: Vec<Agency>,
    stop: watch::Sender<bool>,
    callers: JoinSet<Outcomes>,
}

/// How often each outcome came.
#[derive(Default)]
pub struct Outcomes(BTreeMap<String, usize>);

impl Trouble {
    pub async fn prepare() -> Trouble {
        let mut endpoints = Vec::new();
        for script in ENDPOINTS {
            endpoints.push(script::Agency::start(script, script).await);
        }
        Trouble { endpoints, stop: watch::Sender::new(false), callers: JoinSet::new() }
    }

    /// With its route, `/trouble`.
    pub fn agency(&self, config: Config) -> Config {
        let urls: Vec<String> = self.endpoints.iter().map(|e| format!("http://127.0.0.1:{}", e.port)).collect();
        let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
        let keys = "timeouts: { connect: 1s, response: 1s, idle: 1s }, outlier: { consecutive: 20, base: 1s, max: 2s }";
        config.agency_at("trouble", &urls, keys).simple("trouble", "trouble", 0)
    }

    pub fn start(&mut self, address: SocketAddr) {
        for n in 0..CALLERS {
            self.callers.spawn(call(address, n, self.stop.subscribe()));
        }
        for n in 0..LEAVERS {
            self.callers.spawn(leave(address, n, self.stop.subscribe()));
        }
    }

    pub async fn stop(mut self) -> Outcomes {
        self.stop.send_replace(true);
        let mut sum = Outcomes::default();
        while let Some(outcomes) = within("the callers to end", self.callers.join_next()).await {
            for (outcome, count) in outcomes.expect("a caller does not panic").0 {
                *sum.0.entry(outcome).or_default() += count;
            }
        }
        sum
    }
}

/// By turns GET and POST, over HTTP/1.1 and HTTP/2, each on a connection of its own.
async fn call(address: SocketAddr, from: usize, stop: watch::Receiver<bool>) -> Outcomes {
    let mut outcomes = Outcomes::default();
    for n in from.. {
        if *stop.borrow() {
            break;
        }
        let body = if n % 3 == 0 { vec![b'x'; 10 * 1024] } else { Vec::new() };
        let method = if body.is_empty() { "GET" } else { "POST" };
        let outcome =
            if n % 2 == 0 { http1(address, method, &body).await } else { http2(address, method, &body).await };
        *outcomes.0.entry(outcome).or_default() += 1;
        tokio::time::sleep(PAUSE).await;
    }
    outcomes
}

async fn connect(address: SocketAddr, alpn: &str) -> Result<Wire, String> {
    let config = client_config(&Trust { alpn: &[alpn], ..Trust::default() });
    let (tls, socket) = handshake(address, HOST, config).await.map_err(|error| format!("no connection: {error}"))?;
    Ok(Wire::over(tls, socket))
}

async fn http1(address: SocketAddr, method: &str, body: &[u8]) -> String {
    let mut wire = match connect(address, "http/1.1").await {
        Ok(wire) => wire,
        Err(why) => return why,
    };
    let length = body.len();
    let mut text =
        format!("{method} /trouble HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {length}\r\n\r\n").into_bytes();
    text.extend_from_slice(body);
    // An answer may come before all of it is read.
    let _ = wire.send(text).await;
    loop {
        match wire.try_answer_to(method).await {
            None => return "nothing".into(),
            Some(interim) if interim.status() < 200 => {}
            Some(answer) => return outcome(&answer),
        }
    }
}

async fn http2(address: SocketAddr, method: &str, body: &[u8]) -> String {
    let config = client_config(&Trust { alpn: &["h2"], ..Trust::default() });
    let tls = match handshake(address, HOST, config).await {
        Ok((tls, _)) => tls,
        Err(error) => return format!("no connection: {error}"),
    };
    let h2 = H2::over(tls).await;
    let request = h2_get("/trouble").method(method).body(()).unwrap();
    let outcome = match within("an answer", h2.try_request(request, body)).await {
        Ok(answer) => outcome(&answer.message()),
        Err(error) if error.is_reset() => "reset".into(),
        Err(error) => error.to_string(),
    };
    h2.driver.abort();
    outcome
}

fn outcome(answer: &Message) -> String {
    let code = answer.head.get("x-gateway-error").map(|code| format!(" {code}")).unwrap_or_default();
    let cut = if answer.payload.complete { "" } else { " cut" };
    let foreign = if code.is_empty() && cut.is_empty() && answer.text() != "hello" { " with another body" } else { "" };
    format!("{}{code}{cut}{foreign}", answer.status())
}

/// Leaves in the handshake's wake, in a head, in a body, and while an answer is awaited; in order, or with a reset.
async fn leave(address: SocketAddr, from: usize, stop: watch::Receiver<bool>) -> Outcomes {
    let head = format!("POST /trouble HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 10000\r\n\r\n");
    let mut outcomes = Outcomes::default();
    for n in from.. {
        if *stop.borrow() {
            break;
        }
        match connect(address, "http/1.1").await {
            Err(why) => *outcomes.0.entry(why).or_default() += 1,
            Ok(mut wire) => {
                let _ = match n % 4 {
                    0 => Ok(()),
                    1 => wire.send(&head[..30]).await,
                    2 => wire.send(head.clone() + "half a body").await,
                    _ => wire.send(head.clone() + &"x".repeat(10_000)).await,
                };
                tokio::time::sleep(PAUSE).await;
                if n % 8 < 4 { wire.reset() } else { wire.close().await }
            }
        }
    }
    outcomes
}

impl Outcomes {
    #[track_caller]
    pub fn assert_expected(&self) {
        let strange: Vec<_> = self.0.keys().filter(|outcome| !EXPECTED.contains(&outcome.as_str())).collect();
        assert!(strange.is_empty(), "{strange:?}");
        assert!(self.0.contains_key("200") && self.0.contains_key("200 cut"), "nobody was in trouble: {self}");
    }
}

impl fmt::Display for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts: Vec<String> = self.0.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
        f.write_str(&counts.join(", "))
    }
}
