//! The life of a config change: load, compile aside, bind what is new, swap at once, let go of what is old.
//!
//! Refused at any step: what runs is as it was, to the last socket.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{getpriority_process, setpriority_process};
use tokio::sync::{mpsc, oneshot};

use super::notify::Notify;
use super::started::Started;
use crate::admin::Control;
use crate::admin::reloads::{Outcome, Wish};
use crate::config::model::{ClientAuth, Listener, ServerTls};
use crate::config::{self, Config, Fault, KeptFile, LastGood, Loaded};
use crate::listen::listener::{Settings, Shares};
use crate::listen::thread::Patience;
use crate::listen::{ListenerLive, Order};
use crate::live::{Surroundings, compile, end_orphans, load_anew, load_checked_with};
use crate::observe::access_log::{Out, Outlet};
use crate::tls::certs::{LoadedCertificate, load_server};
use crate::tls::server::server_config;

pub struct Reloader {
    pub file: PathBuf,
    pub control: Arc<Control>,
    pub around: Surroundings,
    /// The included files as they are in force, for those that may keep their last good version.
    pub last_good: Mutex<LastGood>,
    pub started: Started,
    pub outlet: Outlet,
    pub notify: Notify,
    /// What is told of the last reload is that changed files could not be put in force.
    pub renewal_refused: AtomicBool,
}

/// One reload after the other, for as long as there are wishes. What was asked for meanwhile is one reload.
pub async fn serve(reloader: Arc<Reloader>, mut wishes: mpsc::UnboundedReceiver<Wish>) {
    while let Some(first) = wishes.recv().await {
        let mut waiting = vec![first];
        while let Ok(more) = wishes.try_recv() {
            waiting.push(more);
        }
        // A listener that it would add is for the process that takes over to bind; nothing is new here any more.
        if reloader.control.draining.load(Ordering::Relaxed) {
            continue;
        }
        let reloader = reloader.clone();
        let asked = waiting.iter().any(|wish| matches!(wish, Wish::Reload(_)));
        let renewal = waiting.iter().any(|wish| matches!(wish, Wish::Renew));
        let work = move || if asked { Some(reloader.reload(renewal)) } else { reloader.renew() };
        let Some(Some(outcome)) = aside(work).await else { continue };
        for wish in waiting {
            if let Wish::Reload(Some(answer)) = wish {
                let _ = answer.send(outcome.clone());
            }
        }
    }
}

/// Sockets of listeners that are new, bound before anything is changed.
type Fresh = (Arc<ListenerLive>, Shares);

/// What was put in force.
struct Applied {
    sha256: String,
    warnings: Vec<Fault>,
    kept: Vec<KeptFile>,
}

/// Everything a change needs, ready to be put in force.
struct Plan {
    snapshot: crate::live::Snapshot,
    listeners: Vec<Arc<ListenerLive>>,
    fresh: Vec<Fresh>,
    /// Listeners that stay, with what they are called now and what their new connections get.
    changed: Vec<(Arc<ListenerLive>, Arc<str>, Settings)>,
    /// Opened anew: an access log that was moved away is begun again.
    log: Out,
}

/// How much nicer what reads files and compiles is than what serves: where they share a core it has a tenth of the weight, so
/// that a reload takes its time from nobody's request, and goes on nevertheless.
const NICER: i32 = 10;

/// Runs `work` on a thread of its own: not on the runtime that answers probes. `None`: there is no thread to be had, or it
/// panicked, which is a refused reload and no more.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, outcome) = oneshot::channel();
    let patient = move || {
        // Of this thread alone, as Linux has it (sched(7)). Where it may not, it only takes its time from others.
        let _ = getpriority_process(None).and_then(|ours| setpriority_process(None, (ours + NICER).min(19)));
        let _ = done.send(work());
    };
    std::thread::Builder::new().name("reload".into()).spawn(patient).ok()?;
    outcome.await.ok()
}

impl Reloader {
    /// `renewal`: files that the configuration names have changed as well; certificates are renewed even if it is refused.
    fn reload(&self, renewal: bool) -> Outcome {
        self.notify.reloading();
        self.renewal_refused.store(false, Ordering::Relaxed);
        let at = self.around.clock.now();
        let outcome = match self.try_reload() {
            Ok(Applied { sha256, warnings, kept }) => {
                eprintln!("reload applied sha256={sha256}");
                let waiting = self.started.waiting(&self.control.live.load().config);
                if !waiting.is_empty() {
                    eprintln!("warning: not all of it is in force");
                    print_faults(&waiting);
                }
                for file in &kept {
                    let state = if file.in_use { "its last good version stays in force" } else { "it is left out" };
                    eprintln!("error: {} is faulty: {state}", file.file);
                    print_faults(&file.faults);
                }
                Outcome::Applied { sha256, at, warnings, kept, waiting }
            }
            Err(faults) => {
                eprintln!("reload refused, the configuration before it goes on:");
                print_faults(&faults);
                Outcome::Refused { sha256: self.control.live.load().config.sha256.clone(), at, faults }
            }
        };
        self.control.reloads.note(&outcome);
        if renewal && !outcome.is_applied() {
            // Its faults are among those of the reload, where they are told.
            let _ = self.renew_files();
        }
        self.notify.ready();
        outcome
    }

