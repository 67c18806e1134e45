//! Agencies as cheap as can be: 1 KiB to everything, except what the last part of the path asks for.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

const SMALL: usize = 1024;
const LARGE: usize = 256 * 1024;
const ENDLESS: usize = 1024 * 1024 * 1024;
/// What is written to a caller at a time.
const PIECE: usize = 64 * 1024;
/// Kept low, so that a thousand stalled answers are not gigabytes of the kernel's.
const SEND_BUFFER: u32 = 128 * 1024;
const ACCEPTED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

pub async fn serve(count: usize) {
    let sockets: Vec<TcpListener> = (0..count).map(|_| listen()).collect();
    let addresses: Vec<String> = sockets.iter().map(|socket| socket.local_addr().unwrap().to_string()).collect();
    println!("{}", addresses.join(" "));
    for socket in sockets {
        tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = socket.accept().await {
                stream.set_nodelay(true).unwrap();
                tokio::task::spawn_local(answer_all(stream));
            }
        });
    }
    std::future::pending().await
}

fn listen() -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(SEND_BUFFER).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    socket.listen(4096).unwrap()
}

/// Answers requests one after another until the gateway closes.
async fn answer_all(mut stream: TcpStream) -> Option<()> {
    let small = answer_of(SMALL);
    let mut read = Vec::with_capacity(4096);
    loop {
        let end = loop {
            if let Some(end) = memchr::memmem::find(&read, b"\r\n\r\n") {
                break end + 4;
            }
            stream.read_buf(&mut read).await.ok().filter(|read| *read > 0)?;
        };
        let head = &read[..end];
        let path = head.split(|b| *b == b' ').nth(1)?.to_owned();
        let upgrades = memchr::memmem::find(head, b"\r\nupgrade: websocket").is_some();
        let body = length(head);
        read.drain(..end);
        let here = body.min(read.len());
        read.drain(..here);
        take(&mut stream, body - here).await?;
        match &path[..] {
            _ if upgrades => {
                stream.write_all(ACCEPTED).await.ok()?;
                take(&mut stream, usize::MAX).await?;
            }
            path if path.ends_with(b"/endless") => send(&mut stream, ENDLESS).await?,
            path if path.ends_with(b"/large") => send(&mut stream, LARGE).await?,
            path if path.ends_with(b"/never") => take(&mut stream, usize::MAX).await?,
            _ => stream.write_all(&small).await.ok()?,
        }
    }
}

fn answer_of(length: usize) -> Vec<u8> {
    [head_of(length).as_bytes(), &vec![b'x'; length]].concat()
}

fn head_of(length: usize) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n\r\n")
}

async fn send(stream: &mut TcpStream, length: usize) -> Option<()> {
    stream.write_all(head_of(length).as_bytes()).await.ok()?;
    let piece = [b'x'; PIECE];
    let mut left = length;
    while left > 0 {
        left -= stream.write(&piece[..left.min(PIECE)]).await.ok()?;
    }
    Some(())
}

/// Reads so much and throws it away.
async fn take(stream: &mut TcpStream, mut left: usize) -> Option<()> {
    let mut buffer = [0; 16 * 1024];
    while left > 0 {
        let most = left.min(buffer.len());
        left -= stream.read(&mut buffer[..most]).await.ok().filter(|read| *read > 0)?;
    }
    Some(())
}

/// The gateway writes names in small letters, and a length for every body whose length it knows.
fn length(head: &[u8]) -> usize {
    const NAME: &[u8] = b"\r\ncontent-length: ";
    let Some(at) = memchr::memmem::find(head, NAME) else { return 0 };
    let digits = head[at + NAME.len()..].iter().take_while(|b| b.is_ascii_digit());
    digits.fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'))
}
