//! How many connections one address has open: the first limit a caller meets, before any cryptography.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Shared by a listener's workers. Locked once as a connection opens and once as it closes, never per request.
#[derive(Debug, Default)]
pub struct Addresses(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    by_address: HashMap<IpAddr, u32>,
    all: u32,
}

/// Which limit a connection would be over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    Address,
    Listener,
}

/// One open connection's place, given up on drop.
#[derive(Debug)]
pub struct Place {
    addresses: Arc<Addresses>,
    address: IpAddr,
}

impl Addresses {
    /// A place for one more connection from `address`, unless it has `limit` already or the listener has `all`. IPv6 counts
    /// by /64.
    pub fn enter(self: &Arc<Self>, address: IpAddr, limit: u32, all: u32) -> Result<Place, Full> {
        let address = network(address);
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if open.all >= all {
            return Err(Full::Listener);
        }
        let count = open.by_address.entry(address).or_insert(0);
        if *count >= limit {
            return Err(Full::Address);
        }
        *count += 1;
        open.all += 1;
        Ok(Place { addresses: self.clone(), address })
    }

    /// All open connections.
    pub fn open(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).all.into()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.addresses.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.all -= 1;
        if let Some(count) = open.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.by_address.remove(&self.address);
            }
        }
    }
}

/// Whoever has one IPv6 address has its whole /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_no_more_than_its_limit_and_gets_places_back() {
        let addresses = Arc::new(Addresses::default());
        let (a, b) = ("1.2.3.4".parse().unwrap(), "1.2.3.5".parse().unwrap());
        let first = addresses.enter(a, 2, 3).unwrap();
        let _second = addresses.enter(a, 2, 3).unwrap();
        assert!(addresses.enter(a, 2, 3).is_err());
        assert!(addresses.enter(b, 2, 3).is_ok());
        drop(first);
        assert!(addresses.enter(a, 2, 3).is_ok());
        assert_eq!(addresses.open(), 1);
        assert_eq!(addresses.enter(b, 2, 1).unwrap_err(), Full::Listener, "whoever it is");
    }

    #[test]
    fn an_ipv6_network_is_one_caller() {
        let addresses = Arc::new(Addresses::default());
        let _held = addresses.enter("2001:db8::1".parse().unwrap(), 1, 9).unwrap();
        assert!(addresses.enter("2001:db8::2".parse().unwrap(), 1, 9).is_err());
        assert!(addresses.enter("2001:db8:0:1::1".parse().unwrap(), 1, 9).is_ok());
    }
}
