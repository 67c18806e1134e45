//! Where a request is handled: room for its state, some 3 KB, which the next one takes over from one that has ended.
//!
//! A seat's work never ends: it waits for a request, handles it, puts its answer down and waits again. So its state lies where
//! it lay, in memory that is warm, and nobody asks the allocator for it. Whoever breaks off drops the seat, with all that its
//! request held; only one whose request was answered is used again.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Free seats that a worker keeps: by as many the requests under way go up and down from turn to turn. Not more: after a crowd
/// they lie scattered, and each holds what the allocator would give back around it.
const KEPT: usize = 16;

/// One worker's free seats, for requests `Q` that are answered `A` in one way.
pub struct Seats<Q, A>(RefCell<Vec<Seat<Q, A>>>);

/// Polled after a panic, or after it was freed, it would panic.
pub struct Seat<Q, A> {
    work: Pin<Box<dyn Future<Output = Infallible>>>,
    tray: Rc<Tray<Q, A>>,
}

/// What lies between a seat's work and who waits for it.
struct Tray<Q, A> {
    request: Cell<Option<Q>>,
    answer: Cell<Option<A>>,
}

impl<Q: 'static, A: 'static> Seats<Q, A> {
    /// A seat at work on a request. `handle`: always the same.
    pub fn take<F: Future<Output = A>>(&self, request: Q, handle: impl Fn(Q) -> F + 'static) -> Seat<Q, A> {
        let free = self.0.borrow_mut().pop();
        let seat = free.unwrap_or_else(|| Seat::new(handle));
        seat.tray.request.set(Some(request));
        seat
    }

    /// Takes a seat back whose request was answered.
    pub fn free(&self, seat: Seat<Q, A>) {
        let mut free = self.0.borrow_mut();
        if free.len() < KEPT {
            free.push(seat);
        }
    }
}

impl<Q, A> Default for Seats<Q, A> {
    fn default() -> Seats<Q, A> {
        Seats(RefCell::default())
    }
}

impl<Q: 'static, A: 'static> Seat<Q, A> {
    fn new<F: Future<Output = A>>(handle: impl Fn(Q) -> F + 'static) -> Seat<Q, A> {
        let tray = Rc::new(Tray { request: Cell::new(None), answer: Cell::new(None) });
        let mine = tray.clone();
        let work = Box::pin(async move {
            loop {
                let request = poll_fn(|_| mine.request.take().map_or(Poll::Pending, Poll::Ready)).await;
                let answer = handle(request).await;
                mine.answer.set(Some(answer));
            }
        });
        Seat { work, tray }
    }

    /// Ready with the answer.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<A> {
        match self.work.as_mut().poll(cx) {
            Poll::Ready(never) => match never {},
            Poll::Pending => self.tray.answer.take().map_or(Poll::Pending, Poll::Ready),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::task::Waker;

    /// A request holds this while it is handled.
    type Held = Rc<()>;

    async fn handle((n, _held): (u32, Held)) -> u32 {
        let mut turns = n % 10;
        assert!(n < 100, "no such request");
        poll_fn(|_| {
            let polled = if turns == 0 { Poll::Ready(()) } else { Poll::Pending };
            turns = turns.saturating_sub(1);
            polled
        })
        .await;
        n
    }

    fn poll(seat: &mut Seat<(u32, Held), u32>) -> Poll<u32> {
        seat.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn each_request_gets_its_own_answer_and_leaves_nothing_behind() {
        let (seats, held) = (Seats::default(), Held::default());
        let take = |n| seats.take((n, held.clone()), handle);
        let (mut slow, mut quick) = (take(12), take(20));
        assert_eq!((poll(&mut slow), poll(&mut quick)), (Poll::Pending, Poll::Ready(20)));
        seats.free(quick);
        // The next takes over from the quick one, while the slow one goes on.
        let mut next = take(31);
        assert!(seats.0.borrow().is_empty());
        assert_eq!((poll(&mut slow), poll(&mut next)), (Poll::Pending, Poll::Pending));
        assert_eq!((poll(&mut slow), poll(&mut next)), (Poll::Ready(12), Poll::Ready(31)));
        seats.free(slow);
        seats.free(next);
        assert_eq!((seats.0.borrow().len(), Rc::strong_count(&held)), (2, 1));
    }

    #[test]
    fn who_breaks_off_leaves_nothing_behind() {
        let (seats, held) = (Seats::default(), Held::default());
        let unpolled = seats.take((1, held.clone()), handle);
        let mut waiting = seats.take((1, held.clone()), handle);
        assert_eq!((poll(&mut waiting), Rc::strong_count(&held)), (Poll::Pending, 3));
        drop((unpolled, waiting));
        let mut panicked = seats.take((100, held.clone()), handle);
        assert!(catch_unwind(AssertUnwindSafe(|| poll(&mut panicked))).is_err());
        drop(panicked);
        assert_eq!((seats.0.borrow().len(), Rc::strong_count(&held)), (0, 1));
        let mut next = seats.take((40, held.clone()), handle);
        assert_eq!(poll(&mut next), Poll::Ready(40));
    }

    #[test]
    fn only_so_many_are_kept() {
        let (seats, held) = (Seats::default(), Held::default());
        let crowd: Vec<_> = (0..2 * KEPT).map(|_| seats.take((0, held.clone()), handle)).collect();
        crowd.into_iter().for_each(|mut seat| {
            assert_eq!(poll(&mut seat), Poll::Ready(0));
            seats.free(seat);
        });
        assert_eq!(seats.0.borrow().len(), KEPT);
    }
}
