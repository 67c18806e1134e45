//! How many connections one address has open: the first limit a caller meets, before any cryptography.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Shared by a listener's workers. Locked once as a connection opens and once as it closes, never per request.
#[derive(Debug, Default)]
pub struct Addresses(Mutex<HashMap<IpAddr, u32>>);

/// One open connection's place, given up on drop.
#[derive(Debug)]
pub struct Place {
    addresses: Arc<Addresses>,
    address: IpAddr,
}

impl Addresses {
    /// A place for one more connection from `address`; `None` when it has `limit` already. IPv6 counts by /64.
    pub fn enter(self: &Arc<Self>, address: IpAddr, limit: u32) -> Option<Place> {
        let address = network(address);
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_insert(0);
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(Place { addresses: self.clone(), address })
    }

    /// All open connections.
    pub fn open(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().map(|n| u64::from(*n)).sum()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.addresses.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
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
        let first = addresses.enter(a, 2).unwrap();
        let _second = addresses.enter(a, 2).unwrap();
        assert!(addresses.enter(a, 2).is_none());
        assert!(addresses.enter(b, 2).is_some());
        drop(first);
        assert!(addresses.enter(a, 2).is_some());
        assert_eq!(addresses.open(), 1);
    }

    #[test]
    fn an_ipv6_network_is_one_caller() {
        let addresses = Arc::new(Addresses::default());
        let _held = addresses.enter("2001:db8::1".parse().unwrap(), 1).unwrap();
        assert!(addresses.enter("2001:db8::2".parse().unwrap(), 1).is_none());
        assert!(addresses.enter("2001:db8:0:1::1".parse().unwrap(), 1).is_some());
    }
}
