//! A request's way to its agency: a place in it, an endpoint, a try, and again only when that is safe and there is budget for
//! it (contract section 3, "Sent once means once").
//!
//! One try is `exchange`; which failures may be followed by another is decided there. Here: where the next one goes, whether
//! the agency can bear it, and how long all of it may take.

use std::pin::pin;
use std::time::{Duration, SystemTime};

use http::{StatusCode, header};
use tokio::time::Instant;

use super::deadline::Deadline;
use super::exchange::{Attempt, Ended, outcome};
use super::failure::Failure;
use super::headers::{self, from_agency};
use super::hedge;
use super::prepare::Prepared;
use crate::apart::apart;
use crate::balance::{AgencyPools, Lease, Outcome, Picked, Slot, Spent};
use crate::body::Body;
use crate::fields::Fields;
use crate::message::{Duplex, Interim};

/// An agency's answer, fit for the caller.
pub struct Reply {
    pub status: StatusCode,
    pub headers: Fields,
    pub body: Body,
    /// The agency agreed to the upgrade: its side of the tunnel, and its endpoint's lease. It lasts for hours, and holds no
    /// request's place.
    pub tunnel: Option<(Box<dyn Duplex>, Lease)>,
}

/// Sends `prepared` to one of the agency's endpoints and waits for the head of its answer.
/// Cancel: the connection in use is closed, which is how the agency learns that the caller left.
pub async fn deliver(
    pools: &AgencyPools,
    prepared: &mut Prepared,
    body: Body,
    interim: &Interim,
    begun: Instant,
) -> Result<Reply, Failure> {
    let deadline = Deadline::begin(prepared.timeouts.request, begun);
    let mut reply = {
        // Pinned here: to hand it on by value would keep room for it twice, and copy it.
        let tries = pin!(tries(pools, prepared, body, interim, deadline));
        deadline.hold(tries).await.unwrap_or(Err(Failure::Late))?
    };
    if reply.tunnel.is_none() {
        from_agency(reply.status, &mut reply.headers, prepared.authenticated)?;
        reply.body = deadline.cut(reply.body);
    }
    Ok(reply)
}

async fn tries(
    pools: &AgencyPools,
    prepared: &mut Prepared,
    body: Body,
    interim: &Interim,
    deadline: Deadline,
) -> Result<Reply, Failure> {
    let begun = deadline.begun();
    let interim = interim.through(headers::clean_bodiless);
    let attempts = if prepared.retry { pools.agency.retry.attempts.max(1) } else { 1 };
    let ledger = &pools.entrance.ledger;
    ledger.deposit(&pools.agency);
    let mut slot = Some(pools.entrance.enter(deadline.left()).await.map_err(Failure::Full)?);
    let mut kept = Kept { body: Some(body), replayed: false, tried: 0 };
    let mut last = Failure::NoEndpoint;
    for n in 0..attempts {
        let is_retry = n > 0;
        let place = if is_retry { place_for_retry(pools, kept.tried, deadline, Spent::NoBudget) } else { slot.take() };
        let Some(place) = place else { break };
        let shy = if is_retry { pools.shy_of_retries() } else { 0 };
        let Some(mut picked) = pools.pick(prepared.subject, kept.tried | shy) else {
            if is_retry {
                ledger.refund();
            }
            break;
        };
        if prepared.limits.is_told() {
            prepared.limits.tell(&mut prepared.outgoing.headers, begun.elapsed());
        }
        kept.tried |= picked.bit();
        if !kept.is_at_hand() {
            picked.leave_untimed();
        }
        let attempt = Attempt::new(pools, prepared, &interim, deadline.left());
        // One try, or two at once where the agency is hedged and the first is slow. Boxed: only who is hedged pays for it.
        let ended = match hedge_after(&attempt, &kept) {
            Some(after) => apart(hedge::race(attempt, picked, place, after, deadline, &mut kept)).await,
            None => {
                let ended = attempt.run(picked.pool, place, &mut kept).await;
                note(picked, &ended, attempt.took());
                ended
            }
        };
        if is_retry {
            ledger.count(if ended.is_ok() { Spent::Answered } else { Spent::Failed });
        }
        match ended {
            Ok(reply) => return Ok(reply),
            Err(Ended::Final(failure)) => return Err(failure),
            Err(Ended::MayTryAgain(failure)) => last = failure,
        }
    }
    Err(last)
}

/// What goes from try to try.
pub(super) struct Kept {
    /// Gone once it was sent and cannot be had again.
    pub body: Option<Body>,
    /// It was sent again once: whatever happens then is final.
    pub replayed: bool,
    /// A bit for each endpoint.
    pub tried: u64,
}

impl Kept {
    /// The request is here whole: its caller keeps no endpoint waiting.
    fn is_at_hand(&self) -> bool {
        matches!(self.body, Some(Body::Empty | Body::Full(_)))
    }
}

/// How long to wait before another endpoint is asked as well. Only a read without a body, and only where the route allows
/// that a request is sent twice.
fn hedge_after(attempt: &Attempt<'_>, kept: &Kept) -> Option<Duration> {
    let (agency, prepared) = (&attempt.pools.agency, attempt.prepared);
    agency.hedge?;
    let fits = prepared.retry && attempt.is_read() && matches!(kept.body, Some(Body::Empty));
    fits.then(|| attempt.pools.entrance.ledger.hedge_after(agency)).flatten()
}

/// Learns from how a try ended. `took`: where the agency's answers are timed.
pub(super) fn note(picked: Picked<'_>, ended: &Result<Reply, Ended>, took: Option<Duration>) {
    if let Ok(reply) = ended
        && let Some((all, after)) = wish_for_rest(reply.status, &reply.headers)
    {
        picked.let_rest(all, after);
    }
    let outcome = outcome(ended);
    if let Some(took) = took {
        match ended {
            Ok(_) if outcome == Outcome::Good => picked.took(took, false),
            Err(Ended::Final(Failure::TimedOut) | Ended::MayTryAgain(Failure::TimedOut)) => picked.took(took, true),
            // A failure that comes fast makes nobody fast.
            _ => {}
        }
    }
    picked.note(outcome);
}

/// What the agency asks for: to be left alone by all requests, or by retries alone, and for how long.
fn wish_for_rest(status: StatusCode, headers: &Fields) -> Option<(bool, Duration)> {
    let all = match status {
        StatusCode::SERVICE_UNAVAILABLE => true,
        StatusCode::TOO_MANY_REQUESTS => false,
        _ => return None,
    };
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    let after = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::now()).ok()?,
    };
    Some((all, after))
}

/// Room in the agency and in its budget, time left, and an endpoint that is not in `tried`. It is paid for: what is not used is
/// to be refunded. `refused`: what is counted when there is no budget.
pub(super) fn place_for_retry(pools: &AgencyPools, tried: u64, deadline: Deadline, refused: Spent) -> Option<Slot> {
    if deadline.left().is_zero() || tried.count_ones() as usize >= pools.endpoints.len() {
        return None;
    }
    let slot = pools.entrance.enter_now()?;
    let ledger = &pools.entrance.ledger;
    if !ledger.withdraw(&pools.agency) {
        ledger.count(refused);
        return None;
    }
    Some(slot)
}
