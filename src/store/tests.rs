use std::sync::atomic::AtomicUsize;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::config::model::{RedisAddress, RedisServer};

/// A server whose first connection answers nothing after the greeting, and every other all; how many there were.
async fn hanging_once() -> (Arc<Server>, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    tokio::spawn(async move {
        loop {
            let Ok((mut wire, _)) = listener.accept().await else { return };
            let number = count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut read = [0; 4096];
                let mut greeted = false;
                while wire.read(&mut read).await.is_ok_and(|n| n > 0) {
                    if !greeted || number > 0 {
                        let _ = wire.write_all(b"+PONG\r\n").await;
                    }
                    greeted = true;
                }
            });
        }
    });
    let address = RedisAddress::Tcp { host: "127.0.0.1".into(), port, tls: false };
    let url = format!("redis://127.0.0.1:{port}");
    let model = RedisServer { url: url.into(), address, database: 0, username: None, password: None, roots: None };
    (Server::new(model, "").unwrap(), connections)
}

/// Many who wait when a connection dies are one reason to make another, and none to end that one too.
#[tokio::test]
async fn a_connection_that_hangs_is_left_once() {
    let (server, connections) = hanging_once().await;
    let store = Store::open(server);
    let ping = redis::cmd("PING");
    while !store.is_up() {
        tokio::task::yield_now().await;
    }
    let ask = |store: Store| async move { store.ask(&redis::cmd("PING"), Duration::from_millis(50)).await };
    let asks: Vec<_> = (0..8).map(|_| tokio::spawn(ask(store.clone()))).collect();
    for asked in asks {
        assert_eq!(asked.await.unwrap(), Err(Missing::Late));
    }
    while store.ask(&ping, Duration::from_secs(60)).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}
