//! Which endpoint comes next (`balance` of an agency), among those that are well.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::moment;
use super::outlier::Outcome;
use super::pool::{AgencyPools, EndpointPool};
use super::zone::Near;
use crate::config::model::Balance;

/// With up to so many endpoints all are looked at; with more, two that are drawn: nearly as even, and the same cost
/// whatever their number.
const LOOK_AT_ALL: usize = 4;
/// Draws that may hit an endpoint that is out, before those that are in are counted.
const DRAWS: usize = 8;
/// Percent. While fewer endpoints are usable, those that are ejected are tried as well: so many at once are rather a sign of
/// a common cause, and the others would break down under the load of all.
const PANIC: usize = 50;

/// An endpoint chosen for one request. Dropped without a word of how it went, nothing is learnt from it.
pub struct Picked<'a> {
    pub pool: &'a Rc<EndpointPool>,
    pools: &'a AgencyPools,
    at: usize,
    /// The endpoint was ejected; this request finds out whether it is well again.
    is_probe: bool,
    since: Option<Instant>,
}

impl Picked<'_> {
    /// For `tried`.
    pub fn bit(&self) -> u64 {
        bit(self.at)
    }

    /// How long this request takes is the caller's doing: it says nothing of the endpoint.
    pub fn leave_untimed(&mut self) {
        self.since = None;
    }

    /// Takes note of how long the agency's answer took, or (`is_late`) of one that did not come in time.
    pub fn took(&self, took: Duration, is_late: bool) {
        self.pools.entrance.ledger.took(&self.pools.agency, took, is_late);
    }

    /// The endpoint asked to be left alone for `after`: by `all` requests, or by retries alone.
    pub fn let_rest(&self, all: bool, after: Duration) {
        self.pools.agency.let_rest(&self.pool.live, all, after);
    }

    /// Tells how the request went, up to the head of its answer.
    pub fn note(self, outcome: Outcome) {
        let took = self.since.map(|since| {
            let now = Instant::now();
            let took = now - since;
            match outcome {
                Outcome::Good => self.pool.ewma.record(took, now),
                Outcome::Bad => self.pool.ewma.record_slow(took, now),
                Outcome::Unknown => {}
            }
            took
        });
        self.pool.seen.count(outcome, took);
        self.pools.agency.note(&self.pool.live, outcome);
    }
}

impl Drop for Picked<'_> {
    fn drop(&mut self) {
        if self.is_probe {
            self.pool.live.vitals.ejection.end_probe();
        }
    }
}

/// How the endpoints are at one moment.
#[derive(Default)]
pub(super) struct Survey {
    /// Fewer are usable than half: ejections do not count.
    pub(super) panic: bool,
    /// One that is ejected, and due for a probe.
    pub(super) due: Option<usize>,
    /// In slow start, and not their turn this time: a bit each.
    held_back: u64,
    /// They asked to be left alone while others can answer: a bit each.
    resting: u64,
}

