//! "Finish what you do, then close": the word that drain and a removed listener give to their connections.
//!
//! Floor 0, one worker's. A connection registers its waker once, not per request; saying the word wakes them all.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};

#[derive(Clone, Default)]
pub struct Closing(Rc<State>);

#[derive(Default)]
struct State {
    said: Cell<bool>,
    cut: Cell<bool>,
    wakers: RefCell<Vec<Option<Waker>>>,
    free: RefCell<Vec<usize>>,
}

/// One connection's ear; it is given up on drop.
pub struct Ear {
    closing: Closing,
    slot: usize,
}

impl Closing {
    pub fn is_said(&self) -> bool {
        self.0.said.get()
    }

    pub fn say(&self) {
        self.0.said.set(true);
        self.nudge();
    }

    /// "Close now, whatever you do": the end of patience.
    pub fn cut(&self) {
        self.0.cut.set(true);
        self.say();
    }

    pub fn is_cut(&self) -> bool {
        self.0.cut.get()
    }

    /// Wakes all that listen, without a word: something else they look at has changed.
    pub fn nudge(&self) {
        for waker in self.0.wakers.borrow().iter().flatten() {
            waker.wake_by_ref();
        }
    }

    pub fn listen(&self) -> Ear {
        let slot = self.0.free.borrow_mut().pop().unwrap_or_else(|| {
            let mut wakers = self.0.wakers.borrow_mut();
            wakers.push(None);
            wakers.len() - 1
        });
        Ear { closing: self.clone(), slot }
    }

    /// How many connections are listening now.
    pub fn ears(&self) -> usize {
        self.0.wakers.borrow().len() - self.0.free.borrow().len()
    }
}

impl Ear {
    pub fn is_said(&self) -> bool {
        self.closing.is_said()
    }

    /// True once the word was said; the task of `cx` is woken when it is.
    pub fn poll(&self, cx: &Context<'_>) -> bool {
        let slot = &mut self.closing.0.wakers.borrow_mut()[self.slot];
        if !slot.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *slot = Some(cx.waker().clone());
        }
        self.is_said()
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.closing.0.wakers.borrow_mut()[self.slot] = None;
        self.closing.0.free.borrow_mut().push(self.slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::task::Poll;

    #[tokio::test(flavor = "local")]
    async fn every_ear_hears_the_word_once_it_is_said() {
        let closing = Closing::default();
        let ear = closing.listen();
        let heard = tokio::task::spawn_local(async move {
            poll_fn(|cx| if ear.poll(cx) { Poll::Ready(()) } else { Poll::Pending }).await;
        });
        tokio::task::yield_now().await;
        assert!(!heard.is_finished());
        closing.say();
        heard.await.unwrap();
        assert_eq!(closing.ears(), 0);
    }
}
