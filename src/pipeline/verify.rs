//! The verdict for an agency that keeps its own proxy: the proxy asks about a request, and forwards it by itself.
//!
//! The request it asks about is settled, matched, admitted and counted by the code that serves; only the exchange is left
//! out. The answer is 200 with what the agency is told of the caller, for the proxy to copy, or the refusal as the caller
//! would get it; for people with sessions it says more (`told`), and the proxy passes their way to the SSO on (`portal`). The asker is believed about the request, so it must be one of the agency's own (`agencies.NAME.verify`):
//! it could else have assertions made for other agencies. `handle` asks [`asked`] of every request before all else.

mod ext_authz;
mod told;

use std::time::Instant;

use http::header::{self, HeaderValue};
use http::{Method, StatusCode, Version};

use super::gate::Gate;
use super::handle::{self, admit};
use super::refusal::Refusal;
use super::respond;
use super::session::origin;
use super::worker::View;
use crate::answer::say_id;
use crate::body::Body;
use crate::chance;
use crate::config::model::{IdentityKind, Verify};
use crate::fields::Fields;
use crate::forward;
use crate::intake::arrived::Arrived;
use crate::intake::{Rejected, client_addr, original};
use crate::live::{RouteLive, Snapshot};
use crate::message::{Inbound, Outbound, Response, Target};
use crate::observe::{Record, StatId};
use crate::route::Found;
use crate::tls::certs;
use crate::words::{ConnInfo, RequestId, method_index};

/// Where verdicts are asked for. `/.gateway/` is no route's.
pub const PATH: &[u8] = b"/.gateway/verify";

/// How a proxy asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// The original request stands in fields of its own.
    Fields,
    /// It is the asking request itself, its path behind [`PATH`].
    Path,
    /// In a gRPC message.
    ExtAuthz,
}

/// Whether a request is a question about another. Nothing is, where no agency lets anybody ask.
pub fn asked(snapshot: &Snapshot, conn: &ConnInfo, inbound: &Inbound) -> Option<Question> {
    if snapshot.askers.is_empty() {
        return None;
    }
    let Target::Origin { path_and_query, .. } = &inbound.target else { return None };
    if let Some(rest) = path_and_query.strip_prefix(PATH) {
        return match rest.first() {
            None | Some(b'?') => Some(Question::Fields),
            Some(b'/') => Some(Question::Path),
            Some(_) => None,
        };
    }
    // Anybody else's call of that name may be meant for an agency.
    let is_check = &**path_and_query == ext_authz::PATH && inbound.version == Version::HTTP_2;
    (is_check && is_asker(snapshot, conn)).then_some(Question::ExtAuthz)
}

/// Answers a question. Never an upgrade, and never a reason to close: the asking request was sound.
pub async fn answer(gate: &Gate, view: &View, question: Question, inbound: Inbound, begun: Instant) -> Outbound {
    let asking = Asking { gate, view, method: inbound.method.clone(), begun };
    let original = match question {
        _ if !is_asker(&view.snapshot, &gate.conn) => {
            return asking.refuse_unread(&inbound.headers, &Refusal::MayNotAsk).into();
        }
        Question::ExtAuthz => return ext_authz::answer(&asking, inbound).await.into(),
        Question::Fields => original::from_fields(inbound.headers),
        Question::Path => original::from_path(inbound, PATH.len()),
    };
    asking.judge(original).await.response.into()
}

/// One question.
struct Asking<'a> {
    gate: &'a Gate,
    view: &'a View,
    /// Of the asking request: a HEAD is answered without a body, whatever it asks about.
    method: Method,
    begun: Instant,
}

struct Verdict {
    response: Response,
    /// Set when the request may pass: how the agency is told of the caller.
    allowed: Option<IdentityKind>,
}