impl AgencyPools {
    /// The endpoint for a request, but for those in `tried` (a bit each). `subject`: a stable number of the caller, for
    /// `hash_subject`; callers without one are spread evenly. `None` when all were tried or are out.
    pub fn pick(&self, subject: Option<u64>, tried: u64) -> Option<Picked<'_>> {
        if let [only] = &self.endpoints[..] {
            return (tried & 1 == 0 && only.live.vitals.health.is_healthy()).then(|| self.picked(0, false));
        }
        let survey = self.survey();
        let open = |at: usize| tried & bit(at) == 0 && self.is_open(at, &survey);
        let awake = |at: usize| open(at) && survey.resting & bit(at) == 0;
        let some_awake = survey.resting != 0 && (0..self.endpoints.len()).any(awake);
        let open = |at: usize| if some_awake { awake(at) } else { open(at) };
        if let (Balance::HashSubject { max_load }, Some(subject)) = (self.agency.balance, subject) {
            return self.at_home(subject, max_load, &survey, &open);
        }
        // What is tried again goes to an endpoint that is known to be well.
        if let Some(due) = survey.due.filter(|_| tried == 0)
            && self.endpoints[due].live.vitals.ejection.begin_probe()
        {
            return Some(self.picked(due, true));
        }
        let at = match &self.agency.near {
            None => self.choose_warm(&survey, &open),
            Some(near) => {
                let stays = self.stays(near, &survey);
                let here = |at: usize| near.has(at) == stays && open(at);
                self.choose_warm(&survey, &here).or_else(|| self.choose_warm(&survey, &open))
            }
        };
        at.map(|at| self.picked(at, false))
    }

    /// Whether this request stays in the gateway's zone.
    fn stays(&self, near: &Near, survey: &Survey) -> bool {
        let share = near.share(&self.agency.endpoints, |at| {
            (survey.held_back | survey.resting) & bit(at) == 0 && self.is_open(at, survey)
        });
        share >= 1.0 || self.draw() < share
    }

    /// Those in slow start only when it is their turn, or there is no other.
    fn choose_warm(&self, survey: &Survey, open: &dyn Fn(usize) -> bool) -> Option<usize> {
        match survey.held_back {
            0 => self.choose(open),
            held => self.choose(&|at| held & bit(at) == 0 && open(at)).or_else(|| self.choose(open)),
        }
    }

    pub(super) fn picked(&self, at: usize, is_probe: bool) -> Picked<'_> {
        if self.agency.near.as_ref().is_some_and(|near| !near.has(at)) && !is_probe {
            let spilled = &self.endpoints[at].spilled;
            spilled.set(spilled.get() + 1);
        }
        let since = self.is_timed.then(Instant::now);
        Picked { pool: &self.endpoints[at], pools: self, at, is_probe, since }
    }

    fn survey(&self) -> Survey {
        let mut survey = Survey::default();
        let mut now = None;
        let mut usable = 0;
        for (at, pool) in self.endpoints.iter().enumerate() {
            let vitals = &pool.live.vitals;
            if vitals.are_fine() {
                usable += 1;
                continue;
            }
            let now = *now.get_or_insert_with(moment::now);
            if !vitals.health.is_healthy() {
                continue;
            }
            if self.ejects() && vitals.ejection.is_ejected() {
                if survey.due.is_none() && vitals.ejection.is_due(now) {
                    survey.due = Some(at);
                }
                continue;
            }
            usable += 1;
            if vitals.rest.is_on(now) {
                survey.resting |= bit(at);
            }
            if vitals.ramp.part(now).is_some_and(|part| self.draw() > part) {
                survey.held_back |= bit(at);
            }
        }
        survey.panic = usable * 100 < self.endpoints.len() * PANIC;
        survey
    }

    fn ejects(&self) -> bool {
        self.agency.outlier.is_some()
    }

    /// What its health checks call ill is never tried; what is ejected, only in a panic.
    fn is_open(&self, at: usize, survey: &Survey) -> bool {
        let vitals = &self.endpoints[at].live.vitals;
        vitals.health.is_healthy() && (survey.panic || !self.ejects() || !vitals.ejection.is_ejected())
    }

    fn choose(&self, open: &dyn Fn(usize) -> bool) -> Option<usize> {
        let scan = self.endpoints.len() <= LOOK_AT_ALL;
        match self.agency.balance {
            Balance::RoundRobin | Balance::HashSubject { .. } => self.by_turn(open),
            Balance::LeastRequest if scan => self.least(open, &|at| self.load(at)),
            Balance::LeastRequest => self.two_choices(open, &|at| self.load(at)),
            Balance::PeakEwma => {
                let now = Instant::now();
                let cost = |at: usize| self.load(at) * self.endpoints[at].ewma.cost(now);
                if scan { self.least(open, &cost) } else { self.two_choices(open, &cost) }
            }
        }
    }

    /// Requests in flight for its weight, with the one that is to come.
    fn load(&self, at: usize) -> f64 {
        let pool = &self.endpoints[at];
        f64::from(pool.in_flight() + 1) / weight(pool) as f64
    }

    /// Weighted turns: over a cycle of the weights of all that are open, each comes as often as it weighs.
    fn by_turn(&self, open: &dyn Fn(usize) -> bool) -> Option<usize> {
        let cycle = self.open_weight(open);
        let turn = next(&self.turn);
        if cycle == 0 { None } else { self.at_weight(turn % cycle, open) }
    }

    fn open_weight(&self, open: &dyn Fn(usize) -> bool) -> usize {
        (0..self.endpoints.len()).filter(|at| open(*at)).map(|at| weight(&self.endpoints[at])).sum()
    }

    /// Where `point` falls when the weights of those that are open are laid end to end.
    fn at_weight(&self, mut point: usize, open: &dyn Fn(usize) -> bool) -> Option<usize> {
        let mut last = None;
        for at in (0..self.endpoints.len()).filter(|at| open(*at)) {
            let weight = weight(&self.endpoints[at]);
            if point < weight {
                return Some(at);
            }
            point -= weight;
            last = Some(at);
        }
        // Another worker has taken one out meanwhile.
        last
    }

    /// The least of all; ties go round, so that an idle agency is not served by one endpoint.
    fn least(&self, open: &dyn Fn(usize) -> bool, cost: &dyn Fn(usize) -> f64) -> Option<usize> {
        let all = || (0..self.endpoints.len()).filter(|at| open(*at));
        let start = next(&self.turn) % all().count().max(1);
        all().skip(start).chain(all().take(start)).min_by(|a, b| cost(*a).total_cmp(&cost(*b)))
    }

    /// The better of two that are drawn by weight.
    fn two_choices(&self, open: &dyn Fn(usize) -> bool, cost: &dyn Fn(usize) -> f64) -> Option<usize> {
        let first = self.drawn(open)?;
        match self.drawn(&|at| at != first && open(at)) {
            Some(second) if cost(second) < cost(first) => Some(second),
            _ => Some(first),
        }
    }

    fn drawn(&self, open: &dyn Fn(usize) -> bool) -> Option<usize> {
        let all = f64::from(self.weights.last().copied().unwrap_or(0));
        for _ in 0..DRAWS {
            let point = (self.draw() * all) as u32;
            let at = self.weights.partition_point(|upto| *upto <= point).min(self.endpoints.len().saturating_sub(1));
            if open(at) {
                return Some(at);
            }
        }
        match self.open_weight(open) {
            0 => None,
            all => self.at_weight((self.draw() * all as f64) as usize, open),
        }
    }

    /// 0 to 1, by xorshift64*: good enough to spread load, and two nanoseconds.
    fn draw(&self) -> f64 {
        let mut dice = self.dice.get();
        dice ^= dice >> 12;
        dice ^= dice << 25;
        dice ^= dice >> 27;
        self.dice.set(dice);
        (dice.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Endpoints after the 64th have none: they may be tried twice.
pub(super) fn bit(at: usize) -> u64 {
    if at < 64 { 1 << at } else { 0 }
}

pub(super) fn weight(pool: &EndpointPool) -> usize {
    pool.live.endpoint.weight.max(1) as usize
}

fn next(turn: &Cell<usize>) -> usize {
    let now = turn.get();
    turn.set(now.wrapping_add(1));
    now
}

#[cfg(test)]
mod tests;
