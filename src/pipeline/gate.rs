//! Where a connection meets the pipeline: what its requests have in common, and the net under a panic.

use std::cell::Cell;
use std::future::Future;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Method;
use ipnet::IpNet;

use super::handle::{handle, refuse_unread};
use super::refusal::Refusal;
use super::seat::Seat;
use super::worker::Worker;
use crate::fields::Fields;
use crate::http1::head::HeadFault;
use crate::http1::server::Service;
use crate::limit::forgeries::{Forgeries, Sender, Standing};
use crate::live::Snapshot;
use crate::message::{Inbound, Outbound};
use crate::words::{ConnInfo, ListenerId};

/// One connection's way in.
pub struct Gate {
    pub worker: Rc<Worker>,
    pub conn: ConnInfo,
    pub listener: ListenerId,
    pub trusted_proxies: Arc<[IpNet]>,
    /// Bytes of a request target, and of a body where the route says nothing.
    pub uri_limit: usize,
    pub body_limit: u64,
    /// Tokens with a wrong signature, by address: of the listener, and what this connection has shown.
    pub forgeries: Arc<Forgeries>,
    pub standing: Cell<Standing>,
    /// In overload, a connection that was let in has its first request let in with it.
    pub won: Cell<bool>,
}

impl Gate {
    /// Who sends a request's token. `client`: the caller's address, which behind a trusted proxy is not the peer's.
    pub fn sender(&self, client: IpAddr) -> Sender<'_> {
        Sender { forgeries: &self.forgeries, address: client, standing: &self.standing }
    }

    /// What its listener is called in the configuration that a request goes by.
    pub fn listener_name<'a>(&'a self, snapshot: &'a Snapshot) -> &'a str {
        snapshot.listener_name(self.listener).unwrap_or(&self.conn.listener)
    }
}

/// What a request is handled with: its connection's gate, and what came in by it.
pub(super) type Request = (Rc<Gate>, Box<Inbound>);

/// A gate is shared by the requests of its connection.
pub struct Shared(pub Rc<Gate>);

impl Service for Shared {
    fn call(&self, inbound: Inbound) -> impl Future<Output = Outbound> + Unpin {
        let gate = self.0.clone();
        // The room first, and then what goes into it: else it is put together elsewhere and moved.
        let inbound = Box::write(Box::new_uninit(), inbound);
        let seat = Some(gate.worker.seats.take((gate.clone(), inbound), |(gate, inbound)| handle(gate, inbound)));
        Caught { gate, seat }
    }

    fn refuse(&self, fault: HeadFault) -> Outbound {
        refuse_unread(&self.0, Refusal::Head(fault))
    }

    fn timed_out(&self) -> Outbound {
        refuse_unread(&self.0, Refusal::HeadTimeout)
    }
}

/// One request's panic is that request's 500, not everybody's outage.
struct Caught {
    gate: Rc<Gate>,
    /// Gone once there is an answer.
    seat: Option<Seat<Request, Outbound>>,
}

impl Future for Caught {
    type Output = Outbound;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outbound> {
        let Caught { gate, seat } = &mut *self;
        let mut at_work = seat.take().expect("it is not polled after its answer");
        // Sound: a seat whose request panicked is never polled again, and what it shared with others are counters.
        match catch_unwind(AssertUnwindSafe(|| at_work.poll(cx))) {
            Ok(Poll::Pending) => {
                *seat = Some(at_work);
                Poll::Pending
            }
            Ok(Poll::Ready(outbound)) => {
                gate.worker.seats.free(at_work);
                Poll::Ready(outbound)
            }
            Err(_) => Poll::Ready(refuse_unread(gate, Refusal::Internal)),
        }
    }
}

/// What is known of a request that could not be read.
pub(super) fn nothing_known() -> (Method, Fields) {
    (Method::GET, Fields::new())
}
