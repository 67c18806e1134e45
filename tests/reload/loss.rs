//! Zero loss, measured: callers on HTTP/1.1 and HTTP/2 count every answer while the configuration is replaced again and again.
//!
//! The run of every day makes 40 reloads; `DARVAZEH_FULL=1` makes the 200 that the promise names. 64 connections are held open
//! over the whole of it, and each must be answered between any two reloads. Memory is compared at rest, all of them open: after
//! a warm-up, in which the allocator takes what load needs at all, and at the end.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::support::certs::{Pair, Trust, ca, client_config};
use crate::support::client::{H2, HOST, get, h2_get, handshake};
use crate::support::gateway::Gateway;
use crate::support::within;
use crate::support::world::Config;
use crate::{apply, replace};

const HALF: usize = 32;

fn reloads() -> usize {
    if std::env::var_os("DARVAZEH_FULL").is_some() { 200 } else { 40 }
}

/// An agency that answers at once and remembers nothing.
async fn agency() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut head, mut buffer) = (Vec::new(), [0; 4096]);
                while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                    head.extend_from_slice(&buffer[..read]);
                    while let Some(end) = head.windows(4).position(|w| w == b"\r\n\r\n") {
                        head.drain(..end + 4);
                        if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    url
}

/// What the callers have done, and whether they go on.
struct Load {
    /// Answers so far, by caller.
    answered: watch::Sender<Vec<u64>>,
    /// Callers wait between two requests while this is false: their connections stay open.
    asking: watch::Sender<bool>,
}

impl Load {
    fn new(callers: usize) -> Arc<Load> {
        Arc::new(Load { answered: watch::Sender::new(vec![0; callers]), asking: watch::Sender::new(true) })
    }

    async fn turn(&self) {
        let _ = self.asking.subscribe().wait_for(|asking| *asking).await;
    }

    fn count(&self, caller: usize) {
        self.answered.send_modify(|all| all[caller] += 1);
    }

    fn total(&self) -> u64 {
        self.answered.borrow().iter().sum()
    }

    /// Until each caller has had two answers more: the second was asked for after this began.
    async fn everybody_is_answered(&self) {
        let before = self.answered.borrow().clone();
        let twice = |now: &Vec<u64>| now.iter().zip(&before).all(|(now, before)| *now >= before + 2);
        let _ = self.answered.subscribe().wait_for(twice).await;
    }
}

