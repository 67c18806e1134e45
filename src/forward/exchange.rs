//! One try at one endpoint: take or open a connection, send, and wait for the head of the answer. Called by `deliver` and
//! `hedge`, which choose the endpoint; what may be sent again is decided here.
//!
//! Sent once means once (contract section 3): a request goes out a second time only when nothing of it reached an agency,
//! or when it is idempotent and its body is still at hand.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http::{Method, StatusCode};
use tokio::time::Instant;

use super::connect::{Connected, connect};
use super::deliver::{Kept, Reply};
use super::failure::{ConnectFailure, Failure};
use super::headers::{from_agency, is_event_stream};
use super::prepare::Prepared;
use super::upgrade::{HANDSHAKE, Wish};
use crate::apart::apart;
use crate::balance::{AgencyPools, EndpointPool, Lease, Outcome, Slot, Spent};
use crate::body::Body;
use crate::config::model::EndpointProtocol;
use crate::http1::client::{self, AnswerBodyOrUpgrade, Outgoing, Patience, Upstream};
use crate::http1::transport::Wire;
use crate::http2;
use crate::message::{Duplex, Interim};

/// How a try ended.
pub(super) enum Ended {
    Final(Failure),
    /// Nothing reached the agency, or it may safely reach one again.
    MayTryAgain(Failure),
}

/// What a try tells of its endpoint. A 501 or 505 is about the request.
pub(super) fn outcome(ended: &Result<Reply, Ended>) -> Outcome {
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

/// What a try is made of. It changes nothing: what goes from try to try is in [`Kept`].
pub(super) struct Attempt<'a> {
    pub pools: &'a AgencyPools,
    pub prepared: &'a Prepared,
    outgoing: &'a Outgoing,
    interim: &'a Interim,
    connect: Duration,
    patience: Patience,
    /// Where the agency's answers are timed.
    begun: Option<Instant>,
}

