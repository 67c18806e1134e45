//! A buffer that the worker lends: what is written in one turn is put together in it, sent, and the buffer is there for the
//! next. Only what a socket does not take at once needs memory of its own.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};

use bytes::BytesMut;

/// A head and a small body; room for two pieces that are gathered before they leave.
const ROOM: usize = 16 * 1024;
/// One that had to grow beyond this is not lent again.
const KEPT: usize = 64 * 1024;

thread_local! {
    static OF_WORKER: Cell<Option<BytesMut>> = const { Cell::new(None) };
}

/// Bytes on their way out. Holds the worker's buffer only until [`settle`](Lent::settle), which is called before the task
/// waits; an empty one that has settled holds nothing.
#[derive(Debug, Default)]
pub struct Lent {
    bytes: BytesMut,
    is_workers: bool,
}

impl Lent {
    /// The worker's buffer, empty; a new one where somebody else of this turn has it.
    pub fn take() -> Lent {
        let mut bytes = OF_WORKER.take().unwrap_or_default();
        bytes.reserve(ROOM);
        Lent { bytes, is_workers: true }
    }

    /// Before more is written into it: one that holds nothing takes the worker's again.
    pub fn ready(&mut self) {
        if !self.is_workers && self.bytes.is_empty() {
            *self = Lent::take();
        }
    }

    /// Gives the worker's buffer back. What has not left yet moves to one of its own.
    pub fn settle(&mut self) {
        if !std::mem::take(&mut self.is_workers) {
            if self.bytes.is_empty() {
                self.bytes = BytesMut::new();
            }
            return;
        }
        let left = if self.bytes.is_empty() { BytesMut::new() } else { BytesMut::from(&self.bytes[..]) };
        let lent = std::mem::replace(&mut self.bytes, left);
        OF_WORKER.set(fit_to_lend(lent));
    }
}

/// The buffer, empty, unless it has grown large. What was sent is cut off at its front, and counts.
fn fit_to_lend(mut bytes: BytesMut) -> Option<BytesMut> {
    bytes.clear();
    (!bytes.try_reclaim(KEPT + 1)).then_some(bytes)
}

impl Drop for Lent {
    fn drop(&mut self) {
        if self.is_workers {
            let lent = std::mem::take(&mut self.bytes);
            // At the end of a thread there is nobody to lend to.
            let _ = OF_WORKER.try_with(|workers| workers.set(fit_to_lend(lent)));
        }
    }
}

impl Deref for Lent {
    type Target = BytesMut;

    fn deref(&self) -> &BytesMut {
        &self.bytes
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Buf;

    #[test]
    fn one_buffer_serves_one_after_the_other() {
        let mut first = Lent::take();
        first.extend_from_slice(b"abc");
        first.advance(3);
        let at = first.as_ptr() as usize - 3;
        drop(first);
        let second = Lent::take();
        assert!(second.is_empty() && second.capacity() >= ROOM);
        assert_eq!(second.as_ptr() as usize, at, "the same memory, from its start");
    }

    #[test]
    fn what_has_not_left_is_kept_apart_from_what_comes_next() {
        let mut slow = Lent::take();
        slow.extend_from_slice(b"abc");
        slow.advance(1);
        slow.settle();
        let mut next = Lent::take();
        next.extend_from_slice(b"xyz");
        assert_eq!((&slow[..], &next[..]), (&b"bc"[..], &b"xyz"[..]));
        slow.advance(2);
        slow.settle();
        assert_eq!(slow.capacity(), 0, "one that waits and is empty holds nothing");
        slow.ready();
        assert!(slow.capacity() >= ROOM);
    }

    #[test]
    fn one_that_has_grown_large_is_not_lent_again() {
        let mut large = Lent::take();
        large.extend_from_slice(&[0; KEPT + 1]);
        large.advance(KEPT);
        drop(large);
        assert!(Lent::take().capacity() <= KEPT);
    }

    #[test]
    fn two_at_a_time_do_not_share() {
        let (mut one, mut two) = (Lent::take(), Lent::take());
        one.extend_from_slice(b"one");
        two.extend_from_slice(b"two");
        assert_eq!((&one[..], &two[..]), (&b"one"[..], &b"two"[..]));
    }
}