    fn try_reload(&self) -> Result<Applied, Vec<Fault>> {
        self.apply(self.load()?)
    }

    fn load(&self) -> Result<Loaded, Vec<Fault>> {
        let last_good = self.last_good.lock().unwrap_or_else(PoisonError::into_inner).clone();
        load_checked_with(&self.file, self.around.clock.now(), &last_good)
    }

    fn apply(&self, loaded: Loaded) -> Result<Applied, Vec<Fault>> {
        let Loaded { config, warnings, kept, last_good } = loaded;
        let plan = self.plan(config).map_err(|message| vec![self.fault(message)])?;
        let sha256 = plan.snapshot.config.sha256.clone();
        self.put_in_force(plan);
        *self.last_good.lock().unwrap_or_else(PoisonError::into_inner) = last_good;
        Ok(Applied { sha256, warnings, kept })
    }

    /// A certificate, key or CA file has changed: all of the configuration in force is made anew, from its texts as they were
    /// read. An edit on disk that nobody asked to apply waits, and so does one that was refused.
    fn renew(&self) -> Option<Outcome> {
        let at = self.around.clock.now();
        let sha256 = self.control.live.load().config.sha256.clone();
        let outcome = match self.renew_files() {
            // Mended: the refusal of the renewal before is no longer true.
            Ok(()) if self.renewal_refused.swap(false, Ordering::Relaxed) => {
                let (kept, waiting) = (self.control.reloads.kept(), self.control.reloads.waiting());
                Outcome::Applied { sha256, at, warnings: Vec::new(), kept, waiting }
            }
            Ok(()) => return None,
            Err(faults) => {
                self.renewal_refused.store(true, Ordering::Relaxed);
                Outcome::Refused { sha256, at, faults }
            }
        };
        self.control.reloads.note(&outcome);
        Some(outcome)
    }

    fn renew_files(&self) -> Result<(), Vec<Fault>> {
        let in_force = self.last_good.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let loaded = load_anew(&self.file, self.around.clock.now(), &in_force);
        match loaded.and_then(|loaded| self.apply(loaded)) {
            Ok(Applied { sha256, .. }) => {
                eprintln!("renewed: files of sha256={sha256} were read anew");
                Ok(())
            }
            Err(faults) => {
                eprintln!("error: changed files cannot be put in force, but for what follows");
                print_faults(&faults);
                // One that is faulty holds no other listener's back.
                self.renew_certificates(&self.control.live.load().config);
                Err(faults)
            }
        }
    }

    fn renew_certificates(&self, config: &Config) {
        for live in self.control.listeners.load().iter() {
            let name = live.name();
            let Some(listener) = config.listeners.iter().find(|listener| listener.name == name) else { continue };
            let Some(tls) = &listener.tls else { continue };
            let now = self.around.clock.now();
            let anew = tls.certificates.iter().map(|old| load_server(&old.files.0, &old.files.1, now).map(Arc::new));
            match anew.collect::<Result<Vec<_>, _>>() {
                Ok(certificates) => {
                    let settings = live.settings.load();
                    if same_certificates(&settings.certificates, &certificates) {
                        continue;
                    }
                    let shown = certificates.clone().into();
                    let tls =
                        ServerTls { certificates, tls13_only: tls.tls13_only, client_auth: tls.client_auth.clone() };
                    match server_config(&tls) {
                        Ok(config) => {
                            let renewed =
                                Settings { tls: Some(config), certificates: shown, ..Settings::clone(&settings) };
                            live.settings.store(Arc::new(renewed));
                            eprintln!("renewed: certificates of listener {name}");
                        }
                        Err(error) => eprintln!("error: listener {name}: {error}"),
                    }
                }
                Err(fault) => eprintln!("error: listener {name}: a certificate file cannot be used: {fault:?}"),
            }
        }
    }

    /// A fault that no place in the file is to blame for.
    fn fault(&self, message: String) -> Fault {
        config::fault::unplaced(&self.file, message)
    }

