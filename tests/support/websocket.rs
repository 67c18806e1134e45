//! Just enough of WebSocket (RFC 6455) to see that bytes pass both ways: the handshake's texts and tiny frames.

/// The opening handshake of a client over HTTP/1.1.
pub fn opening(path: &str, fields: &[&str]) -> String {
    let mut all = vec![
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    all.extend(fields);
    super::client::get(path, &all)
}

/// The agency's agreement; the key's answer is RFC 6455's own example.
pub const ACCEPTANCE: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// An unfragmented text frame of a server (no mask).
pub fn text(words: &str) -> Vec<u8> {
    let mut frame = vec![0x81, u8::try_from(words.len()).expect("short words")];
    frame.extend(words.as_bytes());
    frame
}

/// The same of a client, masked with zeros, which leaves the text readable.
pub fn masked(words: &str) -> Vec<u8> {
    let mut frame = vec![0x81, 0x80 | u8::try_from(words.len()).expect("short words"), 0, 0, 0, 0];
    frame.extend(words.as_bytes());
    frame
}
