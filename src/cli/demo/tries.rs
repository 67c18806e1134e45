//! The requests of the demo: one table, printed here as curl commands for a person and sent by `check` for a machine.
//!
//! What each must be answered with stands beside it, so the words on the screen cannot drift from what is tested.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use http::header::{ACCEPT, ACCEPT_LANGUAGE, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderName, Method, StatusCode};

use super::config::PORTALS;

/// As in `routes.yaml`.
pub const API: &str = "api.example.ir";
pub const ERROR_CODE: HeaderName = HeaderName::from_static("x-gateway-error");

/// Where everything listens in this run, and the CA that vouches for it.
pub struct Ground {
    pub public: SocketAddr,
    pub admin: SocketAddr,
    pub portals: SocketAddr,
    pub sso: u16,
    pub ca: PathBuf,
}

/// One request and its promise.
pub struct Try {
    pub story: &'static str,
    pub at: At,
    pub method: Method,
    pub path: &'static str,
    pub token: Token,
    pub headers: &'static [(HeaderName, &'static str)],
    pub body: &'static str,
    pub status: StatusCode,
    /// Parts that must be found in a field of the answer.
    pub field: Option<(HeaderName, &'static [&'static str])>,
    /// What must be found in the body of the answer.
    pub holds: &'static [&'static str],
}

#[derive(Clone, Copy, PartialEq)]
pub enum At {
    Public,
    Admin,
}

#[derive(Clone, Copy)]
pub enum Token {
    None,
    Garbage,
    /// The query for the SSO's `/token`.
    Asked(&'static str),
}

const fn get(story: &'static str, path: &'static str, status: StatusCode) -> Try {
    Try {
        story,
        at: At::Public,
        method: Method::GET,
        path,
        token: Token::None,
        headers: &[],
        body: "",
        status,
        field: None,
        holds: &[],
    }
}

const JSON: &[(HeaderName, &str)] = &[(CONTENT_TYPE, "application/json")];
const PAGE: &[(HeaderName, &str)] = &[(ACCEPT, "text/html"), (ACCEPT_LANGUAGE, "fa")];
const IBAN: &str = r#"{"iban":"IR062960000000100324200001"}"#;

pub fn tries() -> Vec<Try> {
    const HISTORY: &str = "/insurance/history";
    const PENSION: &str = "/insurance/pensions/17";
    let put = |story, status| Try { method: Method::PUT, headers: JSON, body: IBAN, ..get(story, PENSION, status) };
    vec![
        Try {
            holds: &["/news/today"],
            ..get("Level 0: anyone may read this, without a login.", "/news/today", StatusCode::OK)
        },
        Try {
            token: Token::Asked("level=2"),
            holds: &["\"path\": \"/v2/history\"", "x-gateway-assertion"],
            ..get("Level 2: let through; the agency sees an assertion instead of the token.", HISTORY, StatusCode::OK)
        },
        Try {
            field: Some((WWW_AUTHENTICATE, &["Bearer realm=\"public\""])),
            holds: &["\"token_missing\""],
            ..get("The same without a token: 401 token_missing.", HISTORY, StatusCode::UNAUTHORIZED)
        },
        Try {
            token: Token::Asked("level=2"),
            field: Some((
                WWW_AUTHENTICATE,
                &["error=\"insufficient_user_authentication\"", "acr_values=\"urn:example:level:3\""],
            )),
            holds: &["\"level_too_low\""],
            ..put(
                "Level 3 asked, level 2 brought: 401 with the challenge that sends the person to log in again (RFC 9470).",
                StatusCode::UNAUTHORIZED,
            )
        },
        Try {
            token: Token::Asked("level=3"),
            holds: &["\"path\": \"/insurance/pensions/17\""],
            ..put("Level 3: let through.", StatusCode::OK)
        },
        Try {
            token: Token::Asked("level=3&age=3600"),
            field: Some((WWW_AUTHENTICATE, &["error=\"insufficient_user_authentication\"", "max_age="])),
            holds: &["\"authentication_too_old\""],
            ..put("Level 3, but the login is an hour old: 401 with max_age.", StatusCode::UNAUTHORIZED)
        },
        Try {
            token: Token::Asked("level=3&scope=insurance.read"),
            field: Some((WWW_AUTHENTICATE, &["error=\"insufficient_scope\"", "scope=\"deeds.read\""])),
            holds: &["\"scope_missing\""],
            ..get("Level 3, but the app may not ask for deeds: 403.", "/deeds/17", StatusCode::FORBIDDEN)
        },
        Try {
            token: Token::Asked("level=3&alg=RS256"),
            holds: &["land-registry", "\"x-gateway-level\": \"3\""],
            ..get("An agency behind mTLS, told who calls by headers; the token is RS256.", "/deeds/17", StatusCode::OK)
        },
        Try {
            token: Token::Garbage,
            field: Some((WWW_AUTHENTICATE, &["error=\"invalid_token\""])),
            holds: &["\"token_invalid\""],
            ..get("A garbage token: 401 token_invalid.", HISTORY, StatusCode::UNAUTHORIZED)
        },
        Try {
            headers: PAGE,
            field: Some((CONTENT_TYPE, &["text/html"])),
            holds: &["lang=\"fa\"", "dir=\"rtl\""],
            ..get("The same refusal as a browser gets it: a page in Persian.", HISTORY, StatusCode::UNAUTHORIZED)
        },
        Try {
            field: Some((ERROR_CODE, &["path_ambiguous"])),
            ..get(
                "A path that could mean two things reaches nobody.",
                "/news/%2e%2e/insurance",
                StatusCode::BAD_REQUEST,
            )
        },
        Try {
            field: Some((ERROR_CODE, &["route_unknown"])),
            ..get("What no route matches is refused.", "/nothing/here", StatusCode::NOT_FOUND)
        },
        Try {
            token: Token::Asked("level=2"),
            field: Some((CONTENT_TYPE, &["text/event-stream"])),
            holds: &["data: event 1 of 3", "data: event 3 of 3"],
            ..get("A stream of events, passed on as they happen.", "/insurance/events", StatusCode::OK)
        },
        Try {
            at: At::Admin,
            holds: &["darvazeh_requests_total"],
            ..get("For the operator: metrics.", "/metrics", StatusCode::OK)
        },
        Try { at: At::Admin, ..get("For the orchestrator: alive.", "/livez", StatusCode::OK) },
    ]
}

/// What a person reads and pastes.
pub fn instructions(ground: &Ground, home: &Path) -> String {
    let mut out = format!(
        "\nDarvazeh runs on this machine alone.\n\n  gateway  https://{API}:{}  (by --resolve; it listens on {})\n  \
         admin    http://{}\n  SSO      https://127.0.0.1:{}  (a token: /token?level=0..3&sub=&scope=&age=&alg=)\n  \
         files    {}\n\nOpen this in a browser, and click through two portals and three levels with one sign-in:\n\n  \
         http://{}:{}/\n\nPaste any of these into another terminal:\n",
        ground.public.port(),
        ground.public,
        ground.admin,
        ground.sso,
        home.display(),
        PORTALS[0],
        ground.portals.port(),
    );
    for one in tries() {
        // Writing to a String cannot fail.
        let _ = write!(out, "\n# {}\n{}\n", one.story, one.curl(ground));
    }
    out.push_str("\nCtrl-C stops everything. Below: the access log.\n\n");
    out
}

impl Try {
    /// A whole command on one line, which fetches its own token.
    fn curl(&self, ground: &Ground) -> String {
        let ca = quoted(&ground.ca.display().to_string());
        let mut line = match self.at {
            At::Admin => "curl -sS -i".to_owned(),
            At::Public => {
                format!("curl -sS -i -N --path-as-is --cacert {ca} --resolve {API}:{}:127.0.0.1", ground.public.port())
            }
        };
        if self.method != Method::GET {
            let _ = write!(line, " -X {}", self.method);
        }
        for (name, value) in self.headers {
            let _ = write!(line, " -H '{name}: {value}'");
        }
        if !self.body.is_empty() {
            let _ = write!(line, " -d '{}'", self.body);
        }
        match self.token {
            Token::None => {}
            Token::Garbage => line.push_str(" -H 'Authorization: Bearer garbage'"),
            Token::Asked(query) => {
                let sso = format!("https://127.0.0.1:{}/token?{query}&as=text", ground.sso);
                let _ = write!(line, " -H \"Authorization: Bearer $(curl -sS --cacert {ca} '{sso}')\"");
            }
        }
        let _ = write!(line, " '{}{}'", self.origin(ground), self.path);
        line
    }

