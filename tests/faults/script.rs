//! An agency that acts by a script, over HTTP/1.1 or in frames of HTTP/2, and counts the heads it has read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::support::frames::{DATA, END_STREAM, GOAWAY, HEADERS, SETTINGS, frame};
use crate::support::wire::{Head, Wire};

/// What an agency does next.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// It is not there: its port refuses.
    Refuse,
    /// It listens, and its backlog is full.
    Full,
    /// Reads a request's head, and counts it.
    Head,
    /// Reads the rest of the request.
    Body,
    /// Reads so much of the body.
    Part(usize),
    Say(&'static str),
    /// Says it again and again, until the gateway has closed or it was said often enough.
    Flood(&'static str),
    /// Does nothing more, until the gateway closes.
    Stall,
    /// FIN, and nothing is read any more.
    Close,
    /// FIN, and goes on reading.
    Finish,
    /// RST of TCP.
    Reset,
    /// HTTP/2: settings with a window for every body, behind the caller's preface.
    Preface,
    /// The same with the window of RFC 9113 §6.5.2, which is never raised.
    Narrow,
    /// HTTP/2: a frame on the stream of the last head: kind, flags, payload.
    Frame(u8, u8, &'static [u8]),
    /// The same, again and again.
    Frames(u8, u8, &'static [u8]),
    /// HTTP/2: GOAWAY whose last stream is this far from that of the last head, and an error code.
    GoAway(i32, u8),
}

use Step::*;

/// Often enough for every bound, and an end if there is none.
const FLOOD: usize = 100_000;

pub struct Agency {
    pub port: u16,
    seen: Arc<AtomicUsize>,
    _held: Vec<TcpStream>,
    _socket: Option<Socket>,
    task: Option<JoinHandle<()>>,
}

impl Agency {
    pub async fn start(script: &'static [Step], then: &'static [Step]) -> Agency {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let (port, seen) = (address.port(), Arc::new(AtomicUsize::new(0)));
        match script {
            [Refuse] => Agency { port, seen, _held: Vec::new(), _socket: Some(socket), task: None },
            [Full] => {
                socket.listen(0).unwrap();
                let mut held = Vec::new();
                // Linux drops the SYN once the queue is full.
                while let Ok(connected) =
                    tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await
                {
                    held.push(connected.unwrap());
                }
                Agency { port, seen, _held: held, _socket: Some(socket), task: None }
            }
            _ => {
                socket.listen(64).unwrap();
                let listener = TcpListener::from_std(socket.into()).unwrap();
                let task = Some(tokio::spawn(serve(listener, script, then, seen.clone())));
                Agency { port, seen, _held: Vec::new(), _socket: None, task }
            }
        }
    }

    /// Heads of requests that it has read.
    pub fn seen(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }
}

impl Drop for Agency {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn serve(listener: TcpListener, script: &'static [Step], then: &'static [Step], seen: Arc<AtomicUsize>) {
    let mut connections = JoinSet::new();
    let mut script = script;
    while let Ok((tcp, _)) = listener.accept().await {
        let _ = tcp.set_nodelay(true);
        let player = Player { wire: Wire::plain(tcp), seen: seen.clone(), head: None, stream: 0, ended: false };
        connections.spawn(player.play(std::mem::replace(&mut script, then)));
    }
}

/// A connection.
struct Player {
    wire: Wire,
    seen: Arc<AtomicUsize>,
    /// Of the last HTTP/1.1 request.
    head: Option<Head>,
    /// The last HTTP/2 request's, and whether it has ended.
    stream: u32,
    ended: bool,
}

impl Player {
    /// Until the script ends the connection, or the gateway does.
    async fn play(mut self, script: &'static [Step]) {
        let http2 = matches!(script.first(), Some(Preface | Narrow));
        let mut steps = script;
        loop {
            for step in steps {
                match step {
                    Reset => return self.wire.reset(),
                    Close => return self.wire.close().await,
                    step => {
                        if self.act(*step, http2).await.is_none() {
                            return;
                        }
                    }
                }
            }
            steps = if http2 { &script[1..] } else { script };
        }
    }

    /// `None` when the gateway has closed.
    async fn act(&mut self, step: Step, http2: bool) -> Option<()> {
        match step {
            Refuse | Full | Close | Reset => unreachable!("done elsewhere"),
            Head if http2 => {
                self.ended = false;
                while self.frame().await? != HEADERS {}
                self.seen.fetch_add(1, Ordering::SeqCst);
            }
            Head => {
                self.head = Some(self.wire.head().await?);
                self.seen.fetch_add(1, Ordering::SeqCst);
            }
            Body if http2 => {
                while !self.ended {
                    self.frame().await?;
                }
            }
            Body => {
                let framing = self.head.as_ref()?.request_framing();
                self.wire.body(framing).await.complete.then_some(())?;
            }
            Part(_) if http2 => while self.frame().await? != DATA {},
            Part(bytes) => drop(self.wire.exactly(bytes).await?),
            Say(text) => self.wire.send(text).await.ok()?,
            Flood(text) => {
                let many = text.repeat(64);
                for _ in 0..FLOOD / 64 {
                    self.wire.send(&many).await.ok()?;
                }
            }
            Stall => {
                self.wire.rest().await;
                return None;
            }
            Finish => self.wire.finish().await,
            Preface | Narrow => {
                self.wire.exactly(24).await?;
                // SETTINGS_INITIAL_WINDOW_SIZE, and WINDOW_UPDATE for the connection: 16 MiB each.
                let window = [0, 4, 1, 0, 0, 0];
                let settings = if matches!(step, Preface) { &window[..] } else { &[] };
                self.wire.send(frame(SETTINGS, 0, 0, settings)).await.ok()?;
                if matches!(step, Preface) {
                    self.wire.send(frame(8, 0, 0, &window[2..])).await.ok()?;
                }
            }
            Frame(kind, flags, payload) => self.wire.send(frame(kind, flags, self.stream, payload)).await.ok()?,
            Frames(kind, flags, payload) => {
                for _ in 0..FLOOD / 10 {
                    self.wire.send(frame(kind, flags, self.stream, payload)).await.ok()?;
                }
            }
            GoAway(from_ours, code) => {
                let last = self.stream.checked_add_signed(from_ours).unwrap();
                let mut payload = last.to_be_bytes().to_vec();
                payload.extend([0, 0, 0, code]);
                self.wire.send(frame(GOAWAY, 0, 0, &payload)).await.ok()?;
            }
        }
        Some(())
    }

    /// The next frame's kind; settings and pings are acknowledged by the way.
    async fn frame(&mut self) -> Option<u8> {
        const PING: u8 = 6;
        let head = self.wire.exactly(9).await?;
        let payload = self.wire.exactly(u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize).await?;
        let (kind, flags) = (head[3], head[4]);
        if kind == HEADERS {
            self.stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        }
        if matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0 {
            self.ended = true;
        }
        if flags & 1 == 0 {
            match kind {
                SETTINGS => self.wire.send(frame(SETTINGS, 1, 0, &[])).await.ok()?,
                PING => self.wire.send(frame(PING, 1, 0, &payload)).await.ok()?,
                _ => {}
            }
        }
        Some(kind)
    }
}
