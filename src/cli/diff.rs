//! `darvazeh diff`: what another configuration changes for callers, agencies and operators, before it runs.
//!
//! Both files are loaded as `run` would, and the checked models are compared: order, comments, anchors and names of
//! parameters make no difference. What it finds is a list of [`change::Change`]s; each file here finds those of one section.
//!
//! ```text
//! pairs      which is which                     takeover   who answers a request now (asks both compiled tables)
//! routes     route by route, by facets          overlap    requests where patterns cross
//! issuers agencies listeners trust operation expectations    the other sections
//! write      text and JSON
//! ```

mod agencies;
mod change;
mod expectations;
mod facets;
mod issuers;
mod listeners;
mod operation;
mod overlap;
mod pairs;
mod routes;
mod takeover;
mod trust;
mod write;

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use super::check;
use crate::clock::UnixTime;
use crate::config::{Config, Fault, Loaded};
use crate::live;
use change::{Change, Severity};
use pairs::Pairs;

const AFTER_HELP: &str = "\
Exit code:
  0  the same for everybody; with --fail-on weaker: nothing is weaker
  2  something differs; with --fail-on weaker: something is weaker
  1  one of the files is refused (its faults are on standard error), or the output could not be written

Order, comments, anchors and names of parameters make no difference.";

/// `darvazeh diff`, as the command line takes it.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Options {
    /// The configuration that runs now
    #[arg(value_name = "OLD.yaml")]
    old: PathBuf,
    /// The configuration that is to run
    #[arg(value_name = "NEW.yaml")]
    new: PathBuf,
    /// How to list the changes
    #[arg(long, value_enum, default_value_t = check::Format::Human)]
    format: check::Format,
    /// Which changes make the exit code 2
    #[arg(long, value_enum, default_value_t = FailOn::Any, value_name = "CHANGES")]
    fail_on: FailOn,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum FailOn {
    /// Any difference
    #[default]
    Any,
    /// Something that is asked is weaker than before
    Weaker,
}

const DIFFERS: u8 = 2;

/// Loads both files at `now` and writes what differs to standard output.
pub fn run(options: &Options, now: UnixTime) -> ExitCode {
    // Reading is most of the work, and the two have nothing to do with each other.
    let (old, new) = std::thread::scope(|scope| {
        let old = scope.spawn(|| live::load_checked(&options.old, now));
        let new = live::load_checked(&options.new, now);
        (old.join(), new)
    });
    // It has said why on standard error.
    let Ok(old) = old else { return ExitCode::FAILURE };
    let (Some(old), Some(new)) = (good(old), good(new)) else {
        return ExitCode::FAILURE;
    };
    let changes = compare(&old, &new);
    let stdout = io::stdout();
    let colour = stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut out = BufWriter::new(stdout.lock());
    let written = match options.format {
        check::Format::Human => write::human(&changes, colour, &mut out),
        check::Format::Json => write::json(&changes, &mut out),
    };
    if written.and_then(|()| out.flush()).is_err() {
        return ExitCode::FAILURE;
    }
    let counts = |change: &Change| options.fail_on == FailOn::Any || change.severity == Severity::Weaker;
    if changes.iter().any(counts) { ExitCode::from(DIFFERS) } else { ExitCode::SUCCESS }
}

/// `None`: refused, and the faults are told.
fn good(loaded: Result<Loaded, Vec<Fault>>) -> Option<Config> {
    match loaded {
        Ok(loaded) => Some(loaded.config),
        Err(faults) => {
            check::print(&faults, &mut io::stderr());
            None
        }
    }
}

/// Every difference, the weakening first, then what refuses callers. Within a section: routes, issuers, agencies, listeners,
/// the gateway itself.
fn compare(old: &Config, new: &Config) -> Vec<Change> {
    let pairs = Pairs::of(old, new);
    let takeovers = takeover::find(old, new, &pairs);
    let mut changes = Vec::new();
    routes::compare(old, new, &pairs, &takeovers, &mut changes);
    issuers::compare(old, new, &pairs, &mut changes);
    agencies::compare(old, new, &pairs, &mut changes);
    listeners::compare(old, new, &pairs, &mut changes);
    operation::compare(old, new, &mut changes);
    expectations::compare(old, new, &mut changes);
    changes.sort_by_key(write::Section::of);
    changes
}