/// One connection, kept: every answer must be a whole 200 on it.
async fn over_http1(address: std::net::SocketAddr, load: Arc<Load>, caller: usize) {
    let (mut tls, _) = handshake(address, HOST, client_config(&Trust::default())).await.expect("a handshake");
    let request = get("/open", &[]);
    let mut buffer = [0; 4096];
    loop {
        load.turn().await;
        tls.write_all(request.as_bytes()).await.expect("the connection is kept");
        let mut read = 0;
        while !buffer[..read].ends_with(b"\r\n\r\nok") {
            let more = tls.read(&mut buffer[read..]).await.expect("no reset");
            assert!(more > 0, "closed after {:?}", String::from_utf8_lossy(&buffer[..read]));
            read += more;
        }
        assert!(buffer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{:?}", String::from_utf8_lossy(&buffer[..read]));
        load.count(caller);
    }
}

/// The same over HTTP/2; its connection too is one for the whole run.
async fn over_http2(gateway: Arc<Gateway>, load: Arc<Load>, caller: usize) {
    let h2 = H2::connect(&gateway).await;
    loop {
        load.turn().await;
        let answer = h2.request(h2_get("/open").body(()).unwrap(), b"").await;
        assert!(answer.status == 200 && answer.complete && answer.body == b"ok", "{answer:?}");
        load.count(caller);
    }
}

/// New connections all the while: each handshake must succeed, whichever certificate is shown.
async fn anew(address: std::net::SocketAddr, load: Arc<Load>, caller: usize) {
    let config = client_config(&Trust::default());
    loop {
        load.turn().await;
        let (mut tls, _) = handshake(address, HOST, config.clone()).await.expect("a handshake");
        tls.write_all(get("/open", &["Connection: close"]).as_bytes()).await.expect("open");
        let mut answer = Vec::new();
        tls.read_to_end(&mut answer).await.expect("no reset");
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n") && answer.ends_with(b"ok"));
        load.count(caller);
    }
}

/// The `turn`-th configuration: routes come and go, an agency's endpoints change. Names that never come back are weighed in
/// `tests/heap`.
fn config(urls: &[String; 3], turn: usize) -> Config {
    let other = &urls[1 + turn % 2];
    let mut config = Config::new()
        .agency_at("registry", &[&urls[0], other], "balance: round_robin")
        .top("access_log: { to: off }")
        .simple("open", "registry", 0);
    for n in 0..turn % 20 {
        config = config.simple(&format!("r{}-{n}", turn % 2), "registry", (n % 4) as u8);
    }
    config
}

async fn turn_over(gateway: &Gateway, urls: &[String; 3], pairs: &[Pair; 2], turn: usize) {
    let pair = &pairs[turn % 2];
    replace(&gateway.path().join("certs/gateway.key"), &pair.key);
    replace(&gateway.path().join("certs/gateway.pem"), &pair.cert);
    apply(gateway, &config(urls, turn)).await;
}

/// Makes the reloads `turns`, each met by requests of every connection. Panics where one was lost.
async fn reload_under(load: &Load, callers: &mut JoinSet<()>, turns: std::ops::RangeInclusive<usize>, world: &World) {
    for turn in turns {
        turn_over(&world.gateway, &world.urls, &world.pairs, turn).await;
        tokio::select! {
            () = within("an answer for every caller", load.everybody_is_answered()) => {}
            // A caller goes on for ever: one that has ended has panicked.
            Some(ended) = callers.join_next() => ended.expect("a request was lost"),
        }
    }
}

/// Resident memory while nobody asks and every connection is open: the smallest of a few looks, as the allocator gives
/// pages back a moment later.
async fn at_rest(gateway: &Gateway, load: &Load) -> u64 {
    load.asking.send_replace(false);
    let mut least = u64::MAX;
    for _ in 0..15 {
        // No event tells when pages are given back.
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        least = least.min(gateway.resident_kib());
    }
    load.asking.send_replace(true);
    least
}

struct World {
    gateway: Arc<Gateway>,
    urls: [String; 3],
    pairs: [Pair; 2],
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_under_load_lose_nothing_and_keep_no_memory() {
    let urls = [agency().await, agency().await, agency().await];
    let names = ["api.example.ir", "localhost"];
    let gateway = Arc::new(config(&urls, 0).start().await);
    let world = World { gateway, urls, pairs: [ca().sign(&names), ca().sign(&names)] };
    let gateway = &world.gateway;
    let load = Load::new(2 * HALF + 1);
    let mut callers = JoinSet::new();
    for n in 0..HALF {
        callers.spawn(over_http1(gateway.address(), load.clone(), n));
        callers.spawn(over_http2(gateway.clone(), load.clone(), HALF + n));
    }
    callers.spawn(anew(gateway.address(), load.clone(), 2 * HALF));

    let all = reloads();
    let warm = if all == 200 { 40 } else { 20 };
    reload_under(&load, &mut callers, 1..=warm, &world).await;
    let before = at_rest(gateway, &load).await;
    reload_under(&load, &mut callers, warm + 1..=all, &world).await;
    let after = at_rest(gateway, &load).await;
    callers.shutdown().await;
    let answered = load.total();
    println!("{answered} requests over {all} reloads, none lost; resident {before} KiB, then {after} KiB");
    // The promise is 5 % over 200 reloads. The allocator takes pages 2 MiB at a time, which a short run may meet once.
    let room = if all == 200 { before / 20 } else { before / 10 };
    assert!(after <= before + room, "resident memory grew from {before} to {after} KiB");
    let applied = gateway.metrics().await.sum("darvazeh_config_reloads_total", &["outcome=\"applied\""]);
    assert_eq!(applied, all as f64);
}
