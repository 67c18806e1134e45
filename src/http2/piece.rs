//! What of a body has been handed to `h2` and has not left yet.
//!
//! `h2` takes what it is given, and tells neither how much of it waits nor when it is gone. A stream that must not hoard learns
//! it from its pieces: each says how much of it was taken, and that it was dropped. Used by `send`.

use std::cell::Cell;
use std::rc::Rc;
use std::task::{Context, Waker};

use bytes::{Buf, Bytes};
use tokio::time::Instant;

/// Less than this may wait while more is brought: what comes together leaves together. A smaller piece is copied out of the buffer
/// that it was read into, and would hold, so that no more than one such buffer waits.
const ENOUGH: usize = 8 * 1024;
/// No more pieces than these wait, however little is in them.
const PIECES: usize = 64;

/// A part of a body, as `h2` holds it until it is written.
pub struct Piece {
    bytes: Bytes,
    /// What it holds, until all of it is written.
    length: usize,
    waiting: Option<Rc<Waiting>>,
}

impl Piece {
    /// One that nobody waits for.
    pub fn alone(bytes: Bytes) -> Piece {
        Piece { length: bytes.len(), bytes, waiting: None }
    }
}

/// All pieces of one stream that wait to be written, but for those that nobody waits for.
#[derive(Default)]
pub struct Waiting {
    bytes: Cell<usize>,
    pieces: Cell<usize>,
    progress: Cell<Option<Instant>>,
    waker: Cell<Option<Waker>>,
}

impl Waiting {
    pub fn piece(self: &Rc<Waiting>, bytes: Bytes) -> Piece {
        // A time limit counts from here, and not from when there was last something to take.
        if self.is_over() {
            self.progress.set(Some(Instant::now()));
        }
        let bytes = if bytes.len() < ENOUGH { Bytes::copy_from_slice(&bytes) } else { bytes };
        self.bytes.set(self.bytes.get() + bytes.len());
        self.pieces.set(self.pieces.get() + 1);
        Piece { length: bytes.len(), bytes, waiting: Some(self.clone()) }
    }

    pub fn is_over(&self) -> bool {
        self.pieces.get() == 0
    }

    pub fn is_enough(&self) -> bool {
        self.bytes.get() >= ENOUGH || self.pieces.get() >= PIECES
    }

    /// When bytes were last taken, or the first came to wait, if it was since this was last asked.
    pub fn take_progress(&self) -> Option<Instant> {
        self.progress.take()
    }

    /// Wakes when a piece is gone.
    pub fn notify(&self, cx: &Context<'_>) {
        let waker = self.waker.take().filter(|waker| waker.will_wake(cx.waker()));
        self.waker.set(Some(waker.unwrap_or_else(|| cx.waker().clone())));
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, taken: usize) {
        self.bytes.advance(taken);
        if let Some(waiting) = &self.waiting {
            waiting.progress.set(Some(Instant::now()));
        }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let Some(waiting) = &self.waiting else { return };
        waiting.bytes.set(waiting.bytes.get() - self.length);
        waiting.pieces.set(waiting.pieces.get() - 1);
        if let Some(waker) = waiting.waker.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Rings(AtomicUsize);

    impl Wake for Rings {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_large_piece_is_enough_until_all_of_it_was_taken() {
        let waiting = Rc::new(Waiting::default());
        let mut piece = waiting.piece(Bytes::from(vec![0; 2 * ENOUGH]));
        assert!(waiting.is_enough() && waiting.take_progress().is_some() && waiting.take_progress().is_none());
        piece.advance(ENOUGH + 1);
        assert!(waiting.is_enough() && !waiting.is_over());
        assert!(waiting.take_progress().is_some() && waiting.take_progress().is_none());
        drop(piece);
        assert!(waiting.is_over() && !waiting.is_enough());
    }

    #[test]
    fn so_are_many_small_ones() {
        let waiting = Rc::new(Waiting::default());
        let pieces: Vec<Piece> = (0..PIECES)
            .map(|_| {
                assert!(!waiting.is_enough());
                waiting.piece(Bytes::from_static(b"x"))
            })
            .collect();
        assert!(waiting.is_enough());
        drop(pieces);
        assert!(waiting.is_over());
    }

    #[test]
    fn a_little_that_waits_holds_nothing_else() {
        let waiting = Rc::new(Waiting::default());
        let read = Bytes::from(vec![0; 64 * 1024]);
        let piece = waiting.piece(read.slice(..ENOUGH - 1));
        assert!(read.is_unique());
        drop(piece);
        let piece = waiting.piece(read.slice(..ENOUGH));
        assert!(!read.is_unique(), "nothing larger is copied");
        drop(piece);
    }

    #[test]
    fn whoever_waits_hears_of_each_piece_that_is_gone() {
        let waiting = Rc::new(Waiting::default());
        let rings = Arc::new(Rings::default());
        let waker = Waker::from(rings.clone());
        for rung in 1..=2 {
            let piece = waiting.piece(Bytes::from_static(b"x"));
            waiting.notify(&Context::from_waker(&waker));
            waiting.notify(&Context::from_waker(&waker));
            drop(piece);
            assert_eq!(rings.0.load(Ordering::Relaxed), rung);
        }
        drop(waiting.piece(Bytes::from_static(b"x")));
        assert_eq!(rings.0.load(Ordering::Relaxed), 2, "nobody waits any more");
    }
}