impl Asking<'_> {
    /// The steps of `handle`. Errors of `original`: what is told of it has no one reading.
    async fn judge(&self, original: Result<Inbound, &'static str>) -> Verdict {
        let (gate, view) = (self.gate, self.view);
        let mut original = match original {
            Ok(original) => original,
            Err(why) => {
                let refusal = Refusal::Rejected(Rejected::Malformed(why));
                return self.refuse_unread(&Fields::new(), &refusal).into();
            }
        };
        let tells_scheme = told::scheme(&mut original.headers);
        // 400, 414: what cannot be looked at.
        let (arrived, _) = match Arrived::parse(&gate.conn, &view.snapshot.askers, gate.uri_limit, original) {
            Ok(arrived) => arrived,
            Err(remains) => {
                let record = self.record(StatId::UNROUTED, &remains.method, remains.request_id);
                return self.refuse(None, &remains.headers, &Refusal::Rejected(remains.why), record).into();
            }
        };
        // 404, 405: which route. A preflight is a request like others: the asker's agency answers it.
        let snapshot = &view.snapshot;
        let found =
            snapshot.table.find(gate.listener_name(snapshot), arrived.authority.name(), &arrived.path, &arrived.method);
        let route = match found {
            Found::Route(id) => snapshot.route(id),
            Found::MethodNotAllowed(allow) => return self.unrouted(&arrived, &Refusal::MethodNotAllowed(allow)).into(),
            Found::Unknown => return self.unrouted(&arrived, &Refusal::RouteUnknown).into(),
        };
        let mut record = self.record(route.stat, &arrived.method, arrived.request_id);
        // 503, before anything that costs: more than this worker can bear.
        if gate.worker.overload.refuses(route.priority, gate.won.take()) {
            return self.refuse(Some(route), &arrived.headers, &Refusal::Overloaded, record).into();
        }
        // 400, 401, 403, 429, 503: who asks for what, and how strongly.
        let verify = snapshot.config.agencies[route.agency.0 as usize].verify.as_ref();
        let mut cookies = Vec::new();
        let admitted = match verify {
            Some(verify) if may_ask(verify, &gate.conn) => {
                admit(gate, view, route, &arrived, &mut record, &mut cookies).await
            }
            _ => Err(Refusal::MayNotAsk),
        };
        let entered = match admitted {
            Ok((entered, _)) => entered,
            Err(refusal) => {
                let mut response = self.refuse(Some(route), &arrived.headers, &refusal, record);
                let origin = tells_scheme.then(|| origin(gate, &arrived));
                told::with_no(&refusal, origin.as_deref(), &cookies, &mut response);
                return response.into();
            }
        };
        let agency = &view.agency(route.agency).agency;
        let mut response = Response::new(Body::Empty);
        let headers = &mut response.headers;
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        say_id(headers, &record.request_id);
        told::with_yes(&entered, &cookies, snapshot.sessions.jar(), &arrived.headers, headers);
        forward::headers::identity(headers, None, &entered.permit, agency, &snapshot.signer, || {
            gate.worker.clock.now()
        });
        record.status = response.status.as_u16();
        Verdict { response, allowed: Some(agency.identity) }
    }

    fn record(&self, stat: StatId, method: &Method, request_id: RequestId) -> Record {
        let books = &self.gate.worker.books;
        let mut record = Record::begin(books, stat, method_index(method), request_id, self.begun);
        record.verdict = true;
        record
    }

    fn unrouted(&self, arrived: &Arrived, refusal: &Refusal) -> Response {
        let record = self.record(StatId::UNROUTED, &arrived.method, arrived.request_id);
        self.refuse(None, &arrived.headers, refusal, record)
    }

    /// For a question that is not looked at.
    fn refuse_unread(&self, headers: &Fields, refusal: &Refusal) -> Response {
        let record = self.record(StatId::UNROUTED, &self.method, RequestId::from_bits(chance::bits()));
        self.refuse(None, headers, refusal, record)
    }

    fn refuse(&self, route: Option<&RouteLive>, headers: &Fields, refusal: &Refusal, record: Record) -> Response {
        let asked = handle::asked(self.gate, self.view, route, &self.method, headers);
        let mut response = respond::refuse(refusal, &asked, record).response;
        // A gRPC caller is told a refusal inside a 200, which its proxy would take for a yes.
        if response.status.is_success() {
            let status = StatusCode::from_u16(refusal.code().status());
            response.status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        }
        response
    }
}

impl From<Response> for Verdict {
    fn from(refusal: Response) -> Verdict {
        Verdict { response: refusal, allowed: None }
    }
}

fn is_asker(snapshot: &Snapshot, conn: &ConnInfo) -> bool {
    client_addr::is_trusted(conn.peer.ip(), &snapshot.askers)
}

/// Whether the peer is one of the agency's proxies. The listener has verified its certificate.
fn may_ask(verify: &Verify, conn: &ConnInfo) -> bool {
    let is_named = || conn.client_cert.as_deref().is_some_and(|cert| certs::has_name(cert, &verify.client));
    client_addr::is_trusted(conn.peer.ip(), &verify.from) && (verify.client.is_empty() || is_named())
}
