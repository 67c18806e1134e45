//! THE file: every step of a request in order, top to bottom, with no logic of its own.
//!
//! Each step hands the next a value that could not exist had the step been skipped: forwarding takes a `Permit`, and only
//! `auth` makes one. Every refusal, from whichever step, is answered in one place.

use std::rc::Rc;
use std::time::Instant;

use http::{HeaderValue, Method};
use http_body::Body as _;

use super::gate::{Gate, nothing_known};
use super::own;
use super::portal;
use super::rate::{self, Budget};
use super::refusal::Refusal;
use super::respond::{self, Asked, Lasting};
use super::session::{self, Ends, Entered};
use super::verify;
use super::worker::View;
use crate::answer::cors::Preflight;
use crate::answer::say_id;
use crate::apart::apart;
use crate::auth;
use crate::body::Body;
use crate::chance;
use crate::fields::Fields;
use crate::forward::{self, prepare};
use crate::intake::arrived::{Payload, Remains};
use crate::intake::{Arrived, Rejected};
use crate::limit::body::{Counter, limited};
use crate::live::{RouteLive, Snapshot};
use crate::message::{Inbound, Outbound, Response};
use crate::observe::{Record, StatId};
use crate::route::Found;
use crate::words::{RequestId, RouteId, method_index};

/// Answers one request. Cancel: the exchange with the agency is broken off, and the record closes as "the caller left".
///
/// `inbound` is boxed: a future keeps the room of what it is given, beside that of what it makes of it.
pub async fn handle(gate: Rc<Gate>, inbound: Box<Inbound>) -> Outbound {
    let begun = Instant::now();
    // ONE snapshot for the whole request, however long it takes.
    let view = gate.worker.view();

    // Another proxy asks about a request of its own. Boxed: its state would otherwise be part of every request's future.
    if let Some(question) = verify::asked(&view.snapshot, &gate.conn, &inbound) {
        return apart(verify::answer(&gate, &view, question, *inbound, begun)).await;
    }

    // 400, 414: what cannot be looked at.
    let (mut arrived, payload) = match Arrived::parse(&gate.conn, &gate.trusted_proxies, gate.uri_limit, *inbound) {
        Ok(arrived) => arrived,
        Err(remains) => return turn_away(&gate, &view, *remains, begun),
    };
    let begin = |stat| {
        let books = &gate.worker.books;
        let record = Record::begin(books, stat, method_index(&arrived.method), arrived.request_id, begun);
        record.holding(view.lease.clone())
    };
    if let Some(response) = own::answer(&arrived, &view.snapshot) {
        let mut record = begin(StatId::UNROUTED);
        record.status = response.status.as_u16();
        record.bytes_out = response.body.size_hint().lower();
        return response.into();
    }

    if let Some(place) = portal::asked(&view.snapshot, &arrived) {
        return own_page(&gate, &view, place, arrived, payload, begun).await;
    }

    // 404, 405: which route.
    let met = find(&view.snapshot, gate.listener_name(&view.snapshot), &arrived)
        .and_then(|met| forwarded(&view.snapshot, met));
    let route = match met {
        Ok(Met::Route(id)) => view.snapshot.route(id),
        Ok(Met::Preflight(id)) => {
            let route = view.snapshot.route(id);
            let mut record = begin(route.stat);
            return answer_preflight(route, &arrived, &mut record);
        }
        Err(refusal) => {
            let refusal = too_large_first(refusal, &payload, gate.body_limit);
            let record = begin(StatId::UNROUTED);
            return respond::refuse(&refusal, &asked(&gate, &view, None, &arrived.method, &arrived.headers), record);
        }
    };
    let mut record = begin(route.stat);
    // 503, before anything that costs: more than this worker can bear.
    if gate.worker.overload.refuses(route.priority, gate.won.take()) {
        let asked = asked(&gate, &view, Some(route), &arrived.method, &arrived.headers);
        return respond::refuse(&Refusal::Overloaded, &asked, record);
    }
    let mut cookies = Vec::new();
    let mut outbound = match pass(&gate, &view, route, &mut arrived, payload, &mut record, &mut cookies).await {
        Ok(Passed { reply, answered, bytes_in, headers, ends }) => {
            let asked = asked(&gate, &view, Some(route), &arrived.method, &headers);
            let lasting = || Lasting {
                fate: route.fate.clone(),
                ear: gate.worker.streams.listen(),
                idle: route.way.timeouts.idle,
                end: session::end_of(&view, route, &ends, gate.worker.clock.now()),
            };
            let mut outbound = respond::relay(reply, answered, &asked, record, bytes_in, lasting);
            if let Ends::WithSession(_) = ends {
                session::mark(&mut outbound.response);
            }
            outbound
        }
        Err(refusal) => {
            let asked = asked(&gate, &view, Some(route), &arrived.method, &arrived.headers);
            respond::refuse(&refusal, &asked, record)
        }
    };
    session::set(&mut outbound.response, cookies);
    outbound
}

