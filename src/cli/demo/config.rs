//! The repository's `routes.yaml` with the ports of this run. Its relative paths (`certs/…`, `var`) resolve in the demo's directory.

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

/// The text to run. One pass, so that a port just put in is never taken for one to be replaced.
pub fn text(ports: &Ports) -> String {
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
        let ports = Ports { gateway: 9901, admin: 10002, sso: 10003, agencies: [10004, 10005, 10006] };
        let text = text(&ports);
        for written in [
            "address: 127.0.0.1:9901",
            "address: 127.0.0.1:10002",
            "\"https://127.0.0.1:10003/jwks\"",
            "http://127.0.0.1:10004",
            "\"http://127.0.0.1:10005\"",
            "\"https://127.0.0.1:10006\"",
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
