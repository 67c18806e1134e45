//! A browser: cookies by host, redirects followed, and the fields that browsers send with a navigation or a script's call.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::OnceLock;

use crate::support::certs::{Pair, Trust, ca, client_config};
use crate::support::client::handshake;
use crate::support::gateway::Gateway;
use crate::support::wire::{Message, Wire};

/// All portals are the gateway; `localhost` is the SSO.
pub struct Browser {
    gateway: SocketAddr,
    cookies: HashMap<String, Vec<(String, String)>>,
    /// Every address it went to, the first included.
    pub went: Vec<String>,
}

/// An answer, and where it was.
pub struct Page {
    pub url: String,
    pub answer: Message,
}

impl Page {
    pub fn status(&self) -> u16 {
        self.answer.status()
    }

    pub fn text(&self) -> String {
        self.answer.text()
    }

    pub fn error(&self) -> Option<&str> {
        self.answer.head.get("x-gateway-error")
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.answer.payload.bytes).unwrap_or_else(|e| panic!("not JSON ({e}): {}", self.text()))
    }

    pub fn location(&self) -> &str {
        self.answer.head.get("location").unwrap_or_else(|| panic!("no Location: {} {}", self.status(), self.text()))
    }

    /// The value of an attribute that stands in the page.
    pub fn attribute(&self, before: &str) -> String {
        let text = self.text();
        let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("no {before} in {text}"));
        let value = rest.split('"').next().unwrap();
        value.replace("&amp;", "&").replace("&#39;", "'")
    }
}

/// What a browser says when it goes to a page.
pub const NAVIGATION: &[&str] = &[
    "Accept: text/html,application/xhtml+xml,*/*;q=0.8",
    "Accept-Language: en",
    "Sec-Fetch-Dest: document",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-Site: none",
];

/// What a page's form says.
pub const FORM: &[&str] = &[
    "Accept: text/html,application/xhtml+xml,*/*;q=0.8",
    "Accept-Language: en",
    "Content-Type: application/x-www-form-urlencoded",
    "Sec-Fetch-Dest: document",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-Site: same-origin",
];

/// What `fetch()` says.
pub const SCRIPT: &[&str] =
    &["Accept: */*", "Sec-Fetch-Dest: empty", "Sec-Fetch-Mode: cors", "Sec-Fetch-Site: same-origin"];

impl Browser {
    pub fn new(gateway: &Gateway) -> Browser {
        Browser { gateway: gateway.address(), cookies: HashMap::new(), went: Vec::new() }
    }

    /// One request, nothing followed.
    pub async fn send(&mut self, method: &str, url: &str, fields: &[&str], body: &str) -> Page {
        let mut wire = self.open(method, url, fields, body).await;
        let answer = wire.answer_to(method).await;
        let host = split(url).0;
        for line in answer.head.all("set-cookie") {
            self.take_cookie(&host, line);
        }
        Page { url: url.to_owned(), answer }
    }

