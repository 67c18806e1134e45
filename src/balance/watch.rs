//! What the control plane does for the agencies in force: a task for each endpoint with health checks, one for each name,
//! one for each agency whose endpoints are compared, and one that writes their changes to the log.
//!
//! `live` says which agencies are in force. A config that is refused later starts nothing here; an agency that is gone, or
//! has changed, is not watched in its old shape any more, however long requests of an older snapshot take.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::agency::AgencyLive;
use super::health::Checker;
use super::resolve::Resolver;
use super::siblings::Judge;

/// Lines that wait to be written: more than a whole country's agencies change at once. What is over it is lost.
const LINES: usize = 4096;

/// Writes lines to the log without waiting.
#[derive(Clone, Debug)]
pub struct Journal(mpsc::Sender<String>);

impl Journal {
    fn start(control: &Handle) -> Journal {
        let (sender, mut lines) = mpsc::channel::<String>(LINES);
        control.spawn(async move {
            while let Some(line) = lines.recv().await {
                eprintln!("{line}");
            }
        });
        Journal(sender)
    }

    pub(super) fn write(&self, line: String) {
        let _ = self.0.try_send(line);
    }
}

pub struct Watch {
    control: Handle,
    journal: Journal,
    /// By where they are in memory: an agency that a reload left alone is the same one.
    watched: Mutex<HashMap<usize, Watched>>,
}

struct Watched {
    agency: Arc<AgencyLive>,
    tasks: Vec<AbortHandle>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Watch {
    pub fn new(control: Handle) -> Watch {
        Watch { journal: Journal::start(&control), control, watched: Mutex::default() }
    }

    /// Watches these agencies, and no others. Call it when they come in force.
    pub fn follow(&self, agencies: &[Arc<AgencyLive>]) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *watched);
        let kept = |agency: &Arc<AgencyLive>| before.remove(&address(agency));
        *watched = agencies.iter().filter_map(kept).map(|kept| (address(&kept.agency), kept)).collect();
        // The old tasks end first: those of a changed agency write to the same places as the new ones.
        drop(before);
        for agency in agencies {
            watched.entry(address(agency)).or_insert_with(|| self.begin(agency));
        }
    }

    fn begin(&self, agency: &Arc<AgencyLive>) -> Watched {
        let _ = agency.journal.set(self.journal.clone());
        let mut tasks = Vec::new();
        if let Some(judge) = Judge::of(agency) {
            tasks.push(self.control.spawn(judge.run()).abort_handle());
        }
        for endpoint in &agency.endpoints {
            let vitals = &endpoint.vitals;
            if vitals.addresses.name().is_some() {
                let resolver = Resolver::new(agency.clone(), endpoint.clone());
                tasks.push(self.control.spawn(resolver.run()).abort_handle());
            }
            match &agency.health {
                Some(rules) => {
                    let checker = Checker::new(agency.clone(), endpoint.clone(), rules.clone());
                    tasks.push(self.control.spawn(checker.run()).abort_handle());
                }
                None => {
                    vitals.addresses.avoid(Vec::new());
                    if vitals.health.forget() {
                        agency.say("info", endpoint, "its health is not checked any more: taken for healthy");
                    }
                }
            }
            if agency.outlier.is_none() && vitals.ejection.clear() {
                agency.say("info", endpoint, "nothing is ejected any more: no longer ejected");
            }
        }
        agency.tell_zone();
        Watched { agency: agency.clone(), tasks }
    }
}

fn address(agency: &Arc<AgencyLive>) -> usize {
    Arc::as_ptr(agency).addr()
}
