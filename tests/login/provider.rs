//! An SSO for logins: discovery, keys, authorization, tokens, pushed requests. It behaves unless it is told otherwise, and
//! remembers what it was asked. Nothing is shared with the gateway.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::support::certs::{self, Authority};
use crate::support::sso::{self, Key, b64};
use crate::support::token::{acr, now, unique};
use crate::support::wire::{Message, Wire};

/// Names and values.
pub type Parameters = Vec<(String, String)>;

/// What is said to whoever asks next.
pub struct Manner {
    /// Nobody is logged in at the SSO while this is `None`.
    pub person: Option<&'static str>,
    /// The level that the person can show; never more is given than this.
    pub level: u8,
    /// Gives this level whatever is asked, without a further question.
    pub insists: bool,
    /// `error` instead of a code.
    pub error: Option<&'static str>,
    /// Changes the parameters of the answer.
    pub answer: Option<fn(&mut Parameters)>,
    /// Changes the claims of the ID token.
    pub claims: Option<fn(&mut Map<String, Value>)>,
    /// Signs the ID token.
    pub key: &'static Key,
    /// Of the token endpoint; other than 200 while the SSO is unwell.
    pub status: u16,
    pub expires_in: i64,
    pub scope: Option<&'static str>,
    pub refresh: bool,
    /// Of the token endpoint and pushed requests: no answer comes until it is over.
    pub hangs: bool,
    /// Discovery offers pushed requests, and `iss` in answers.
    pub par: bool,
    pub says_iss: bool,
}

impl Default for Manner {
    fn default() -> Manner {
        Manner {
            person: Some("citizen-1"),
            level: 3,
            insists: false,
            error: None,
            answer: None,
            claims: None,
            key: &sso::keys().p256,
            status: 200,
            expires_in: 300,
            scope: None,
            refresh: false,
            hangs: false,
            par: false,
            says_iss: true,
        }
    }
}

#[derive(Default)]
struct Seen {
    authorizations: Vec<HashMap<String, String>>,
    /// Form and `Authorization` of each call of the token endpoint.
    tokens: Vec<(HashMap<String, String>, String)>,
    pushed: HashMap<String, HashMap<String, String>>,
    codes: HashMap<String, HashMap<String, String>>,
    access_tokens: u32,
    hanging: usize,
    shown_certificate: bool,
}

pub struct Provider {
    address: SocketAddr,
    manner: Arc<Mutex<Manner>>,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Provider {
    pub async fn start() -> Provider {
        Provider::start_for(None).await
    }

    /// Asks clients for a certificate of this authority.
    pub async fn start_for(client_ca: Option<&Authority>) -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (manner, seen) = (Arc::<Mutex<Manner>>::default(), Arc::<Mutex<Seen>>::default());
        let acceptor = TlsAcceptor::from(certs::server_config(certs::server(), &["http/1.1"], client_ca));
        let ours = Ours { issuer: issuer(address), manner: manner.clone(), seen: seen.clone() };
        let task = tokio::spawn(async move {
            loop {
                let Ok((tcp, _)) = listener.accept().await else { return };
                let (acceptor, ours) = (acceptor.clone(), ours.clone());
                tokio::spawn(async move {
                    let socket = socket2::SockRef::from(&tcp).try_clone().expect("the socket can be duplicated");
                    let Ok(tls) = acceptor.accept(tcp).await else { return };
                    let shown = tls.get_ref().1.peer_certificates().is_some();
                    let mut wire = Wire::over(tls, socket);
                    let Some(request) = wire.request().await else { return };
                    ours.seen.lock().unwrap().shown_certificate |= shown && request.head.target() == "/token";
                    if ours.manner.lock().unwrap().hangs && ["/token", "/par"].contains(&request.head.target()) {
                        ours.seen.lock().unwrap().hanging += 1;
                        while ours.manner.lock().unwrap().hangs {
                            tokio::time::sleep(Duration::from_millis(5)).await;
                        }
                    }
                    let answer = ours.answer(&request);
                    let _ = wire.send(answer).await;
                    wire.close().await;
                });
            }
        });
        Provider { address, manner, seen, task }
    }

    pub fn issuer(&self) -> String {
        issuer(self.address)
    }