    /// A request whose answer is read by the test.
    pub async fn open(&self, method: &str, url: &str, fields: &[&str], body: &str) -> Wire {
        let (host, port, target) = split(url);
        let address = if host == "localhost" { SocketAddr::from(([127, 0, 0, 1], port)) } else { self.gateway };
        static OWN: OnceLock<Pair> = OnceLock::new();
        let certificate = Some(OWN.get_or_init(|| ca().sign(&["browser.example"])));
        let trust = Trust { certificate, ..Trust::default() };
        let (tls, socket) = handshake(address, &host, client_config(&trust)).await.expect("a handshake");
        let mut wire = Wire::over(tls, socket);
        let authority = if port == 443 { host.clone() } else { format!("{host}:{port}") };
        let mut text = format!("{method} {target} HTTP/1.1\r\nHost: {authority}\r\n");
        for field in fields {
            text.push_str(field);
            text.push_str("\r\n");
        }
        let cookies = self.cookies.get(&host).map_or(&[][..], Vec::as_slice);
        if !cookies.is_empty() {
            let pairs: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            text.push_str(&format!("Cookie: {}\r\n", pairs.join("; ")));
        }
        if method == "POST" {
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        wire.send(format!("{text}\r\n{body}")).await.expect("it is read");
        wire
    }

    fn take_cookie(&mut self, host: &str, line: &str) {
        let (pair, rest) = line.split_once(';').expect("attributes");
        let (name, value) = pair.split_once('=').expect("a name");
        if name.starts_with("__Host-") {
            assert!(rest.contains("Path=/") && rest.contains("Secure") && !rest.contains("Domain"), "BF-2: {line}");
            assert!(rest.contains("HttpOnly") && rest.contains("SameSite=Lax"), "BF-2: {line}");
        }
        assert!(line.len() < 4096, "a browser takes no more: {}", line.len());
        let jar = self.cookies.entry(host.to_owned()).or_default();
        jar.retain(|(known, _)| known != name);
        if !rest.contains("Max-Age=0") {
            jar.push((name.to_owned(), value.to_owned()));
        }
    }

    /// Follows redirects, and the small page before the SSO as its script does.
    pub async fn follow(&mut self, mut page: Page) -> Page {
        for _ in 0..20 {
            let next = match page.status() {
                301..=308 => join(&page.url, page.location()),
                200 if page.text().contains("id=\"go\"") => self.go_on(&page),
                _ => return page,
            };
            self.went.push(next.clone());
            page = self.send("GET", &next, NAVIGATION, "").await;
        }
        panic!("redirected without end: {:?}", self.went);
    }

    /// What the script of that page does: leaves the fragment, and goes on.
    fn go_on(&mut self, page: &Page) -> String {
        if let Some((_, fragment)) = self.went.last().and_then(|url| url.split_once('#')) {
            let name = format!("__Host-darvazeh-at-{}", page.attribute("data-id=\""));
            let host = split(&page.url).0;
            self.cookies.entry(host).or_default().push((name, format!("#{fragment}")));
        }
        page.attribute("\" href=\"")
    }

    /// Types an address, and goes wherever that leads.
    pub async fn go(&mut self, url: &str) -> Page {
        self.went = vec![url.to_owned()];
        let page = self.send("GET", url, NAVIGATION, "").await;
        self.follow(page).await
    }

    /// Sends a form, and goes wherever that leads.
    pub async fn submit(&mut self, url: &str, body: &str) -> Page {
        self.went = vec![url.to_owned()];
        let page = self.send("POST", url, FORM, body).await;
        self.follow(page).await
    }

    pub async fn fetch(&mut self, url: &str) -> Page {
        self.send("GET", url, SCRIPT, "").await
    }

    pub fn cookies_of(&self, host: &str) -> Vec<(String, String)> {
        self.cookies.get(host).cloned().unwrap_or_default()
    }

    pub fn set_cookie(&mut self, host: &str, name: &str, value: &str) {
        let jar = self.cookies.entry(host.to_owned()).or_default();
        jar.retain(|(known, _)| known != name);
        jar.push((name.to_owned(), value.to_owned()));
    }

    pub fn session_of(&self, host: &str) -> Option<String> {
        self.cookies_of(host).into_iter().find(|(name, _)| name == "__Host-darvazeh").map(|(_, value)| value)
    }
}

/// Host, port, path with query; the fragment stays in the browser.
pub fn split(url: &str) -> (String, u16, String) {
    let rest = url.strip_prefix("https://").unwrap_or_else(|| panic!("not https: {url}"));
    let rest = rest.split('#').next().unwrap();
    let (authority, target) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let (host, port) = authority.split_once(':').map_or((authority, 443), |(h, p)| (h, p.parse().expect("a port")));
    (host.to_owned(), port, target.to_owned())
}

/// A fragment goes on to where the address has none of its own (RFC 9110 section 10.2.2).
fn join(base: &str, location: &str) -> String {
    let (host, port, _) = split(base);
    let authority = if port == 443 { host } else { format!("{host}:{port}") };
    let url = if location.starts_with('/') { format!("https://{authority}{location}") } else { location.to_owned() };
    match base.split_once('#') {
        Some((_, fragment)) if !url.contains('#') => format!("{url}#{fragment}"),
        _ => url,
    }
}
