//! `darvazeh demo --check`: sends the requests of the table and compares what comes with what is promised.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::tries::{API, At, ERROR_CODE, Ground, Token, Try, tries};
use crate::config::model::ClientTls;
use crate::tls::certs::load_roots;
use crate::tls::client::client_config;

/// The slowest request is the stream of events, under a second.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends every request of the table and prints each with what was expected and what came.
pub async fn check(ground: &Ground) -> Result<bool, String> {
    let tls = Tls::trusting(&ground.ca)?;
    let all = tries();
    let mut good = 0;
    for one in &all {
        println!("{} {}{}\n    {}", one.method, one.origin(ground), one.path, one.story);
        let (mark, got) = match send(one, ground, &tls).await {
            Err(error) => ("FAILED", error),
            Ok(got) => match lacks(one, &got) {
                None => ("ok", got.to_string()),
                Some(lacking) => ("FAILED", format!("{got}, without {lacking}")),
            },
        };
        good += usize::from(mark == "ok");
        println!("    {mark}: expected {}, got {got}", one.status.as_u16());
    }
    println!("{good} of {} as promised", all.len());
    Ok(good == all.len())
}

/// What the answer lacks; `None` when it is as promised.
fn lacks(one: &Try, got: &Got) -> Option<String> {
    if got.status != one.status {
        return Some(format!("status {}", one.status.as_u16()));
    }
    if let Some((name, parts)) = &one.field {
        let value = got.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
        if let Some(part) = parts.iter().find(|part| !value.contains(**part)) {
            return Some(format!("`{part}` in {name}, which is `{value}`"));
        }
    }
    let body = String::from_utf8_lossy(&got.body);
    one.holds.iter().find(|part| !body.contains(**part)).map(|part| format!("`{part}` in the body"))
}

async fn send(one: &Try, ground: &Ground, tls: &Tls) -> Result<Got, String> {
    let authority = match one.at {
        At::Public => format!("{API}:{}", ground.public.port()),
        At::Admin => ground.admin.to_string(),
    };
    let mut request = Request::builder().method(one.method.clone()).uri(one.path).header(HOST, authority);
    for (name, value) in one.headers {
        request = request.header(name, *value);
    }
    request = match one.token {
        Token::None => request,
        Token::Garbage => request.header(AUTHORIZATION, "Bearer garbage"),
        Token::Asked(query) => request.header(AUTHORIZATION, format!("Bearer {}", token(ground, tls, query).await?)),
    };
    let request = request.body(Full::from(one.body)).map_err(|e| e.to_string())?;
    match one.at {
        At::Public => exchange(ground.public, Some((tls, API)), request).await,
        At::Admin => exchange(ground.admin, None, request).await,
    }
}

/// Waits until the gateway has the SSO's keys.
pub async fn until_ready(ground: &Ground) -> Result<(), String> {
    let ready = async {
        loop {
            let request = Request::get("/readyz").header(HOST, ground.admin.to_string()).body(Full::default());
            let request = request.map_err(|e| e.to_string())?;
            if exchange(ground.admin, None, request).await?.status == StatusCode::OK {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, ready).await.unwrap_or_else(|_| Err("the gateway did not become ready".to_owned()))
}

async fn token(ground: &Ground, tls: &Tls, query: &str) -> Result<String, String> {
    let sso = SocketAddr::from(([127, 0, 0, 1], ground.sso));
    let request = Request::get(format!("/token?{query}&as=text")).header(HOST, sso.to_string()).body(Full::default());
    let request = request.map_err(|e| e.to_string())?;
    let got = exchange(sso, Some((tls, "127.0.0.1")), request).await?;
    match got.status {
        StatusCode::OK => Ok(String::from_utf8_lossy(&got.body).into_owned()),
        other => Err(format!("the SSO gave no token: {other}")),
    }
}

/// Client settings that trust the development CA alone.
struct Tls(Arc<ClientConfig>);

impl Tls {
    fn trusting(ca: &Path) -> Result<Tls, String> {
        let roots = load_roots(ca).map_err(|fault| format!("{}: {fault:?}", ca.display()))?;
        let tls = ClientTls { roots: Some(roots), ..ClientTls::default() };
        client_config(&tls, &[b"http/1.1"]).map(Tls).map_err(|e| e.to_string())
    }
}

struct Got {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// `401 level_too_low`
impl std::fmt::Display for Got {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.status.as_u16())?;
        match self.headers.get(ERROR_CODE).and_then(|code| code.to_str().ok()) {
            Some(code) => write!(f, " {code}"),
            None => Ok(()),
        }
    }
}

/// One request on a connection of its own.
async fn exchange(
    address: SocketAddr,
    tls: Option<(&Tls, &'static str)>,
    request: Request<Full<Bytes>>,
) -> Result<Got, String> {
    let whole = async {
        let stream = TcpStream::connect(address).await.map_err(|e| format!("{address}: {e}"))?;
        match tls {
            None => converse(stream, request).await,
            Some((tls, name)) => {
                let name = ServerName::try_from(name).map_err(|e| e.to_string())?;
                let connector = TlsConnector::from(Arc::clone(&tls.0));
                let stream = connector.connect(name, stream).await.map_err(|e| format!("{address}: {e}"))?;
                converse(stream, request).await
            }
        }
    };
    timeout(PATIENCE, whole).await.unwrap_or_else(|_| Err(format!("no answer in {} s", PATIENCE.as_secs())))
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Got, String> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await.map_err(|e| e.to_string())?.into_parts();
    let body = body.collect().await.map_err(|e| e.to_string())?.to_bytes();
    Ok(Got { status: head.status, headers: head.headers, body })
}

#[cfg(test)]
mod tests {
    use http::header::WWW_AUTHENTICATE;

    use super::*;

    #[test]
    fn an_answer_that_is_not_as_promised_is_told_apart() {
        let all = tries();
        let refusal = all.iter().find(|one| one.holds.contains(&"\"level_too_low\"")).unwrap();
        let mut headers = HeaderMap::new();
        let challenge = r#"Bearer error="insufficient_user_authentication", acr_values="urn:example:level:3""#;
        headers.insert(WWW_AUTHENTICATE, challenge.parse().unwrap());
        headers.insert(ERROR_CODE, "level_too_low".parse().unwrap());
        let mut got = Got { status: StatusCode::UNAUTHORIZED, headers, body: r#"{"code":"level_too_low"}"#.into() };
        assert_eq!(lacks(refusal, &got), None);
        assert_eq!(got.to_string(), "401 level_too_low");
        got.headers.insert(WWW_AUTHENTICATE, "Bearer".parse().unwrap());
        assert!(lacks(refusal, &got).unwrap().contains("insufficient_user_authentication"));
        got.status = StatusCode::OK;
        assert_eq!(lacks(refusal, &got).unwrap(), "status 401");
    }
}
