//! What an agency is told of the way is the same for all requests of one address to one host, and a portal sends its requests
//! from a few addresses: the lines are kept as they were written last.

use std::cell::RefCell;
use std::net::IpAddr;

use http::Version;

use crate::http1::lines::Lines;
use crate::words::Scheme;

/// Addresses whose lines a worker keeps: some 300 bytes each.
const PLACES: usize = 64;
/// Hosts that are longer are not kept.
const HOST: usize = 128;

thread_local! {
    static OF_WORKER: RefCell<[Option<Kept>; PLACES]> = const { RefCell::new([const { None }; PLACES]) };
}

/// What the lines are made of, all of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way<'a> {
    pub peer: IpAddr,
    pub host: &'a [u8],
    pub scheme: Scheme,
    pub version: Version,
}

struct Kept {
    peer: IpAddr,
    host: Box<[u8]>,
    scheme: Scheme,
    version: Version,
    lines: Box<[u8]>,
}

impl Kept {
    fn is_of(&self, way: Way<'_>) -> bool {
        self.peer == way.peer && *self.host == *way.host && self.scheme == way.scheme && self.version == way.version
    }
}

/// Adds the lines of `way`; those that are not at hand are written by `write`, which goes by nothing else.
pub(super) fn add(way: Way<'_>, added: &mut Lines, write: impl FnOnce(&mut Lines)) {
    if way.host.len() > HOST {
        return write(added);
    }
    OF_WORKER.with_borrow_mut(|kept| {
        let place = &mut kept[place_of(way.peer)];
        if let Some(known) = place.as_ref().filter(|known| known.is_of(way)) {
            return added.more(&known.lines);
        }
        let begun = added.as_bytes().len();
        write(added);
        let Way { peer, host, scheme, version } = way;
        let lines = added.as_bytes()[begun..].into();
        *place = Some(Kept { peer, host: host.into(), scheme, version, lines });
    });
}

fn place_of(peer: IpAddr) -> usize {
    let bits = match peer {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => (address.to_bits() >> 64) as u64 ^ address.to_bits() as u64,
    };
    // The upper bits of a product depend on all of a factor's.
    (bits.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_has_its_own_lines() {
        let long = [b'a'; HOST + 1];
        let ways: Vec<Way<'_>> = ["10.0.0.1", "10.0.0.2", "2001:db8::1"]
            .into_iter()
            .flat_map(|peer| [&b"a.ir"[..], b"b.ir", &long].map(|host| (peer.parse().unwrap(), host)))
            .flat_map(|(peer, host)| {
                let of = |(scheme, version)| Way { peer, host, scheme, version };
                let (http, https) = (Scheme::Http, Scheme::Https);
                [(http, Version::HTTP_11), (https, Version::HTTP_11), (https, Version::HTTP_2)].map(of)
            })
            .collect();
        let mut written = 0;
        let mut told = |way: Way<'_>| {
            let mut added = Lines::default();
            added.field("before", b"1");
            add(way, &mut added, |added| {
                written += 1;
                added.field("way", format!("{way:?}").as_bytes());
            });
            assert_eq!(added.into_bytes(), format!("before: 1\r\nway: {way:?}\r\n").as_bytes());
        };
        for way in ways.iter().chain(&ways).chain(ways.iter().rev()) {
            told(*way);
            told(*way);
        }
        // Twice in a row, only the long ones are written twice.
        assert!((ways.len() * 3..ways.len() * 3 * 2).contains(&written), "{written}");
    }

    #[test]
    fn addresses_are_spread() {
        let places: std::collections::HashSet<_> = (0..=255).map(|n| place_of(IpAddr::from([10, 0, 0, n]))).collect();
        assert!(places.len() > PLACES / 2, "{}", places.len());
    }
}
