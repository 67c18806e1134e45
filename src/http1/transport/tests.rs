use super::*;
use crate::http1::testing::narrow_tls;
use std::future::poll_fn;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

/// A wire, and the socket at its other end.
async fn wire() -> (Wire, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (far, near) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    (Wire::new(Transport::Tcp(near.unwrap().0)), far.unwrap())
}

async fn comes_nothing(wire: &mut Wire) -> bool {
    poll_fn(|cx| Poll::Ready(wire.poll_fill(cx).is_pending())).await
}

/// What a caller sent ahead was read into one large buffer, and is taken from there without another read.
#[tokio::test]
async fn an_idle_connection_holds_no_buffer_once_all_in_it_was_taken() {
    let (mut wire, mut far) = wire().await;
    let sent = vec![b'x'; 3 * KEPT];
    far.write_all(&sent).await.unwrap();
    while wire.unread.len() < sent.len() {
        poll_fn(|cx| wire.poll_fill(cx)).await.unwrap();
    }
    assert!(comes_nothing(&mut wire).await);
    assert_eq!(wire.unread.split_to(sent.len()), sent);
    assert!(comes_nothing(&mut wire).await);
    assert_eq!(wire.unread.as_ptr(), BytesMut::new().as_ptr(), "not even the end of it");
    // And what comes then is heard of.
    far.write_all(b"again").await.unwrap();
    assert_eq!(poll_fn(|cx| wire.poll_fill(cx)).await.unwrap(), 5);
    assert_eq!(wire.unread, b"again"[..]);
    drop(far);
    assert_eq!(poll_fn(|cx| wire.poll_fill(cx)).await.unwrap(), 0);
}

#[tokio::test]
async fn a_body_that_does_not_come_holds_no_buffer() {
    let (mut wire, _far) = wire().await;
    assert!(poll_fn(|cx| Poll::Ready(wire.poll_fill_body(cx).is_pending())).await);
    assert_eq!(wire.unread.capacity(), 0);
}

/// Whether it speaks out of turn, or is closed.
#[tokio::test]
async fn an_idle_connection_is_quiet_until_something_comes() {
    for says in [&b"x"[..], b""] {
        let (mut wire, mut far) = wire().await;
        assert!(wire.is_quiet() && wire.is_quiet());
        far.write_all(says).await.unwrap();
        far.shutdown().await.unwrap();
        until_not_quiet(&mut wire).await;
        assert_eq!((&wire.unread[..], wire.eof), (says, says.is_empty()));
    }
}

async fn until_not_quiet(wire: &mut Wire) {
    let noticed = async {
        while wire.is_quiet() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), noticed).await.expect("it is noticed");
}

/// Where what came may be TLS's own affair, and what is ours may lie opened while the socket has nothing.
#[tokio::test]
async fn an_idle_tls_connection_is_quiet_until_something_comes() {
    let (mut far, near) = narrow_tls().await;
    let mut wire = Wire::new(Transport::ClientTls(Box::new(near)));
    far.write_all(b"a").await.unwrap();
    far.flush().await.unwrap();
    assert_eq!(poll_fn(|cx| wire.poll_fill(cx)).await.unwrap(), 1);
    // With it came the session's tickets.
    assert!(wire.is_quiet() && wire.is_quiet());
    // Two records at once: of one read, the other is opened with it.
    for record in [b"b", b"c"] {
        far.write_all(record).await.unwrap();
    }
    far.flush().await.unwrap();
    assert_eq!(poll_fn(|cx| wire.poll_fill(cx)).await.unwrap(), 1);
    until_not_quiet(&mut wire).await;
    assert_eq!(wire.unread, b"abc"[..]);
    assert!(wire.is_quiet() && wire.is_quiet());
    far.shutdown().await.unwrap();
    until_not_quiet(&mut wire).await;
    assert!(wire.eof && !wire.is_quiet());
}
