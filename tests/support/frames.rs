//! HTTP/2 frames by hand (RFC 9113 §4), for what no client library will send: malformed fields, false lengths.

use super::certs::{Trust, client_config};
use super::client::{HOST, handshake};
use super::gateway::Gateway;
use super::wire::Wire;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;

#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub payload: Vec<u8>,
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("small").to_be_bytes();
    let mut out = length[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// A field block without compression: every field a literal with its name (RFC 7541 §6.2.2).
pub fn block(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name, value] {
            // A length below 127 is one byte; longer ones continue (RFC 7541 §5.1).
            if text.len() < 127 {
                out.push(text.len() as u8);
            } else {
                out.push(127);
                let mut rest = text.len() - 127;
                while rest >= 128 {
                    out.push((rest % 128) as u8 | 128);
                    rest /= 128;
                }
                out.push(rest as u8);
            }
            out.extend(*text);
        }
    }
    out
}

/// A good request's pseudo-fields, then these.
pub fn request_block(method: &str, path: &str, more: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut fields: Vec<(&[u8], &[u8])> = vec![
        (b":method", method.as_bytes()),
        (b":scheme", b"https"),
        (b":authority", HOST.as_bytes()),
        (b":path", path.as_bytes()),
    ];
    fields.extend(more);
    block(&fields)
}

/// A connection with preface and settings exchanged.
pub async fn connect(gateway: &Gateway) -> Wire {
    let config = client_config(&Trust { alpn: &["h2"], ..Trust::default() });
    let (tls, socket) = handshake(gateway.address(), HOST, config).await.expect("a TLS handshake");
    let mut wire = Wire::over(tls, socket);
    let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    hello.extend(frame(SETTINGS, 0, 0, &[]));
    wire.send(hello).await.expect("the gateway reads");
    wire
}

/// The next frame; a PING is answered by the way, as RFC 9113 §6.7 demands.
pub async fn next(wire: &mut Wire) -> Option<Frame> {
    let head = wire.exactly(9).await?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let payload = wire.exactly(length).await?;
    if head[3] == PING && head[4] & ACK == 0 {
        let _ = wire.send(frame(PING, ACK, 0, &payload)).await;
    }
    Some(Frame { kind: head[3], payload })
}

/// Reads what there is: `true` when the gateway ended the connection, by GOAWAY or by hanging up.
pub async fn reads_to_goaway(wire: &mut Wire) -> bool {
    let read = async {
        loop {
            match next(wire).await {
                None => return true,
                Some(f) if f.kind == GOAWAY => return true,
                Some(_) => {}
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(5), read).await.unwrap_or(false)
}

/// Reads until the stream is answered or broken off: `true` when it was refused, by RST_STREAM, by GOAWAY, by the end of
/// the connection, or with a 400 (static-table entry 12, RFC 7541 appendix A).
pub async fn is_refused(wire: &mut Wire) -> bool {
    loop {
        match next(wire).await {
            None => return true,
            Some(f) if matches!(f.kind, RST_STREAM | GOAWAY) => return true,
            Some(f) if f.kind == HEADERS => return starts_with_400(&f.payload),
            Some(_) => {}
        }
    }
}

fn starts_with_400(block: &[u8]) -> bool {
    // Size updates of the dynamic table (001xxxxx) may come first.
    let at = block.iter().position(|b| b & 0xe0 != 0x20).unwrap_or(0);
    block[at..].first() == Some(&0x8c)
}
