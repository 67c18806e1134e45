//! Bytes both ways after an upgrade, until both sides are done, one breaks, or nothing moves for the idle limit.
//!
//! The only upgrade there is, is to WebSocket: a tunnel that may not go on says so to the caller by a Close of its own.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::{CLOSE, Frames};
use super::watchdog::Watchdog;
use crate::message::Tunnel;

const BUFFER: usize = 8 * 1024;

/// Carries bytes between the caller and the agency. `early`: what the caller sent before the upgrade was answered.
pub async fn carry(caller: &mut (impl AsyncRead + AsyncWrite + Unpin), early: BytesMut, mut tunnel: Tunnel) {
    let mut dog = Watchdog::new(tunnel.idle);
    let mut up = OneWay { pending: early.freeze(), ..OneWay::default() };
    let mut down = OneWay { frames: Some(Frames::default()), ..OneWay::default() };
    poll_fn(|cx| {
        if down.last || tunnel.guard.poll_end(cx) {
            if !down.last {
                down.last = true;
                dog.set(FAREWELL);
            }
            let ended = down.poll(cx, &mut *tunnel.io, caller).map(|_| ());
            return if ended.is_ready() { ended } else { dog.poll(cx) };
        }
        let before = up.carried + down.carried;
        let ended_up = up.poll(cx, caller, &mut *tunnel.io);
        let ended_down = down.poll(cx, &mut *tunnel.io, caller);
        if up.carried + down.carried != before {
            dog.set(tunnel.idle);
        }
        match (ended_up, ended_down) {
            (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => Poll::Ready(()),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(()),
            _ => dog.poll(cx),
        }
    })
    .await;
    tunnel.guard.carried(up.carried, down.carried);
}

/// How long a caller has to read the end of a frame and our Close.
const FAREWELL: Duration = Duration::from_secs(2);

#[derive(Default)]
struct OneWay {
    pending: Bytes,
    /// Followed towards the caller.
    frames: Option<Frames>,
    /// The frame under way is the last, and a Close follows.
    last: bool,
    carried: u64,
    ended: bool,
    closed: bool,
}

impl OneWay {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin + ?Sized),
        to: &mut (impl AsyncWrite + Unpin + ?Sized),
    ) -> Poll<io::Result<()>> {
        loop {
            while !self.pending.is_empty() {
                let n = ready!(Pin::new(&mut *to).poll_write(cx, &self.pending))?;
                if n == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.carried += n as u64;
                let _ = self.pending.split_to(n);
            }
            if self.ended {
                if !self.closed {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                    self.closed = true;
                }
                return Poll::Ready(Ok(()));
            }
            if let Some(frames) = self.frames.as_ref().filter(|_| self.last)
                && frames.at_boundary()
            {
                self.pending = Bytes::from_static(CLOSE);
                self.ended = true;
                continue;
            }
            // What is written must leave before we wait for more: a message in a buffer is a message not sent.
            if let Poll::Ready(Err(error)) = Pin::new(&mut *to).poll_flush(cx) {
                return Poll::Ready(Err(error));
            }
            let mut buffer = [0u8; BUFFER];
            let mut buffer = ReadBuf::new(&mut buffer);
            ready!(Pin::new(&mut *from).poll_read(cx, &mut buffer))?;
            self.ended = buffer.filled().is_empty();
            let mut read = buffer.filled();
            if let Some(frames) = &mut self.frames {
                match self.last {
                    true => read = &read[..frames.finish(read)],
                    false => frames.pass(read),
                }
            }
            self.pending = Bytes::copy_from_slice(read);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::TunnelGuard;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    struct Nobody;
    impl TunnelGuard for Nobody {
        fn poll_end(&mut self, _: &mut Context<'_>) -> bool {
            false
        }

        fn carried(&mut self, _: u64, _: u64) {}
    }

    fn tunnel(io: tokio::io::DuplexStream, idle: Duration) -> Tunnel {
        Tunnel { io: Box::new(io), idle, guard: Box::new(Nobody) }
    }

    #[tokio::test(flavor = "local")]
    async fn bytes_flow_both_ways_and_an_end_is_passed_on() {
        let (mut caller, mut inner) = duplex(64);
        let (far, mut agency) = duplex(64);
        let carried = tokio::task::spawn_local(async move {
            carry(&mut inner, BytesMut::from(&b"early "[..]), tunnel(far, Duration::from_secs(60))).await;
        });
        caller.write_all(b"hello").await.unwrap();
        caller.shutdown().await.unwrap();
        let mut text = String::new();
        agency.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "early hello");
        agency.write_all(b"bye").await.unwrap();
        drop(agency);
        text.clear();
        caller.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "bye");
        carried.await.unwrap();
    }

    #[tokio::test(flavor = "local")]
    async fn a_silent_tunnel_ends_after_the_idle_limit() {
        let (_caller, mut inner) = duplex(64);
        let (far, _agency) = duplex(64);
        let carry = carry(&mut inner, BytesMut::new(), tunnel(far, Duration::from_millis(20)));
        tokio::time::timeout(Duration::from_secs(10), carry).await.expect("it ended");
    }
}
