//! An agency over HTTP/2 that is well, says hello to everything at once, and keeps nothing of what it is asked.

use bytes::Bytes;
use h2::server;
use http::{Request, Response};
use tokio::net::{TcpListener, TcpStream};

/// Its port. It lives as long as the runtime.
pub async fn start() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let _ = tcp.set_nodelay(true);
            tokio::spawn(serve(tcp));
        }
    });
    port
}

async fn serve(tcp: TcpStream) {
    let Ok(mut connection) = server::handshake(tcp).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(answer(request, respond));
    }
}

async fn answer(request: Request<h2::RecvStream>, mut respond: server::SendResponse<Bytes>) {
    let mut body = request.into_body();
    while let Some(data) = body.data().await {
        let Ok(data) = data else { return };
        let _ = body.flow_control().release_capacity(data.len());
    }
    let head = Response::builder().header("content-length", "5").body(()).unwrap();
    if let Ok(mut send) = respond.send_response(head, false) {
        let _ = send.send_data(Bytes::from_static(b"hello"), true);
    }
}
