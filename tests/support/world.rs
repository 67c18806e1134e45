//! A whole `routes.yaml` from the few lines a test cares about.
//!
//! [`Config`] holds the sections as YAML text; its defaults are one TLS listener `public`, an admin listener, the
//! issuer `sso` with keys from a file, and no agency. Tests add agencies and routes, and change what they are about.

use std::fmt::Write;

use super::gateway::{Failed, Gateway, directory};
use super::sso::{AUDIENCE, ISSUER};

pub struct Config {
    /// Keys of the top level.
    top: String,
    listeners: Vec<String>,
    issuers: Vec<String>,
    agencies: String,
    routes: String,
}

/// Levels as the tokens of these tests name them.
pub const LEVELS: &str = r#"levels: { claim: acr, values: { "urn:example:level:1": 1, "urn:example:level:2": 2, "urn:example:level:3": 3 } }"#;

pub const TLS: &str = "tls: { certificates: [ { cert: certs/gateway.pem, key: certs/gateway.key } ] }";

impl Default for Config {
    fn default() -> Self {
        Config {
            top: String::new(),
            listeners: vec![format!("{{ name: public, address: 127.0.0.1:0, {TLS} }}")],
            issuers: vec![issuer("sso", "jwks: { file: certs/sso.jwks.json }")],
            agencies: String::new(),
            routes: String::new(),
        }
    }
}

/// An issuer with the tests' `iss`, audience and levels, and these keys besides.
pub fn issuer(name: &str, keys: &str) -> String {
    format!("{name}: {{ issuer: {ISSUER}, audiences: [{AUDIENCE}], {LEVELS}, {keys} }}")
}

impl Config {
    pub fn new() -> Config {
        Config::default()
    }

    pub fn top(mut self, keys: &str) -> Config {
        let _ = writeln!(self.top, "{keys}");
        self
    }

    /// The listener `public`, with TLS and these keys besides.
    pub fn listener_with(self, keys: &str) -> Config {
        self.listeners(&[&format!("{{ name: public, address: 127.0.0.1:0, {TLS}, {keys} }}")])
    }

    pub fn listeners(mut self, listeners: &[&str]) -> Config {
        self.listeners = listeners.iter().map(ToString::to_string).collect();
        self
    }

    pub fn issuers(mut self, issuers: &[&str]) -> Config {
        self.issuers = issuers.iter().map(ToString::to_string).collect();
        self
    }

    pub fn agency(self, name: &str, url: &str) -> Config {
        self.agency_with(name, url, "timeouts: { connect: 5s }")
    }

    pub fn agency_with(self, name: &str, url: &str, keys: &str) -> Config {
        self.agency_at(name, &[url], keys)
    }

    /// With several endpoints.
    pub fn agency_at(mut self, name: &str, urls: &[&str], keys: &str) -> Config {
        let title = format!("title: {{ fa: سازمان آزمون, en: {name} }}");
        let urls: Vec<String> = urls.iter().map(|url| format!("'{url}'")).collect();
        let urls = urls.join(", ");
        let _ = writeln!(self.agencies, "  {name}: {{ {title}, scope: national, endpoints: [{urls}], {keys} }}");
        self
    }

    /// An agency without endpoints, whose own proxy asks for verdicts.
    pub fn own_proxy(mut self, name: &str, keys: &str) -> Config {
        let _ = writeln!(self.agencies, "  {name}: {{ title: {{ fa: سازمان آزمون, en: {name} }}, {keys} }}");
        self
    }

    /// A route in flow style: `name: x, agency: a, match: { … }, require: { … }`.
    pub fn route(mut self, route: &str) -> Config {
        let _ = writeln!(self.routes, "  - {{ {route} }}");
        self
    }

    /// A route of this level over everything below `/name`.
    pub fn simple(self, name: &str, agency: &str, level: u8) -> Config {
        self.route(&format!(
            "name: {name}, agency: {agency}, match: {{ prefix: /{name} }}, require: {{ level: {level} }}"
        ))
    }

    pub fn yaml(&self) -> String {
        // A debug build on a busy machine is always behind: only tests of that look at it.
        let overload = if self.top.contains("overload:") { "" } else { "overload: { queue_delay: off }\n" };
        let mut yaml = format!("version: 1\n{overload}{}listeners:\n", self.top);
        for listener in &self.listeners {
            let _ = writeln!(yaml, "  - {listener}");
        }
        yaml.push_str("admin: { address: 127.0.0.1:0 }\nissuers:\n");
        for issuer in &self.issuers {
            let _ = writeln!(yaml, "  {issuer}");
        }
        format!("{yaml}agencies:\n{}routes:\n{}", self.agencies, self.routes)
    }

    pub async fn start(&self) -> Gateway {
        Gateway::start(&self.yaml()).await
    }

    /// For configs that must not start.
    pub async fn fails(&self) -> Failed {
        match Gateway::try_start_in(std::sync::Arc::new(directory(&self.yaml()))).await {
            Ok(_) => panic!("the gateway started with a config that it must refuse"),
            Err(failed) => failed,
        }
    }
}

/// A gateway before one agency `registry`, with the route `open` (level 0) at `/open` and `l1`, `l2`, `l3` at `/l1`…
pub async fn before(url: &str) -> Gateway {
    standard(url).start().await
}

pub fn standard(url: &str) -> Config {
    standard_with(url, "timeouts: { connect: 5s }")
}

pub fn standard_with(url: &str, agency_keys: &str) -> Config {
    Config::new()
        .agency_with("registry", url, agency_keys)
        .simple("open", "registry", 0)
        .simple("l1", "registry", 1)
        .simple("l2", "registry", 2)
        .simple("l3", "registry", 3)
}
