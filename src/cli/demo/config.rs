//! The repository's `routes.yaml` with the ports of this run, and two portals for a browser added to it. Its relative paths
//! (`certs/…`, `var`) resolve in the demo's directory.

use super::sign_in::CLIENT;

const ROUTES: &str = include_str!("../../../routes.yaml");

/// The hosts its routes name: what the server certificate must hold.
pub const HOSTS: [&str; 2] = ["api.example.ir", "*.cities.example.ir"];

/// Every address in the file is of this host; a port after it is one of ours.
const HOST: &str = "127.0.0.1:";

/// Who listens where in this run. 0 lets the gateway choose.
pub struct Ports {
    pub gateway: u16,
    pub admin: u16,
    pub sso: u16,
    /// Two machines of social-security, then the land registry.
    pub agencies: [u16; 3],
    /// The gateway again, for browsers.
    pub portals: u16,
    /// The SSO's pages.
    pub sign_in: u16,
    /// Behind the portals of [`PORTALS`].
    pub desks: [u16; 2],
}

impl Ports {
    /// The port that stands in for the one written in `routes.yaml`; `None` for one that is not known.
    fn instead_of(&self, written: &str) -> Option<u16> {
        let [first, second, registry] = self.agencies;
        match written {
            "8443" => Some(self.gateway),
            "9901" => Some(self.admin),
            "8490" => Some(self.sso),
            "9001" => Some(first),
            "9002" => Some(second),
            "9003" => Some(registry),
            _ => None,
        }
    }
}

/// The hosts of the portals. Browsers know names below `localhost` to be this machine (RFC 6761 section 6.3), and take its
/// pages for safe without TLS: so there is nothing to prepare, and no certificate to be warned of.
pub const PORTALS: [&str; 2] = ["health.localhost", "land.localhost"];

/// The text to run.
pub fn text(ports: &Ports) -> String {
    let mut text = with_ports(ports);
    for (key, more) in [
        ("\nlisteners:\n", listener(ports)),
        ("\n  national-sso:\n", client(ports)),
        ("\nagencies:\n", agencies(ports)),
        ("\nroutes:\n", routes()),
    ] {
        text = text.replacen(key, &format!("{key}{more}"), 1);
    }
    text
}

fn listener(ports: &Ports) -> String {
    format!("  - {{ name: portals, address: \"127.0.0.1:{}\" }}\n", ports.portals)
}

fn client(ports: &Ports) -> String {
    let (people, gateway) = (format!("http://localhost:{}", ports.sign_in), format!("https://127.0.0.1:{}", ports.sso));
    format!(
        "    client: {{ id: {CLIENT}, auth: none, display_claim: name }}\n    metadata:\n      \
         authorization_endpoint: {people}/authorize\n      token_endpoint: {gateway}/token\n      \
         end_session_endpoint: {people}/logout\n      authorization_response_iss_parameter_supported: true\n"
    )
}

fn agencies(ports: &Ports) -> String {
    let agency = |(host, port): (&str, u16)| {
        let title = format!("title: {{ fa: {host}, en: {host} }}");
        format!("  {host}: {{ {title}, scope: national, endpoints: [\"http://127.0.0.1:{port}\"] }}\n")
    };
    PORTALS.into_iter().zip(ports.desks).map(agency).collect()
}

/// A front page for anyone, and one page for each level.
fn routes() -> String {
    let open = |host: &str| {
        format!(
            "  - {{ name: {host}, agency: {host}, match: {{ hosts: [{host}], path: / }}, require: {{ level: 0 }} }}\n"
        )
    };
    let closed = |host: &str, level: usize, path: &str| {
        format!(
            "  - {{ name: {host}-{level}, agency: {host}, match: {{ hosts: [{host}], path: {path} }}, \
             require: {{ level: {level}, via: session }} }}\n"
        )
    };
    let all =
        |host| open(host) + &PAGES.iter().enumerate().map(|(at, path)| closed(host, at + 1, path)).collect::<String>();
    PORTALS.into_iter().map(all).collect()
}

/// By the level they take.
pub const PAGES: [&str; 3] = ["/letters", "/records", "/account"];

/// One pass, so that a port just put in is never taken for one to be replaced.
fn with_ports(ports: &Ports) -> String {
    let mut parts = ROUTES.split(HOST);
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.len() - part.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (written, rest) = part.split_at(digits);
        text.push_str(HOST);
        match ports.instead_of(written) {
            Some(port) => text.push_str(&port.to_string()),
            None => text.push_str(written),
        }
        text.push_str(rest);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_of_the_file_gets_its_port() {
        let ports = Ports {
            gateway: 9901,
            admin: 10002,
            sso: 10003,
            agencies: [10004, 10005, 10006],
            portals: 10007,
            sign_in: 10008,
            desks: [10009, 10010],
        };
        let text = text(&ports);
        for written in [
            "address: 127.0.0.1:9901",
            "address: 127.0.0.1:10002",
            "\"https://127.0.0.1:10003/jwks\"",
            "http://127.0.0.1:10004",
            "\"http://127.0.0.1:10005\"",
            "\"https://127.0.0.1:10006\"",
            "address: \"127.0.0.1:10007\"",
            "authorization_endpoint: http://localhost:10008/authorize",
            "token_endpoint: https://127.0.0.1:10003/token",
            "endpoints: [\"http://127.0.0.1:10010\"]",
            "require: { level: 3, via: session }",
        ] {
            assert!(text.contains(written), "{written}");
        }
        let known = |port: &str| ports.instead_of(port).is_some();
        let written = ROUTES.split(HOST).skip(1).map(|part| part.split(|c: char| !c.is_ascii_digit()).next());
        assert!(written.map(Option::unwrap_or_default).all(known), "a port in routes.yaml is unknown to the demo");
    }

    #[test]
    fn the_file_names_its_schema_and_the_hosts_of_the_certificate() {
        assert!(ROUTES.starts_with("# yaml-language-server: $schema=./routes.schema.json\n"));
        assert!(ROUTES.contains("darvazeh schema"));
        assert!(HOSTS.iter().all(|host| ROUTES.contains(host)));
    }
}
