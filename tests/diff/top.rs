//! `darvazeh top --once` and `/routes`, against a gateway that serves.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{Ground, darvazeh, text};

/// A gateway of its own; dropped, it is gone.
struct Gateway {
    child: Child,
    public: String,
    admin: String,
}

impl Gateway {
    fn start(ground: &Ground, agency: &str) -> Gateway {
        let file = ground.write(
            "routes.yaml",
            &format!(
                "version: 1
listeners: [{{ name: public, address: \"127.0.0.1:0\" }}]
admin: {{ address: \"127.0.0.1:0\" }}
access_log: {{ to: off }}
workers: 1
agencies:
  news: {{ endpoints: [\"http://{agency}\"], health: {{ path: /healthz, interval: 1h }} }}
routes:
  - {{ name: city, agency: news, match: {{ prefix: /news }}, require: {{ level: 0 }} }}
"
            ),
        );
        let mut child = Command::new(env!("CARGO_BIN_EXE_darvazeh"))
            .args(["run", "--config", &file])
            .stderr(Stdio::piped())
            .spawn()
            .expect("the gateway starts");
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let ready = lines.by_ref().map_while(Result::ok).find(|line| line.starts_with("ready ")).expect("ready");
        // Read on, so that the gateway never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        let part = |from: &str| {
            let rest = &ready[ready.find(from).expect("it is said") + from.len()..];
            rest.split([' ', ',']).next().unwrap_or_default().to_owned()
        };
        Gateway { public: part("public="), admin: part("admin="), child }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One exchange by HTTP/1.1; gives the whole answer.
fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it accepts");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").expect("it is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

/// An agency that answers 200, and 500 below `/news/broken`.
fn agency() -> String {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address").to_string();
    std::thread::spawn(move || {
        for stream in socket.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut read = BufReader::new(stream.try_clone().expect("a second handle"));
                let mut line = String::new();
                let mut first = String::new();
                while read.read_line(&mut line).is_ok_and(|n| n > 0) {
                    if first.is_empty() {
                        first.clone_from(&line);
                    }
                    if line == "\r\n" {
                        let status = if first.contains("broken") { "500 Broken" } else { "200 OK" };
                        let _ = write!(&stream, "HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nok");
                        first.clear();
                    }
                    line.clear();
                }
            });
        }
    });
    address
}

#[test]
fn one_frame_shows_what_happens_now() {
    let ground = Ground::new();
    let agency = agency();
    let gateway = Gateway::start(&ground, &agency);
    assert!(get(&gateway.public, "/news/today").starts_with("HTTP/1.1 200"));
    let done = Arc::new(AtomicBool::new(false));
    let load = std::thread::spawn({
        let (done, public) = (done.clone(), gateway.public.clone());
        move || {
            while !done.load(Ordering::Relaxed) {
                get(&public, "/news/today");
                get(&public, "/news/broken");
                get(&public, "/nowhere");
            }
        }
    });
    let admin = format!("http://{}", gateway.admin);
    let output = darvazeh(&["top", "--once", "--interval", "500ms", "--admin", &admin]);
    done.store(true, Ordering::Relaxed);
    load.join().expect("the load ends");
    let frame = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(frame.starts_with(&gateway.admin), "{frame}");
    let row: Vec<&str> =
        frame.lines().find(|line| line.starts_with("news")).expect("a row").split_whitespace().collect();
    let [_, rate, refused, failed, median, p99, _, healthy] = row[..] else { panic!("{frame}") };
    assert!(rate.parse::<f64>().unwrap() > 0.0 && failed.parse::<f64>().unwrap() > 0.0, "{frame}");
    assert_eq!((refused, healthy), ("0", "1/1"), "{frame}");
    assert!(median.ends_with('s') && p99.ends_with('s'), "{frame}");
    assert!(frame.contains("(no route)") && frame.contains(&agency), "{frame}");
    assert!(!frame.contains('\x1b'));
}

#[test]
fn a_gateway_that_is_not_there_is_told() {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
    let output = darvazeh(&["top", "--once", "--admin", &format!("http://{address}")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains(&address.to_string()));
    let output = darvazeh(&["top"]);
    assert!(text(&output.stderr).contains("--once"), "without a terminal it says what to do");
}

#[test]
fn the_admin_listener_lists_the_routes_with_their_places() {
    let ground = Ground::new();
    let gateway = Gateway::start(&ground, &agency());
    let answer = get(&gateway.admin, "/routes");
    let body = answer.split_once("\r\n\r\n").expect("a body").1;
    let json: serde_json::Value = serde_json::from_str(body).expect("JSON");
    let route = &json["routes"][0];
    assert_eq!((&route["name"], &route["agency"], &route["prefix"]), (&"city".into(), &"news".into(), &"/news".into()));
    assert_eq!((&route["level"], &route["line"]), (&0.into(), &9.into()));
    assert!(route["file"].as_str().unwrap().ends_with("routes.yaml"));
}
