//! The exchange itself: pick an endpoint, take or open a connection, send, and again only when that is safe.
//!
//! Sent once means once (contract section 3): a request goes out a second time only when nothing of it reached an agency,
//! or when it is idempotent and its body is still at hand.

use bytes::Bytes;
use http::uri::Scheme;
use http::{HeaderMap, Method, StatusCode};

use super::connect::{Connected, connect};
use super::failure::Failure;
use super::headers::{self, from_agency};
use super::prepare::Prepared;
use super::upgrade::{HANDSHAKE, Wish};
use crate::balance::{AgencyPools, EndpointPool, Lease, Outcome};
use crate::body::Body;
use crate::config::model::EndpointProtocol;
use crate::http1::client::{self, AnswerBodyOrUpgrade, Patience, Upstream};
use crate::http1::transport::Wire;
use crate::http2;
use crate::message::{Duplex, Interim};

/// An agency's answer, fit for the caller.
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Body,
    /// The agency agreed to the upgrade: its side of the tunnel, and the place it holds.
    pub tunnel: Option<(Box<dyn Duplex>, Lease)>,
}

/// Sends `prepared` to one of the agency's endpoints and waits for the head of its answer.
/// Cancel: the connection in use is closed, which is how the agency learns that the caller left.
pub async fn deliver(
    pools: &AgencyPools,
    prepared: &Prepared,
    body: Body,
    interim: &Interim,
) -> Result<Reply, Failure> {
    let interim = interim.through(headers::clean_bodiless);
    let mut attempt = Attempt::new(pools, prepared, body, &interim);
    let attempts = if prepared.retry { pools.agency.retry.attempts.max(1) } else { 1 };
    let mut last = Failure::NoEndpoint;
    for _ in 0..attempts {
        let Some(picked) = pools.pick(prepared.subject, attempt.tried) else { break };
        attempt.tried |= picked.bit();
        let ended = attempt.run(picked.pool).await;
        picked.note(outcome(&ended));
        match ended {
            Ok(mut reply) => {
                if reply.tunnel.is_none() {
                    from_agency(reply.status, &mut reply.headers, prepared.authenticated)?;
                }
                return Ok(reply);
            }
            Err(Ended::Final(failure)) => return Err(failure),
            Err(Ended::MayTryAgain(failure)) => last = failure,
        }
    }
    Err(last)
}

/// How a try ended.
enum Ended {
    Final(Failure),
    /// Nothing reached the agency, or it may safely reach one again.
    MayTryAgain(Failure),
}

/// What a try tells of its endpoint. A 501 or 505 is about the request.
fn outcome(ended: &Result<Reply, Ended>) -> Outcome {
    match ended {
        Ok(reply) => match reply.status {
            StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED => Outcome::Unknown,
            status if status.is_server_error() => Outcome::Bad,
            _ => Outcome::Good,
        },
        Err(Ended::Final(failure) | Ended::MayTryAgain(failure)) if !failure.is_the_agencys() => Outcome::Unknown,
        Err(_) => Outcome::Bad,
    }
}

struct Attempt<'a> {
    pools: &'a AgencyPools,
    prepared: &'a Prepared,
    interim: &'a Interim,
    /// Gone once it was sent and cannot be had again.
    body: Option<Body>,
    patience: Patience,
    tried: u64,
    /// It was sent again once: whatever happens then is final.
    replayed: bool,
}

