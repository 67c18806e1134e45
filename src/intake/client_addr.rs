//! Who the caller is on the network (contract section 5, "Headers"): the peer, unless the peer is a trusted proxy.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::fields::Fields;

pub fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    !trusted.is_empty() && {
        let address = address.to_canonical();
        trusted.iter().any(|net| net.contains(&address))
    }
}

/// The right-most address of `X-Forwarded-For` that is not trusted; the peer when there is none or the list is broken.
///
/// Only what stands right of the first untrusted address was written by proxies we know: whatever is left of it, a
/// client may have made up.
pub fn behind_proxies(peer: IpAddr, headers: &Fields, trusted: &[IpNet]) -> IpAddr {
    let mut client = peer.to_canonical();
    for value in headers.get_all("x-forwarded-for").rev() {
        for item in value.as_bytes().rsplit(|b| *b == b',') {
            let Some(address) = parse(item.trim_ascii()) else { return client };
            client = address;
            if !is_trusted(address, trusted) {
                return client;
            }
        }
    }
    client
}

/// An address, perhaps bracketed, perhaps with a port.
fn parse(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().or_else(|_| text.parse::<SocketAddr>().map(|a| a.ip())).ok()?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn client(lists: &[&'static str]) -> String {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        let mut headers = Fields::new();
        for list in lists {
            headers.append(http::HeaderName::from_static("x-forwarded-for"), HeaderValue::from_static(list));
        }
        behind_proxies("10.0.0.1".parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn the_client_is_the_right_most_address_that_is_not_trusted() {
        assert_eq!(client(&["1.1.1.1, 2.2.2.2, 10.0.0.2"]), "2.2.2.2");
        assert_eq!(client(&["1.1.1.1", "2.2.2.2:99"]), "2.2.2.2");
        assert_eq!(client(&["[2001:db8::1]:443"]), "2001:db8::1");
        assert_eq!(client(&["::ffff:3.3.3.3"]), "3.3.3.3");
    }

    #[test]
    fn a_broken_list_counts_up_to_the_break() {
        assert_eq!(client(&[]), "10.0.0.1");
        assert_eq!(client(&["unknown"]), "10.0.0.1");
        assert_eq!(client(&["1.1.1.1, nonsense, 10.0.0.9"]), "10.0.0.9");
        assert_eq!(client(&["10.0.0.3"]), "10.0.0.3");
    }
}
