//! A WebSocket echo (RFC 6455), just enough to see that an upgrade passes the gateway. Unfragmented messages up to 64 KiB.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderValue, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{self, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::serve::{Answer, answer};

/// RFC 6455 section 1.3.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// The 101 for a request that asks for a WebSocket, which is echoed from then on; `None` for any other request.
pub fn accept<B>(request: &mut Request<B>) -> Option<Answer> {
    let asked = request.headers().get(UPGRADE)?.as_bytes().eq_ignore_ascii_case(b"websocket");
    let key = request.headers().get(SEC_WEBSOCKET_KEY).filter(|_| asked)?;
    let proof = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key.as_bytes(), GUID.as_bytes()].concat());
    let proof = HeaderValue::try_from(STANDARD.encode(proof)).expect("base64 is plain ASCII");
    let upgrade = hyper::upgrade::on(request);
    tokio::spawn(async move {
        if let Ok(stream) = upgrade.await {
            // Ends when the other side closes or breaks the protocol; either way there is nobody left to tell.
            let _ = echo(TokioIo::new(stream)).await;
        }
    });
    let mut welcome = answer(StatusCode::SWITCHING_PROTOCOLS, "text/plain", "");
    let headers = welcome.headers_mut();
    headers.clear();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, proof);
    Some(welcome)
}

/// Sends every message back; answers pings; ends with a close.
async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    loop {
        let (opcode, payload) = read(&mut stream).await?;
        let reply = if opcode == PING { PONG } else { opcode };
        write(&mut stream, reply, &payload).await?;
        if opcode == CLOSE {
            return stream.shutdown().await;
        }
    }
}

/// One masked frame (RFC 6455 section 5.2): its opcode and its payload in the clear.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(u8, Vec<u8>)> {
    let (first, second) = (stream.read_u8().await?, stream.read_u8().await?);
    let length = match second & 0x7f {
        126 => usize::from(stream.read_u16().await?),
        127 => return Err(io::ErrorKind::InvalidData.into()),
        short => usize::from(short),
    };
    let masked = second & 0x80 != 0;
    let whole = first & 0x80 != 0;
    if !masked || !whole {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut mask = [0; 4];
    stream.read_exact(&mut mask).await?;
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await?;
    for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
    Ok((first & 0x0f, payload))
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), opcode: u8, payload: &[u8]) -> io::Result<()> {
    let mut frame = vec![0x80 | opcode];
    match u16::try_from(payload.len()) {
        Ok(length @ ..126) => frame.push(length as u8),
        Ok(length) => {
            frame.push(126);
            frame.extend(length.to_be_bytes());
        }
        Err(_) => return Err(io::ErrorKind::InvalidData.into()),
    }
    frame.extend_from_slice(payload);
    stream.write_all(&frame).await?;
    stream.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_sent_comes_back_and_a_close_ends_it() {
        let (mut near, far) = io::duplex(1024);
        let server = tokio::spawn(echo(far));
        // "Hello" masked, RFC 6455 section 5.7, then a masked ping and a masked close.
        near.write_all(&[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]).await.unwrap();
        near.write_all(&[0x89, 0x80, 0, 0, 0, 0, 0x88, 0x80, 0, 0, 0, 0]).await.unwrap();
        let mut got = Vec::new();
        near.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, [&[0x81, 5][..], b"Hello", &[0x8A, 0], &[0x88, 0]].concat());
        server.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn the_proof_is_the_one_of_the_standard() {
        let mut request = Request::builder()
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ==")
            .body(())
            .unwrap();
        let welcome = accept(&mut request).unwrap();
        assert_eq!(welcome.headers()[SEC_WEBSOCKET_ACCEPT], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(accept(&mut Request::new(())).is_none());
    }
}
