//! Endpoints are asked whether they are well (`health` of an agency), and those that are not are left out.
//!
//! [`Checker`] runs on the control plane, one task for each endpoint, asks every address of its name, and writes what it
//! learns to [`Health`], where requests read it. Nobody asks about an agency without `health`: its endpoints are well.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::agency::{AgencyLive, EndpointLive};
use super::check::{Check, Ill};
use super::resolve::jittered;
use crate::config::model;

/// The first question comes within this: soon, and not in step with a thousand others.
const FIRST: Duration = Duration::from_secs(1);

/// Whether an endpoint is well, as far as asking showed.
#[derive(Debug, Default)]
pub struct Health {
    is_ill: AtomicBool,
    passed: AtomicU64,
    failed: AtomicU64,
    /// By address; `None` stands for a name that never had one. The control plane's alone.
    seen: Mutex<HashMap<Option<SocketAddr>, Seen>>,
}

/// What one address answered of late.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    is_ill: bool,
    /// Good answers in a row while it is ill, bad ones while it is well.
    against: u32,
}

impl Health {
    pub fn is_healthy(&self) -> bool {
        !self.is_ill.load(Ordering::Relaxed)
    }

    /// Good and bad answers, ever.
    pub fn checks(&self) -> (u64, u64) {
        (self.passed.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }

    /// Forgets what was seen: nobody asks any more. True when it was ill.
    pub(super) fn forget(&self) -> bool {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.is_ill.swap(false, Ordering::Relaxed)
    }

    /// Takes note of a round of answers, and gives the addresses that changed. Addresses that were not asked are forgotten.
    fn learn(&self, round: &Round, rules: &model::Health) -> Vec<Option<SocketAddr>> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|address, _| round.iter().any(|(asked, _)| asked == address));
        let mut changed = Vec::new();
        for (address, answer) in round {
            let counter = if answer.is_ok() { &self.passed } else { &self.failed };
            counter.fetch_add(1, Ordering::Relaxed);
            let seen = seen.entry(*address).or_default();
            if answer.is_err() == seen.is_ill {
                seen.against = 0;
                continue;
            }
            seen.against += 1;
            if seen.against >= if seen.is_ill { rules.healthy_after } else { rules.unhealthy_after } {
                *seen = Seen { is_ill: !seen.is_ill, against: 0 };
                changed.push(*address);
            }
        }
        changed
    }

    #[cfg(test)]
    pub(super) fn condemn(&self) {
        self.is_ill.store(true, Ordering::Relaxed);
    }

    fn ill_addresses(&self) -> Vec<Option<SocketAddr>> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().filter(|(_, seen)| seen.is_ill).map(|(address, _)| *address).collect()
    }
}

type Round = [(Option<SocketAddr>, Result<(), Ill>)];

/// Asks one endpoint, again and again.
pub(super) struct Checker {
    agency: Arc<AgencyLive>,
    endpoint: Arc<EndpointLive>,
    rules: model::Health,
    check: Arc<Check>,
}

impl Checker {
    pub fn new(agency: Arc<AgencyLive>, endpoint: Arc<EndpointLive>, rules: model::Health) -> Checker {
        let check = Arc::new(Check::new(&agency, &endpoint, rules.clone()));
        Checker { agency, endpoint, rules, check }
    }

    /// Until the task is aborted.
    pub async fn run(self) {
        sleep(jittered(FIRST.min(self.rules.interval), 0.0, 1.0)).await;
        loop {
            let begun = Instant::now();
            let round = self.ask_all().await;
            self.conclude(&round);
            sleep_until(begun + jittered(self.rules.interval, 0.9, 1.1)).await;
        }
    }

    async fn ask_all(&self) -> Vec<(Option<SocketAddr>, Result<(), Ill>)> {
        let addresses = self.endpoint.vitals.addresses.known().await;
        if addresses.is_empty() {
            return vec![(None, Err(Ill::Unresolved))];
        }
        let mut asked = JoinSet::new();
        for address in addresses.iter().copied() {
            let check = self.check.clone();
            asked.spawn(async move { (Some(address), check.ask(address).await) });
        }
        asked.join_all().await
    }

    /// The endpoint is ill when all its addresses are; else those that are ill are not connected to.
    fn conclude(&self, round: &Round) {
        let vitals = &self.endpoint.vitals;
        let changed = vitals.health.learn(round, &self.rules);
        let ill = vitals.health.ill_addresses();
        let is_ill = ill.len() == round.len();
        let was_ill = vitals.health.is_ill.swap(is_ill, Ordering::Relaxed);
        vitals.addresses.avoid(ill.iter().copied().flatten().collect());
        let why = round.iter().find_map(|(_, answer)| answer.as_ref().err());
        match (was_ill, is_ill) {
            (false, true) => self.say("warn", &format!("unhealthy ({})", why.unwrap_or(&Ill::Broke))),
            (true, false) => {
                vitals.ramp.begin();
                self.say("info", "healthy again");
            }
            _ => {}
        }
        if was_ill != is_ill {
            self.agency.tell_zone();
        }
        if round.len() > 1 {
            self.tell_addresses(&changed, &ill, round);
        }
    }

    fn tell_addresses(&self, changed: &[Option<SocketAddr>], ill: &[Option<SocketAddr>], round: &Round) {
        for (address, answer) in round.iter().filter(|(address, _)| changed.contains(address)) {
            let Some(ip) = address else { continue };
            match answer {
                Err(why) if ill.contains(address) => self.say("warn", &format!("address {ip} is unhealthy ({why})")),
                _ => self.say("info", &format!("address {ip} is healthy again")),
            }
        }
    }

    fn say(&self, level: &str, what: &str) {
        self.agency.say(level, &self.endpoint, what);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: model::Health = model::Health {
        path: String::new(),
        status: Vec::new(),
        body: None,
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(2),
        healthy_after: 2,
        unhealthy_after: 3,
    };

    fn address(last: u8) -> Option<SocketAddr> {
        Some(SocketAddr::from(([10, 0, 0, last], 80)))
    }

    /// How many changes each answer in turn made.
    fn changes(health: &Health, answers: &[bool]) -> Vec<usize> {
        let answer = |good: &bool| [(address(1), if *good { Ok(()) } else { Err(Ill::TimedOut) })];
        answers.iter().map(|good| health.learn(&answer(good), &RULES).len()).collect()
    }

    #[test]
    fn it_takes_some_answers_in_a_row_to_change_a_mind() {
        let health = Health::default();
        assert_eq!(changes(&health, &[false, false, true, false, false, false]), [0, 0, 0, 0, 0, 1]);
        assert_eq!(health.ill_addresses(), [address(1)]);
        assert_eq!(changes(&health, &[false, true, false, true, true]), [0, 0, 0, 0, 1]);
        assert!(health.ill_addresses().is_empty());
        assert_eq!(health.checks(), (4, 7));
    }

    #[test]
    fn an_address_that_is_gone_is_forgotten() {
        let health = Health::default();
        changes(&health, &[false, false, false]);
        health.learn(&[(address(2), Ok(()))], &RULES);
        assert!(health.ill_addresses().is_empty());
    }
}
