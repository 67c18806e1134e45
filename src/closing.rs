//! "Finish what you do, then close": the words that drain and a removed listener give to their connections.
//!
//! There are three, one after the other. An idle HTTP/1.1 connection that is closed at the first may be closed just as its
//! next request arrives, and that request is lost (RFC 9112 §9.6): so it may ask once more, and is told with that answer.
//!
//! Floor 0, one worker's. A connection registers its waker once, not per request; saying a word wakes them all.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};

/// What was said last. Nothing is ever taken back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Word {
    #[default]
    None,
    /// The next answer is the connection's last.
    Last,
    /// Who is asked for nothing now closes.
    Close,
    /// Close now, whatever you do: the end of patience.
    Cut,
}

#[derive(Clone, Default)]
pub struct Closing(Rc<State>);

#[derive(Default)]
struct State {
    word: Cell<Word>,
    wakers: RefCell<Vec<Option<Waker>>>,
    free: RefCell<Vec<usize>>,
}

/// One connection's ear; it is given up on drop.
pub struct Ear {
    closing: Closing,
    slot: usize,
}

impl Closing {
    pub fn word(&self) -> Word {
        self.0.word.get()
    }

    pub fn say(&self, word: Word) {
        self.0.word.set(self.word().max(word));
        self.nudge();
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
    /// What was said so far.
    pub fn word(&self) -> Word {
        self.closing.word()
    }

    /// What was said so far; the task of `cx` is woken at the next word.
    pub fn poll(&self, cx: &Context<'_>) -> Word {
        let slot = &mut self.closing.0.wakers.borrow_mut()[self.slot];
        if !slot.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *slot = Some(cx.waker().clone());
        }
        self.word()
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
    async fn every_ear_hears_each_word() {
        let closing = Closing::default();
        let ear = closing.listen();
        let heard = tokio::task::spawn_local(async move {
            for word in [Word::Last, Word::Close] {
                poll_fn(|cx| if ear.poll(cx) >= word { Poll::Ready(()) } else { Poll::Pending }).await;
            }
        });
        tokio::task::yield_now().await;
        closing.say(Word::Last);
        tokio::task::yield_now().await;
        assert!(!heard.is_finished());
        closing.say(Word::Close);
        heard.await.unwrap();
        assert_eq!(closing.ears(), 0);
    }

    #[test]
    fn no_word_is_taken_back() {
        let closing = Closing::default();
        closing.say(Word::Cut);
        closing.say(Word::Last);
        assert_eq!(closing.word(), Word::Cut);
    }
}
