//! Where a request is handled: room for its state, some 3 KB, which the next one takes over from one that has ended.
//!
//! A seat's work never ends: it waits for a request, handles it, puts its answer down and waits again. So its state lies where
//! it lay, in memory that is warm, and nobody asks the allocator for it.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::gate::Gate;
use super::handle::handle;
use crate::message::{Inbound, Outbound};

/// Free seats that a worker keeps: as many as requests are usually under way at once.
const KEPT: usize = 64;

/// One worker's free seats.
#[derive(Default)]
pub struct Seats(RefCell<Vec<Seat>>);

pub struct Seat {
    work: Pin<Box<dyn Future<Output = Infallible>>>,
    tray: Rc<Tray>,
}

/// What lies between a seat's work and who waits for it.
#[derive(Default)]
struct Tray {
    request: Cell<Option<(Rc<Gate>, Box<Inbound>)>>,
    answer: Cell<Option<Outbound>>,
}

impl Seats {
    /// A seat at work on a request. Dropping it breaks the work off.
    pub fn take(&self, gate: Rc<Gate>, inbound: Box<Inbound>) -> Seat {
        let seat = self.0.borrow_mut().pop().unwrap_or_else(Seat::new);
        seat.tray.request.set(Some((gate, inbound)));
        seat
    }

    /// Takes a seat back whose request was answered.
    pub fn free(&self, seat: Seat) {
        let mut free = self.0.borrow_mut();
        if free.len() < KEPT {
            free.push(seat);
        }
    }
}

impl Seat {
    fn new() -> Seat {
        let tray = Rc::new(Tray::default());
        let mine = tray.clone();
        let work = Box::pin(async move {
            loop {
                let (gate, inbound) = poll_fn(|_| mine.request.take().map_or(Poll::Pending, Poll::Ready)).await;
                let answer = handle(gate, inbound).await;
                mine.answer.set(Some(answer));
            }
        });
        Seat { work, tray }
    }

    /// Ready with the answer.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outbound> {
        match self.work.as_mut().poll(cx) {
            Poll::Ready(never) => match never {},
            Poll::Pending => self.tray.answer.take().map_or(Poll::Pending, Poll::Ready),
        }
    }
}