    pub fn manner(&self) -> MutexGuard<'_, Manner> {
        self.manner.lock().unwrap()
    }

    /// The parameters of the last authorization request.
    pub fn asked(&self) -> HashMap<String, String> {
        self.seen.lock().unwrap().authorizations.last().cloned().expect("a login was asked for")
    }

    pub fn authorizations(&self) -> Vec<HashMap<String, String>> {
        self.seen.lock().unwrap().authorizations.clone()
    }

    pub fn token_calls(&self) -> Vec<(HashMap<String, String>, String)> {
        self.seen.lock().unwrap().tokens.clone()
    }

    /// How many questions had no answer.
    pub fn hanging(&self) -> usize {
        self.seen.lock().unwrap().hanging
    }

    pub fn was_shown_a_certificate(&self) -> bool {
        self.seen.lock().unwrap().shown_certificate
    }

    /// A logout token, good but for what `change` does.
    pub fn logout_token(&self, change: impl FnOnce(&mut Map<String, Value>)) -> String {
        let mut claims = object(json!({
            "iss": self.issuer(), "aud": "gateway", "iat": now(), "exp": now() + 120, "jti": unique("jti"),
            "sid": "sid-1", "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
        }));
        change(&mut claims);
        sign(self.manner().key, "logout+jwt", claims)
    }

    /// Connections are refused from now on.
    pub fn go_away(&self) {
        self.task.abort();
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn issuer(address: SocketAddr) -> String {
    format!("https://localhost:{}", address.port())
}

pub fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("not an object: {other}"),
    }
}

pub fn sign(key: &Key, typ: &str, claims: Map<String, Value>) -> String {
    let header = json!({"alg": key.alg, "kid": key.kid, "typ": typ});
    let text = format!("{}.{}", b64(header.to_string()), b64(Value::Object(claims).to_string()));
    format!("{text}.{}", b64(key.sign(key.alg, text.as_bytes())))
}

#[derive(Clone)]
struct Ours {
    issuer: String,
    manner: Arc<Mutex<Manner>>,
    seen: Arc<Mutex<Seen>>,
}

impl Ours {
    fn answer(&self, request: &Message) -> Vec<u8> {
        let target = request.head.target().to_owned();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let form = parse(&String::from_utf8_lossy(&request.payload.bytes));
        match path {
            "/.well-known/openid-configuration" => json_answer(200, &self.metadata()),
            "/jwks" => json_answer(200, &serde_json::from_str(&sso::jwks_text()).unwrap()),
            "/authorize" => self.authorize(parse(query)),
            "/token" => self.token(form, request.head.get("authorization").unwrap_or_default()),
            "/par" => {
                let uri = unique("urn:par");
                self.seen.lock().unwrap().pushed.insert(uri.clone(), form);
                json_answer(201, &json!({"request_uri": uri, "expires_in": 60}))
            }
            "/logout" => {
                let back = parse(query).get("post_logout_redirect_uri").cloned().unwrap_or_default();
                redirect(&back)
            }
            _ => json_answer(404, &json!({})),
        }
    }

    fn metadata(&self) -> Value {
        let at = |path: &str| format!("{}{path}", self.issuer);
        let manner = self.manner.lock().unwrap();
        let mut metadata = json!({
            "issuer": self.issuer, "authorization_endpoint": at("/authorize"), "token_endpoint": at("/token"),
            "jwks_uri": at("/jwks"), "end_session_endpoint": at("/logout"),
            "authorization_response_iss_parameter_supported": manner.says_iss,
        });
        if manner.par {
            metadata["pushed_authorization_request_endpoint"] = at("/par").into();
        }
        metadata
    }

