//! `darvazeh run`: serve until told to stop, or until another process has taken over; then drain.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use super::check;
use crate::app::notify::Notify;
use crate::app::upgrade::{self, Program, TakenOver};
use crate::app::{self, Overrides, Running};
use crate::clock::Clock;
use crate::config::{self, units};
use crate::listen::handoff::{Inherited, Predecessor};
use crate::live;

/// Overrides `workers:` of the file.
const WORKERS: &str = "DARVAZEH_WORKERS";
/// Overrides `zone:` of the file, so that gateways in several zones can have one file.
const ZONE: &str = "DARVAZEH_ZONE";
/// How long a new program may take until it accepts; beyond, it is killed.
const UPGRADE_LIMIT: &str = "DARVAZEH_UPGRADE_LIMIT";

/// Exit code 0 after the drain, 1 when the gateway could not start.
pub fn run(file: &Path) -> ExitCode {
    match start(file) {
        Ok(started) => serve(started),
        Err(NotStarted::Faults) => ExitCode::FAILURE,
        Err(NotStarted::Because(text)) => {
            eprintln!("error: {text}");
            ExitCode::FAILURE
        }
    }
}

struct Started {
    running: Running,
    signals: Signals,
    taken_over: oneshot::Receiver<TakenOver>,
}

enum NotStarted {
    /// They are printed.
    Faults,
    Because(String),
}

impl From<String> for NotStarted {
    fn from(text: String) -> NotStarted {
        NotStarted::Because(text)
    }
}

fn start(file: &Path) -> Result<Started, NotStarted> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let program = Program::current().map_err(|error| format!("this program cannot find itself: {error}"))?;
    let (inherited, predecessor) = Inherited::receive()?;
    let notify = Notify::from_environment();
    let loaded = live::load_checked(file, Clock::system().now()).map_err(|faults| {
        check::print(&faults, &mut std::io::stderr());
        NotStarted::Faults
    })?;
    check::print(&loaded.warnings, &mut std::io::stderr());
    let (overrides, limit) = (Overrides { workers: workers()?, zone: zone()? }, upgrade_limit()?);
    let mut running = app::start_on(inherited, loaded, overrides, notify.clone()).map_err(|error| text(&error))?;
    let taken_over = running.upgradable(program, limit);
    // Before the line that says "ready": whoever reads it may send a signal at once.
    let signals = running.runtime().block_on(async { Signals::new() });
    let signals = signals.map_err(|error| format!("signals cannot be received: {error}"))?;
    eprintln!("{}", running.ready_line());
    predecessor
        .map_or(Ok(()), Predecessor::tell_ready)
        .map_err(|error| format!("the process before is gone, or has given this one up: {error}"))?;
    notify.ready();
    Ok(Started { running, signals, taken_over })
}

fn serve(started: Started) -> ExitCode {
    let Started { running, mut signals, mut taken_over } = started;
    let cut = match running.runtime().block_on(signals.until_told(&running, &mut taken_over)) {
        End::Told => {
            eprintln!("draining");
            running.drain()
        }
        End::TakenOver(by) => {
            eprintln!("draining: another process accepts now");
            running.hand_on(by)
        }
    };
    match cut {
        0 => eprintln!("drained"),
        cut => eprintln!("drained; {cut} connections were cut at the limit"),
    }
    ExitCode::SUCCESS
}

fn workers() -> Result<Option<usize>, String> {
    match std::env::var(WORKERS) {
        Err(_) => Ok(None),
        Ok(text) => match text.parse() {
            Ok(count @ 1..=1024) => Ok(Some(count)),
            _ => Err(format!("{WORKERS} must be a number from 1 to 1024")),
        },
    }
}

fn zone() -> Result<Option<Arc<str>>, String> {
    match std::env::var(ZONE) {
        Err(_) => Ok(None),
        Ok(name) if config::is_name(&name) => Ok(Some(name.into())),
        Ok(_) => Err(format!("{ZONE} must be a name: 1 to 100 letters, digits, `.`, `_` and `-`")),
    }
}

fn upgrade_limit() -> Result<Duration, String> {
    match std::env::var(UPGRADE_LIMIT) {
        Err(_) => Ok(upgrade::LIMIT),
        Ok(text) => units::duration(&text).map_err(|remedy| format!("{UPGRADE_LIMIT}: {remedy}")),
    }
}

enum End {
    Told,
    TakenOver(TakenOver),
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    upgrade: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }

    /// Returns when we are to stop; reloads and upgrades meanwhile.
    async fn until_told(&mut self, running: &Running, taken_over: &mut oneshot::Receiver<TakenOver>) -> End {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return End::Told,
                _ = self.interrupt.recv() => return End::Told,
                _ = self.hang_up.recv() => running.wish_reload(),
                _ = self.upgrade.recv() => running.wish_upgrade(),
                Ok(by) = &mut *taken_over => return End::TakenOver(by),
            }
        }
    }
}
