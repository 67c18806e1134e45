//! The two ends of `tests/soak/overload`: an agency that answers at once, and a crowd that comes at a rate of its own, whether it
//! is served or not (an open loop: latency counts from when a caller was due, not from when it could connect).
//!
//! `overload agency` prints its address and serves until it is ended. `overload crowd ADDRESS RATE SECONDS` prints one line of
//! JSON: what became of callers a second, of those whose visit ended between a second after the first came and the moment when the
//! last did. What a queue still holds then is not counted: served later, it would make more of a crowd than can be served. Every
//! caller is a new one: TCP, a full TLS handshake, one GET, and gone. They come from a thousand addresses of the loopback network,
//! or ports would run out.
#![allow(clippy::unwrap_used, reason = "a measuring program ends at the first surprise")]

#[path = "traffic/tls.rs"]
mod tls;

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsConnector;

/// Who is not answered within this has left.
const PATIENCE: Duration = Duration::from_secs(1);
const REQUEST: &[u8] = b"GET /x HTTP/1.1\r\nHost: api.example.ir\r\nConnection: close\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 128\r\n\r\n\
    ................................................................\
    ................................................................";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match arguments[..] {
        ["agency"] => LocalSet::new().block_on(&runtime, agency()),
        ["crowd", address, rate, seconds] => {
            let seconds: u64 = seconds.parse().unwrap();
            let crowd = crowd(address.parse().unwrap(), rate.parse().unwrap(), seconds.max(2));
            LocalSet::new().block_on(&runtime, crowd);
        }
        _ => eprintln!("usage: overload agency | overload crowd ADDRESS RATE SECONDS"),
    }
}

async fn agency() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        tokio::task::spawn_local(async move {
            let mut buffer = vec![0; 16 * 1024];
            let mut end = 0;
            while let Ok(read @ 1..) = stream.read(&mut buffer[end..]).await {
                end += read;
                // Requests have no body, and the gateway sends one at a time.
                if buffer[..end].ends_with(b"\r\n\r\n") {
                    end = 0;
                    if stream.write_all(ANSWER).await.is_err() {
                        return;
                    }
                }
            }
        });
    }
}

#[derive(Default)]
struct Seen {
    passed: Vec<Duration>,
    /// Answered 503.
    shed: u64,
    /// Closed before the handshake.
    closed: u64,
    /// No answer in time.
    late: u64,
}

async fn crowd(address: SocketAddr, rate: u64, seconds: u64) {
    let connector = TlsConnector::from(Arc::new(tls::config()));
    let seen = Rc::new(RefCell::new(Seen::default()));
    let begun = Instant::now();
    for n in 0..rate * seconds {
        let due = begun + Duration::from_nanos(n * 1_000_000_000 / rate);
        if due > Instant::now() {
            sleep_until(due).await;
        } else if n % 16 == 0 {
            tokio::task::yield_now().await;
        }
        let (seen, connector) = (seen.clone(), connector.clone());
        let from = Ipv4Addr::new(127, 1, (n % 4) as u8, (n / 4 % 250 + 1) as u8);
        tokio::task::spawn_local(async move {
            let outcome = timeout(PATIENCE.saturating_sub(due.elapsed()), come(from, address, &connector)).await;
            let ended = begun.elapsed();
            if ended < PATIENCE || ended > Duration::from_secs(seconds) {
                return;
            }
            let mut seen = seen.borrow_mut();
            match outcome {
                Ok(Some(200)) => seen.passed.push(due.elapsed()),
                Ok(Some(_)) => seen.shed += 1,
                Ok(None) => seen.closed += 1,
                Err(_) => seen.late += 1,
            }
        });
    }
    tokio::time::sleep(PATIENCE).await;
    report(&mut seen.borrow_mut(), rate, seconds - PATIENCE.as_secs());
}

/// The status of the answer; `None` when the connection was closed before there was one.
async fn come(from: Ipv4Addr, address: SocketAddr, connector: &TlsConnector) -> Option<u16> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.bind((from, 0).into()).ok()?;
    let stream = socket.connect(address).await.ok()?;
    stream.set_nodelay(true).ok()?;
    let mut stream = connector.connect(ServerName::try_from("api.example.ir").unwrap(), stream).await.ok()?;
    stream.write_all(REQUEST).await.ok()?;
    let mut answer = Vec::with_capacity(2048);
    while stream.read_buf(&mut answer).await.is_ok_and(|read| read > 0) {}
    std::str::from_utf8(answer.get(9..12)?).ok()?.parse().ok()
}

fn report(seen: &mut Seen, rate: u64, seconds: u64) {
    seen.passed.sort_unstable();
    let at = |share: f64| {
        let index = (seen.passed.len() as f64 * share) as usize;
        seen.passed.get(index).map_or(0.0, |took| took.as_secs_f64() * 1e3)
    };
    println!(
        "{{\"offered\":{rate},\"goodput\":{},\"shed\":{},\"closed\":{},\"late\":{},\"p50_ms\":{:.2},\"p99_ms\":{:.2}}}",
        seen.passed.len() as u64 / seconds,
        seen.shed / seconds,
        seen.closed / seconds,
        seen.late / seconds,
        at(0.5),
        at(0.99)
    );
}