impl<'a> Attempt<'a> {
    /// `left`: what the whole request may still take.
    pub fn new(pools: &'a AgencyPools, prepared: &'a Prepared, interim: &'a Interim, left: Duration) -> Attempt<'a> {
        let times = &prepared.timeouts;
        let patience = Patience { response: times.response.min(left), idle: times.idle };
        let begun = pools.agency.is_timed().then(Instant::now);
        let (outgoing, connect) = (&prepared.outgoing, times.connect.min(left));
        Attempt { pools, prepared, outgoing, interim, connect, patience, begun }
    }

    /// How long it has taken so far, where the agency's answers are timed.
    pub fn took(&self) -> Option<Duration> {
        self.begun.map(|begun| begun.elapsed())
    }

    /// One endpoint: first over a connection that is there, and if that was closed just then, over a new one.
    pub async fn run(&self, pool: &Rc<EndpointPool>, slot: Slot, kept: &mut Kept) -> Result<Reply, Ended> {
        // Held here until there is an answer: who finds a connection closed does not lose its place to those who wait.
        let mut place = Some(slot);
        if let Some(connected) = self.reuse(pool) {
            let failure = match self.send(connected, pool.lease(), &mut place, kept).await {
                Ok(reply) => return Ok(reply),
                Err(failure) => failure,
            };
            if !self.may_replay(&failure, kept) || !self.affords(&failure) {
                return Err(self.ended(failure, kept));
            }
            note_replay(&failure, kept);
            pool.set_h2(None);
        }
        // From now on: whom it connects to is busy with it, and has the addresses that it has now.
        let lease = pool.lease();
        // Boxed: a connection is opened seldom, and its handshake would be a part of every request's future.
        let connected = apart(self.connect(pool)).await.map_err(|failure| match failure {
            Failure::Connect(ConnectFailure::Full) => Ended::Final(failure),
            _ => Ended::MayTryAgain(failure),
        })?;
        self.send(connected, lease, &mut place, kept).await.map_err(|failure| self.ended(failure, kept))
    }

    /// Whether it may be sent once more: what the agency may have seen already is more load, and is paid for.
    fn affords(&self, failure: &client::Failure) -> bool {
        let ledger = &self.pools.entrance.ledger;
        let affords = !may_have_been_seen(failure) || ledger.withdraw(&self.pools.agency);
        if !affords {
            ledger.count(Spent::NoBudget);
        }
        affords
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
        let connected = connect(self.pools, pool, wants_http1, self.connect, self.patience).await;
        let connected = connected.map_err(Failure::Connect)?;
        if let Connected::Http2(handle) = &connected {
            pool.set_h2(Some(handle.clone()));
        }
        Ok(connected)
    }

    /// `place` is taken by an answer that lasts beyond this.
    async fn send(
        &self,
        connected: Connected,
        lease: Lease,
        place: &mut Option<Slot>,
        kept: &mut Kept,
    ) -> Result<Reply, client::Failure> {
        let body = take_body(kept);
        match connected {
            Connected::Http1(connection) => self.over_http1(connection, body, lease, place).await,
            Connected::Http2(handle) => {
                let pool = lease.pool().clone();
                // Boxed: its state, twice that of HTTP/1.1, would otherwise be moved with every request's future.
                let sent = apart(self.over_http2(handle, body, lease, place)).await;
                // It may be dead without a word (a firewall forgot it): nobody else is to wait for it.
                if sent.as_ref().err() == Some(&client::Failure::TimedOut) {
                    pool.set_h2(None);
                }
                sent
            }
        }
    }

    async fn over_http1(
        &self,
        connection: Box<Upstream>,
        body: Body,
        lease: Lease,
        place: &mut Option<Slot>,
    ) -> Result<Reply, client::Failure> {
        let answer = connection.exchange(self.outgoing, body, self.patience, self.interim, lease).await?;
        let (status, mut headers) = (answer.head.status, answer.head.headers);
        let body = match answer.body {
            AnswerBodyOrUpgrade::Whole(bytes) => Body::full(bytes),
            AnswerBodyOrUpgrade::Stream(mut stream) => {
                if !is_event_stream(&headers)
                    && let Some(lease) = stream.home()
                {
                    lease.take(place);
                }
                Body::stream(stream)
            }
            AnswerBodyOrUpgrade::Upgraded(connection, mut lease) => {
                if !self.prepared.wish.accepts(&headers) {
                    return Err(client::Failure::Malformed("the agency's WebSocket handshake is wrong"));
                }
                let _ = from_agency(status, &mut headers, false);
                self.prepared.wish.dress_101(&mut headers);
                let (wire, counted) = connection.into_wire();
                lease.hold(counted);
                return Ok(Reply { status, headers, body: Body::Empty, tunnel: Some((unread_first(wire), lease)) });
            }
        };
        Ok(Reply { status, headers, body, tunnel: None })
    }

    async fn over_http2(
        &self,
        handle: http2::client::Handle,
        body: Body,
        mut lease: Lease,
        place: &mut Option<Slot>,
    ) -> Result<Reply, client::Failure> {
        let scheme = match lease.pool().live.endpoint.protocol {
            EndpointProtocol::Https => Scheme::HTTPS,
            _ => Scheme::HTTP,
        };
        if self.prepared.wish.is_upgrade() {
            return self.connect_websocket(handle, scheme, lease, place).await;
        }
        let answer = http2::client::exchange(handle, self.outgoing, body, scheme, self.patience, self.interim).await?;
        if !is_event_stream(&answer.headers) {
            lease.take(place);
        }
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
        mut lease: Lease,
        place: &mut Option<Slot>,
    ) -> Result<Reply, client::Failure> {
        let mut outgoing = self.outgoing.clone();
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
                lease.take(place);
                let receiving = http2::receive::Receiving::from_agency(stream, None, self.patience.idle);
                Ok(Reply {
                    status: parts.status,
                    headers: parts.headers.into(),
                    body: Body::stream(Leased { body: receiving, _lease: lease }),
                    tunnel: None,
                })
            }
        }
    }

    /// Nothing reached the agency; or it is idempotent, whole at hand, the route allows it, and this is the first time.
    fn may_replay(&self, failure: &client::Failure, kept: &Kept) -> bool {
        match failure {
            client::Failure::Broke { sent: false, answered: false } => kept.body.is_some(),
            client::Failure::Broke { answered: false, .. } => {
                self.prepared.retry && !kept.replayed && self.is_idempotent() && kept.body.is_some()
            }
            _ => false,
        }
    }

    fn ended(&self, failure: client::Failure, kept: &mut Kept) -> Ended {
        if self.may_replay(&failure, kept) {
            note_replay(&failure, kept);
            Ended::MayTryAgain(failure.into())
        } else {
            Ended::Final(failure.into())
        }
    }

    /// GET or HEAD, and no upgrade.
    pub fn is_read(&self) -> bool {
        matches!(self.outgoing.method, Method::GET | Method::HEAD) && !self.prepared.wish.is_upgrade()
    }

    /// RFC 9110 §9.2.2.
    fn is_idempotent(&self) -> bool {
        matches!(
            self.outgoing.method,
            Method::GET | Method::HEAD | Method::PUT | Method::DELETE | Method::OPTIONS | Method::TRACE
        ) && !self.prepared.wish.is_upgrade()
    }
}

fn note_replay(failure: &client::Failure, kept: &mut Kept) {
    kept.replayed |= may_have_been_seen(failure);
}

const fn may_have_been_seen(failure: &client::Failure) -> bool {
    matches!(failure, client::Failure::Broke { sent: true, .. })
}

/// The body to send; what is at hand whole stays at hand.
fn take_body(kept: &mut Kept) -> Body {
    match &kept.body {
        Some(Body::Empty) => Body::Empty,
        Some(Body::Full(bytes)) => Body::Full(bytes.clone()),
        _ => kept.body.take().unwrap_or_default(),
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
