//! Header maps that are used again: a map is two allocations and a table to be set up, and each request needs two.

use std::cell::RefCell;

use http::HeaderMap;

/// About as many as are in use at a time on a busy worker; usually 1.3 KiB each.
const SPARE: usize = 64;
/// What a new one has room for: most messages.
const USUAL: usize = 12;
/// One that had to grow beyond so many is not kept.
const MOST: usize = 48;

thread_local! {
    static OF_WORKER: RefCell<Vec<HeaderMap>> = const { RefCell::new(Vec::new()) };
}

/// An empty map with room for `fields`.
pub fn map(fields: usize) -> HeaderMap {
    match OF_WORKER.with_borrow_mut(Vec::pop) {
        Some(mut map) => {
            map.reserve(fields);
            map
        }
        None => HeaderMap::with_capacity(fields.max(USUAL)),
    }
}

/// Takes a map whose message is done with. Its fields are dropped.
pub fn give_back(mut map: HeaderMap) {
    if map.capacity() == 0 || map.capacity() > MOST {
        return;
    }
    OF_WORKER.with_borrow_mut(|spare| {
        if spare.len() < SPARE {
            map.clear();
            spare.push(map);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::{self, HeaderValue};

    #[test]
    fn a_map_comes_back_empty() {
        let mut used = map(10);
        used.insert(header::HOST, HeaderValue::from_static("a.example"));
        used.append(header::HOST, HeaderValue::from_static("b.example"));
        let room = used.capacity();
        give_back(used);
        let again = map(3);
        assert!(again.is_empty() && again.get(header::HOST).is_none());
        assert_eq!(again.capacity(), room);
    }

    #[test]
    fn neither_a_large_one_nor_very_many_are_kept() {
        give_back(map(1000));
        assert!(map(1).capacity() < 1000);
        (0..2 * SPARE).map(|_| map(4)).collect::<Vec<_>>().into_iter().for_each(give_back);
        OF_WORKER.with_borrow(|spare| assert_eq!(spare.len(), SPARE));
    }
}