    fn authorize(&self, mut asked: HashMap<String, String>) -> Vec<u8> {
        let manner = self.manner.lock().unwrap();
        let mut seen = self.seen.lock().unwrap();
        if let Some(uri) = asked.get("request_uri") {
            let pushed = seen.pushed.remove(uri).expect("a request that was pushed, and is used once");
            asked.extend(pushed);
        }
        seen.authorizations.push(asked.clone());
        let silent = asked.get("prompt").is_some_and(|prompt| prompt == "none");
        let mut answer = vec![("state".to_owned(), asked["state"].clone())];
        if manner.says_iss {
            answer.push(("iss".to_owned(), self.issuer.clone()));
        }
        let error = manner.error.or((silent && manner.person.is_none()).then_some("login_required"));
        match error {
            Some(error) => answer.push(("error".to_owned(), error.to_owned())),
            None => {
                let code = unique("code");
                answer.push(("code".to_owned(), code.clone()));
                seen.codes.insert(code, asked.clone());
            }
        }
        if let Some(change) = manner.answer {
            change(&mut answer);
        }
        redirect(&format!("{}?{}", asked["redirect_uri"], form(&answer)))
    }

    fn token(&self, form: HashMap<String, String>, authorization: &str) -> Vec<u8> {
        let manner = self.manner.lock().unwrap();
        let mut seen = self.seen.lock().unwrap();
        seen.tokens.push((form.clone(), authorization.to_owned()));
        if manner.status != 200 {
            return json_answer(manner.status, &json!({"error": "invalid_grant"}));
        }
        seen.access_tokens += 1;
        let access_token = format!("access-{}", seen.access_tokens);
        let mut answer = json!({"access_token": access_token, "token_type": "Bearer", "expires_in": manner.expires_in});
        if manner.refresh {
            answer["refresh_token"] = format!("refresh-{}", seen.access_tokens).into();
        }
        if let Some(scope) = manner.scope {
            answer["scope"] = scope.into();
        }
        if form["grant_type"] == "authorization_code" {
            let Some(asked) = seen.codes.remove(&form["code"]) else {
                return json_answer(400, &json!({"error": "invalid_grant"}));
            };
            let challenge = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, form["code_verifier"].as_bytes());
            assert_eq!(b64(challenge), asked["code_challenge"], "PKCE (RP-1)");
            assert_eq!(form["redirect_uri"], asked["redirect_uri"]);
            answer["id_token"] = id_token(&self.issuer, &manner, &asked, &access_token).into();
        }
        json_answer(200, &answer)
    }
}

fn id_token(issuer: &str, manner: &Manner, asked: &HashMap<String, String>, access_token: &str) -> String {
    let wanted = asked.get("acr_values").and_then(|values| values.split(' ').next()?.rsplit(':').next()?.parse().ok());
    let level = if manner.insists { manner.level } else { wanted.unwrap_or(1).min(manner.level) };
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, access_token.as_bytes());
    let mut claims = object(json!({
        "iss": issuer, "aud": "gateway", "sub": manner.person.unwrap_or("citizen-1"), "sid": "sid-1",
        "iat": now(), "exp": now() + 300, "auth_time": now(), "nonce": asked["nonce"], "acr": acr(level),
        "at_hash": b64(&hash.as_ref()[..16]), "name": "Sara Ahmadi", "province": "Yazd",
    }));
    if let Some(change) = manner.claims {
        change(&mut claims);
    }
    sign(manner.key, "JWT", claims)
}

pub fn parse(text: &str) -> HashMap<String, String> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    let mut fields = HashMap::new();
    for (name, value) in pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))) {
        let twice = fields.insert(decode(name), decode(value));
        assert!(twice.is_none(), "{name} must not be sent twice (RFC 6749 section 3.1)");
    }
    fields
}

pub fn decode(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let hex: String = bytes.by_ref().take(2).map(char::from).collect();
                out.push(u8::from_str_radix(&hex, 16).expect("a good escape"));
            }
            b'+' => out.push(b' '),
            byte => out.push(byte),
        }
    }
    String::from_utf8(out).expect("UTF-8")
}

pub fn form(pairs: &[(String, String)]) -> String {
    let encoded = |text: &str| text.bytes().map(|b| format!("%{b:02X}")).collect::<String>();
    pairs.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect::<Vec<_>>().join("&")
}

fn redirect(location: &str) -> Vec<u8> {
    format!("HTTP/1.1 303 See Other\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        .into_bytes()
}

fn json_answer(status: u16, value: &Value) -> Vec<u8> {
    let body = value.to_string();
    let head = "Content-Type: application/json\r\nConnection: close";
    format!("HTTP/1.1 {status} SSO\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}
