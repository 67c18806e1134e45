//! One GET to the admin listener, in the clear as it speaks, bounded in time and size.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::HOST;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);
/// The metrics of 100 000 busy routes have some 200 MB.
const LARGEST: usize = 512 << 20;
const PORT: u16 = 80;

/// The body of a 200. Errors: in words for the operator.
pub async fn get(admin: &Uri, path: &str) -> Result<Bytes, String> {
    let told = |why: String| format!("{admin}: {why}");
    match timeout(PATIENCE, exchange(admin, path)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(why)) => Err(told(why)),
        Err(_) => Err(told("no answer in time".to_owned())),
    }
}

async fn exchange(admin: &Uri, path: &str) -> Result<Bytes, String> {
    let (Some("http"), Some(host)) = (admin.scheme_str(), admin.host()) else {
        return Err("write the admin listener's address as http://ADDRESS:PORT".to_owned());
    };
    let address = (host.trim_start_matches('[').trim_end_matches(']'), admin.port_u16().unwrap_or(PORT));
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let broken = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // It ends with the exchange, which tells of anything that goes wrong.
    tokio::spawn(connection);
    let authority = admin.authority().map_or(host, |authority| authority.as_str());
    let request = Request::get(path).header(HOST, authority).body(Empty::<Bytes>::new());
    let answer = sender.send_request(request.map_err(|error| error.to_string())?).await.map_err(broken)?;
    if answer.status() != StatusCode::OK {
        return Err(format!("{path} is answered with {}: is this the admin listener?", answer.status().as_u16()));
    }
    let mut body = answer.into_body();
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(broken)?.into_data() {
            if read.len() + data.len() > LARGEST {
                return Err(format!("{path} is too large"));
            }
            read.extend_from_slice(&data);
        }
    }
    Ok(read.freeze())
}