    pub fn origin(&self, ground: &Ground) -> String {
        match self.at {
            At::Public => format!("https://{API}:{}", ground.public.port()),
            At::Admin => format!("http://{}", ground.admin),
        }
    }
}

/// For a POSIX shell, also inside `"$( … )"`.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ground(ca: &str) -> Ground {
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Ground { public: at(8443), admin: at(9901), portals: at(8080), sso: 8490, ca: ca.into() }
    }

    #[test]
    fn every_request_is_one_line_that_can_be_pasted() {
        let text = instructions(&ground("/tmp/demo dir/ca.pem"), Path::new("/tmp/demo dir"));
        let lines: Vec<_> = text.lines().filter(|line| line.starts_with("curl ")).collect();
        assert_eq!(lines.len(), tries().len());
        for line in lines.iter().filter(|line| line.contains("https://")) {
            assert!(line.contains("--cacert '/tmp/demo dir/ca.pem' --resolve api.example.ir:8443:127.0.0.1"), "{line}");
        }
        let token = r#"-H "Authorization: Bearer $(curl -sS --cacert '/tmp/demo dir/ca.pem' 'https://127.0.0.1:8490/token?level=2&as=text')""#;
        assert!(text.contains(token), "{text}");
        assert!(text.contains("\n  http://health.localhost:8080/\n"));
        assert!(text.contains("-X PUT") && text.contains("-H 'accept: text/html'"));
    }
}
