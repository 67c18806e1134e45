//! The admin listener's HTTP (contract section 4), by hyper: nothing here is hot.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::config_view;
use super::control::Control;
use super::exposition;
use super::upgrades::Outcome;

/// A probe or a scraper sends its head at once.
const HEADER_TIME: Duration = Duration::from_secs(5);

/// Accepts until `leave` is said. Gives the connections on which something is still under way: they end with its answer.
pub async fn serve(socket: TcpListener, control: Arc<Control>, mut leave: watch::Receiver<bool>) -> JoinSet<()> {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            _ = leave.wait_for(|leave| *leave) => return connections,
            Some(_) = connections.join_next() => continue,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        connections.spawn(connection(stream, control.clone(), leave.clone()));
    }
}

async fn connection(stream: TcpStream, control: Arc<Control>, mut leave: watch::Receiver<bool>) {
    let service = service_fn(|request| answer(request, &control));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    // A scraper that hangs up is nobody's concern.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = leave.wait_for(|leave| *leave) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

async fn answer(request: Request<Incoming>, control: &Arc<Control>) -> Result<Response<Full<Bytes>>, Infallible> {
    let get = matches!(*request.method(), Method::GET | Method::HEAD);
    Ok(match request.uri().path() {
        "/livez" | "/readyz" | "/metrics" | "/config" | "/agencies" | "/routes" if !get => {
            let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "use GET\n");
            refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            refused
        }
        "/livez" => text(StatusCode::OK, "ok\n"),
        "/readyz" if control.is_ready() => text(StatusCode::OK, "ready\n"),
        "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
        "/metrics" => exposition::answer(control).await,
        "/config" => json(&config_view::config(control)),
        "/agencies" => json(&config_view::agencies(control).await),
        "/routes" => json(&config_view::routes(control)),
        "/reload" if *request.method() == Method::POST => reload(control).await,
        "/upgrade" if *request.method() == Method::POST => upgrade(control).await,
        "/reload" | "/upgrade" => {
            let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "use POST\n");
            refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
            refused
        }
        _ => text(StatusCode::NOT_FOUND, "livez readyz metrics config agencies routes reload upgrade\n"),
    })
}

/// 200 or 422 with the faults; 503 when we are on our way out.
async fn reload(control: &Control) -> Response<Full<Bytes>> {
    match control.reloads.ask().await {
        Some(outcome) => {
            let mut response = json(&outcome.as_json());
            if !outcome.is_applied() {
                *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
            }
            response
        }
        None => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
    }
}

/// 200 when another process serves from now on, 500 with the reason when it is still this one.
async fn upgrade(control: &Control) -> Response<Full<Bytes>> {
    match control.upgrades.ask().await {
        Some(outcome) => {
            let mut response = json(&outcome.as_json());
            if !matches!(outcome, Outcome::TakenOver { .. }) {
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            }
            response
        }
        None => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
    }
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn json(value: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(value.to_string())));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
