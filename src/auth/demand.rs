//! When a request may ask for an issuer's keys to be fetched anew (JB-10): single flight, at most once in a while, and
//! never again soon for a `kid` that the SSO did not know. Who asks too soon is not forgotten: the fetch comes when it is due,
//! so that one token is enough to bring the keys it needs.
//!
//! Workers ask and wait here; `refresh` works it off on the control runtime. It knows no keys and fetches nothing.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

/// Unknown `kid`s that are remembered; the oldest makes room.
const REMEMBERED: usize = 256;

/// The bounds, apart from the rest so that tests need not wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    /// Between two fetches that requests asked for.
    pub every: Duration,
    /// How long a request waits for a fetch before it is judged without.
    pub wait: Duration,
    /// How long an unknown `kid` is not asked for again.
    pub remember: Duration,
}

impl Allowance {
    /// 10 s is issue and contract; 3 s is a slow SSO, and less than a client's patience; 30 s bounds how long a key that the
    /// SSO used before it published it is refused.
    pub(super) const DEFAULT: Allowance =
        Allowance { every: Duration::from_secs(10), wait: Duration::from_secs(3), remember: Duration::from_secs(30) };
}

pub(super) struct Demand {
    allowance: Allowance,
    state: Mutex<State>,
    /// Wakes the refresher, also when the issuer is gone.
    pub wake: Arc<Notify>,
    /// Counts finished refreshes.
    finished: watch::Sender<u64>,
    keys: ahash::RandomState,
}

/// What comes of asking.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fetch {
    /// None is due.
    None,
    /// One begins now.
    Begins,
    /// One had begun already.
    UnderWay,
}

#[derive(Default)]
struct State {
    /// A fetch is under way, or begins at once.
    running: bool,
    /// It is under way.
    begun: bool,
    /// When the last fetch began that somebody had asked for.
    asked: Option<Instant>,
    /// Somebody asked since the last fetch began, and none since has succeeded.
    wanted: bool,
    unknown: VecDeque<(u64, Instant)>,
}

impl Demand {
    pub(super) fn new(allowance: Allowance) -> Demand {
        Demand {
            allowance,
            state: Mutex::default(),
            wake: Arc::new(Notify::new()),
            finished: watch::Sender::new(0),
            keys: ahash::RandomState::new(),
        }
    }

    /// Asks for a refresh because `kid` is unknown, or joins the one in flight, and waits for its end. False at once when
    /// none is due; false too after one that had begun before, which says nothing of what was published since. Cancel safe:
    /// the refresh goes on without the caller.
    pub(super) async fn refresh_for(&self, kid: &str) -> bool {
        // Subscribed before asking: a refresh that ends in between is not missed.
        let mut finished = self.finished.subscribe();
        let fetch = self.ask_for(Some(self.keys.hash_one(kid)));
        if fetch == Fetch::None {
            return false;
        }
        let ended = tokio::time::timeout(self.allowance.wait, finished.changed()).await;
        ended.is_ok_and(|ended| ended.is_ok()) && fetch == Fetch::Begins
    }

    /// Notes that a refresh did not bring `kid`.
    pub(super) fn remember_unknown(&self, kid: &str) {
        let hash = self.keys.hash_one(kid);
        let mut state = self.lock();
        if state.unknown.len() >= REMEMBERED {
            state.unknown.pop_front();
        }
        state.unknown.push_back((hash, Instant::now()));
    }

    /// Asks for any key, and waits for nothing: there is none at all.
    pub(super) fn want(&self) {
        self.ask_for(None);
    }

    /// The refresher begins: who asks now joins in.
    pub(super) fn begin(&self) {
        let mut state = self.lock();
        state.running = true;
        state.begun = true;
        if std::mem::take(&mut state.wanted) {
            state.asked = Some(Instant::now());
        }
    }

