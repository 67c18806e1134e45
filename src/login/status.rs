//! `/.gateway/session`: who is logged in, for the portal's own page (BF-7). Nothing secret: no token, no `sub`.

use http::header::{self, HeaderValue};
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::logout::{self, same_origin};
use super::{Login, Party, Visit};
use crate::body::Body;
use crate::message::Response;
use crate::session::{Loaded, StoreAway};
use crate::words::Level;

pub const PATH: &str = "/.gateway/session";

impl Login {
    pub async fn answer_status(&self, visit: &Visit<'_>) -> Response {
        if visit.method == Method::OPTIONS {
            let mut response = Response::new(Body::Empty);
            response.status = StatusCode::NO_CONTENT;
            self.allow_portals(&mut response, visit);
            return response;
        }
        let mut response = match visit.session().await {
            Ok(session) => {
                let mut response = Response::new(Body::full(self.status(session.as_ref(), visit).to_string()));
                let headers = &mut response.headers;
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
                response
            }
            Err(StoreAway) => visit.store_away(),
        };
        self.allow_portals(&mut response, visit);
        response
    }

    fn status(&self, session: Option<&Loaded>, visit: &Visit<'_>) -> Value {
        let step_ups = |party: &Party, above: Level| -> Value {
            let levels = [Level::ONE, Level::TWO, Level::THREE].into_iter().filter(|level| *level > above);
            let urls = levels.filter_map(|level| {
                let reaches = !party.issuer.model.values_reaching(level).is_empty();
                reaches.then(|| (level.to_string(), self.url(party, level.number(), None, None).into()))
            });
            Value::Object(urls.collect::<Map<_, _>>())
        };
        // One of an SSO that is no longer configured opens nothing.
        let known = session.and_then(|loaded| Some((loaded, self.party_of(&loaded.session().issuer)?)));
        let Some((loaded, party)) = known else {
            let login: Map<String, Value> = self
                .parties
                .iter()
                .flatten()
                .map(|party| (party.issuer.model.name.to_string(), self.url(party, 1, None, None).into()))
                .collect();
            let only = self.only_party().map(|party| self.url(party, 1, None, None));
            return json!({"signed_in": false, "level": 0, "login_url": only, "login_urls": login});
        };
        let session = loaded.session();
        let level = party.level_of(loaded, visit.now);
        let mut status = json!({
            "signed_in": true,
            "name": session.name,
            "level": level.number(),
            "expires_in": loaded.left(visit.now),
            "step_up_urls": step_ups(party, level),
            "logout_url": logout::PATH,
        });
        // For a form of the portal's own; another portal's page has its own session to end.
        if visit.headers.get("sec-fetch-site").is_none_or(|site| site == "same-origin")
            && visit.headers.get(header::ORIGIN).is_none_or(|_| same_origin(visit.headers, visit.origin))
        {
            status["csrf"] = loaded.csrf().into();
        }
        status
    }

    /// The portals' pages may read it, and no others (Fetch standard section 3.2).
    fn allow_portals(&self, response: &mut Response, visit: &Visit<'_>) {
        let headers = &mut response.headers;
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        let mut origins = visit.headers.get_all(header::ORIGIN);
        let (Some(origin), None) = (origins.next(), origins.next()) else { return };
        let scheme = visit.origin.split(':').next().unwrap_or_default();
        if self.hosts.has_origin(origin.as_bytes(), scheme) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD"));
        }
    }
}
