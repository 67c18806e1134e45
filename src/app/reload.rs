//! The life of a config change: load, compile aside, bind what is new, swap at once, let go of what is old.
//!
//! Refused at any step: what runs is as it was, to the last socket.

use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::admin::Control;
use crate::admin::reloads::{Outcome, Wish};
use crate::config::model::{ClientAuth, Listener, ServerTls};
use crate::config::{self, Config, Fault, Loaded};
use crate::listen::listener::Settings;
use crate::listen::{ListenerLive, Order};
use crate::live::{Surroundings, compile, end_orphans};

pub struct Reloader {
    pub file: PathBuf,
    pub control: Arc<Control>,
    pub around: Surroundings,
}

/// One reload after the other, for as long as there are wishes. What was asked for meanwhile is one reload.
pub async fn serve(reloader: Arc<Reloader>, mut wishes: mpsc::UnboundedReceiver<Wish>) {
    while let Some(first) = wishes.recv().await {
        let mut waiting = vec![first];
        while let Ok(more) = wishes.try_recv() {
            waiting.push(more);
        }
        let reloader = reloader.clone();
        // Reading files and compiling block: not on the runtime that answers probes.
        let Ok(outcome) = tokio::task::spawn_blocking(move || reloader.reload()).await else { continue };
        for answer in waiting.into_iter().flatten() {
            let _ = answer.send(outcome.clone());
        }
    }
}

/// Sockets of listeners that are new, bound before anything is changed.
type Fresh = (Arc<ListenerLive>, Vec<TcpListener>);

/// Everything a change needs, ready to be put in force.
struct Plan {
    snapshot: crate::live::Snapshot,
    listeners: Vec<Arc<ListenerLive>>,
    fresh: Vec<Fresh>,
    /// Listeners that stay, with what their new connections get.
    changed: Vec<(Arc<ListenerLive>, Settings)>,
}

impl Reloader {
    fn reload(&self) -> Outcome {
        let at = self.around.clock.now();
        let outcome = match self.try_reload() {
            Ok((sha256, warnings)) => {
                eprintln!("reload applied sha256={sha256}");
                Outcome::Applied { sha256, at, warnings }
            }
            Err(faults) => {
                eprintln!("reload refused, the configuration before it goes on:");
                for fault in &faults {
                    eprintln!(
                        "  {}[{}] {}:{}:{}: {}",
                        fault.path, fault.code, fault.file, fault.line, fault.column, fault.message
                    );
                }
                Outcome::Refused { sha256: self.control.live.load().config.sha256.clone(), at, faults }
            }
        };
        self.control.reloads.note(&outcome);
        outcome
    }

    fn try_reload(&self) -> Result<(String, Vec<Fault>), Vec<Fault>> {
        let Loaded { config, warnings } = config::load(&self.file, self.around.clock.now())?;
        let plan = self.plan(config).map_err(|message| vec![self.fault(message)])?;
        let sha256 = plan.snapshot.config.sha256.clone();
        self.put_in_force(plan);
        Ok((sha256, warnings))
    }

    /// A fault that no place in the file is to blame for.
    fn fault(&self, message: String) -> Fault {
        config::fault::unplaced(&self.file, message)
    }

    fn plan(&self, config: Config) -> Result<Plan, String> {
        let previous = self.control.live.load();
        let snapshot = compile(config, Some(&previous), &self.around)?;
        let running = self.control.listeners.load_full();
        let mut plan = Plan { snapshot, listeners: Vec::new(), fresh: Vec::new(), changed: Vec::new() };
        for listener in &plan.snapshot.config.listeners {
            let same = running.iter().find(|live| live.name == listener.name && live.asked == listener.address);
            match same {
                Some(live) => {
                    let old = previous.config.listeners.iter().find(|old| old.name == listener.name);
                    let settings = settings(listener, old, live).map_err(|error| error.to_string())?;
                    plan.listeners.push(live.clone());
                    plan.changed.push((live.clone(), settings));
                }
                None => {
                    let fresh = ListenerLive::open(listener, self.control.workers.len());
                    let fresh = fresh.map_err(|error| error.to_string())?;
                    plan.listeners.push(fresh.0.clone());
                    plan.fresh.push(fresh);
                }
            }
        }
        Ok(plan)
    }

    fn put_in_force(&self, plan: Plan) {
        let control = &self.control;
        let previous = control.live.load();
        let drain = plan.snapshot.config.drain;
        for (live, settings) in plan.changed {
            live.settings.store(Arc::new(settings));
        }
        control.live.replace(plan.snapshot);
        end_orphans(&previous, &control.live.load());
        let before = control.listeners.swap(Arc::new(plan.listeners.clone()));
        for old in before.iter().filter(|old| !plan.listeners.iter().any(|kept| Arc::ptr_eq(kept, old))) {
            for worker in &control.workers {
                let _ = worker.send(Order::Unlisten(old.name.clone(), drain));
            }
        }
        for (listener, sockets) in plan.fresh {
            for (worker, socket) in control.workers.iter().zip(sockets) {
                let _ = worker.send(Order::Listen(listener.clone(), socket));
            }
        }
        for worker in &control.workers {
            let _ = worker.send(Order::Adopt);
        }
    }
}

fn settings(listener: &Listener, old: Option<&Listener>, live: &ListenerLive) -> io::Result<Settings> {
    let unchanged = match (old.and_then(|old| old.tls.as_ref()), &listener.tls) {
        (Some(old), Some(new)) => same_tls(old, new),
        (None, None) => true,
        _ => false,
    };
    let tls = if unchanged { live.settings.load().tls.clone() } else { None };
    Settings::new(listener, tls)
}

/// A certificate with the same chain has the same key: it was checked that they fit.
fn same_tls(old: &ServerTls, new: &ServerTls) -> bool {
    let roots = |auth: &ClientAuth| match auth {
        ClientAuth::None => (0, None),
        ClientAuth::Optional(roots) => (1, Some(roots.clone())),
        ClientAuth::Required(roots) => (2, Some(roots.clone())),
    };
    let ((old_kind, old_roots), (new_kind, new_roots)) = (roots(&old.client_auth), roots(&new.client_auth));
    let same_roots = match (old_roots, new_roots) {
        (Some(old), Some(new)) => old.roots == new.roots,
        (None, None) => true,
        _ => false,
    };
    old.tls13_only == new.tls13_only
        && old_kind == new_kind
        && same_roots
        && old.certificates.len() == new.certificates.len()
        && old.certificates.iter().zip(&new.certificates).all(|(old, new)| old.key.cert == new.key.cert)
}
