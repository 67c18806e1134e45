//! `darvazeh run`: serve until told to stop, then drain.

use std::path::Path;
use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::check;
use crate::app::{self, Running};
use crate::clock::Clock;
use crate::live;

/// Overrides `workers:` of the file.
const WORKERS: &str = "DARVAZEH_WORKERS";

/// Exit code 0 after the drain, 1 when the gateway could not start.
pub fn run(file: &Path) -> ExitCode {
    let loaded = match live::load_checked(file, Clock::system().now()) {
        Ok(loaded) => loaded,
        Err(faults) => {
            check::print(&faults, &mut std::io::stderr());
            return ExitCode::FAILURE;
        }
    };
    check::print(&loaded.warnings, &mut std::io::stderr());
    let workers = match workers() {
        Ok(workers) => workers,
        Err(text) => return failed(&text),
    };
    let running = match app::start(loaded, workers) {
        Ok(running) => running,
        Err(error) => return failed(&error.to_string()),
    };
    // Before the line that says "ready": whoever reads it may send a signal at once.
    let signals = running.runtime().block_on(async { Signals::new() });
    let mut signals = match signals {
        Ok(signals) => signals,
        Err(error) => return failed(&format!("signals cannot be received: {error}")),
    };
    eprintln!("{}", running.ready_line());
    running.runtime().block_on(signals.until_told(&running));
    eprintln!("draining");
    match running.drain() {
        0 => eprintln!("drained"),
        cut => eprintln!("drained; {cut} connections were cut at the limit"),
    }
    ExitCode::SUCCESS
}

fn failed(text: &str) -> ExitCode {
    eprintln!("error: {text}");
    ExitCode::FAILURE
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

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Returns when we are to stop; reloads meanwhile.
    async fn until_told(&mut self, running: &Running) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hang_up.recv() => running.wish_reload(),
            }
        }
    }
}
