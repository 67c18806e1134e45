//! Which endpoint comes next (`balance` of an agency), among those that are well.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::moment;
use super::outlier::Outcome;
use super::pool::{AgencyPools, EndpointPool};
use crate::config::model::Balance;

/// With up to so many endpoints all are looked at; with more, two that are drawn: nearly as even, and the same cost
/// whatever their number.
const LOOK_AT_ALL: usize = 4;
/// Draws that may hit an endpoint that is out, before the next one in line is taken.
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
        if let Some(since) = self.since {
            let now = Instant::now();
            match outcome {
                Outcome::Good => self.pool.ewma.record(now - since, now),
                Outcome::Bad => self.pool.ewma.record_slow(now - since, now),
                Outcome::Unknown => {}
            }
        }
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
struct Survey {
    /// Fewer are usable than half: ejections do not count.
    panic: bool,
    /// One that is ejected, and due for a probe.
    due: Option<usize>,
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
        if self.agency.balance == Balance::HashSubject
            && let Some(subject) = subject
        {
            return self.at_home(subject, &survey, &open);
        }
        // What is tried again goes to an endpoint that is known to be well.
        if let Some(due) = survey.due.filter(|_| tried == 0)
            && self.endpoints[due].live.vitals.ejection.begin_probe()
        {
            return Some(self.picked(due, true));
        }
        let at = match survey.held_back {
            0 => self.choose(&open),
            held => self.choose(&|at| open(at) && held & bit(at) == 0).or_else(|| self.choose(&open)),
        };
        at.map(|at| self.picked(at, false))
    }

    fn picked(&self, at: usize, is_probe: bool) -> Picked<'_> {
        let since = (self.agency.balance == Balance::PeakEwma).then(Instant::now);
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
            Balance::RoundRobin | Balance::HashSubject => self.by_turn(open),
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

    /// Smooth weighted turns: over a cycle of all weights each endpoint comes as often as it weighs.
    fn by_turn(&self, open: &dyn Fn(usize) -> bool) -> Option<usize> {
        let count = self.endpoints.len();
        let cycle: usize = self.endpoints.iter().map(weight).sum();
        let mut turn = next(&self.turn) % cycle.max(1);
        let at = (0..count).find(|at| {
            let weight = weight(&self.endpoints[*at]);
            let here = turn < weight;
            turn = turn.wrapping_sub(weight);
            here
        });
        self.next_open(at.unwrap_or(0), open)
    }

    fn next_open(&self, start: usize, open: &dyn Fn(usize) -> bool) -> Option<usize> {
        let count = self.endpoints.len();
        (0..count).map(|step| (start + step) % count).find(|at| open(*at))
    }

    /// The least of all; ties go round, so that an idle agency is not served by one endpoint.
    fn least(&self, open: &dyn Fn(usize) -> bool, cost: &dyn Fn(usize) -> f64) -> Option<usize> {
        let count = self.endpoints.len();
        let start = next(&self.turn) % count.max(1);
        let all = (0..count).map(|step| (start + step) % count).filter(|at| open(*at));
        all.min_by(|a, b| cost(*a).total_cmp(&cost(*b)))
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
        let mut at = 0;
        for _ in 0..DRAWS {
            let point = (self.draw() * all) as u32;
            at = self.weights.partition_point(|upto| *upto <= point).min(self.endpoints.len().saturating_sub(1));
            if open(at) {
                return Some(at);
            }
        }
        self.next_open(at, open)
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

    /// Where a caller belongs. Only those who belong to an ejected endpoint probe it: the others stay where they are.
    fn at_home(&self, subject: u64, survey: &Survey, open: &dyn Fn(usize) -> bool) -> Option<Picked<'_>> {
        let home = |open: &dyn Fn(usize) -> bool| {
            let scored = (0..self.endpoints.len()).filter(|at| open(*at));
            scored.max_by(|a, b| {
                let score = |at: usize| rendezvous(subject, &self.endpoints[at]);
                score(*a).total_cmp(&score(*b))
            })
        };
        if let Some(due) = survey.due.filter(|_| !survey.panic)
            && home(&|at| at == due || open(at)) == Some(due)
            && self.endpoints[due].live.vitals.ejection.begin_probe()
        {
            return Some(self.picked(due, true));
        }
        home(open).map(|at| self.picked(at, false))
    }
}

/// Endpoints after the 64th have none: they may be tried twice.
pub(super) fn bit(at: usize) -> u64 {
    if at < 64 { 1 << at } else { 0 }
}

fn weight(pool: &Rc<EndpointPool>) -> usize {
    pool.live.endpoint.weight.max(1) as usize
}

fn next(turn: &Cell<usize>) -> usize {
    let now = turn.get();
    turn.set(now.wrapping_add(1));
    now
}

/// Weighted rendezvous hashing: a caller stays at its endpoint, and when one goes only its own callers move. The hash is of
/// the endpoint's address, so that workers and nodes agree.
fn rendezvous(subject: u64, pool: &EndpointPool) -> f64 {
    let mut mixed = subject ^ 0x9e37_79b9_7f4a_7c15;
    for byte in pool.live.endpoint.url.bytes() {
        mixed = (mixed ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    // The finaliser of splitmix64: the low bits of FNV alone are poor.
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    let unit = ((mixed >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    -f64::from(pool.live.endpoint.weight.max(1)) / unit.ln()
}

#[cfg(test)]
mod tests;
