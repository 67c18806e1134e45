//! Connections in one state, so that the memory of that state can be weighed.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::caller::{HOST, Slow, call, get, tcp, tls};

/// As much of a head as a listener takes by default, nearly.
const LARGE_HEAD: usize = 24 * 1024;
const LARGE_BODY: usize = 256 * 1024;
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
/// Answers that a connection has carried before it is idle, where they are many.
const MANY: usize = 50;
/// How many slow readers share a connection, where they do.
const SHARED: usize = 10;
/// A window that no slow reader fills: what stops the sender is the socket.
const WINDOW: u32 = 16 * 1024 * 1024;

/// Brings so many connections, or readers that share some, into this state, says "ready", and holds them there.
pub async fn hold(kind: &str, address: SocketAddr, count: usize, token: &str) {
    let mut config = crate::tls::config();
    if kind.contains("h2") {
        config.alpn_protocols = vec![b"h2".to_vec()];
    }
    let config = Arc::new(config);
    let mut asking = Vec::new();
    let streams = if kind == "slow-h2-shared" { SHARED } else { 1 };
    for number in 0..count / streams {
        let stream = tcp(address, number).await;
        match kind {
            "idle" => held(tls(stream, &config).await, &[get("/a/x", token, "")]).await,
            // All at once, so that all buffers there are, are in use together.
            "burst" => {
                let stream = tls(stream, &config).await;
                let requests = burst(token);
                asking.push(tokio::task::spawn_local(async move { held(stream, &requests).await }));
            }
            "websocket" => open_websocket(tls(stream, &config).await, token).await,
            "flight" => read_on(tls(stream, &config).await, get("/a/never", token, "")).await,
            "slow" => drop(tokio::task::spawn_local(sip_tls(Slow::new(stream), config.clone(), token.to_owned()))),
            "slow-plain" => read_on(Slow::new(stream), get("/a/endless", token, "")).await,
            "idle-h2" => h2(tls(stream, &config).await, "/a/x", token, 1, 1).await,
            "used-h2" => h2(tls(stream, &config).await, "/a/x", token, 1, MANY).await,
            "slow-h2" | "slow-h2-shared" => {
                let (config, token) = (config.clone(), token.to_owned());
                tokio::task::spawn_local(async move {
                    h2(tls(Slow::new(stream), &config).await, "/a/endless", &token, streams, 1).await;
                });
            }
            _ => panic!("no such state"),
        }
    }
    for caller in asking {
        caller.await.unwrap();
    }
    println!("ready");
    pending().await
}

/// Asks these, and is then idle.
async fn held(mut stream: impl AsyncRead + AsyncWrite + Unpin + 'static, requests: &[Vec<u8>]) {
    let mut buffer = Vec::new();
    for request in requests {
        let said = call(&mut stream, request, &mut buffer).await;
        assert!(said, "not answered: {}", String::from_utf8_lossy(&buffer[..buffer.len().min(300)]));
    }
    tokio::task::spawn_local(async move {
        let _stream = stream;
        pending::<()>().await;
    });
}

/// A large head, a large body up, and a large body down.
fn burst(token: &str) -> Vec<Vec<u8>> {
    let fields: String = (0..LARGE_HEAD / 1024).map(|n| format!("X-Field-{n}: {}\r\n", "x".repeat(1000))).collect();
    let body = format!(
        "POST /a/x HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {token}\r\nContent-Length: {LARGE_BODY}\r\n\r\n"
    );
    let upload = [body.as_bytes(), &vec![b'x'; LARGE_BODY]].concat();
    vec![get("/a/x", token, &fields), upload, get("/a/large", token, "")]
}

async fn open_websocket(mut stream: impl AsyncRead + AsyncWrite + Unpin + 'static, token: &str) {
    stream.write_all(&get("/a/socket", token, UPGRADE)).await.unwrap();
    let mut answer = Vec::new();
    while memchr::memmem::find(&answer, b"\r\n\r\n").is_none() {
        assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "closed");
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"), "not upgraded");
    // A masked text frame of two letters, so that bytes have passed.
    stream.write_all(b"\x81\x82\0\0\0\0hi").await.unwrap();
    tokio::task::spawn_local(async move {
        let _stream = stream;
        pending::<()>().await;
    });
}

async fn read_on(mut stream: impl AsyncRead + AsyncWrite + Unpin + 'static, request: Vec<u8>) {
    stream.write_all(&request).await.unwrap();
    stream.flush().await.unwrap();
    tokio::task::spawn_local(async move {
        let mut buffer = [0; 16 * 1024];
        while let Ok(1..) = stream.read(&mut buffer).await {}
        eprintln!("an answer ended");
    });
}

async fn sip_tls(stream: Slow, config: Arc<ClientConfig>, token: String) {
    read_on(tls(stream, &config).await, get("/a/endless", &token, "")).await;
}

/// Requests over one HTTP/2 connection, so many at once and so often, whose answers are read as they come.
async fn h2(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    path: &str,
    token: &str,
    streams: usize,
    times: usize,
) {
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(WINDOW).initial_connection_window_size(WINDOW);
    let (mut send, connection) = builder.handshake::<_, Bytes>(stream).await.unwrap();
    tokio::task::spawn_local(connection);
    for _ in 0..times {
        let mut readers = Vec::new();
        for _ in 0..streams {
            let request =
                http::Request::get(format!("https://{HOST}{path}")).header("authorization", format!("Bearer {token}"));
            let (response, _) = send.send_request(request.body(()).unwrap(), true).unwrap();
            readers.push(tokio::task::spawn_local(read(response)));
        }
        for reader in readers {
            reader.await.unwrap();
        }
    }
    tokio::task::spawn_local(async move {
        let _send = send;
        pending::<()>().await;
    });
}

async fn read(response: h2::client::ResponseFuture) {
    let response = response.await.unwrap();
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    while let Some(data) = body.data().await {
        let length = data.unwrap().len();
        body.flow_control().release_capacity(length).unwrap();
    }
}