/// A reply, and what its answer needs to know of its request.
struct Passed {
    reply: forward::Reply,
    /// When its head came.
    answered: Instant,
    bytes_in: Counter,
    headers: Fields,
    /// What a stream depends on.
    ends: Ends,
}

/// From a route to the agency's reply. On refusal the request's fields are back in `arrived`. `cookies`: to set with the
/// answer, whatever it is.
async fn pass(
    gate: &Gate,
    view: &View,
    route: &RouteLive,
    arrived: &mut Arrived,
    payload: Payload,
    record: &mut Record,
    cookies: &mut Vec<HeaderValue>,
) -> Result<Passed, Refusal> {
    let worker = &gate.worker;
    let pools = view.agency(route.agency);

    // 413: a body known to be too large; one that turns out to be is cut as it passes.
    let bytes_in = Counter::default();
    let limit = route.body_limit.or(gate.body_limit);
    let body = limited(payload.body, limit, &bytes_in).map_err(|_| Refusal::BodyTooLarge)?;

    // A form that waited for a step-up takes the place of the button that stands for it.
    let takes_sessions = route.requirement.via.takes_sessions();
    let (body, form) = match takes_sessions {
        true => {
            let restored = apart(session::restore(view, arrived, body, worker.clock.now())).await?;
            (restored.body, restored.ticket)
        }
        false => (body, None),
    };
    let (entered, budget) = match admit(gate, view, route, arrived, record, cookies).await {
        Err(Refusal::Login(needed)) => {
            return Err(apart(session::keep_form(gate, view, route, arrived, body, needed)).await);
        }
        admitted => admitted?,
    };
    session::claim_form(view, form, &entered, cookies)?;
    let ends = Ends::of(&entered);
    let permit = entered.permit;
    let jar = view.snapshot.sessions.jar();
    jar.strip_request(&mut arrived.headers);

    // 502, 503, 504: the agency.
    let now = || worker.clock.now();
    let signer = &view.snapshot.signer;
    let prepared = prepare::prepare(arrived, &permit, &gate.conn, &pools.agency, &route.way, signer, now);
    let mut prepared = prepared.map_err(Refusal::Forward)?;
    // Nothing of it is asked for any more: what it shares is at hand now, and would be far away after the agency's answer.
    drop(permit);
    let sent = tokio::time::Instant::now();
    let reply = forward::deliver(pools, &mut prepared, body, &payload.interim, sent).await;
    let answered = tokio::time::Instant::now();
    let took = answered - sent;
    worker.books.tally.upstream(&pools.agency.name, took);
    record.upstream = Some(took);
    record.bytes_in = bytes_in.get();
    let headers = prepared.into_headers();
    match reply {
        Ok(mut reply) => {
            jar.strip_answer(&mut reply.headers);
            if let Some(budget) = budget {
                budget.tell(&mut reply.headers);
            }
            Ok(Passed { reply, answered: answered.into_std(), bytes_in, headers, ends })
        }
        Err(failure) => {
            arrived.headers = headers;
            Err(Refusal::Forward(failure))
        }
    }
}

/// Whether the caller may pass, and not too often: all that a verdict is made of.
pub(super) async fn admit<'r>(
    gate: &Gate,
    view: &View,
    route: &'r RouteLive,
    arrived: &Arrived,
    record: &mut Record,
    cookies: &mut Vec<HeaderValue>,
) -> Result<(Entered, Option<Budget<'r>>), Refusal> {
    let worker = &gate.worker;

    // 400, 401, 403, 503: who asks, and how strongly.
    let query = arrived.query.as_deref();
    let admitted = match session::is_asked(&route.requirement, &arrived.headers) {
        true => apart(session::admit(gate, view, route, arrived, cookies)).await,
        false => {
            let (headers, sender) = (&arrived.headers, Some(gate.sender(arrived.client)));
            let judged = auth::admit(&route.requirement, headers, query, sender, &worker.cache, &worker.clock).await;
            judged.map(Entered::from).map_err(Refusal::Denied)
        }
    };
    worker.books.tally.decided(record.stat(), admitted.as_ref().err().map(Refusal::code));
    if let Some(auth::Denied::LevelTooLow { has, .. }) = admitted.as_ref().err().and_then(Refusal::denied) {
        record.level = has;
    }
    let entered = admitted?;
    let permit = &entered.permit;
    record.level = permit.level();
    record.subject = view.snapshot.signer.pairwise(permit, &view.agency(route.agency).agency.name);

    // 429: strangers were refused above, and so cannot use up what a route has for its callers.
    let budget = rate::take(worker, view, route, arrived.client, permit).await?;
    Ok((entered, budget))
}