    fn plan(&self, config: Config) -> Result<Plan, String> {
        let previous = self.control.live.load();
        let snapshot = compile(config, Some(&previous), &self.around)?;
        let running = self.control.listeners.load_full();
        let log = Out::open(&snapshot.config.access_log)
            .map_err(|error| format!("the access log cannot be written: {error}"))?;
        let mut plan = Plan { snapshot, listeners: Vec::new(), fresh: Vec::new(), changed: Vec::new(), log };
        for (listener, same) in stay(&running, &plan.snapshot.config.listeners) {
            match same {
                Some(live) => {
                    let name = live.name();
                    let old = previous.config.listeners.iter().find(|old| old.name == name);
                    let settings = settings(listener, old, &live).map_err(|error| error.to_string())?;
                    plan.listeners.push(live.clone());
                    plan.changed.push((live, listener.name.clone(), settings));
                }
                None => {
                    let fresh = ListenerLive::open(listener, Vec::new(), self.control.workers.len());
                    let fresh = fresh.map_err(|error| error.to_string())?;
                    plan.listeners.push(fresh.0.clone());
                    plan.fresh.push(fresh);
                }
            }
        }
        let names = plan.listeners.iter().zip(&plan.snapshot.config.listeners);
        plan.snapshot.listeners = names.map(|(live, listener)| (live.id, listener.name.clone())).collect();
        Ok(plan)
    }

    fn put_in_force(&self, plan: Plan) {
        let control = &self.control;
        let previous = control.live.load();
        let patience = Patience::ending(plan.snapshot.config.drain);
        for (live, name, settings) in plan.changed {
            live.rename(name);
            live.settings.store(Arc::new(settings));
        }
        self.outlet.turn_to(plan.log);
        control.live.replace(plan.snapshot);
        end_orphans(&previous, &control.live.load());
        let before = control.listeners.swap(Arc::new(plan.listeners.clone()));
        for old in before.iter().filter(|old| !plan.listeners.iter().any(|kept| Arc::ptr_eq(kept, old))) {
            old.release();
            for worker in &control.workers {
                let _ = worker.send(Order::Unlisten(old.id, patience));
            }
        }
        for (listener, shares) in plan.fresh {
            for (worker, sockets) in control.workers.iter().zip(shares) {
                let _ = worker.send(Order::Listen(listener.clone(), sockets));
            }
        }
        for worker in &control.workers {
            let _ = worker.send(Order::Adopt);
        }
    }
}

/// For each listener of a configuration the one that runs already: of its name and address, else at its address under a name
/// that is gone. Each is taken once.
fn stay<'a>(running: &[Arc<ListenerLive>], wanted: &'a [Listener]) -> Vec<(&'a Listener, Option<Arc<ListenerLive>>)> {
    let mut left = running.to_vec();
    let mut take = |fits: &dyn Fn(&ListenerLive) -> bool| {
        let at = left.iter().position(|live| fits(live))?;
        Some(left.remove(at))
    };
    let mut found: Vec<_> = wanted
        .iter()
        .map(|listener| (listener, take(&|live| live.name() == listener.name && live.asked == listener.address)))
        .collect();
    for (listener, same) in found.iter_mut().filter(|(_, same)| same.is_none()) {
        *same = take(&|live| live.is_at(listener.address));
    }
    found
}

fn print_faults(faults: &[Fault]) {
    for fault in faults {
        let Fault { code, file, line, column, message, remedy, .. } = fault;
        eprintln!("  {code} {file}:{line}:{column}: {message}");
        eprintln!("    help: {remedy}");
    }
}

fn settings(listener: &Listener, old: Option<&Listener>, live: &ListenerLive) -> io::Result<Settings> {
    let in_force = live.settings.load();
    let unchanged = match (old.and_then(|old| old.tls.as_ref()), &listener.tls) {
        (Some(old), Some(new)) => {
            same_demands(old, new) && same_certificates(&in_force.certificates, &new.certificates)
        }
        (None, None) => true,
        _ => false,
    };
    let tls = if unchanged { in_force.tls.clone() } else { None };
    Settings::new(listener, tls, Some(&in_force.forgeries))
}

/// A certificate with the same chain has the same key: it was checked that they fit.
fn same_certificates(shown: &[Arc<LoadedCertificate>], new: &[Arc<LoadedCertificate>]) -> bool {
    shown.len() == new.len() && shown.iter().zip(new).all(|(shown, new)| shown.key.cert == new.key.cert)
}

/// Whether callers are asked for the same.
fn same_demands(old: &ServerTls, new: &ServerTls) -> bool {
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
    old.tls13_only == new.tls13_only && old_kind == new_kind && same_roots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reload_is_nicer_than_what_serves_and_its_panic_is_its_own() {
        let ours = getpriority_process(None).unwrap();
        let theirs = aside(|| getpriority_process(None).unwrap()).await;
        assert_eq!(theirs, Some((ours + NICER).min(19)));
        assert_eq!(getpriority_process(None).unwrap(), ours);
        assert_eq!(aside(|| panic!("a reload went wrong")).await, None::<()>);
    }
}
