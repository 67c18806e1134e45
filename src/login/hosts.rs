//! The portals: hosts that have a route which takes sessions. The only places a login begins at and returns to (RP-4).

use crate::config::Config;
use crate::config::model::HostPattern;

#[derive(Debug, Default)]
pub struct Hosts(Vec<HostPattern>);

impl Hosts {
    pub fn of(config: &Config) -> Hosts {
        let mut hosts: Vec<HostPattern> = Vec::new();
        for route in config.routes.iter().filter(|route| route.require.via.takes_sessions()) {
            for host in route.hosts.iter() {
                if !hosts.contains(host) {
                    hosts.push(host.clone());
                }
            }
        }
        Hosts(hosts)
    }

    /// `name`: lower case, without a port.
    pub fn has(&self, name: &[u8]) -> bool {
        self.0.iter().any(|host| match host {
            HostPattern::Exact(exact) => exact.as_bytes() == name,
            HostPattern::Wildcard(parent) => {
                let label = name.strip_suffix(parent.as_bytes()).and_then(|rest| rest.strip_suffix(b"."));
                label.is_some_and(|label| !label.is_empty() && !label.contains(&b'.'))
            }
        })
    }

    /// Whether an `Origin` is a portal's: `SCHEME://HOST` with any port. `scheme`: of the asking page's own portal; a page
    /// that came in the clear could be anybody's.
    pub fn has_origin(&self, origin: &[u8], scheme: &str) -> bool {
        let host = origin.strip_prefix(scheme.as_bytes()).and_then(|rest| rest.strip_prefix(b"://"));
        let name = host.and_then(|host| host.split(|b| *b == b':').next());
        name.is_some_and(|name| self.has(name))
    }
}

/// A path with its query on the same host, or nothing (RP-4): one leading slash, no backslash, no control character.
pub fn local_path(text: &str) -> Option<&str> {
    let plain = text.bytes().all(|b| (0x21..0x7f).contains(&b) && b != b'\\' && b != b'#');
    (plain && text.starts_with('/') && !text.starts_with("//")).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hosts_with_session_routes_are_portals() {
        let hosts = Hosts(vec![HostPattern::Exact("a.ir".into()), HostPattern::Wildcard("b.ir".into())]);
        for good in ["a.ir", "x.b.ir"] {
            assert!(hosts.has(good.as_bytes()), "{good}");
        }
        for bad in ["b.ir", "x.y.b.ir", ".b.ir", "aa.ir", "evil.ir", "x.a.ir", ""] {
            assert!(!hosts.has(bad.as_bytes()), "{bad}");
        }
        let has_origin = |origin: &[u8]| hosts.has_origin(origin, "https");
        assert!(has_origin(b"https://a.ir:8443") && has_origin(b"https://x.b.ir"));
        assert!(!has_origin(b"https://evil.ir") && !has_origin(b"null") && !has_origin(b"http://a.ir"));
    }

    /// RP-4
    #[test]
    fn a_way_back_never_leads_to_another_host() {
        for good in ["/", "/a?b=c&d=//x", "/%D9%88"] {
            assert_eq!(local_path(good), Some(good));
        }
        for bad in ["", "a", "//evil.ir", "/\\evil.ir", "https://evil.ir", "/a\r\nx", "/a#b", "/\tx", "/é"] {
            assert_eq!(local_path(bad), None, "{bad:?}");
        }
    }
}