/// One of the gateway's own pages. Boxed: its state would otherwise be part of every request's future.
async fn own_page(
    gate: &Gate,
    view: &View,
    place: portal::Place,
    arrived: Arrived,
    payload: Payload,
    begun: Instant,
) -> Outbound {
    let books = &gate.worker.books;
    let record = Record::begin(books, StatId::UNROUTED, method_index(&arrived.method), arrived.request_id, begun);
    // 503, before anything that costs: more than this worker can bear.
    if gate.worker.overload.refuses(place.priority(), gate.won.take()) {
        let asked = asked(gate, view, None, &arrived.method, &arrived.headers);
        return respond::refuse(&Refusal::Overloaded, &asked, record);
    }
    let answered = match limited(payload.body, gate.body_limit, &Counter::default()) {
        Ok(body) => apart(portal::answer(gate, view, place, &arrived, body)).await,
        Err(_) => Err(Refusal::BodyTooLarge),
    };
    match answered {
        Ok(response) => respond::own(response, &arrived.method, gate.conn.scheme, record),
        Err(refusal) => respond::refuse(&refusal, &asked(gate, view, None, &arrived.method, &arrived.headers), record),
    }
}

/// What a request meets.
pub enum Met {
    Route(RouteId),
    /// A browser asks before it asks (CORS), and the route it means answers such questions.
    Preflight(RouteId),
}

/// No route can have a path below it.
const OWN: &[u8] = b"/.gateway";

/// An agency that is only asked about has no address: its callers do not come this way.
fn forwarded(snapshot: &Snapshot, met: Met) -> Result<Met, Refusal> {
    let (Met::Route(id) | Met::Preflight(id)) = met;
    let agency = snapshot.route(id).agency;
    if snapshot.agencies[agency.0 as usize].endpoints.is_empty() { Err(Refusal::RouteUnknown) } else { Ok(met) }
}

pub fn find(snapshot: &Snapshot, listener: &str, arrived: &Arrived) -> Result<Met, Refusal> {
    // Whatever of the gateway's own was not answered above is nobody's: a prefix `/` must not lead it to an agency.
    if arrived.path.strip_prefix(OWN).is_some_and(|rest| matches!(rest.first(), None | Some(b'/'))) {
        return Err(Refusal::RouteUnknown);
    }
    let look = |method: &Method| snapshot.table.find(listener, arrived.authority.name(), &arrived.path, method);
    if let Some(preflight) = Preflight::of(&arrived.method, &arrived.headers)
        && let Found::Route(id) = look(&preflight.method)
        && snapshot.route(id).cors.is_some()
    {
        return Ok(Met::Preflight(id));
    }
    match look(&arrived.method) {
        Found::Route(id) => Ok(Met::Route(id)),
        Found::MethodNotAllowed(allow) => Err(Refusal::MethodNotAllowed(allow)),
        Found::Unknown => Err(Refusal::RouteUnknown),
    }
}

fn answer_preflight(route: &RouteLive, arrived: &Arrived, record: &mut Record) -> Outbound {
    let mut response = match &route.cors {
        Some(cors) => cors.answer_preflight(&arrived.headers),
        None => Response::new(Body::Empty),
    };
    say_id(&mut response.headers, &arrived.request_id);
    record.status = response.status.as_u16();
    response.into()
}

/// Size comes before path and route in the order of refusals (contract section 5).
pub fn too_large_first(refusal: Refusal, payload: &Payload, limit: u64) -> Refusal {
    if payload.body.size_hint().lower() > limit { Refusal::BodyTooLarge } else { refusal }
}

pub(super) fn asked<'a>(
    gate: &'a Gate,
    view: &'a View,
    route: Option<&'a RouteLive>,
    method: &'a Method,
    headers: &'a Fields,
) -> Asked<'a> {
    Asked {
        method,
        headers,
        scheme: gate.conn.scheme,
        realm: gate.listener_name(&view.snapshot),
        requirement: route.map(|route| &*route.requirement),
        cors: route.and_then(|route| route.cors.as_deref()),
        contact: &view.snapshot.config.contact,
    }
}

/// The refusal of a request that cannot be looked at and whose body has `announced` bytes.
pub fn rejected(why: Rejected, announced: u64, limit: u64) -> Refusal {
    match why {
        Rejected::PathAmbiguous(_) | Rejected::MethodNotAllowed if announced > limit => Refusal::BodyTooLarge,
        why => Refusal::Rejected(why),
    }
}

fn turn_away(gate: &Gate, view: &View, remains: Remains, begun: Instant) -> Outbound {
    let Remains { method, headers, request_id, why, announced } = remains;
    let record = Record::begin(&gate.worker.books, StatId::UNROUTED, method_index(&method), request_id, begun);
    let refusal = rejected(why, announced, gate.body_limit);
    respond::refuse(&refusal, &asked(gate, view, None, &method, &headers), record)
}

/// A request that could not even be read: nothing is known of it.
pub(super) fn refuse_unread(gate: &Gate, refusal: Refusal) -> Outbound {
    let (method, headers) = nothing_known();
    let view = gate.worker.view();
    let id = RequestId::from_bits(chance::bits());
    let record = Record::begin(&gate.worker.books, StatId::UNROUTED, method_index(&method), id, Instant::now());
    respond::refuse(&refusal, &asked(gate, &view, None, &method, &headers), record)
}
