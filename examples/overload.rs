//! The two ends of `tests/soak/overload`: an agency that answers at once, and callers who come at a rate of their own, whether
//! they are answered or not (an open loop: latency counts from when a request was due, not from when it could be sent).
//!
//! `overload agency` prints its address and serves until it is ended. `overload load ADDRESS PATH RATE SECONDS` prints one line
//! of JSON. HTTP/1.1 in the clear, keep-alive.
#![allow(clippy::unwrap_used, reason = "a measuring program ends at the first surprise")]

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep_until, timeout};

/// At most so many connections; who finds none free waits for one.
const CONNECTIONS: usize = 1000;
/// Who is not answered within this has left.
const PATIENCE: Duration = Duration::from_secs(1);
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 128\r\n\r\n\
    ................................................................\
    ................................................................";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match arguments[..] {
        ["agency"] => LocalSet::new().block_on(&runtime, agency()),
        ["load", address, path, rate, seconds] => {
            let load = load(address.parse().unwrap(), path, rate.parse().unwrap(), seconds.parse().unwrap());
            LocalSet::new().block_on(&runtime, load);
        }
        _ => eprintln!("usage: overload agency | overload load ADDRESS PATH RATE SECONDS"),
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
    shed: u64,
    failed: u64,
    idle: Vec<TcpStream>,
    open: usize,
}

async fn load(address: SocketAddr, path: &str, rate: u64, seconds: u64) {
    let request: Rc<[u8]> = format!("GET {path} HTTP/1.1\r\nHost: api.example.ir\r\n\r\n").into_bytes().into();
    let seen = Rc::new(RefCell::new(Seen::default()));
    let begun = Instant::now();
    let all = rate * seconds;
    for n in 0..all {
        let due = begun + Duration::from_nanos(n * 1_000_000_000 / rate);
        if due > Instant::now() {
            sleep_until(due).await;
        } else if n % 64 == 0 {
            tokio::task::yield_now().await;
        }
        let (seen, request) = (seen.clone(), request.clone());
        tokio::task::spawn_local(async move {
            let outcome = timeout(PATIENCE.saturating_sub(due.elapsed()), ask(address, &request, &seen)).await;
            let mut seen = seen.borrow_mut();
            match outcome {
                Ok(Some(200)) => seen.passed.push(due.elapsed()),
                Ok(Some(503)) => seen.shed += 1,
                _ => seen.failed += 1,
            }
        });
    }
    tokio::time::sleep(PATIENCE).await;
    let mut seen = seen.borrow_mut();
    seen.passed.sort_unstable();
    let at = |share: f64| {
        let index = (seen.passed.len() as f64 * share) as usize;
        seen.passed.get(index).map_or(0.0, |took| took.as_secs_f64() * 1e3)
    };
    println!(
        "{{\"offered\":{rate},\"goodput\":{},\"shed\":{},\"failed\":{},\"p50_ms\":{:.2},\"p99_ms\":{:.2}}}",
        seen.passed.len() as u64 / seconds,
        seen.shed / seconds,
        seen.failed / seconds,
        at(0.5),
        at(0.99)
    );
}

/// The status of the answer; `None` when there was none.
async fn ask(address: SocketAddr, request: &[u8], seen: &Rc<RefCell<Seen>>) -> Option<u16> {
    let mut place = Place { seen: seen.clone(), stream: None };
    let mut stream = loop {
        let idle = seen.borrow_mut().idle.pop();
        if let Some(stream) = idle {
            break stream;
        }
        if seen.borrow().open < CONNECTIONS {
            seen.borrow_mut().open += 1;
            place.stream = Some(());
            let stream = TcpStream::connect(address).await.ok()?;
            stream.set_nodelay(true).ok()?;
            break stream;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    place.stream = Some(());
    stream.write_all(request).await.ok()?;
    let mut answer = Vec::with_capacity(2048);
    loop {
        if stream.read_buf(&mut answer).await.ok()? == 0 {
            return None;
        }
        if let Some(status) = whole(&answer) {
            place.stream = None;
            seen.borrow_mut().idle.push(stream);
            return Some(status);
        }
    }
}

/// Counts a connection as closed unless it went back to the others.
struct Place {
    seen: Rc<RefCell<Seen>>,
    stream: Option<()>,
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.stream.is_some() {
            self.seen.borrow_mut().open -= 1;
        }
    }
}

/// The status, once head and body are there.
fn whole(answer: &[u8]) -> Option<u16> {
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&answer[..end]).ok()?.to_ascii_lowercase();
    let length = head.split_once("content-length: ").and_then(|(_, rest)| rest.lines().next()?.parse().ok());
    (answer.len() >= end + length.unwrap_or(0)).then(|| head.get(9..12)?.parse().ok())?
}