impl<'a> Attempt<'a> {
    fn new(pools: &'a AgencyPools, prepared: &'a Prepared, body: Body, interim: &'a Interim) -> Attempt<'a> {
        let patience = Patience { response: prepared.timeouts.response, idle: prepared.timeouts.idle };
        Attempt { pools, prepared, interim, body: Some(body), patience, tried: 0, replayed: false }
    }

    /// One endpoint: first over a connection that is there, and if that was closed just then, over a new one.
    async fn run(&mut self, pool: &std::rc::Rc<EndpointPool>) -> Result<Reply, Ended> {
        let lease = pool.lease();
        if let Some(connected) = self.reuse(pool) {
            match self.send(connected, lease).await {
                Err(failure) if self.may_replay(&failure) => self.note_replay(&failure),
                sent => return sent.map_err(|failure| self.ended(failure)),
            }
            pool.set_h2(None);
        } else {
            drop(lease);
        }
        let lease = pool.lease();
        let connected = self.connect(pool).await.map_err(Ended::MayTryAgain)?;
        self.send(connected, lease).await.map_err(|failure| self.ended(failure))
    }

    fn reuse(&self, pool: &EndpointPool) -> Option<Connected> {
        let http1 = self.prepared.wish.is_upgrade() && pool.live.endpoint.protocol != EndpointProtocol::H2c;
        if !http1 && let Some(handle) = pool.h2() {
            pool.reused.set(pool.reused.get() + 1);
            return Some(Connected::Http2(handle));
        }
        pool.take_idle().map(Connected::Http1)
    }

    async fn connect(&self, pool: &EndpointPool) -> Result<Connected, Failure> {
        let wants_http1 = self.prepared.wish.is_upgrade();
        let limit = self.prepared.timeouts.connect;
        let connected = connect(&self.pools.agency, pool, wants_http1, limit, self.patience).await;
        let connected = connected.map_err(Failure::Connect)?;
        if let Connected::Http2(handle) = &connected {
            pool.set_h2(Some(handle.clone()));
        }
        Ok(connected)
    }

    async fn send(&mut self, connected: Connected, lease: Lease) -> Result<Reply, client::Failure> {
        let body = self.take_body();
        match connected {
            Connected::Http1(connection) => self.over_http1(connection, body, lease).await,
            Connected::Http2(handle) => {
                let pool = lease.pool().clone();
                let sent = self.over_http2(handle, body, lease).await;
                // It may be dead without a word (a firewall forgot it): nobody else is to wait for it.
                if sent.as_ref().err() == Some(&client::Failure::TimedOut) {
                    pool.set_h2(None);
                }
                sent
            }
        }
    }

    /// The body to send; what is at hand whole stays at hand.
    fn take_body(&mut self) -> Body {
        match &self.body {
            Some(Body::Empty) => Body::Empty,
            Some(Body::Full(bytes)) => Body::Full(bytes.clone()),
            _ => self.body.take().unwrap_or_default(),
        }
    }

    async fn over_http1(&self, connection: Box<Upstream>, body: Body, lease: Lease) -> Result<Reply, client::Failure> {
        let answer = connection.exchange(&self.prepared.outgoing, body, self.patience, self.interim, lease).await?;
        let (status, mut headers) = (answer.head.status, answer.head.headers);
        let body = match answer.body {
            AnswerBodyOrUpgrade::Whole(bytes) => Body::full(bytes),
            AnswerBodyOrUpgrade::Stream(stream) => Body::stream(stream),
            AnswerBodyOrUpgrade::Upgraded(wire, lease) => {
                if !self.prepared.wish.accepts(&headers) {
                    return Err(client::Failure::Malformed("the agency's WebSocket handshake is wrong"));
                }
                let _ = from_agency(status, &mut headers, false);
                self.prepared.wish.dress_101(&mut headers);
                return Ok(Reply { status, headers, body: Body::Empty, tunnel: Some((unread_first(*wire), lease)) });
            }
        };
        Ok(Reply { status, headers, body, tunnel: None })
    }

    async fn over_http2(
        &self,
        handle: http2::client::Handle,
        body: Body,
        lease: Lease,
    ) -> Result<Reply, client::Failure> {
        let scheme = match lease.pool().live.endpoint.protocol {
            EndpointProtocol::Https => Scheme::HTTPS,
            _ => Scheme::HTTP,
        };
        let outgoing = &self.prepared.outgoing;
        if self.prepared.wish.is_upgrade() {
            return self.connect_websocket(handle, scheme, lease).await;
        }
        let answer = http2::client::exchange(handle, outgoing, body, scheme, self.patience, self.interim).await?;
        let body = match http_body::Body::is_end_stream(&answer.body) {
            true => Body::Empty,
            false => Body::stream(Leased { body: answer.body, _lease: lease }),
        };
        Ok(Reply { status: answer.status, headers: answer.headers, body, tunnel: None })
    }

    async fn connect_websocket(
        &self,
        handle: http2::client::Handle,
        scheme: Scheme,
        lease: Lease,
    ) -> Result<Reply, client::Failure> {
        let mut outgoing = self.prepared.outgoing.clone();
        for name in HANDSHAKE {
            outgoing.headers.remove(name);
        }
        match http2::client::connect(handle, &outgoing, scheme, "websocket", self.patience).await? {
            Ok((mut headers, io)) => {
                let _ = from_agency(StatusCode::OK, &mut headers, false);
                headers.remove(http::header::CONTENT_LENGTH);
                if matches!(self.prepared.wish, Wish::Http1 { .. }) {
                    self.prepared.wish.dress_101(&mut headers);
                }
                let status = StatusCode::SWITCHING_PROTOCOLS;
                Ok(Reply { status, headers, body: Body::Empty, tunnel: Some((Box::new(io), lease)) })
            }
            Err(refusal) => {
                let (parts, stream) = refusal.into_parts();
                let receiving = http2::receive::Receiving::from_agency(stream, None, self.patience.idle);
                Ok(Reply {
                    status: parts.status,
                    headers: parts.headers,
                    body: Body::stream(Leased { body: receiving, _lease: lease }),
                    tunnel: None,
                })
            }
        }
    }

    /// Nothing reached the agency; or it is idempotent, whole at hand, the route allows it, and this is the first time.
    fn may_replay(&self, failure: &client::Failure) -> bool {
        match failure {
            client::Failure::Broke { sent: false, answered: false } => self.body.is_some(),
            client::Failure::Broke { answered: false, .. } => {
                self.prepared.retry && !self.replayed && self.is_idempotent() && self.body.is_some()
            }
            _ => false,
        }
    }

    fn note_replay(&mut self, failure: &client::Failure) {
        self.replayed |= matches!(failure, client::Failure::Broke { sent: true, .. });
    }

    fn ended(&mut self, failure: client::Failure) -> Ended {
        if self.may_replay(&failure) {
            self.note_replay(&failure);
            Ended::MayTryAgain(failure.into())
        } else {
            Ended::Final(failure.into())
        }
    }

    /// RFC 9110 §9.2.2.
    fn is_idempotent(&self) -> bool {
        matches!(
            self.prepared.outgoing.method,
            Method::GET | Method::HEAD | Method::PUT | Method::DELETE | Method::OPTIONS | Method::TRACE
        ) && !self.prepared.wish.is_upgrade()
    }
}

/// A body that keeps its place at the endpoint until it ends.
struct Leased<B> {
    body: B,
    _lease: Lease,
}

impl<B> http_body::Body for Leased<B>
where
    B: http_body::Body<Data = Bytes, Error = crate::body::BodyError> + Unpin,
{
    type Data = Bytes;
    type Error = crate::body::BodyError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        std::pin::Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// The agency may speak right behind its 101.
fn unread_first(wire: Wire) -> Box<dyn Duplex> {
    let Wire { io, unread, .. } = wire;
    if unread.is_empty() { Box::new(io) } else { Box::new(crate::http1::transport::Prefixed::new(unread.freeze(), io)) }
}