    /// The refresher is done: who waited may look again. Who joined a fetch that failed, perhaps one that hung since before the
    /// SSO came back, still wants one.
    pub(super) fn finish(&self, succeeded: bool) {
        let mut state = self.lock();
        state.running = false;
        state.begun = false;
        state.wanted &= !succeeded;
        drop(state);
        self.finished.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// How long until the fetch that somebody asked for is due; `None` when nobody did. The refresher asks, between its fetches.
    pub(super) fn due(&self) -> Option<Duration> {
        let state = self.lock();
        state.wanted.then(|| self.left(&state, Instant::now()))
    }

    fn left(&self, state: &State, now: Instant) -> Duration {
        state.asked.map_or(Duration::ZERO, |at| self.allowance.every.saturating_sub(now.duration_since(at)))
    }

    fn ask_for(&self, kid: Option<u64>) -> Fetch {
        let mut state = self.lock();
        let now = Instant::now();
        let remember = self.allowance.remember;
        while state.unknown.front().is_some_and(|(_, since)| now.duration_since(*since) >= remember) {
            state.unknown.pop_front();
        }
        if state.unknown.iter().any(|(known, _)| Some(*known) == kid) {
            return Fetch::None;
        }
        let first = !std::mem::replace(&mut state.wanted, true);
        if state.running {
            return if state.begun { Fetch::UnderWay } else { Fetch::Begins };
        }
        let due = self.left(&state, now).is_zero();
        state.running = due;
        if first {
            self.wake.notify_one();
        }
        if due { Fetch::Begins } else { Fetch::None }
    }

    /// The state is whole after every statement, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: Duration = Duration::from_secs(3600);

    impl Demand {
        fn ask(&self, kid: u64) -> bool {
            self.ask_for(Some(kid)) != Fetch::None
        }
    }

    /// JB-10: what an SSO publishes while its old keys are on their way here is not unknown for that.
    #[tokio::test]
    async fn a_fetch_that_had_begun_says_nothing_of_a_new_kid() {
        let allowance = Allowance { every: Duration::ZERO, wait: NEVER, remember: NEVER };
        let demand = Demand::new(allowance);
        demand.begin();
        let (says, ()) = tokio::join!(demand.refresh_for("a"), async { demand.finish(true) });
        assert!(!says);
        let refresh = async {
            demand.begin();
            demand.finish(true);
        };
        let (says, ()) = tokio::join!(demand.refresh_for("a"), refresh);
        assert!(says);
    }

    fn demand(every: Duration) -> Demand {
        Demand::new(Allowance { every, wait: Duration::ZERO, remember: NEVER })
    }

    /// JB-10
    #[test]
    fn one_refresh_is_asked_for_however_many_ask() {
        let demand = demand(NEVER);
        assert_eq!(demand.due(), None);
        assert!(demand.ask(1), "the first asks");
        assert!(demand.ask(2), "the second joins");
        assert_eq!(demand.due(), Some(Duration::ZERO));
        demand.begin();
        assert!(demand.ask(3), "and so does the third");
        demand.finish(true);
        assert_eq!(demand.due(), None);
        assert!(!demand.ask(4), "not again so soon");
    }

    #[test]
    fn who_asks_too_soon_or_joins_what_fails_is_not_forgotten() {
        let demand = demand(NEVER);
        let is_due_later = || demand.due().is_some_and(|left| !left.is_zero() && left <= NEVER);
        assert!(demand.ask(1));
        demand.begin();
        assert_eq!(demand.due(), None);
        assert!(demand.ask(2));
        demand.finish(false);
        assert!(is_due_later(), "the fetch that it joined has failed");
        demand.begin();
        demand.finish(true);
        assert_eq!(demand.due(), None);
        assert!(!demand.ask(3));
        assert!(is_due_later(), "once the time has come");
        demand.begin();
        demand.want();
        demand.finish(false);
        assert!(is_due_later(), "who has no key at all wants one, too");
    }

    /// JB-10
    #[test]
    fn an_unknown_kid_is_not_asked_for_again() {
        let demand = demand(Duration::ZERO);
        demand.remember_unknown("a");
        assert!(!demand.ask(demand.keys.hash_one("a")));
        assert!(demand.ask(demand.keys.hash_one("b")));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let demand = demand(Duration::ZERO);
        (0..10_000).for_each(|n| demand.remember_unknown(&n.to_string()));
        assert_eq!(demand.lock().unknown.len(), REMEMBERED);
    }
}
